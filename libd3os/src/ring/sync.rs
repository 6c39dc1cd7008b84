//! The processor's atomic operations. The model checker's copy of the rings has others here.

pub(super) use core::hint::spin_loop;
pub(super) use core::sync::atomic::{AtomicU64, Ordering, fence};

/// Looks at the ring before a side sleeps: some 20 microseconds, longer than a peer takes that
/// answers at once, and not longer than it takes to sleep and be woken a few times.
pub(super) const LOOKS_BEFORE_SLEEP: u32 = 500;
