//! What is true of threads, queues, scheduling contexts and replies between any two kernel
//! entries: checked by tests, by brute force, over every object that there is.

use crate::kernel::{Kernel, Next};
use crate::machine::Machine;
use crate::memory::{Link, Ref};
use crate::objects::{
    DOMAINS, Endpoint, Notification, Queue, Queued, Reply, SchedContext, Tcb, ThreadState, Waiting,
};

/// Every object of the kinds that threads meet.
#[derive(Default)]
pub(crate) struct Objects {
    pub(crate) threads: Vec<Ref<Tcb>>,
    pub(crate) endpoints: Vec<Ref<Endpoint>>,
    pub(crate) notifications: Vec<Ref<Notification>>,
    pub(crate) replies: Vec<Ref<Reply>>,
    pub(crate) contexts: Vec<Ref<SchedContext>>,
}

impl<M: Machine> Kernel<M> {
    /// Checks everything; `next` is what the kernel has just decided.
    pub(crate) fn check_threads(&self, objects: &Objects, next: Next) {
        self.check_choice(next);
        for thread in &objects.threads {
            self.check_thread(*thread, next);
        }
        for endpoint in &objects.endpoints {
            self.check_endpoint(objects, *endpoint);
        }
        for notification in &objects.notifications {
            self.check_notification(objects, *notification);
        }
        for reply in &objects.replies {
            self.check_reply(*reply);
        }
        for context in &objects.contexts {
            self.check_context(*context);
        }
        self.check_ready_queues(objects);
        self.check_release_queue(objects);
    }

    /// The thread that runs is runnable, has budget, and no ready one has a higher priority.
    pub(crate) fn check_choice(&self, next: Next) {
        let may_run = |tcb: Ref<Tcb>| self.scheduler.has_turn(self.get(tcb));
        let is_ready = |priority: &u8| {
            let mut first = (0..DOMAINS).map(|d| self.scheduler.first_ready(d, *priority).get());
            first.any(|thread| thread.is_some_and(may_run))
        };
        let highest = (0..=u8::MAX).rev().find(is_ready);
        match next {
            Next::Idle => {
                assert_eq!(highest, None, "idle while a thread is ready");
                assert!(self.scheduler.current.is_none());
                assert!(self.scheduler.current_context.is_none());
            }
            Next::Thread(thread) => {
                let tcb = self.get(thread);
                assert_eq!(self.scheduler.current, Link::to(thread));
                assert_eq!(tcb.state, ThreadState::RUNNING, "the chosen thread does not run");
                assert!(self.scheduler.has_turn(tcb), "runs in another domain's turn");
                assert_eq!(tcb.queued, Queued::NOWHERE, "the running thread is in a queue");
                assert!(highest.is_none_or(|h| h <= tcb.priority), "a higher thread is ready");
                assert_eq!(self.scheduler.current_context, tcb.sched_context);
                let context = tcb.sched_context.get().expect("runs without time");
                assert!(
                    self.has_budget(context),
                    "runs without budget: {:?}",
                    self.refill(context)
                );
                assert!(tcb.yield_to.is_none(), "runs before its YieldTo is answered");
            }
        }
    }

    pub(crate) fn check_thread(&self, thread: Ref<Tcb>, next: Next) {
        let tcb = self.get(thread);
        let runs = next == Next::Thread(thread);
        let context = tcb.sched_context.get();
        if let Some(context) = context {
            assert_eq!(self.get(context).thread, Link::to(thread), "context has another thread");
        }
        let active = context.is_some_and(|context| self.get(context).is_active());
        match tcb.queued {
            Queued::NOWHERE if !runs => {
                assert!(!tcb.state.is_runnable() || !active, "{thread:?} was forgotten");
            }
            Queued::NOWHERE => {}
            _ => assert!(tcb.state.is_runnable() && active, "{thread:?} queued as {:?}", tcb.state),
        }
        if let (Queued::READY, Some(context)) = (tcb.queued, context) {
            let (refill, now) = (self.refill(context), self.scheduler.now);
            assert!(self.has_budget(context), "{thread:?} is ready at {now}, with only {refill:?}");
        }
        if let Some(notification) = tcb.notification.get() {
            assert_eq!(self.get(notification).bound_thread, Link::to(thread));
        }
        if let Some(context) = tcb.yield_to.get() {
            assert_eq!(self.get(context).yield_from, Link::to(thread));
        }
        self.check_reply_of(thread);
    }

