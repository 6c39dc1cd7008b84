//! Reply objects: the way back to a caller, and the chain of lent scheduling contexts (manual, chapter 4.2.4).

use crate::objects::{SchedContext, Tcb, ThreadState};
use crate::{Kernel, Link, Machine, Ref};
use d3os_abi::{CapRights, FaultLabel};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A reply object: free, offered by a thread that receives, or holding a caller.
///
/// Callers that lent their scheduling context on form a stack under it: `above` leads towards the
/// callee that runs on it, `below` towards the thread that it came from.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Reply {
    /// The receiver that offers it or the caller that waits through it, by that thread's state.
    pub(crate) thread: Link<Tcb>,
    /// The reply that answers the thread which this caller serves.
    pub(crate) below: Link<Reply>,
    /// The reply of the caller that this caller's callee became in turn.
    pub(crate) above: Link<Reply>,
    /// For the top of the stack instead of `above`: the scheduling context that the callee runs on.
    pub(crate) lent: Link<SchedContext>,
}

const _: () = assert!(size_of::<Reply>() == 1 << d3os_abi::size_bits::REPLY);

impl<M: Machine> Kernel<M> {
    /// A caller's message has reached `callee`: the caller waits, held by the reply object. If it
    /// donates and the callee has no time of its own, its scheduling context goes along.
    #[inline]
    pub(crate) fn push_reply(
        &mut self,
        caller: Ref<Tcb>,
        callee: Ref<Tcb>,
        reply: Ref<Reply>,
        donates: bool,
    ) {
        let tcb = self.get_mut(caller);
        tcb.state = ThreadState::BLOCKED_ON_REPLY;
        tcb.reply = Link::to(reply);
        let context = tcb.sched_context;
        self.get_mut(reply).thread = Link::to(caller);
        if let Some(context) = context.get()
            && donates
            && self.get(callee).sched_context.is_none()
        {
            self.lend_through(reply, context);
            self.donate(context, callee);
        }
    }

    /// Makes `reply` the top of the stack of those that lent the scheduling context.
    #[inline(always)]
    pub(crate) fn lend_through(&mut self, reply: Ref<Reply>, lent: Ref<SchedContext>) {
        let object = self.get_mut(lent);
        let below = core::mem::replace(&mut object.reply, Link::to(reply));
        if let Some(below) = below.get() {
            let below = self.get_mut(below);
            below.lent = Link::NONE;
            below.above = Link::to(reply);
        }
        let object = self.get_mut(reply);
        object.below = below;
        object.lent = Link::to(lent);
    }

    /// Takes `reply` from the top of that stack.
    #[inline(always)]
    pub(crate) fn return_through(&mut self, reply: Ref<Reply>, lent: Ref<SchedContext>) {
        let object = self.get_mut(reply);
        object.lent = Link::NONE;
        let below = core::mem::take(&mut object.below);
        self.get_mut(lent).reply = below;
        if let Some(below) = below.get() {
            let below = self.get_mut(below);
            below.above = Link::NONE;
            below.lent = Link::to(lent);
        }
    }

    /// Separates a reply object from its thread, which is left inactive.
    #[inline]
    pub(crate) fn unlink_reply(&mut self, reply: Ref<Reply>, thread: Ref<Tcb>) {
        self.get_mut(reply).thread = Link::NONE;
        let tcb = self.get_mut(thread);
        tcb.reply = Link::NONE;
        tcb.state = ThreadState::INACTIVE;
    }

    /// The caller gets its scheduling context back, if it is the last that lent it on; otherwise
    /// the stack is cut here. The caller is left inactive.
    #[inline]
    fn return_to_caller(&mut self, reply: Ref<Reply>, caller: Ref<Tcb>) {
        if let Some(context) = self.get(reply).lent.get() {
            self.return_through(reply, context);
            if self.get(caller).sched_context.is_none() {
                self.donate(context, caller);
            }
        } else {
            self.cut_stack(reply);
        }
        self.unlink_reply(reply, caller);
    }

    /// Takes a reply object out of its stack; what lay below it is never returned to.
    fn cut_stack(&mut self, reply: Ref<Reply>) {
        let object = *self.get(reply);
        if let Some(context) = object.lent.get() {
            self.get_mut(context).reply = Link::NONE;
        }
        if let Some(above) = object.above.get() {
            self.get_mut(above).below = Link::NONE;
        }
        if let Some(below) = object.below.get() {
            self.get_mut(below).above = Link::NONE;
        }
        let object = self.get_mut(reply);
        object.below = Link::NONE;
        object.above = Link::NONE;
        object.lent = Link::NONE;
    }

    /// The caller no longer waits; whoever has its scheduling context keeps it.
    pub(crate) fn abandon_reply(&mut self, reply: Ref<Reply>, caller: Ref<Tcb>) {
        self.cut_stack(reply);
        self.unlink_reply(reply, caller);
    }

    /// Sends the answer of `sender` to the caller that the reply object holds, if it holds one:
    /// a message, or how to go on after a fault.
    #[inline]
    pub(crate) fn answer_caller(&mut self, sender: Ref<Tcb>, reply: Ref<Reply>, can_grant: bool) {
        let Some(caller) = self.get(reply).thread.get() else { return };
        if self.get(caller).state != ThreadState::BLOCKED_ON_REPLY {
            return;
        }
        self.return_to_caller(reply, caller);
        let context = self.get(caller).sched_context.get();
        if let Some(context) = context {
            self.wake_sporadic(context);
        }
        let fault = self.get(caller).fault.label;
        if fault == 0 {
            let rights = if can_grant { CapRights::GRANT } else { CapRights::NONE };
            self.transfer(sender, None, 0, rights, caller);
            self.get_mut(caller).state = ThreadState::RUNNING;
        } else {
            self.answer_fault(sender, caller);
        }
        if let Some(context) = context {
            self.go_on(caller, context, fault);
        }
    }

    /// Lets an answered caller run when there is budget for it; that there is none is told to its
    /// timeout handler, unless that has just answered.
    #[inline]
    fn go_on(&mut self, caller: Ref<Tcb>, context: Ref<SchedContext>, fault: u64) {
        let told = fault == FaultLabel::Timeout as u64;
        if told || !self.is_schedulable(caller) || self.has_budget(context) {
            self.wake(caller);
        } else if self.has_timeout_handler(caller) {
            self.get_mut(caller).keep_position();
            self.raise_timeout(caller, context);
        } else {
            self.postpone(context);
        }
    }

    /// The reply object is going away: its caller stops, its receiver no longer waits.
    pub(crate) fn finalise_reply(&mut self, reply: Ref<Reply>) {
        let Some(thread) = self.get(reply).thread.get() else { return };
        if self.get(thread).state == ThreadState::BLOCKED_ON_REPLY {
            self.return_to_caller(reply, thread);
        } else {
            self.cancel_ipc(thread);
        }
    }
}
