//! What the programs that have an object mapped share about it, in volatile memory.
//!
//! A [`Control`] is the object's lock, its version, and which of its lines were changed but not yet
//! written back. It is made when the first program opens the object, and forgotten with the last, or
//! with the machine: nothing in it has to outlive a loss of power. It lies in memory that several
//! programs write, so nothing in it is believed further than it can do harm to whoever may write the
//! object anyway.

mod dirty;
#[cfg(test)]
#[expect(unsafe_code, reason = "accesses what the lock under test protects")]
mod interleaving_tests;
mod lock;
mod sync;

use core::ops::Deref;

use alloc::sync::Arc;

pub use dirty::Full;
pub use lock::{Lock, Slot};

pub(crate) use dirty::LIMIT as REMEMBERED;

use dirty::Dirty;
use sync::{AtomicU64, Ordering};

/// An object's volatile state.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Control {
    lock: Lock,
    version: AtomicU64,
    /// How often the object's memory was withdrawn from those who have it open.
    withdrawals: AtomicU64,
    dirty: Dirty,
}

impl Control {
    /// The state of an object of which everything up to this version is durable in place.
    #[must_use]
    pub fn new(version: u64) -> Self {
        Self {
            lock: Lock::default(),
            version: AtomicU64::new(version),
            withdrawals: AtomicU64::new(0),
            dirty: Dirty::default(),
        }
    }

    /// The lock of the object and of all that is below.
    #[must_use]
    pub const fn lock(&self) -> &Lock {
        &self.lock
    }

    /// The version that the last committed transaction has made.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn set_version(&self, version: u64) {
        self.version.store(version, Ordering::Release);
    }

    /// How often the object's memory was withdrawn from those who have it open: whoever finds another
    /// number under the lock than when it was shown the memory has to have it shown again.
    #[must_use]
    pub fn withdrawals(&self) -> u64 {
        self.withdrawals.load(Ordering::Acquire)
    }

    /// Only for whoever holds the lock and withdraws the memory.
    pub(crate) fn withdraw(&self) {
        self.withdrawals.store(self.withdrawals().wrapping_add(1), Ordering::Release);
    }

    pub(crate) const fn dirty(&self) -> &Dirty {
        &self.dirty
    }
}

/// A [`Control`], wherever it lies.
#[derive(Clone, Debug)]
pub enum ControlRef {
    /// In this program's memory: nobody else has the object mapped.
    Own(Arc<Control>),
    /// In memory that is shared with other programs.
    Shared(&'static Control),
}

impl ControlRef {
    /// A control of this program's own.
    #[must_use]
    pub fn own(version: u64) -> Self {
        Self::Own(Arc::new(Control::new(version)))
    }
}

impl Deref for ControlRef {
    type Target = Control;

    fn deref(&self) -> &Control {
        match self {
            Self::Own(control) => control,
            Self::Shared(control) => control,
        }
    }
}