    fn check_reply_of(&self, thread: Ref<Tcb>) {
        let tcb = self.get(thread);
        match tcb.state {
            ThreadState::BLOCKED_ON_REPLY => {
                let reply = tcb.reply.get().expect("waits for a reply that cannot come");
                assert_eq!(self.get(reply).thread, Link::to(thread));
            }
            ThreadState::BLOCKED_ON_RECEIVE => {
                if let Some(reply) = tcb.reply.get() {
                    assert_eq!(self.get(reply).thread, Link::to(thread));
                }
            }
            state => assert!(tcb.reply.is_none(), "{state:?} holds a reply object"),
        }
    }

    /// Queue members, checked to be linked both ways and sorted by priority.
    fn queue_members(&self, queue: Queue) -> Vec<Ref<Tcb>> {
        let mut members = Vec::new();
        let (mut previous, mut next) = (Link::NONE, queue.head);
        while let Some(thread) = next.get() {
            let tcb = self.get(thread);
            assert_eq!(tcb.waiting.prev, previous);
            if let Some(previous) = previous.get() {
                assert!(self.get(previous).priority >= tcb.priority, "queue out of order");
            }
            members.push(thread);
            previous = next;
            next = tcb.waiting.next;
        }
        assert_eq!(queue.tail, previous);
        members
    }

    fn check_waiting(
        &self,
        objects: &Objects,
        members: &[Ref<Tcb>],
        at: crate::PhysAddr,
        state: impl Fn(ThreadState) -> bool,
    ) {
        let waits = |thread: &&Ref<Tcb>| {
            let tcb = self.get(**thread);
            state(tcb.state) && tcb.blocked_on == at
        };
        let expected = objects.threads.iter().filter(waits).count();
        assert!(members.iter().all(|thread| waits(&thread)), "a stranger is in the queue");
        assert_eq!(members.len(), expected, "a waiting thread is not in the queue");
    }

    /// The threads in an endpoint's queue, checked to wait there for the same thing.
    pub(crate) fn endpoint_members(&self, endpoint: Ref<Endpoint>) -> Vec<Ref<Tcb>> {
        let (kind, queue) = self.get(endpoint).queue();
        let expected = match kind {
            Waiting::Senders => ThreadState::BLOCKED_ON_SEND,
            Waiting::Receivers => ThreadState::BLOCKED_ON_RECEIVE,
        };
        let members = self.queue_members(queue);
        for member in &members {
            let tcb = self.get(*member);
            assert_eq!((tcb.state, tcb.blocked_on), (expected, endpoint.address()));
        }
        members
    }

    /// The threads in a notification's queue, checked to wait there.
    pub(crate) fn notification_members(&self, notification: Ref<Notification>) -> Vec<Ref<Tcb>> {
        let members = self.queue_members(self.get(notification).waiting);
        for member in &members {
            let tcb = self.get(*member);
            let expected = (ThreadState::BLOCKED_ON_NOTIFICATION, notification.address());
            assert_eq!((tcb.state, tcb.blocked_on), expected);
        }
        members
    }

    fn check_endpoint(&self, objects: &Objects, endpoint: Ref<Endpoint>) {
        let members = self.endpoint_members(endpoint);
        self.check_waiting(objects, &members, endpoint.address(), |state| {
            state == ThreadState::BLOCKED_ON_SEND || state == ThreadState::BLOCKED_ON_RECEIVE
        });
    }

    fn check_notification(&self, objects: &Objects, notification: Ref<Notification>) {
        let members = self.notification_members(notification);
        self.check_signal(notification);
        self.check_waiting(objects, &members, notification.address(), |state| {
            state == ThreadState::BLOCKED_ON_NOTIFICATION
        });
    }

    /// A notification's word, and what is bound to it.
    pub(crate) fn check_signal(&self, notification: Ref<Notification>) {
        let object = self.get(notification);
        let idle = object.active == 0;
        assert!(idle || object.waiting.head.is_none(), "a signal waits beside a thread");
        if let Some(thread) = object.bound_thread.get() {
            assert_eq!(self.get(thread).notification, Link::to(notification));
        }
        if let Some(context) = object.sched_context.get() {
            assert_eq!(self.get(context).notification, Link::to(notification));
        }
    }

