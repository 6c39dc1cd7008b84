//! The short way through the two system calls that a service is made of: `Call` to a passive server
//! that waits, and its `ReplyRecv`.
//!
//! Nothing is decided here that the long way (`ipc`, `reply`, `scheduler`) would decide differently;
//! where more would have to be decided, nothing has changed yet and the long way is taken. What makes
//! the way short: the scheduling context goes along with the message, so nobody is charged, no
//! deadline changes and the clock need not be read (the next entry that reads it finds the time since
//! the last one used by this same scheduling context; that its budget has run out meanwhile is told by
//! the timer's interrupt). And the thread that goes on is known: the other one, if nobody that is ready
//! has a higher priority.

use crate::objects::{Endpoint, Queue, Reply, SchedContext, Tcb, ThreadState, Waiting};
use crate::{Kernel, Link, Machine, PhysAddr, Ref};
use d3os_abi::{CapRights, MessageInfo, Syscall};

/// Rights of which a caller needs one.
const CALL: CapRights = CapRights::GRANT.or(CapRights::GRANT_REPLY);

impl<M: Machine> Kernel<M> {
    /// Carries out the running thread's system call, if that can be done the short way; the thread
    /// that goes on.
    #[inline(always)]
    pub fn fast_path(&mut self, number: i64) -> Option<Ref<Tcb>> {
        let thread = self.current_thread()?;
        let lent = self.scheduler.current_context.get()?;
        let info = MessageInfo(self.get(thread).context.rsi);
        let is_call = number == Syscall::Call.number();
        if info.extra_caps() > 0 || !is_call && number != Syscall::ReplyRecv.number() {
            return None;
        }
        if is_call {
            self.fast_call(thread, lent, info)
        } else {
            self.fast_reply_receive(thread, lent, info)
        }
    }

    #[inline(always)]
    fn fast_call(
        &mut self,
        caller: Ref<Tcb>,
        lent: Ref<SchedContext>,
        info: MessageInfo,
    ) -> Option<Ref<Tcb>> {
        let cptr = self.get(caller).context.rdi;
        let slot = self.lookup_directly(caller, cptr)?;
        let (endpoint, badge, rights) = self.get(slot).raw.as_endpoint()?;
        let (Waiting::Receivers, queue) = self.get(endpoint).queue() else { return None };
        let server = queue.head.get()?;
        let tcb = self.get(server);
        let (reply, next) = (tcb.reply.get()?, tcb.waiting.next);
        let may_call = rights.contains(CapRights::WRITE) && rights.and(CALL) != CapRights::NONE;
        if !may_call || !tcb.sched_context.is_none() {
            return None;
        }
        let root = self.next_address_space(server)?;

        if next.is_none() {
            self.get_mut(endpoint).set_queue(Waiting::Receivers, Queue::EMPTY);
        } else {
            let queue = self.remove_waiting(queue, server);
            self.get_mut(endpoint).set_queue(Waiting::Receivers, queue);
        }
        self.lend_through(reply, caller, lent);
        let tcb = self.get_mut(caller);
        tcb.state = ThreadState::BLOCKED_ON_REPLY;
        tcb.reply = Link::to(reply);
        tcb.sched_context = Link::NONE;
        self.get_mut(server).reply = Link::NONE;
        self.fast_switch(server, lent, root);
        let info = self.copy_words(caller, server, info);
        self.finish_message(server, badge, info);
        Some(server)
    }

