//! Who runs next: ready queues by priority, the release queue by time, accounting of budgets
//! (manual, chapter 6.1).
//!
//! The running thread is in no queue. A thread that may run and has budget is in the ready queue of
//! its priority; one that may run but whose scheduling context is not released yet is in the release
//! queue; every other thread is in neither. Changes made during a system call only mark what they
//! ask for; [`Kernel::schedule`] decides once, on the way out.
//!
//! Each domain has ready queues of its own; only those of the domain whose turn it is count.

use crate::objects::{DOMAINS, Neighbours, Queue, Queued, SchedContext, Tcb, TcbSlot, ThreadState};
use crate::{Kernel, Link, Machine, PhysAddr, Ref, Ticks};
use d3os_abi::PRIORITIES;

/// Half of the least budget, in microseconds: what a kernel entry and exit may take at worst.
const KERNEL_WCET_US: Ticks = 10;
/// The least budget and period, in microseconds.
pub(crate) const MIN_BUDGET_US: Ticks = 2 * KERNEL_WCET_US;

/// Threads that are released at one kernel entry at most.
const MAX_RELEASES: usize = 32;

/// Where in the ready queue of its priority a thread goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before the others.
    First,
    /// After the others.
    Last,
}

/// Scheduling state of one kernel instance.
pub(crate) struct Scheduler {
    /// The running thread; none: idle.
    pub(crate) current: Link<Tcb>,
    /// What it is charged to; none: idle.
    pub(crate) current_context: Link<SchedContext>,
    /// When the kernel was entered.
    pub(crate) now: Ticks,
    /// Time used since the current scheduling context was last charged.
    pub(crate) consumed: Ticks,
    /// A thread that was woken and runs next if its priority allows; in no queue.
    candidate: Link<Tcb>,
    /// Whether the running thread may no longer be the one to run.
    choose: bool,
    /// Whether the deadline that is set no longer holds.
    pub(crate) reprogram: bool,
    /// The least budget, in ticks.
    pub(crate) min_budget: Ticks,
    /// The timer's precision, in ticks.
    pub(crate) precision: Ticks,
    /// While the running thread has used less, by this time, it has budget to go on with; in ticks.
    enough_until: Ticks,
    /// The next refill of a thread in the release queue, or end of a domain's turn.
    event_at: Ticks,
    /// Before this time nothing of that is due, as precisely as the timer tells.
    release_at: Ticks,
    /// The domain whose turn it is.
    domain: u8,
    /// When its turn ends.
    turn_end: Ticks,
    /// By domain.
    ready: [ReadyQueues; DOMAINS],
    release: Queue,
}

/// The ready threads of a domain, by priority.
struct ReadyQueues {
    /// Bit set: that word of `bits` is not zero.
    words: u64,
    /// Bit set: the queue of that priority is not empty.
    bits: [u64; PRIORITIES / 64],
    queues: [Queue; PRIORITIES],
}

impl ReadyQueues {
    const EMPTY: Self =
        Self { words: 0, bits: [0; PRIORITIES / 64], queues: [Queue::EMPTY; PRIORITIES] };

    /// The highest priority with a thread.
    #[inline(always)]
    fn highest(&self) -> Option<usize> {
        if self.words == 0 {
            return None;
        }
        let word = self.words.ilog2() as usize;
        Some(word * 64 + self.bits[word].ilog2() as usize)
    }

    #[inline]
    fn mark(&mut self, priority: usize) {
        self.bits[priority / 64] |= 1 << (priority % 64);
        self.words |= 1 << (priority / 64);
    }

    #[inline]
    fn unmark(&mut self, priority: usize) {
        let bits = &mut self.bits[priority / 64];
        *bits &= !(1 << (priority % 64));
        if *bits == 0 {
            self.words &= !(1 << (priority / 64));
        }
    }
}

impl Scheduler {
    /// Nothing ready, on a clock of `ticks_per_microsecond` and a timer of this precision.
    #[must_use]
    pub(crate) const fn new(now: Ticks, ticks_per_microsecond: Ticks, precision: Ticks) -> Self {
        Self {
            current: Link::NONE,
            current_context: Link::NONE,
            now,
            consumed: 0,
            candidate: Link::NONE,
            choose: true,
            reprogram: true,
            min_budget: MIN_BUDGET_US * ticks_per_microsecond,
            precision,
            enough_until: 0,
            event_at: 0,
            release_at: 0,
            domain: 0,
            turn_end: Ticks::MAX,
            ready: [ReadyQueues::EMPTY; DOMAINS],
            release: Queue::EMPTY,
        }
    }

