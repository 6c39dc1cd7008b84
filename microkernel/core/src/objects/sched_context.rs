//! Scheduling contexts: budgets, periods and refills (manual, chapter 6.1; Lyons et al., EuroSys 2018).

use crate::objects::{Notification, Reply, Tcb};
use crate::refill::Parameters;
use crate::scheduler::{MIN_BUDGET_US, Place};
use crate::{
    Answer, Cap, Decoded, Invocation, Kernel, Link, Machine, Ref, SyscallError, Ticks, ensure,
    ensure_range,
};
use d3os_abi::{Label, MessageInfo, SCHED_CONTEXT_SPORADIC};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A scheduling context's head; its refills follow it in its memory.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SchedContext {
    /// Time after which used budget comes back; 0: at once, behind others of the priority (round robin).
    pub(crate) period: Ticks,
    /// Sum of all refills.
    pub(crate) budget: Ticks,
    /// Time used since it was last asked for.
    pub(crate) consumed: Ticks,
    /// The thread that runs on it.
    pub(crate) thread: Link<Tcb>,
    /// The notification that lends it.
    pub(crate) notification: Link<Notification>,
    /// Top of the stack of callers that lent it on.
    pub(crate) reply: Link<Reply>,
    /// The thread that yielded to it and still waits for its answer.
    pub(crate) yield_from: Link<Tcb>,
    /// Identifies it in timeout messages.
    pub(crate) badge: u64,
    /// Most refills that it may hold; 0: not configured.
    pub(crate) refill_max: u32,
    /// Index of the first refill in the ring.
    pub(crate) refill_head: u32,
    /// Refills in the ring.
    pub(crate) refill_count: u32,
    /// 1: sporadic server, 0: constant bandwidth.
    pub(crate) sporadic: u32,
    pub(crate) unused: [u64; 2],
}

/// An amount of time that may be used from some time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Refill {
    /// From when on.
    pub(crate) time: Ticks,
    /// How much.
    pub(crate) amount: Ticks,
}

/// Refills that every scheduling context has.
pub(crate) const MIN_REFILLS: u64 = 2;
const _: () = assert!(
    size_of::<SchedContext>() + 2 * size_of::<Refill>() == 1 << d3os_abi::MIN_SCHED_CONTEXT_BITS
);

/// Refills that no scheduling context exceeds: a thread that wakes up may find all of them to be joined.
const MAX_REFILLS: u64 = 1024;

/// Refills that an object of 2^`size_bits` bytes has.
pub(crate) fn refill_capacity(size_bits: u8) -> u64 {
    let fitting =
        ((1 << size_bits) - size_of::<SchedContext>() as u64) / size_of::<Refill>() as u64;
    fitting.min(MAX_REFILLS)
}

/// Longest period and budget, in ticks: an eighth of what the clock can count to.
const MAX_PERIOD: Ticks = Ticks::MAX / 8;

/// What a scheduling context is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A thread, which runs on it.
    Thread(Ref<Tcb>),
    /// A notification, which lends it.
    Notification(Ref<Notification>),
}

/// Who runs on it, who lends it.
impl<M: Machine> Kernel<M> {
    /// Makes `thread` the one that runs on the scheduling context, instead of whoever does.
    #[inline]
    pub(crate) fn donate(&mut self, context: Ref<SchedContext>, thread: Ref<Tcb>) {
        self.take_from_thread(context);
        self.get_mut(context).thread = Link::to(thread);
        self.get_mut(thread).sched_context = Link::to(context);
    }

    /// Makes `to` run on the scheduling context of `from`, if that has one.
    pub(crate) fn donate_from(&mut self, from: Ref<Tcb>, to: Ref<Tcb>) {
        if let Some(context) = self.get(from).sched_context.get() {
            self.donate(context, to);
        }
    }

    /// Leaves the scheduling context without a thread.
    pub(crate) fn take_from_thread(&mut self, context: Ref<SchedContext>) {
        if let Some(thread) = self.get(context).thread.get() {
            self.dequeue(thread);
            self.get_mut(thread).sched_context = Link::NONE;
            self.get_mut(context).thread = Link::NONE;
        }
    }

    /// Lets a thread run on a scheduling context that nobody runs on, from now on.
    pub(crate) fn bind_thread(&mut self, context: Ref<SchedContext>, thread: Ref<Tcb>) {
        self.donate(context, thread);
        self.wake_sporadic(context);
        if self.is_schedulable(thread) {
            if self.has_budget(context) {
                self.make_ready(thread, Place::First);
                self.reschedule();
            } else {
                self.postpone(context);
            }
        }
    }

