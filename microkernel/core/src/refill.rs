//! Refills: when a scheduling context's budget may be used (manual, chapter 6.1.5; Lyons et al.,
//! EuroSys 2018; Stanovich et al., RTAS 2010, for what goes wrong without care).
//!
//! A scheduling context holds a ring of refills in order of time. The first is the one in use. Used
//! time comes back one period after the refill that it was taken from began, so that
//!
//! - the amounts always add up to the budget,
//! - refills never overlap: each is over (`time + amount`) before the next begins, and
//! - the first holds at least the least budget worth running for.
//!
//! Where the ring has no room, or an amount is too small to be worth an interrupt, refills are
//! merged by *delaying* the earlier one: never is more available sooner.
//!
//! Round robin (period 0) has one refill, whose amount is what is left of the time slice.

use crate::objects::{Refill, SchedContext};
use crate::{Kernel, Link, Machine, Ref, Ticks};

/// Times beyond this count as never; far enough from overflow for a period to be added.
const NEVER: Ticks = Ticks::MAX / 2;

/// What a scheduling context is configured to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// Time per period.
    pub(crate) budget: Ticks,
    /// The period; 0: round robin.
    pub(crate) period: Ticks,
    /// Refills to hold at most: at least two, no more than there is room for.
    pub(crate) refill_max: u32,
}

impl SchedContext {
    /// Whether it was configured, and not deleted since.
    pub(crate) fn is_active(&self) -> bool {
        self.refill_max > 0
    }

    /// Whether it only rotates among threads of its priority.
    pub(crate) fn is_round_robin(&self) -> bool {
        self.period == 0
    }

    /// Index in the ring of the `n`th refill.
    fn ring_index(&self, n: u32) -> u32 {
        let index = self.refill_head + n;
        if index >= self.refill_max { index - self.refill_max } else { index }
    }
}

impl<M: Machine> Kernel<M> {
    /// Where the `n`th refill is.
    fn refill_at(&self, context: Ref<SchedContext>, n: u32) -> Ref<Refill> {
        Self::ring(context).index(self.get(context).ring_index(n).into())
    }

    /// Where the ring of refills is.
    const fn ring(context: Ref<SchedContext>) -> Ref<Refill> {
        Ref::at(context.address().offset(size_of::<SchedContext>() as u64))
    }

    /// The refill in use.
    #[inline]
    pub(crate) fn refill(&self, context: Ref<SchedContext>) -> Refill {
        *self.get(Self::ring(context).index(self.get(context).refill_head.into()))
    }

    #[inline]
    fn set_refill(&mut self, context: Ref<SchedContext>, refill: Refill) {
        *self.get_mut(Self::ring(context).index(self.get(context).refill_head.into())) = refill;
    }

    /// Where the last refill is.
    fn last_refill(&self, context: Ref<SchedContext>) -> Ref<Refill> {
        self.refill_at(context, self.get(context).refill_count - 1)
    }

    fn pop_refill(&mut self, context: Ref<SchedContext>) -> Refill {
        let refill = self.refill(context);
        let object = self.get_mut(context);
        object.refill_head = object.ring_index(1);
        object.refill_count -= 1;
        refill
    }

    /// Whether the refill in use may be used now.
    pub(crate) fn is_released(&self, context: Ref<SchedContext>) -> bool {
        self.get(context).is_round_robin()
            || self.refill(context).time <= self.scheduler.now + self.scheduler.precision
    }

    /// Whether enough of the refill in use is left after `used` of it.
    pub(crate) fn is_sufficient(&self, context: Ref<SchedContext>, used: Ticks) -> bool {
        self.refill(context).amount.saturating_sub(used) >= self.scheduler.min_budget
    }

    /// Whether a thread could run on it at once.
    pub(crate) fn has_budget(&self, context: Ref<SchedContext>) -> bool {
        self.is_released(context) && self.is_sufficient(context, 0)
    }

    /// Configures a scheduling context nobody runs on: the whole budget, from now on.
    pub(crate) fn new_refills(&mut self, context: Ref<SchedContext>, parameters: Parameters) {
        let now = self.scheduler.now;
        self.set_parameters(context, parameters);
        self.set_refill(context, Refill { time: now, amount: parameters.budget });
    }

    /// Configures a scheduling context in use. What was used of the old budget is not available
    /// again before a (new) period has passed since.
    pub(crate) fn update_refills(&mut self, context: Ref<SchedContext>, parameters: Parameters) {
        let released = self.is_released(context);
        let mut first = self.refill(context);
        if released {
            first.time = self.scheduler.now;
        }
        self.set_parameters(context, parameters);
        let missing = parameters.budget.saturating_sub(first.amount);
        if parameters.period == 0 || missing == 0 {
            self.set_refill(context, Refill { amount: parameters.budget, ..first });
            return;
        }
        self.set_refill(context, first);
        let back = Refill { time: first.time + parameters.period, amount: missing };
        self.schedule_refill(context, back);
        self.merge_small_refills(context);
    }

    fn set_parameters(&mut self, context: Ref<SchedContext>, parameters: Parameters) {
        let Parameters { budget, period, refill_max } = parameters;
        let object = self.get_mut(context);
        let (refill_head, refill_count) = (0, 1);
        *object = SchedContext { budget, period, refill_max, refill_head, refill_count, ..*object };
    }