    /// The first thread of a domain that is ready at a priority.
    #[cfg(any(test, feature = "debug-syscalls"))]
    pub(crate) fn first_ready(&self, domain: usize, priority: u8) -> Link<Tcb> {
        self.ready[domain].queues[usize::from(priority)].head
    }

    /// The thread whose refill comes first.
    #[cfg(test)]
    pub(crate) fn first_to_release(&self) -> Link<Tcb> {
        self.release.head
    }

    /// Whether it is the thread's domain's turn.
    #[inline(always)]
    pub(crate) fn has_turn(&self, tcb: &Tcb) -> bool {
        DOMAINS == 1 || tcb.domain == self.domain
    }

    /// The ready threads that may run.
    #[inline(always)]
    fn ready_now(&self) -> &ReadyQueues {
        &self.ready[if DOMAINS == 1 { 0 } else { usize::from(self.domain) }]
    }

    /// Whether the running thread has budget, no refill comes and no turn ends. The clock has been read.
    #[inline(always)]
    fn nothing_due(&self) -> bool {
        self.now <= self.enough_until && self.now < self.release_at
    }

    /// Whether a thread could run now, and nobody that is ready has a higher priority.
    #[inline(always)]
    pub(crate) fn goes_first(&self, tcb: &Tcb) -> bool {
        let highest = self.ready_now().highest();
        self.has_turn(tcb) && highest.is_none_or(|highest| usize::from(tcb.priority) >= highest)
    }
}

/// Queues.
impl<M: Machine> Kernel<M> {
    /// Puts a thread that is in no queue into the ready queue of its priority.
    pub(crate) fn make_ready(&mut self, thread: Ref<Tcb>, place: Place) {
        let tcb = self.get(thread);
        if tcb.queued != Queued::NOWHERE || Link::to(thread) == self.scheduler.candidate {
            return;
        }
        let (domain, priority) = (usize::from(tcb.domain), usize::from(tcb.priority));
        let queue = self.scheduler.ready[domain].queues[priority];
        let at = match place {
            Place::First => Neighbours { prev: Link::NONE, next: queue.head },
            Place::Last => Neighbours { prev: queue.tail, next: Link::NONE },
        };
        let queue = self.link(queue, thread, at, |tcb| &mut tcb.scheduled);
        self.scheduler.ready[domain].queues[priority] = queue;
        self.scheduler.ready[domain].mark(priority);
        self.get_mut(thread).queued = Queued::READY;
    }

    /// Takes a thread out of the scheduler's queue that it is in, if any.
    pub(crate) fn dequeue(&mut self, thread: Ref<Tcb>) {
        if Link::to(thread) == self.scheduler.candidate {
            self.scheduler.candidate = Link::NONE;
            self.scheduler.choose = true;
        }
        let &Tcb { queued, domain, priority, .. } = self.get(thread);
        if queued == Queued::READY {
            let (domain, priority) = (usize::from(domain), usize::from(priority));
            let queue = self.scheduler.ready[domain].queues[priority];
            let queue = self.unlink(queue, thread, |tcb| &mut tcb.scheduled);
            self.scheduler.ready[domain].queues[priority] = queue;
            if queue.head.is_none() {
                self.scheduler.ready[domain].unmark(priority);
            }
        } else if queued == Queued::RELEASE {
            self.scheduler.reprogram |= self.scheduler.release.head == Link::to(thread);
            let queue = self.scheduler.release;
            self.scheduler.release = self.unlink(queue, thread, |tcb| &mut tcb.scheduled);
        }
        self.get_mut(thread).queued = Queued::NOWHERE;
    }

    /// Moves the thread of a scheduling context to the release queue, to wait for its refill.
    pub(crate) fn postpone(&mut self, context: Ref<SchedContext>) {
        let Some(thread) = self.get(context).thread.get() else { return };
        self.dequeue(thread);
        let time = self.refill(context).time;
        let queue = self.scheduler.release;
        let mut at = Neighbours { prev: queue.tail, next: Link::NONE };
        while let Some(earlier) = at.prev.get()
            && self.get(earlier).release_time > time
        {
            at = Neighbours { prev: self.get(earlier).scheduled.prev, next: at.prev };
        }
        self.scheduler.release = self.link(queue, thread, at, |tcb| &mut tcb.scheduled);
        let tcb = self.get_mut(thread);
        tcb.queued = Queued::RELEASE;
        tcb.release_time = time;
        self.scheduler.reprogram = true;
    }

