//! Who runs next: ready queues by priority, the release queue by time, accounting of budgets.

use crate::machine::Ticks;
use crate::memory::Link;
use crate::objects::Tcb;

/// Scheduling state of one kernel instance.
pub struct Scheduler {
    /// The running thread; none: idle.
    pub(crate) current: Link<Tcb>,
    /// When the kernel was entered.
    pub(crate) now: Ticks,
}

impl Scheduler {
    /// Nothing ready.
    #[must_use]
    pub const fn new(now: Ticks) -> Self {
        Self { current: Link::NONE, now }
    }
}
