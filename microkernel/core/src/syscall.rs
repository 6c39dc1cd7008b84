//! System calls: what each asks for, and the answers of the kernel's own objects.

use crate::cap::tag;
use crate::fault::{Fault, Phase};
use crate::invocation::NO_CAPS;
use crate::ipc::SendMode;
use crate::objects::{Context, SendTerms, Tcb, ThreadState};
use crate::{
    Answer, Invocation, Kernel, LookupFailure, Machine, Preempted, Ref, Slot, SyscallError,
};
use d3os_abi::{CapRights, MESSAGE_REGISTERS, MessageInfo, Syscall};

/// Whether a receiving system call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocking {
    /// Until there is something.
    Wait,
    /// It does not.
    Poll,
}

/// Whether a receiving system call brings a reply object, in R12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyUse {
    /// It does.
    InR12,
    /// It does not: callers cannot be answered.
    Without,
}

impl<M: Machine> Kernel<M> {
    /// Does what the SYSCALL of `thread`, the running one, asks for.
    #[inline]
    pub(crate) fn handle_syscall(&mut self, thread: Ref<Tcb>, number: i64) {
        let &Context { rdi, r12, r13, .. } = &self.get(thread).context;
        if !self.check_budget_or_restart() {
            return;
        }
        #[cfg(feature = "debug-syscalls")]
        if self.handle_debug_syscall(thread, number) {
            return;
        }
        match Syscall::from_number(number) {
            // A preempted invocation has left the thread to restart its system call.
            Some(Syscall::Call) => drop(self.invoke(thread, rdi, SendMode::CALL)),
            Some(Syscall::Send) => drop(self.send(thread, rdi, SendMode::SEND)),
            Some(Syscall::NBSend) => drop(self.send(thread, rdi, SendMode::NB_SEND)),
            Some(Syscall::ReplyRecv) => self.send_receive(thread, r12, rdi, ReplyUse::InR12),
            Some(Syscall::NBSendRecv) => self.send_receive(thread, r13, rdi, ReplyUse::InR12),
            Some(Syscall::NBSendWait) => self.send_receive(thread, r12, rdi, ReplyUse::Without),
            Some(Syscall::Recv) => self.receive(thread, rdi, Blocking::Wait, ReplyUse::InR12),
            Some(Syscall::NBRecv) => self.receive(thread, rdi, Blocking::Poll, ReplyUse::InR12),
            Some(Syscall::Wait) => self.receive(thread, rdi, Blocking::Wait, ReplyUse::Without),
            Some(Syscall::NBWait) => self.receive(thread, rdi, Blocking::Poll, ReplyUse::Without),
            Some(Syscall::Yield) => self.yield_time(),
            Some(Syscall::SetTLSBase) => self.set_tls_base(thread, rdi),
            _ => self.raise_fault(thread, Fault::UnknownSyscall { number }),
        }
    }

    /// As `invoke`, which is a part of `Call`, as this is how kernel objects are invoked; other sends
    /// mostly are messages or signals that carry nothing.
    #[inline(never)]
    fn send(&mut self, thread: Ref<Tcb>, cptr: u64, mode: SendMode) -> Invoked {
        if MessageInfo(self.get(thread).context.rsi).extra_caps() == 0
            && let Some(slot) = self.lookup_directly(thread, cptr)
            && self.send_message(thread, slot, mode)
        {
            return Invoked::Done;
        }
        self.invoke(thread, cptr, mode)
    }

    /// A send that does not wait, then a receive. What goes wrong with the send is not told.
    fn send_receive(&mut self, thread: Ref<Tcb>, to: u64, from: u64, reply: ReplyUse) {
        if self.send(thread, to, SendMode::FIRST_PHASE) != Invoked::Preempted {
            self.receive(thread, from, Blocking::Wait, reply);
        }
    }

    /// Sends the thread's message to what `cptr` names.
    #[inline(always)]
    fn invoke(&mut self, thread: Ref<Tcb>, cptr: u64, mode: SendMode) -> Invoked {
        let info = MessageInfo(self.get(thread).context.rsi);
        let slot = match self.lookup(thread, cptr) {
            Ok(slot) => slot,
            Err(failure) => return self.send_astray(thread, mode, cptr, failure),
        };
        let length = self.message_length(thread, info);
        let mut inv = Invocation { label: info.label(), length, slot, extra: NO_CAPS, thread };
        if let Err((cptr, failure)) = self.find_sent_caps(thread, info, &mut inv.extra) {
            return self.send_astray(thread, mode, cptr, failure);
        }
        let is_message = self.get(slot).raw.tag() <= tag::LAST_SENT_THROUGH;
        if is_message && self.send_message(thread, slot, mode) {
            return Invoked::Done;
        }
        self.invoke_object(&inv, mode)
    }

    /// The message names a capability that is not there: a fault, where the sender waits; otherwise
    /// the message is dropped.
    #[cold]
    fn send_astray(
        &mut self,
        thread: Ref<Tcb>,
        mode: SendMode,
        cptr: u64,
        failure: LookupFailure,
    ) -> Invoked {
        if mode.blocks {
            self.raise_fault(thread, Fault::Cap { cptr, phase: Phase::Send, failure });
        }
        Invoked::Done
    }