    /// Makes threads ready whose refill has come. If they are many, the others follow when the timer,
    /// whose deadline has then passed, interrupts again.
    fn release_due(&mut self) {
        for _ in 0..MAX_RELEASES {
            let Some(thread) = self.scheduler.release.head.get() else { return };
            if self.get(thread).release_time > self.scheduler.now + self.scheduler.precision {
                return;
            }
            self.dequeue(thread);
            self.wake(thread);
        }
    }
}

/// Requests, and the decision.
impl<M: Machine> Kernel<M> {
    /// The running thread; none: idle.
    #[must_use]
    pub fn current_thread(&self) -> Option<Ref<Tcb>> {
        self.scheduler.current.get()
    }

    /// Whether a thread could be chosen to run, were it the first.
    pub(crate) fn is_schedulable(&self, thread: Ref<Tcb>) -> bool {
        let tcb = self.get(thread);
        tcb.state.is_runnable()
            && tcb.queued != Queued::RELEASE
            && tcb.sched_context.get().is_some_and(|context| self.get(context).is_active())
    }

    /// A thread has become runnable: it runs next if its priority is above the running thread's, or
    /// if that one blocks and no higher one is ready. Without a scheduling context it cannot;
    /// without budget it waits for its refill.
    pub(crate) fn wake(&mut self, thread: Ref<Tcb>) {
        let this = Link::to(thread);
        let tcb = self.get(thread);
        let Some(context) = tcb.sched_context.get() else { return };
        let elsewhere = tcb.queued != Queued::NOWHERE
            || this == self.scheduler.current
            || this == self.scheduler.candidate;
        if elsewhere || !tcb.state.is_runnable() || !self.get(context).is_active() {
            return;
        }
        if !self.has_budget(context) {
            self.postpone(context);
            return;
        }
        if !self.scheduler.has_turn(self.get(thread)) {
            self.make_ready(thread, Place::First);
        } else if self.scheduler.candidate.is_none() && !self.scheduler.choose {
            self.scheduler.candidate = this;
        } else {
            self.reschedule();
            self.make_ready(thread, Place::First);
        }
    }

    /// The choice is to be made anew from the ready queues.
    pub(crate) fn reschedule(&mut self) {
        self.scheduler.choose = true;
        if let Some(thread) = self.scheduler.candidate.get() {
            self.scheduler.candidate = Link::NONE;
            if self.is_schedulable(thread) {
                self.make_ready(thread, Place::First);
            }
        }
    }

    /// The running thread, if nothing has happened that could make another one run, change the
    /// deadline, or keep it from simply going on.
    #[inline(always)]
    pub(crate) fn unchanged(&self) -> Option<Ref<Tcb>> {
        let scheduler = &self.scheduler;
        let thread = scheduler.current.get()?;
        let tcb = self.get(thread);
        let asked = scheduler.choose || scheduler.reprogram || !scheduler.candidate.is_none();
        let goes_on = tcb.state == ThreadState::RUNNING
            && tcb.sched_context == scheduler.current_context
            && scheduler.now < scheduler.release_at;
        (goes_on && !asked).then_some(thread)
    }

    /// Decides who runs, charges who ran, and sets the deadline.
    pub(crate) fn schedule(&mut self) {
        if self.scheduler.now >= self.scheduler.release_at {
            self.release_due();
            if self.scheduler.now + self.scheduler.precision >= self.scheduler.turn_end {
                self.next_turn();
            }
        }
        let keeps = match self.scheduler.current.get() {
            Some(thread) => self.is_schedulable(thread),
            None => false,
        };
        if self.scheduler.choose || !keeps || !self.scheduler.candidate.is_none() {
            self.choose(keeps);
        }
        self.switch_context();
        if self.scheduler.reprogram {
            self.set_deadline();
        }
    }

    fn choose(&mut self, keeps: bool) {
        let previous = self.scheduler.current;
        let candidate = self.scheduler.candidate;
        self.scheduler.candidate = Link::NONE;
        self.scheduler.choose = false;
        if let (true, Some(thread)) = (keeps, previous.get()) {
            self.make_ready(thread, Place::First);
        }
        let next = match candidate.get().filter(|thread| self.is_schedulable(*thread)) {
            Some(thread) => self.choose_candidate(thread, previous, keeps),
            None => self.pop_ready(),
        };
        self.scheduler.current = next;
        if let Some(thread) = next.get()
            && next != previous
        {
            self.load_address_space(thread);
        }
    }

