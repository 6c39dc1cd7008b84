//! An object that is mapped into this address space.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::control::{Control, ControlRef};
use crate::id::ObjectId;
use crate::layout::{self, HEADER, Identity, LayoutError};
use crate::medium::{LINE_BYTES, Medium};

/// An object's memory together with what its users share about it.
#[derive(Debug)]
pub struct Mapping<M> {
    medium: M,
    control: ControlRef,
    identity: Identity,
    /// How many withdrawals there had been when the memory was shown; none where it is never withdrawn.
    shown: Option<AtomicU64>,
}

impl<M: Medium> Mapping<M> {
    /// The object on this medium, which begins at the object's header: the guard page is not stored.
    ///
    /// # Errors
    /// No object is there.
    ///
    /// # Safety
    /// From now on, and as long as the mapping is used, the object's bytes are changed through mappings
    /// only, and every mapping of the object, in whichever program, has the same control. (A program
    /// that may write the object and does not keep to that wrongs those who share it with that
    /// program; the memory of others it cannot reach.)
    pub unsafe fn new(medium: M, control: ControlRef) -> Result<Self, LayoutError> {
        let identity = Identity::read(&medium)?;
        Ok(Self { medium, control, identity, shown: None })
    }

    /// The same for memory that was lent, and may be withdrawn while nobody holds the object's lock: then the
    /// next one who takes it in a session is told so ([`Session::withdrawn`](crate::Session::withdrawn)), and
    /// reaches for nothing.
    ///
    /// # Errors
    /// No object is there.
    ///
    /// # Safety
    /// As for [`new`](Self::new); but the memory need be there only while the lock is held and the control
    /// counts as many withdrawals as when the memory was [shown](Self::shown_again).
    pub unsafe fn lent(medium: M, control: ControlRef) -> Result<Self, LayoutError> {
        let identity = Identity::read(&medium)?;
        let shown = Some(AtomicU64::new(control.withdrawals()));
        Ok(Self { medium, control, identity, shown })
    }

    /// The memory is where it was again, after so many withdrawals.
    ///
    /// # Safety
    /// It is, or there was another withdrawal since.
    pub unsafe fn shown_again(&self, withdrawals: u64) {
        if let Some(shown) = &self.shown {
            shown.store(withdrawals, Ordering::Relaxed);
        }
    }

    /// After how many withdrawals it has to be shown again. Only for whoever holds the lock.
    #[inline]
    pub(crate) fn withdrawn(&self) -> Option<u64> {
        let (shown, now) =
            (self.shown.as_ref()?.load(Ordering::Relaxed), self.control.withdrawals());
        (shown != now).then_some(now)
    }

    /// The object's name.
    #[must_use]
    pub const fn id(&self) -> ObjectId {
        self.identity.id
    }

    /// What the object says of itself.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// What its users share.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Where its memory begins.
    #[must_use]
    pub fn address(&self) -> usize {
        self.medium.base().as_ptr().addr()
    }

    /// Its memory.
    #[must_use]
    pub(crate) const fn medium(&self) -> &M {
        &self.medium
    }

    /// Its size in bytes, guard page included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.medium.bytes() as u64 + HEADER
    }

    /// Whether the object has such a line.
    fn holds(&self, line: u32) -> bool {
        (HEADER..self.bytes()).contains(&line_offset(line))
    }

    /// Where a line lies, which is within the object.
    pub(crate) fn line(&self, line: u32) -> NonNull<u8> {
        debug_assert!(self.holds(line), "line {line} is not in the object");
        let at = layout::place(line_offset(line));
        // SAFETY: callers ask for lines within the object, which its medium has.
        unsafe { self.medium.base().add(at) }
    }

    /// Makes everything durable in place that was changed. Only for whoever holds the lock.
    ///
    /// The lines are forgotten last: whoever dies in between leaves them to be written back again.
    pub(crate) fn write_back(&self) {
        // Others can write the set, too.
        let lines = self.control.dirty().lines().filter(|line| self.holds(*line));
        lines.for_each(|line| self.flush(line));
        self.medium.fence();
        self.control.dirty().clear();
    }

    /// Has a line written back, which is within the object.
    pub(crate) fn flush(&self, line: u32) {
        self.medium.flush(layout::place(line_offset(line)));
    }

    /// Notes that a line is about to be changed. Only for whoever holds the lock.
    pub(crate) fn changed(&self, line: u32) {
        if self.control.dirty().insert(line).is_err() {
            self.write_back();
            // There is room now.
            let _ = self.control.dirty().insert(line);
        }
    }
}

/// Where a line begins.
pub(crate) const fn line_offset(line: u32) -> u64 {
    line as u64 * LINE_BYTES as u64
}