    fn unbind_lender(&mut self, context: Ref<SchedContext>) {
        if let Some(notification) = self.get(context).notification.get() {
            self.get_mut(notification).sched_context = Link::NONE;
            self.get_mut(context).notification = Link::NONE;
        }
    }

    fn unbind_all(&mut self, context: Ref<SchedContext>) {
        self.take_from_thread(context);
        self.unbind_lender(context);
        if let Some(top) = self.get(context).reply.get() {
            self.get_mut(top).lent = Link::NONE;
            self.get_mut(context).reply = Link::NONE;
        }
    }

    /// The scheduling context is going away.
    pub(crate) fn finalise_sched_context(&mut self, context: Ref<SchedContext>) {
        if let Some(yielder) = self.get(context).yield_from.get() {
            self.complete_yield(yielder);
        }
        self.unbind_all(context);
        if self.scheduler.current_context == Link::to(context) {
            self.commit_time();
            self.scheduler.current_context = Link::NONE;
            self.scheduler.reprogram = true;
        }
        self.get_mut(context).refill_max = 0;
    }

    /// Time used on it since this was last asked, in microseconds.
    pub(crate) fn take_consumed(&mut self, context: Ref<SchedContext>) -> u64 {
        if self.scheduler.current_context == Link::to(context) {
            self.commit_time();
        }
        let ticks = core::mem::take(&mut self.get_mut(context).consumed);
        ticks / self.machine.ticks_per_microsecond()
    }

    /// Ends a thread's `YieldTo` with the time that was used on what it yielded to.
    pub(crate) fn complete_yield(&mut self, yielder: Ref<Tcb>) {
        if let Some(context) = self.get(yielder).yield_to.get() {
            let consumed = self.take_consumed(context);
            self.set_message_word(yielder, 0, consumed);
            self.finish_message(yielder, 0, MessageInfo::new(0, 0, 0, 1));
            self.cancel_yield(yielder);
        }
    }

    /// Forgets that a thread yielded to another.
    pub(crate) fn cancel_yield(&mut self, yielder: Ref<Tcb>) {
        if let Some(context) = self.get(yielder).yield_to.get() {
            self.get_mut(context).yield_from = Link::NONE;
            self.get_mut(yielder).yield_to = Link::NONE;
        }
    }
}

/// Invocations.
impl<M: Machine> Kernel<M> {
    /// Binds a scheduling context to a thread or notification, takes it from them, tells and forgets how
    /// much time was used on it, or lets its thread run next among those of its priority.
    pub(crate) fn invoke_sched_context(
        &mut self,
        inv: &Invocation,
        context: Ref<SchedContext>,
    ) -> Decoded<Answer> {
        match inv.label()? {
            Label::SchedContextBind => self.bind(context, self.decode_holder(inv)?)?,
            Label::SchedContextUnbind => {
                self.ensure_not_running_on(context)?;
                self.unbind_all(context);
            }
            Label::SchedContextUnbindObject => self.unbind(context, self.decode_holder(inv)?)?,
            Label::SchedContextConsumed => return Ok(Answer::Word(self.take_consumed(context))),
            Label::SchedContextYieldTo => return self.yield_to(inv.thread, context),
            _ => return Err(SyscallError::IllegalOperation),
        }
        Ok(Answer::Empty)
    }

    fn decode_holder(&self, inv: &Invocation) -> Decoded<Holder> {
        match self.extra_cap(inv, 0)?.1 {
            Cap::Thread { object } => Ok(Holder::Thread(object)),
            Cap::Notification { object, .. } => Ok(Holder::Notification(object)),
            _ => Err(SyscallError::InvalidCapability(1)),
        }
    }

    fn ensure_not_running_on(&self, context: Ref<SchedContext>) -> Decoded<()> {
        let thread = self.get(context).thread;
        let runs = !thread.is_none() && thread == self.scheduler.current;
        ensure(!runs, SyscallError::IllegalOperation)
    }

    fn bind(&mut self, context: Ref<SchedContext>, holder: Holder) -> Decoded<()> {
        let object = self.get(context);
        match holder {
            Holder::Thread(thread) => {
                ensure(object.thread.is_none(), SyscallError::IllegalOperation)?;
                self.check_bindable(context, thread)?;
                self.bind_thread(context, thread);
            }
            // A thread may already run on it: it gives it back when it waits for the notification.
            Holder::Notification(notification) => {
                let lends = !self.get(notification).sched_context.is_none();
                let free = object.notification.is_none() && !lends;
                ensure(free, SyscallError::IllegalOperation)?;
                self.get_mut(context).notification = Link::to(notification);
                self.get_mut(notification).sched_context = Link::to(context);
            }
        }
        Ok(())
    }

