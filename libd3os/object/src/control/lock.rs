//! Many readers or one writer, in one word of memory that several programs share.
//!
//! The word says who holds it, so that a holder that ended or stalled can be put out: bit *n* of the
//! lower 56 is set while slot *n* reads, and the upper 8 are the writer's slot plus one. A writer first
//! claims the upper bits, which keeps new readers out, and then waits until the lower ones are clear.
//!
//! Nothing here waits: callers try, and decide themselves how to spend the time between.

use core::fmt;

use super::sync::{AtomicU64, Ordering};

const WRITER_SHIFT: u32 = 56;
const READERS: u64 = (1 << WRITER_SHIFT) - 1;

/// Who takes locks: a session, and with it its log. There are 56.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// How many there are.
    pub const COUNT: u8 = 56;

    /// The slot of this number, below [`COUNT`](Self::COUNT).
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    const fn reader(self) -> u64 {
        1 << self.0
    }

    const fn writer(self) -> u64 {
        (self.0 as u64 + 1) << WRITER_SHIFT
    }
}

/// A lock. `Default` is free.
#[derive(Debug)]
#[repr(transparent)]
pub struct Lock(AtomicU64);

impl Default for Lock {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Lock {
    /// Begins to read, unless somebody writes or waits to. Each slot once at a time.
    #[must_use]
    pub(crate) fn try_read(&self, slot: Slot) -> bool {
        // Who waits for a writer only looks, and takes nothing from it.
        if self.is_claimed() {
            return false;
        }
        let before = self.0.fetch_or(slot.reader(), Ordering::Acquire);
        let free = before & !READERS == 0;
        if !free {
            self.end_read(slot);
        }
        free
    }

    /// Ends what [`try_read`](Self::try_read) began.
    pub(crate) fn end_read(&self, slot: Slot) {
        self.0.fetch_and(!slot.reader(), Ordering::Release);
    }

    /// Claims to be the next writer, unless somebody else is. It may write when
    /// [`readers_are_gone`](Self::readers_are_gone).
    #[must_use]
    pub(crate) fn claim(&self, slot: Slot) -> bool {
        let mut now = self.0.load(Ordering::Relaxed);
        while now & !READERS == 0 {
            let claimed = now | slot.writer();
            let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
            match self.0.compare_exchange_weak(now, claimed, success, failure) {
                Ok(_) => return true,
                Err(other) => now = other,
            }
        }
        false
    }

    fn is_claimed(&self) -> bool {
        self.0.load(Ordering::Relaxed) & !READERS != 0
    }

    /// Whether nobody reads any more.
    #[must_use]
    pub(crate) fn readers_are_gone(&self) -> bool {
        self.0.load(Ordering::Acquire) & READERS == 0
    }

    /// Begins to write, if that needs no waiting.
    #[must_use]
    pub(crate) fn try_write(&self, slot: Slot) -> bool {
        let writes = self.claim(slot) && self.readers_are_gone();
        if !writes {
            self.end_write(slot);
        }
        writes
    }

    /// Ends writing, or a claim to. Nothing happens if the slot is not the writer: it may have been put
    /// out.
    pub(crate) fn end_write(&self, slot: Slot) {
        let mut now = self.0.load(Ordering::Relaxed);
        while now & !READERS == slot.writer() {
            let (success, failure) = (Ordering::Release, Ordering::Relaxed);
            match self.0.compare_exchange_weak(now, now & READERS, success, failure) {
                Ok(_) => return,
                Err(other) => now = other,
            }
        }
    }

    /// Who writes, or waits to.
    #[must_use]
    pub fn writer(&self) -> Option<Slot> {
        let writer = self.0.load(Ordering::Acquire) >> WRITER_SHIFT;
        u8::try_from(writer).ok().and_then(|writer| writer.checked_sub(1)).and_then(Slot::new)
    }

    /// Whether this slot reads.
    #[must_use]
    pub fn is_read_by(&self, slot: Slot) -> bool {
        self.0.load(Ordering::Acquire) & slot.reader() != 0
    }

    /// Puts a slot out whose session will not go on: it neither reads nor writes any more. What it had
    /// committed must have been applied before.
    pub fn put_out(&self, slot: Slot) {
        self.end_read(slot);
        self.end_write(slot);
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "slot {}", self.0)
    }
}