    pub(crate) fn check_reply(&self, reply: Ref<Reply>) {
        let object = self.get(reply);
        match object.thread.get() {
            Some(thread) => assert_eq!(self.get(thread).reply, Link::to(reply)),
            None => assert!(
                object.below.is_none() && object.above.is_none() && object.lent.is_none(),
                "a free reply object is in a stack"
            ),
        }
        if let Some(context) = object.lent.get() {
            assert!(object.above.is_none(), "the top of a stack has something above it");
            assert_eq!(self.get(context).reply, Link::to(reply));
        }
        if let Some(above) = object.above.get() {
            assert_eq!(self.get(above).below, Link::to(reply));
        }
        if let Some(below) = object.below.get() {
            assert_eq!(self.get(below).above, Link::to(reply));
        }
    }

    pub(crate) fn check_context(&self, context: Ref<SchedContext>) {
        let object = self.get(context);
        if let Some(thread) = object.thread.get() {
            assert_eq!(self.get(thread).sched_context, Link::to(context));
        }
        if let Some(notification) = object.notification.get() {
            assert_eq!(self.get(notification).sched_context, Link::to(context));
        }
        if let Some(reply) = object.reply.get() {
            assert_eq!(self.get(reply).lent, Link::to(context));
        }
        if let Some(thread) = object.yield_from.get() {
            assert_eq!(self.get(thread).yield_to, Link::to(context));
        }
        if object.is_active() {
            self.check_refills(context);
        }
    }

    /// Refills add up to the budget, are in order without overlap, and the first is worth running for.
    pub(crate) fn check_refills(&self, context: Ref<SchedContext>) {
        let object = self.get(context);
        let refills = self.refills(context);
        assert!(refills.len() as u64 <= u64::from(object.refill_max), "too many refills");
        assert!(refills[0].amount >= self.scheduler.min_budget, "{refills:?}");
        if object.is_round_robin() {
            assert!(refills.len() == 1 && refills[0].amount <= object.budget);
            return;
        }
        let sum: u64 = refills.iter().map(|refill| refill.amount).sum();
        assert_eq!(sum, object.budget, "{refills:?}");
        for pair in refills.windows(2) {
            assert!(pair[0].time + pair[0].amount <= pair[1].time, "overlap: {refills:?}");
        }
    }

    fn check_ready_queues(&self, objects: &Objects) {
        let mut queued = 0;
        let queues = (0..DOMAINS).flat_map(|domain| (0..=u8::MAX).map(move |p| (domain, p)));
        for (domain, priority) in queues {
            let first = self.scheduler.first_ready(domain, priority);
            let (mut previous, mut next) = (Link::NONE, first);
            while let Some(thread) = next.get() {
                let tcb = self.get(thread);
                assert_eq!((tcb.queued, tcb.priority), (Queued::READY, priority));
                assert_eq!(usize::from(tcb.domain), domain);
                assert_eq!(tcb.scheduled.prev, previous);
                queued += 1;
                previous = next;
                next = tcb.scheduled.next;
            }
        }
        let ready = |t: &&Ref<Tcb>| self.get(**t).queued == Queued::READY;
        assert_eq!(queued, objects.threads.iter().filter(ready).count());
    }

    fn check_release_queue(&self, objects: &Objects) {
        let (mut queued, mut time, mut next) = (0, 0, self.scheduler.first_to_release());
        while let Some(thread) = next.get() {
            let tcb = self.get(thread);
            assert_eq!(tcb.queued, Queued::RELEASE);
            let context = tcb.sched_context.get().expect("waits for the budget of nothing");
            assert_eq!(self.refill(context).time, tcb.release_time, "released at another time");
            assert!(tcb.release_time >= time, "release queue out of order");
            time = tcb.release_time;
            queued += 1;
            next = tcb.scheduled.next;
        }
        let waits = |t: &&Ref<Tcb>| self.get(**t).queued == Queued::RELEASE;
        assert_eq!(queued, objects.threads.iter().filter(waits).count());
    }
}