    /// Whether a thread may get a scheduling context: it has none, and is not blocked while this
    /// one is not configured or waits for its refill (a thread that wakes up must be able to run).
    pub(crate) fn check_bindable(
        &self,
        context: Ref<SchedContext>,
        thread: Ref<Tcb>,
    ) -> Decoded<()> {
        let tcb = self.get(thread);
        let released = self.get(context).is_active() && self.has_budget(context);
        let bindable = tcb.sched_context.is_none() && (released || !tcb.state.is_blocked());
        ensure(bindable, SyscallError::IllegalOperation)
    }

    fn unbind(&mut self, context: Ref<SchedContext>, holder: Holder) -> Decoded<()> {
        let object = self.get(context);
        match holder {
            Holder::Thread(thread) => {
                self.ensure_not_running_on(context)?;
                let holds = object.thread == Link::to(thread);
                ensure(holds, SyscallError::IllegalOperation)?;
                self.take_from_thread(context);
            }
            Holder::Notification(notification) => {
                let holds = object.notification == Link::to(notification);
                ensure(holds, SyscallError::IllegalOperation)?;
                self.unbind_lender(context);
            }
        }
        Ok(())
    }

    /// The thread on `context` goes before the others of its priority. If that makes it run at
    /// once, the answer comes when the yielder runs again.
    fn yield_to(&mut self, yielder: Ref<Tcb>, context: Ref<SchedContext>) -> Decoded<Answer> {
        let thread = self.get(context).thread.get().ok_or(SyscallError::IllegalOperation)?;
        let tcb = self.get(yielder);
        let allowed =
            thread != yielder && self.get(thread).priority <= tcb.mcp && tcb.yield_to.is_none();
        ensure(allowed, SyscallError::IllegalOperation)?;
        if let Some(other) = self.get(context).yield_from.get() {
            self.complete_yield(other);
        }
        if self.is_schedulable(thread) {
            let runs_now = self.get(thread).priority >= self.get(yielder).priority;
            self.dequeue(thread);
            if runs_now {
                self.get_mut(yielder).yield_to = Link::to(context);
                self.get_mut(context).yield_from = Link::to(yielder);
                self.make_ready(yielder, Place::First);
            }
            self.make_ready(thread, Place::First);
            self.reschedule();
            if runs_now {
                return Ok(Answer::Done);
            }
        }
        Ok(Answer::Word(self.take_consumed(context)))
    }

    /// Configures a scheduling context.
    pub(crate) fn invoke_sched_control(&mut self, inv: &Invocation) -> Decoded<Answer> {
        inv.ensure_label(Label::SchedControlConfigureFlags)?;
        let [budget_us, period_us, extra, badge, flags] = self.arguments(inv, 0)?;
        let Cap::SchedContext { object: context, size_bits } = self.extra_cap(inv, 0)?.1 else {
            return Err(SyscallError::InvalidCapability(1));
        };
        let ticks = self.machine.ticks_per_microsecond();
        let max_us = MAX_PERIOD / ticks;
        ensure_range(budget_us, MIN_BUDGET_US, max_us)?;
        ensure_range(period_us, MIN_BUDGET_US, max_us)?;
        ensure_range(budget_us, MIN_BUDGET_US, period_us)?;
        ensure_range(extra, 0, refill_capacity(size_bits).saturating_sub(MIN_REFILLS))?;
        let round_robin = budget_us == period_us;
        let parameters = Parameters {
            budget: budget_us * ticks,
            period: if round_robin { 0 } else { period_us * ticks },
            refill_max: u32::try_from(MIN_REFILLS + extra).unwrap_or(u32::MAX),
        };
        let sporadic = flags & SCHED_CONTEXT_SPORADIC != 0;
        if self.scheduler.current_context == Link::to(context) {
            self.commit_time();
            self.scheduler.reprogram = true;
        }
        let thread = self.get(context).thread.get();
        if let Some(thread) = thread {
            self.dequeue(thread);
        }
        let runner = thread.filter(|thread| self.get(*thread).state.is_runnable());
        if runner.is_some() && self.get(context).is_active() {
            self.update_refills(context, parameters);
        } else {
            self.new_refills(context, parameters);
        }
        let object = self.get_mut(context);
        object.badge = badge;
        object.sporadic = u32::from(sporadic);
        match runner {
            Some(_) if !self.has_budget(context) => self.postpone(context),
            Some(thread) if Link::to(thread) == self.scheduler.current => self.reschedule(),
            Some(thread) => self.wake(thread),
            None => {}
        }
        Ok(Answer::Empty)
    }
}