    #[inline(always)]
    fn fast_reply_receive(
        &mut self,
        server: Ref<Tcb>,
        lent: Ref<SchedContext>,
        info: MessageInfo,
    ) -> Option<Ref<Tcb>> {
        let tcb = self.get(server);
        let (from, to) = (tcb.context.rdi, tcb.context.r12);
        if let Some(notification) = tcb.notification.get() {
            let notification = self.get(notification);
            if notification.active != 0 || notification.sched_context == Link::to(lent) {
                return None;
            }
        }
        let (reply, _) = self.get(self.lookup_directly(server, to)?).raw.as_reply()?;
        let slot = self.lookup_directly(server, from)?;
        let (endpoint, _, rights) = self.get(slot).raw.as_endpoint()?;
        let object = self.get(reply);
        let (caller, below) = (object.thread.get()?, object.below);
        let is_top = object.lent == Link::to(lent);
        let tcb = self.get(caller);
        let waits = tcb.state == ThreadState::BLOCKED_ON_REPLY && tcb.fault.label == 0;
        let may_receive = rights.contains(CapRights::READ);
        let nobody_sends = !self.get(endpoint).has_senders();
        if !(is_top && waits && tcb.sched_context.is_none() && may_receive && nobody_sends) {
            return None;
        }
        if let Some(last) = self.get(endpoint).queue().1.tail.get()
            && self.get(last).priority < self.get(server).priority
        {
            return None;
        }
        let root = self.next_address_space(caller)?;

        self.get_mut(caller).reply = Link::NONE;
        self.return_through(reply, below, lent);
        self.get_mut(reply).thread = Link::to(server);
        let tcb = self.get_mut(server);
        tcb.state = ThreadState::BLOCKED_ON_RECEIVE;
        tcb.blocked_on = endpoint.address();
        tcb.reply = Link::to(reply);
        tcb.sched_context = Link::NONE;
        self.wait_to_receive(endpoint, server);
        self.fast_switch(caller, lent, root);
        let info = self.copy_words(server, caller, info);
        self.finish_message(caller, 0, info);
        Some(caller)
    }

    /// The page-table root of a thread that could go on at once: nobody that is ready has a higher
    /// priority, and the root is known.
    #[inline(always)]
    fn next_address_space(&self, thread: Ref<Tcb>) -> Option<PhysAddr> {
        let tcb = self.get(thread);
        if self.scheduler.goes_first(tcb) { self.known_address_space(tcb) } else { None }
    }

    /// Makes `reply` the top of the stack of those that lent the scheduling context.
    #[inline(always)]
    fn lend_through(&mut self, reply: Ref<Reply>, caller: Ref<Tcb>, lent: Ref<SchedContext>) {
        let object = self.get_mut(lent);
        let below = core::mem::replace(&mut object.reply, Link::to(reply));
        if let Some(below) = below.get() {
            let below = self.get_mut(below);
            below.lent = Link::NONE;
            below.above = Link::to(reply);
        }
        let object = self.get_mut(reply);
        object.thread = Link::to(caller);
        object.below = below;
        object.lent = Link::to(lent);
    }

    /// Takes `reply` from the top of that stack.
    #[inline(always)]
    fn return_through(&mut self, reply: Ref<Reply>, below: Link<Reply>, lent: Ref<SchedContext>) {
        self.get_mut(lent).reply = below;
        if let Some(below) = below.get() {
            let below = self.get_mut(below);
            below.above = Link::NONE;
            below.lent = Link::to(lent);
        }
        let object = self.get_mut(reply);
        object.below = Link::NONE;
        object.lent = Link::NONE;
    }

    /// Puts a thread into the queue of those that wait for a message, as the last.
    #[inline(always)]
    fn wait_to_receive(&mut self, endpoint: Ref<Endpoint>, thread: Ref<Tcb>) {
        let (_, queue) = self.get(endpoint).queue();
        let Some(last) = queue.tail.get() else {
            self.get_mut(endpoint).set_only_receiver(thread);
            return;
        };
        self.get_mut(last).waiting.next = Link::to(thread);
        self.get_mut(thread).waiting.prev = queue.tail;
        self.get_mut(endpoint).set_last_receiver(thread);
    }

    /// Lets `thread` go on, on the scheduling context that the running thread has.
    #[inline(always)]
    fn fast_switch(&mut self, thread: Ref<Tcb>, lent: Ref<SchedContext>, root: PhysAddr) {
        let tcb = self.get_mut(thread);
        tcb.state = ThreadState::RUNNING;
        tcb.sched_context = Link::to(lent);
        self.get_mut(lent).thread = Link::to(thread);
        self.scheduler.current = Link::to(thread);
        self.machine.set_address_space(root);
    }
}