    /// The woken thread, unless one that is ready goes before it: a higher one, or the running
    /// thread at the same priority.
    fn choose_candidate(
        &mut self,
        thread: Ref<Tcb>,
        previous: Link<Tcb>,
        previous_keeps: bool,
    ) -> Link<Tcb> {
        let tcb = self.get(thread);
        let goes_first = self.scheduler.goes_first(tcb);
        let equal =
            previous.get().is_some_and(|previous| self.get(previous).priority == tcb.priority);
        if previous_keeps && equal {
            self.make_ready(thread, Place::Last);
        } else if goes_first {
            return Link::to(thread);
        } else {
            self.make_ready(thread, Place::First);
        }
        self.pop_ready()
    }

    fn pop_ready(&mut self) -> Link<Tcb> {
        let ready = self.scheduler.ready_now();
        let Some(priority) = ready.highest() else { return Link::NONE };
        let thread = ready.queues[priority].head;
        if let Some(thread) = thread.get() {
            self.dequeue(thread);
        }
        thread
    }

    /// Lets a thread that could be chosen to run go on instead of the running one, which is charged.
    #[inline(never)]
    pub(crate) fn switch_to(&mut self, thread: Ref<Tcb>, root: PhysAddr) {
        self.scheduler.current = Link::to(thread);
        self.switch_context();
        self.machine.set_address_space(root);
    }

    /// The thread that runs if the running one blocks; `None` if there is none, or more is to be done
    /// than to let it go on. The clock has been read.
    #[inline]
    pub(crate) fn next_at_once(&self) -> Option<(Ref<Tcb>, PhysAddr)> {
        let ready = self.scheduler.ready_now();
        let thread = ready.queues[ready.highest()?].head.get()?;
        let tcb = self.get(thread);
        let goes_on = tcb.state == ThreadState::RUNNING && tcb.yield_to.is_none();
        if !goes_on || !self.scheduler.nothing_due() {
            return None;
        }
        Some((thread, self.known_address_space(tcb)?))
    }

    /// The page-table root of a blocked thread that would run at once if it were woken and the running
    /// one blocked. The clock has been read.
    #[inline]
    pub(crate) fn runs_at_once(&self, thread: Ref<Tcb>) -> Option<PhysAddr> {
        let tcb = self.get(thread);
        let context = tcb.sched_context.get()?;
        let runs = self.scheduler.goes_first(tcb)
            && self.scheduler.nothing_due()
            && self.get(context).is_active()
            && self.has_budget(context);
        if runs { self.known_address_space(tcb) } else { None }
    }

    /// Makes the running thread's scheduling context the one that time is charged to.
    #[inline(always)]
    fn switch_context(&mut self) {
        let next = match self.scheduler.current.get() {
            Some(thread) => self.get(thread).sched_context,
            None => Link::NONE,
        };
        if next == self.scheduler.current_context {
            return;
        }
        self.commit_time();
        self.scheduler.current_context = next;
        if let Some(context) = next.get() {
            self.dispatch_refills(context);
        }
        if self.scheduler.reprogram {
            self.set_deadline();
        } else {
            self.set_slice_end();
        }
    }

    /// Finds out when the scheduler has something to do next.
    fn set_deadline(&mut self) {
        self.scheduler.reprogram = false;
        let first = self.scheduler.release.head.get();
        let release = first.map_or(Ticks::MAX, |thread| self.get(thread).release_time);
        self.scheduler.event_at = release.min(self.scheduler.turn_end);
        self.scheduler.release_at =
            self.scheduler.event_at.saturating_sub(self.scheduler.precision);
        self.set_slice_end();
    }

    /// As [`Kernel::set_deadline`], where only what runs has changed.
    #[inline]
    fn set_slice_end(&mut self) {
        let slice_end = self.scheduler.current_context.get().map_or(Ticks::MAX, |context| {
            let left = self.refill(context).amount.saturating_sub(self.scheduler.consumed);
            self.scheduler.now.saturating_add(left)
        });
        self.scheduler.enough_until = slice_end.saturating_sub(self.scheduler.min_budget);
        self.machine.set_deadline(slice_end.min(self.scheduler.event_at));
    }

    /// It is a domain's turn from now on, for so long; who of it runs is to be chosen.
    pub(crate) fn begin_turn(&mut self, domain: u8, duration: Ticks) {
        self.reschedule();
        self.scheduler.domain = domain;
        self.scheduler.turn_end = self.scheduler.now.saturating_add(duration);
        self.scheduler.reprogram = true;
    }

