//! The short ways through the system calls that services and drivers are made of: `Call` to a passive
//! server that waits, its `ReplyRecv`, a page fault whose handler is such a server, signals, waiting for
//! them, and `Yield`.
//!
//! Nothing is decided here that the long way (`ipc`, `reply`, `scheduler`) would decide differently;
//! where more would have to be decided, nothing has changed yet and the long way is taken. What makes
//! the way of messages short: the scheduling context goes along, so nobody is charged, no deadline
//! changes and the clock need not be read (the next entry that reads it finds the time since the last
//! one used by this same scheduling context; that its budget has run out meanwhile is told by the
//! timer's interrupt). And the thread that goes on is known: the other one, if nobody that is ready has
//! a higher priority. A signal that nobody waits for, or is already there, concerns the scheduler as
//! little; others go straight to what the long way would do.

use crate::cap::RawCap;
use crate::fault::Fault;
use crate::objects::{
    Context, Endpoint, Notification, SchedContext, Tcb, TcbSlot, ThreadState, Waiting,
};
use crate::scheduler::Place;
use crate::syscall::Blocking;
use crate::{Kernel, Link, Machine, Next, PhysAddr, Ref};
use d3os_abi::{CapRights, FaultLabel, MessageInfo, Syscall};

/// Rights of which a caller needs one.
const CALL: CapRights = CapRights::GRANT.or(CapRights::GRANT_REPLY);