    /// Sends the thread's message to another thread, if that is what the capability in `slot` is for.
    #[inline]
    fn send_message(&mut self, thread: Ref<Tcb>, slot: Ref<Slot>, mode: SendMode) -> bool {
        let raw = self.get(slot).raw;
        if let Some((object, badge, rights)) = raw.as_notification() {
            if !rights.contains(CapRights::WRITE) {
                return false;
            }
            self.signal(object, badge);
            self.confirm(thread, mode);
        } else if let Some((object, badge, rights)) = raw.as_endpoint() {
            if !rights.contains(CapRights::WRITE) {
                return false;
            }
            let is_call = u64::from(mode.is_call);
            let terms = SendTerms { badge, rights: rights.word(), is_call };
            self.send_ipc(thread, object, terms, mode);
        } else if let Some((object, can_grant)) = raw.as_reply() {
            self.answer_caller(thread, object, can_grant);
            self.confirm(thread, mode);
        } else {
            return false;
        }
        true
    }

    /// Answers a `Call` of an object that has no answer of its own.
    fn confirm(&mut self, thread: Ref<Tcb>, mode: SendMode) {
        if mode.is_call && self.get(thread).state == ThreadState::RUNNING {
            self.write_reply(thread, Answer::Empty);
        }
    }

    #[inline(always)]
    fn invoke_object(&mut self, inv: &Invocation, mode: SendMode) -> Invoked {
        let kind = self.invoked(inv).tag();
        let refused_first = matches!(kind, tag::THREAD | tag::CNODE | tag::SCHED_CONTEXT);
        if refused_first && mode.is_first_phase() {
            return Invoked::Done;
        }
        self.get_mut(inv.thread).state = ThreadState::RESTART;
        let outcome = match self.perform(kind, inv) {
            Ok(Err(Preempted)) => return Invoked::Preempted,
            Ok(Ok(reply)) => Ok(reply),
            Err(error) => Err(error),
        };
        // The thread may have suspended or deleted itself; then there is nobody to answer.
        if self.get(inv.thread).state == ThreadState::RESTART {
            self.get_mut(inv.thread).state = ThreadState::RUNNING;
            match outcome {
                Ok(reply) if mode.is_call => self.write_reply(inv.thread, reply),
                Err(error) if mode.is_call => self.write_error(inv.thread, error),
                _ => {}
            }
        }
        Invoked::Done
    }

    fn write_reply(&mut self, thread: Ref<Tcb>, reply: Answer) {
        let length = match reply {
            Answer::Empty => 0,
            Answer::Word(word) => {
                self.set_message_word(thread, 0, word);
                1
            }
            Answer::Written(length) => length,
            Answer::Done => return,
        };
        self.finish_message(thread, 0, MessageInfo::new(0, 0, 0, length));
    }

    fn write_error(&mut self, thread: Ref<Tcb>, error: SyscallError) {
        let (label, words, count) = error.message();
        let length = self.set_message_words(thread, &words[..count]);
        self.finish_message(thread, 0, MessageInfo::new(label.number(), 0, 0, length));
    }

    /// The words of a message that are there: what does not fit the registers needs a buffer.
    fn message_length(&self, thread: Ref<Tcb>, info: MessageInfo) -> usize {
        let length = info.length();
        if length > MESSAGE_REGISTERS && self.ipc_buffer(thread).is_none() {
            MESSAGE_REGISTERS
        } else {
            length
        }
    }

    /// Receives from what `cptr` names.
    #[inline]
    fn receive(&mut self, thread: Ref<Tcb>, cptr: u64, blocking: Blocking, reply: ReplyUse) {
        match self.receive_checked(thread, cptr, blocking, reply) {
            Ok(()) => {}
            Err(fault) => self.raise_fault(thread, fault),
        }
    }

    #[inline]
    fn receive_checked(
        &mut self,
        thread: Ref<Tcb>,
        cptr: u64,
        blocking: Blocking,
        reply: ReplyUse,
    ) -> Result<(), Fault> {
        let fault = |cptr, failure| Fault::Cap { cptr, phase: Phase::Receive, failure };
        let missing = LookupFailure::MissingCapability { bits_left: 0 };
        let slot = self.lookup(thread, cptr).map_err(|failure| fault(cptr, failure))?;
        let raw = self.get(slot).raw;
        if let Some((object, _, rights)) = raw.as_notification()
            && rights.contains(CapRights::READ)
            && self.get(object).may_receive(thread)
        {
            self.receive_signal(thread, object, blocking);
            return Ok(());
        }
        let Some((object, _, rights)) = raw.as_endpoint() else {
            return Err(fault(cptr, missing));
        };
        if !rights.contains(CapRights::READ) {
            return Err(fault(cptr, missing));
        }
        let mut offer = None;
        if reply == ReplyUse::InR12 {
            let cptr = self.get(thread).context.r12;
            let slot = self.lookup(thread, cptr).map_err(|failure| fault(cptr, failure))?;
            let (object, _) = self.get(slot).raw.as_reply().ok_or(fault(cptr, missing))?;
            offer = Some(object);
        }
        self.receive_ipc(thread, object, blocking, offer);
        Ok(())
    }
}

/// How far an invocation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invoked {
    /// To its end, or it was refused.
    Done,
    /// The system call is repeated from its beginning.
    Preempted,
}
