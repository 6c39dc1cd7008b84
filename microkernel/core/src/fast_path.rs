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
use crate::objects::{Endpoint, SchedContext, Tcb, TcbSlot, ThreadState, Waiting};
use crate::scheduler::Place;
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
        let slot = self.lookup_directly(thread, self.get(thread).context.rdi)?;
        let (notification, badge, rights) = self.get(slot).raw.as_notification()?;
        let has_caps = MessageInfo(self.get(thread).context.rsi).extra_caps() > 0;
        if !rights.contains(CapRights::WRITE) || has_caps {
            return None;
        }
        let object = self.get_mut(notification);
        let waiter = object.waiting.head.get();
        if waiter.is_none() && object.bound_thread.is_none() {
            object.keep(badge);
            return Some(Next::Thread(thread));
        }
        self.update_time();
        if let Some(waiter) = waiter
            && let Some(root) = self.preempting(thread, waiter)
        {
            self.remove_signal_waiter(notification, waiter);
            self.finish_message(waiter, badge, MessageInfo(0));
            self.get_mut(waiter).state = ThreadState::RUNNING;
            if let Some(context) = self.get(waiter).sched_context.get() {
                self.wake_sporadic(context);
            }
            self.make_ready(thread, Place::First);
            self.switch_to(waiter, root);
            return Some(Next::Thread(waiter));
        }
        Some(self.within_budget(|kernel| kernel.signal(notification, badge)))
    }

    #[inline(always)]
    fn wait_directly(&mut self, thread: Ref<Tcb>) -> Option<Next> {
        let slot = self.lookup_directly(thread, self.get(thread).context.rdi)?;
        let (notification, _, rights) = self.get(slot).raw.as_notification()?;
        let object = self.get_mut(notification);
        if !rights.contains(CapRights::READ) || !object.may_receive(thread) {
            return None;
        }
        if let Some(badge) = object.take() {
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