impl<M: Machine> Kernel<M> {
    /// Carries out the running thread's system call, if it is a message that can go a short way; the
    /// thread that goes on.
    #[inline(always)]
    pub fn fast_message(&mut self, number: i64) -> Option<Ref<Tcb>> {
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

    /// Carries out the running thread's system call, if it is a signal, waiting for one, or `Yield`, and
    /// can go a short way; what the core does next.
    #[inline(always)]
    pub fn fast_signal(&mut self, number: i64) -> Option<Next> {
        let thread = self.current_thread()?;
        match Syscall::from_number(number)? {
            Syscall::Send | Syscall::NBSend => self.signal_directly(thread),
            Syscall::Wait => self.wait_directly(thread),
            Syscall::NBSendWait => self.signal_and_wait(thread),
            Syscall::NBSendRecv => self.signal_and_receive(thread),
            Syscall::Yield => {
                self.update_time();
                Some(self.within_budget(Self::yield_time))
            }
            _ => None,
        }
    }

    /// Tells the running thread's fault handler of a page fault, if that is a passive server that
    /// waits; the handler, which goes on.
    #[inline]
    pub(crate) fn fast_page_fault(&mut self, fault: Fault) -> Option<Ref<Tcb>> {
        let thread = self.current_thread()?;
        let lent = self.scheduler.current_context.get()?;
        let handler = self.get(thread).slots[TcbSlot::FaultHandler as usize].raw;
        let (server, badge) = self.lend_to_server(thread, lent, handler)?;
        self.get_mut(thread).fault = fault.record();
        self.transfer_fault(thread, badge, server);
        Some(server)
    }

    /// Does something that takes part in the scheduling, if there is budget to do it. The clock has been
    /// read.
    #[inline(never)]
    fn within_budget(&mut self, action: impl FnOnce(&mut Self)) -> Next {
        if self.check_budget_or_restart() {
            action(self);
        }
        self.leave()
    }

    #[inline(always)]
    fn signal_directly(&mut self, thread: Ref<Tcb>) -> Option<Next> {
        let (notification, badge) = self.signalled(thread, self.get(thread).context.rdi)?;
        let Some(waiter) = self.signal_receiver(notification) else {
            self.get_mut(notification).keep(badge);
            return Some(Next::Thread(thread));
        };
        self.update_time();
        if self.get(waiter).priority > self.get(thread).priority
            && let Some(root) = self.runs_at_once(waiter)
        {
            self.make_ready(thread, Place::First);
            return Some(self.hand_over(waiter, root, notification, badge));
        }
        Some(self.within_budget(|kernel| kernel.signal(notification, badge)))
    }

    #[inline(always)]
    fn wait_directly(&mut self, thread: Ref<Tcb>) -> Option<Next> {
        let notification = self.awaited(thread)?;
        if let Some(badge) = self.get_mut(notification).take() {
            self.finish_message(thread, badge, MessageInfo(0));
            return Some(Next::Thread(thread));
        }
        self.update_time();
        if let Some((next, root)) = self.next_at_once() {
            self.wait_for_signal(thread, notification);
            self.dequeue(next);
            self.switch_to(next, root);
            return Some(Next::Thread(next));
        }
        Some(self.within_budget(|kernel| kernel.wait_for_signal(thread, notification)))
    }

    #[inline(always)]
    fn signal_and_wait(&mut self, thread: Ref<Tcb>) -> Option<Next> {
        let notification = self.awaited(thread)?;
        if self.get(notification).active != 0 {
            return None;
        }
        let to = self.get(thread).context.r12;
        self.signal_then(thread, to, |kernel| kernel.wait_for_signal(thread, notification))
    }

    #[inline(always)]
    fn signal_and_receive(&mut self, thread: Ref<Tcb>) -> Option<Next> {
        let &Context { rdi, r12, r13, .. } = &self.get(thread).context;
        let slot = self.lookup_directly(thread, rdi)?;
        let (endpoint, _, rights) = self.get(slot).raw.as_endpoint()?;
        let (reply, _) = self.get(self.lookup_directly(thread, r12)?).raw.as_reply()?;
        let bound = self.get(thread).notification.get();
        let has_signal = bound.is_some_and(|bound| self.get(bound).active != 0);
        let is_held = self.get(reply).thread.get().is_some_and(|holder| holder != thread);
        if !rights.contains(CapRights::READ) || has_signal || is_held {
            return None;
        }
        self.get(endpoint).last_receiver()?;
        self.signal_then(thread, r13, |kernel| {
            kernel.receive_ipc(thread, endpoint, Blocking::Wait, Some(reply));
        })
    }

    /// Sends a signal that somebody waits for who can go on at once, and lets the running thread wait
    /// for what is not there yet.
    #[inline(always)]
    fn signal_then(
        &mut self,
        thread: Ref<Tcb>,
        to: u64,
        wait: impl FnOnce(&mut Self),
    ) -> Option<Next> {
        let (notification, badge) = self.signalled(thread, to)?;
        let waiter = self.signal_receiver(notification)?;
        self.update_time();
        let root = self.runs_at_once(waiter)?;
        wait(self);
        Some(self.hand_over(waiter, root, notification, badge))
    }

    /// Lets a thread go on that waited for this signal and runs at once.
    #[inline(always)]
    fn hand_over(
        &mut self,
        waiter: Ref<Tcb>,
        root: PhysAddr,
        notification: Ref<Notification>,
        badge: u64,
    ) -> Next {
        self.deliver_signal(waiter, notification, badge);
        if let Some(context) = self.get(waiter).sched_context.get() {
            self.wake_sporadic(context);
        }
        self.switch_to(waiter, root);
        Next::Thread(waiter)
    }

    /// The notification that a message is a signal to, and the badge.
    #[inline(always)]
    fn signalled(&self, thread: Ref<Tcb>, cptr: u64) -> Option<(Ref<Notification>, u64)> {
        let slot = self.lookup_directly(thread, cptr)?;
        let (notification, badge, rights) = self.get(slot).raw.as_notification()?;
        let has_caps = MessageInfo(self.get(thread).context.rsi).extra_caps() > 0;
        (rights.contains(CapRights::WRITE) && !has_caps).then_some((notification, badge))
    }

    /// The notification whose signals a thread waits for.
    #[inline(always)]
    fn awaited(&self, thread: Ref<Tcb>) -> Option<Ref<Notification>> {
        let slot = self.lookup_directly(thread, self.get(thread).context.rdi)?;
        let (notification, _, rights) = self.get(slot).raw.as_notification()?;
        let may = rights.contains(CapRights::READ) && self.get(notification).may_receive(thread);
        may.then_some(notification)
    }

    #[inline(always)]
    fn fast_call(
        &mut self,
        caller: Ref<Tcb>,
        lent: Ref<SchedContext>,
        info: MessageInfo,
    ) -> Option<Ref<Tcb>> {
        let slot = self.lookup_directly(caller, self.get(caller).context.rdi)?;
        let (server, badge) = self.lend_to_server(caller, lent, self.get(slot).raw)?;
        let info = self.copy_words(caller, server, info);
        self.finish_message(server, badge, info);
        Some(server)
    }

    /// Lets a passive server that waits at an endpoint go on with the caller's time, as soon as it has
    /// the message; the server, and the badge for it.
    #[inline(always)]
    fn lend_to_server(
        &mut self,
        caller: Ref<Tcb>,
        lent: Ref<SchedContext>,
        cap: RawCap,
    ) -> Option<(Ref<Tcb>, u64)> {
        let (endpoint, badge, rights) = cap.as_endpoint()?;
        let (Waiting::Receivers, queue) = self.get(endpoint).queue() else { return None };
        let server = queue.head.get()?;
        let tcb = self.get(server);
        let (reply, next) = (tcb.reply.get()?, tcb.waiting.next);
        let may_call = rights.contains(CapRights::WRITE) && rights.and(CALL) != CapRights::NONE;
        if !may_call || !tcb.sched_context.is_none() {
            return None;
        }
        let root = self.next_address_space(server)?;

        self.get_mut(endpoint).remove_first_receiver(next);
        if let Some(next) = next.get() {
            self.get_mut(next).waiting.prev = Link::NONE;
            self.get_mut(server).waiting.next = Link::NONE;
        }
        self.lend_through(reply, lent);
        self.get_mut(reply).thread = Link::to(caller);
        let tcb = self.get_mut(caller);
        tcb.state = ThreadState::BLOCKED_ON_REPLY;
        tcb.reply = Link::to(reply);
        tcb.sched_context = Link::NONE;
        self.get_mut(server).reply = Link::NONE;
        self.fast_switch(server, lent, root);
        Some((server, badge))
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
        // Only callers that wait are in the stack of those that lent.
        let object = self.get(reply);
        if object.lent != Link::to(lent) || !rights.contains(CapRights::READ) {
            return None;
        }
        let caller = object.thread.get()?;
        let tcb = self.get(caller);
        let in_page_fault = tcb.fault.label == FaultLabel::VmFault as u64;
        if !tcb.sched_context.is_none() || tcb.fault.label != 0 && !in_page_fault {
            return None;
        }
        let last = match self.get(endpoint).last_receiver()? {
            Some(last) if self.get(last).priority < self.get(server).priority => return None,
            last => last,
        };
        let root = self.next_address_space(caller)?;

        self.get_mut(caller).reply = Link::NONE;
        self.return_through(reply, lent);
        self.get_mut(reply).thread = Link::to(server);
        let tcb = self.get_mut(server);
        tcb.state = ThreadState::BLOCKED_ON_RECEIVE;
        tcb.blocked_on = endpoint.address();
        tcb.reply = Link::to(reply);
        tcb.sched_context = Link::NONE;
        self.wait_to_receive(endpoint, last, server);
        self.fast_switch(caller, lent, root);
        if self.get(caller).fault.label == 0 {
            let info = self.copy_words(server, caller, info);
            self.finish_message(caller, 0, info);
        } else {
            self.answer_fault(server, caller);
            self.get_mut(caller).resume();
        }
        Some(caller)
    }

    /// The page-table root of a thread that could go on at once: nobody that is ready has a higher
    /// priority, and the root is known.
    #[inline(always)]
    fn next_address_space(&self, thread: Ref<Tcb>) -> Option<PhysAddr> {
        let tcb = self.get(thread);
        if self.scheduler.goes_first(tcb) { self.known_address_space(tcb) } else { None }
    }

    /// Puts a thread into the queue of those that wait for a message, behind the last.
    #[inline(always)]
    fn wait_to_receive(
        &mut self,
        endpoint: Ref<Endpoint>,
        last: Option<Ref<Tcb>>,
        thread: Ref<Tcb>,
    ) {
        let Some(last) = last else {
            self.get_mut(endpoint).set_only_receiver(thread);
            return;
        };
        self.get_mut(last).waiting.next = Link::to(thread);
        self.get_mut(thread).waiting.prev = Link::to(last);
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