    /// Takes `used` from the budget and schedules its return.
    #[inline(always)]
    pub(crate) fn charge_refills(&mut self, context: Ref<SchedContext>, used: Ticks) {
        if self.get(context).is_round_robin() {
            self.charge_time_slice(context, used);
        } else {
            self.charge_periodic(context, used);
        }
    }

    #[inline(never)]
    fn charge_periodic(&mut self, context: Ref<SchedContext>, used: Ticks) {
        let left = self.charge_whole_refills(context, used);
        if left > 0 {
            self.charge_part_of_refill(context, left);
        }
        self.merge_small_refills(context);
    }

    /// A time slice too short to go on with is over, and the next begins.
    #[inline(always)]
    fn charge_time_slice(&mut self, context: Ref<SchedContext>, used: Ticks) {
        let mut slice = self.refill(context);
        slice.amount = slice.amount.saturating_sub(used);
        if slice.amount < self.scheduler.min_budget {
            slice.amount = self.get(context).budget;
        }
        self.set_refill(context, slice);
    }

    /// Sends refills that are used up a period ahead; what is still to be charged is left. Time
    /// that was used beyond what was available is taken from what is to come.
    fn charge_whole_refills(&mut self, context: Ref<SchedContext>, mut used: Ticks) -> Ticks {
        let period = self.get(context).period;
        loop {
            let first = self.refill(context);
            if first.amount > used || first.time >= NEVER {
                return if first.time >= NEVER { 0 } else { used };
            }
            used -= first.amount;
            let back = Refill { time: first.time + period, ..first };
            if self.get(context).refill_count == 1 {
                self.set_refill(context, back);
            } else {
                self.pop_refill(context);
                self.schedule_refill(context, back);
            }
        }
    }

    fn charge_part_of_refill(&mut self, context: Ref<SchedContext>, used: Ticks) {
        let period = self.get(context).period;
        let first = self.refill(context);
        self.set_refill(context, Refill { time: first.time + used, amount: first.amount - used });
        self.schedule_refill(context, Refill { time: first.time + period, amount: used });
    }

    /// Adds a refill after all others.
    fn schedule_refill(&mut self, context: Ref<SchedContext>, refill: Refill) {
        let last = *self.get(self.last_refill(context));
        let object = self.get_mut(context);
        let amount = last.amount + refill.amount;
        let new_last = if last.time + last.amount >= refill.time {
            Refill { amount, ..last }
        } else if object.refill_count < object.refill_max {
            object.refill_count += 1;
            refill
        } else {
            Refill { time: refill.time - last.amount, amount }
        };
        *self.get_mut(self.last_refill(context)) = new_last;
    }

    /// Joins the first refill to the next while it is not worth running for.
    fn merge_small_refills(&mut self, context: Ref<SchedContext>) {
        while self.refill(context).amount < self.scheduler.min_budget
            && self.get(context).refill_count > 1
        {
            let small = self.pop_refill(context).amount;
            let next = self.refill(context);
            let joined = Refill { time: next.time - small, amount: next.amount + small };
            self.set_refill(context, joined);
        }
    }

    /// The thread of the scheduling context is about to run. Under constant bandwidth its
    /// activation begins now; a sporadic server's began when it woke, but a period ago at most, or
    /// one that was kept from running for long would catch up on all of it.
    pub(crate) fn dispatch_refills(&mut self, context: Ref<SchedContext>) {
        let now = self.scheduler.now;
        let object = self.get(context);
        if object.is_round_robin() {
            return;
        }
        if object.sporadic == 0 {
            self.restart_refills(context, now);
        } else if self.refill(context).time + object.period < now {
            self.restart_refills(context, now - object.period);
        }
    }

    /// Begins a new activation at `start`: what was not used before may be used from then on only,
    /// and what comes before its use ends is joined to it.
    fn restart_refills(&mut self, context: Ref<SchedContext>, start: Ticks) {
        let &SchedContext { refill_head: head, refill_count, refill_max, .. } = self.get(context);
        let (mut end, mut left) = (start + self.refill(context).amount, refill_count);
        // The ring from behind its head, without a look for its end at each: there may be a thousand.
        let _joined = (head + 1..refill_max).chain(0..head).try_for_each(|index| {
            let next = self.get(Self::ring(context).index(index.into()));
            if left == 1 || next.time > end {
                return None;
            }
            end += next.amount;
            left -= 1;
            Some(())
        });
        let object = self.get_mut(context);
        object.refill_head = object.ring_index(refill_count - left);
        object.refill_count = left;
        self.set_refill(context, Refill { time: start, amount: end - start });
    }

    /// Begins a new activation of a sporadic server whose thread wakes up.
    pub(crate) fn wake_sporadic(&mut self, context: Ref<SchedContext>) {
        let object = self.get(context);
        let applies = object.sporadic != 0 && object.is_active() && !object.is_round_robin();
        let is_current = self.scheduler.current_context == Link::to(context);
        if applies && !is_current && self.is_released(context) {
            self.restart_refills(context, self.scheduler.now);
        }
    }

    /// All refills, in order.
    #[cfg(test)]
    pub(crate) fn refills(&self, context: Ref<SchedContext>) -> Vec<Refill> {
        let count = self.get(context).refill_count;
        (0..count).map(|n| *self.get(self.refill_at(context, n))).collect()
    }
}
