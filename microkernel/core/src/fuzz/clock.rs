//! A second account of who used how much time, kept from what happened alone.

use crate::kernel::{Kernel, Next};
use crate::machine::Ticks;
use crate::memory::Ref;
use crate::objects::SchedContext;
use crate::simulation::SimulatedMachine;
use std::collections::HashMap;

/// How far beyond the end of its budget a thread may come before the timer is heard, and what the
/// kernel lets go as too little to be worth an interrupt.
const SLACK: Ticks = 400_000;

/// What one scheduling context has used.
#[derive(Clone, Copy, Debug)]
struct Account {
    /// Since it was last asked for.
    consumed: Ticks,
    /// Since it was last configured, and when that was.
    used: Ticks,
    since: Ticks,
    parameters: (Ticks, Ticks),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Clock {
    accounts: HashMap<Ref<SchedContext>, Account>,
    last: Ticks,
}

impl Clock {
    /// Nothing used by `now`.
    pub(super) fn new(now: Ticks) -> Self {
        Self { accounts: HashMap::new(), last: now }
    }

    /// When the last step was.
    pub(super) fn last(&self) -> Ticks {
        self.last
    }

    /// Time has passed since the last step, on whoever runs.
    pub(super) fn charge(&mut self, kernel: &Kernel<SimulatedMachine>) {
        let now = kernel.machine.now;
        let passed = now - self.last;
        self.last = now;
        let current = kernel.scheduler.current_context.get();
        // One that was not met before is taken over with all that it has used.
        if let Some(account) = current.and_then(|context| self.accounts.get_mut(&context)) {
            account.consumed += passed;
            account.used += passed;
        }
    }

    fn account(
        &mut self,
        kernel: &Kernel<SimulatedMachine>,
        context: Ref<SchedContext>,
    ) -> &mut Account {
        let object = kernel.get(context);
        let (since, parameters) = (kernel.machine.now, (object.budget, object.period));
        let consumed = view(kernel, context);
        let new = Account { consumed, used: 0, since, parameters };
        self.accounts.entry(context).or_insert(new)
    }

    /// Forgets one that is gone, or new.
    pub(super) fn forget(&mut self, context: Ref<SchedContext>) {
        self.accounts.remove(&context);
    }

    /// It has its whole budget from now on.
    pub(super) fn begin_anew(
        &mut self,
        kernel: &Kernel<SimulatedMachine>,
        context: Ref<SchedContext>,
    ) {
        let object = kernel.get(context);
        let account = self.account(kernel, context);
        (account.used, account.since) = (0, kernel.machine.now);
        account.parameters = (object.budget, object.period);
    }

    /// The kernel has the same account of a scheduling context, or has just told it and begun anew;
    /// and no more was used than its budget and period allow.
    pub(super) fn check(&mut self, kernel: &Kernel<SimulatedMachine>, context: Ref<SchedContext>) {
        let consumed = view(kernel, context);
        let now = kernel.machine.now;
        let account = self.account(kernel, context);
        if consumed == 0 {
            account.consumed = 0;
        }
        assert_eq!(consumed, account.consumed, "time used on {context:?}, by the kernel and by us");
        let (budget, period) = account.parameters;
        // Round robin has no period.
        if let Some(periods) = (now - account.since).checked_div(period) {
            let most = (periods + 2) * budget + SLACK;
            assert!(account.used <= most, "{context:?} used {account:?} by {now}");
        }
    }

    /// As `check`, of the one that the next thread runs on.
    pub(super) fn check_next(&mut self, kernel: &Kernel<SimulatedMachine>, next: Next) {
        if let (Next::Thread(_), Some(context)) = (next, kernel.scheduler.current_context.get()) {
            self.check(kernel, context);
        }
    }
}

/// Time that the kernel will say was used, with what it has not yet looked at the clock for.
fn view(kernel: &Kernel<SimulatedMachine>, context: Ref<SchedContext>) -> Ticks {
    let object = kernel.get(context);
    let scheduler = &kernel.scheduler;
    if scheduler.current_context.get() == Some(context) {
        object.consumed + scheduler.consumed + (kernel.machine.now - scheduler.now)
    } else {
        object.consumed
    }
}