    /// Moves a thread to another domain.
    pub(crate) fn set_domain(&mut self, thread: Ref<Tcb>, domain: u8) {
        self.reschedule();
        let was_ready = self.get(thread).queued == Queued::READY;
        if was_ready {
            self.dequeue(thread);
        }
        self.get_mut(thread).domain = domain;
        if was_ready {
            self.make_ready(thread, Place::Last);
        }
    }

    /// Makes the address space of a thread the active one.
    #[inline]
    pub(crate) fn load_address_space(&mut self, thread: Ref<Tcb>) {
        let root = match self.known_address_space(self.get(thread)) {
            Some(root) => root,
            None => self.find_address_space(thread),
        };
        self.machine.set_address_space(root);
    }

    /// The page-table root of a thread, if it was looked up since a page-table root's capability was
    /// deleted last.
    #[inline(always)]
    pub(crate) fn known_address_space(&self, tcb: &Tcb) -> Option<PhysAddr> {
        (tcb.space_epoch == self.space_epoch).then_some(tcb.space_root)
    }

    #[inline(never)]
    fn find_address_space(&mut self, thread: Ref<Tcb>) -> PhysAddr {
        let cap = self.get(Self::tcb_slot(thread, TcbSlot::VSpace)).raw;
        let root = match self.vspace_root(cap) {
            Some(root) => root.address(),
            None => self.machine.kernel_address_space(),
        };
        let epoch = self.space_epoch;
        let tcb = self.get_mut(thread);
        tcb.space_root = root;
        tcb.space_epoch = epoch;
        root
    }
}

/// Accounting.
impl<M: Machine> Kernel<M> {
    /// Reads the clock: the time since the last entry was used by the running thread.
    pub(crate) fn update_time(&mut self) {
        let now = self.machine.now();
        self.scheduler.consumed += now.saturating_sub(self.scheduler.now);
        self.scheduler.now = now;
    }

    /// Charges the current scheduling context for the time used.
    pub(crate) fn commit_time(&mut self) {
        let used = core::mem::take(&mut self.scheduler.consumed);
        if let Some(context) = self.scheduler.current_context.get()
            && self.get(context).is_active()
            && used > 0
        {
            self.charge_refills(context, used);
            self.get_mut(context).consumed += used;
        }
    }

    /// Whether the running thread has budget to go on with; if not, it is charged and put where it
    /// waits for more, or its timeout is raised.
    #[inline]
    pub(crate) fn check_budget(&mut self) -> bool {
        self.scheduler.now <= self.scheduler.enough_until || self.check_refill()
    }

    #[inline(never)]
    fn check_refill(&mut self) -> bool {
        let Some(context) = self.scheduler.current_context.get() else { return true };
        if self.is_sufficient(context, self.scheduler.consumed) {
            return true;
        }
        self.commit_time();
        self.end_time_slice(context, Timeout::Raised);
        false
    }

    /// The running thread's slice is over: it waits for its next refill, or for the others of its
    /// priority.
    fn end_time_slice(&mut self, context: Ref<SchedContext>, timeout: Timeout) {
        self.scheduler.reprogram = true;
        self.reschedule();
        let Some(thread) = self.scheduler.current.get().filter(|t| self.is_schedulable(*t)) else {
            return;
        };
        let round_robin = self.get(context).is_round_robin();
        if timeout == Timeout::Raised && !round_robin && self.has_timeout_handler(thread) {
            self.raise_timeout(thread, context);
        } else if self.has_budget(context) {
            self.make_ready(thread, Place::Last);
        } else {
            self.postpone(context);
        }
    }

    /// Whether nobody else is ready at the running thread's priority.
    fn is_alone(&self) -> bool {
        let highest = self.scheduler.ready_now().highest();
        self.scheduler.current.get().is_some_and(|thread| {
            highest.is_none_or(|highest| highest < usize::from(self.get(thread).priority))
        })
    }

    /// Gives up what is left of the refill in use.
    pub(crate) fn yield_time(&mut self) {
        let Some(context) = self.scheduler.current_context.get() else { return };
        let used = core::mem::take(&mut self.scheduler.consumed);
        let rest = self.refill(context).amount.max(used);
        self.charge_refills(context, rest);
        self.get_mut(context).consumed += used;
        if self.is_alone() && self.has_budget(context) {
            self.set_slice_end();
        } else {
            self.end_time_slice(context, Timeout::Silent);
        }
    }
}

/// Whether the end of a time slice is told to the thread's timeout handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timeout {
    /// It is, if there is one: the budget ran out.
    Raised,
    /// It is not: the thread gave its budget up.
    Silent,
}
