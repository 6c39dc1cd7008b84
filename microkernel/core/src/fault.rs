//! Faults: messages to handlers, and their answers (manual, chapter 6.2).
//!
//! A fault is sent as a message on behalf of the thread that had it, through the endpoint in its
//! fault or timeout slot. It waits for the reply like a caller; the reply may rewrite its registers
//! and lets it go on at the instruction that faulted, or leaves it stopped.

use crate::ipc::SendMode;
use crate::objects::{FaultRecord, SchedContext, SendTerms, Tcb, TcbSlot, ThreadState};
use crate::{Cap, Kernel, LookupFailure, Machine, Ref};
use d3os_abi::{FaultLabel, MessageInfo, fault_length};

/// What a thread was doing when an address of its led nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Sending.
    Send,
    /// Receiving.
    Receive,
}

/// What a thread cannot go on because of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A capability was not found.
    Cap {
        /// Its address.
        cptr: u64,
        /// What for.
        phase: Phase,
        /// Why.
        failure: LookupFailure,
    },
    /// There is no such system call.
    UnknownSyscall {
        /// RDX.
        number: i64,
    },
    /// The processor raised an exception.
    UserException {
        /// Which.
        vector: u8,
        /// Its error code, or zero.
        error_code: u64,
    },
    /// The budget ran out.
    Timeout {
        /// Of the scheduling context.
        badge: u64,
    },
    /// The processor raised a page fault.
    Vm {
        /// The address accessed.
        address: u64,
        /// The processor's error code.
        error_code: u64,
    },
}

/// Bit of a page fault's error code: an instruction was fetched.
const INSTRUCTION_FETCH: u64 = 1 << 4;

/// Registers of messages about faults, by their index in a register frame ([`d3os_abi::REGISTERS`]).
mod order {
    /// Unknown system call: RAX RBX RCX RDX RSI RDI RBP R8..R15 RIP RSP RFLAGS.
    pub(super) const UNKNOWN_SYSCALL: &[usize] =
        &[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 0, 1, 2];
    /// User exception: RIP RSP RFLAGS.
    pub(super) const USER_EXCEPTION: &[usize] = &[0, 1, 2];
    /// Timeout reply: all but GS base.
    pub(super) const TIMEOUT_REPLY: &[usize] =
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18];
}
const _: () = assert!(order::UNKNOWN_SYSCALL.len() == fault_length::UNKNOWN_SYSCALL_REPLY);
const _: () = assert!(order::USER_EXCEPTION.len() == fault_length::USER_EXCEPTION_REPLY);
const _: () = assert!(order::TIMEOUT_REPLY.len() == fault_length::TIMEOUT_REPLY);

impl Fault {
    /// How it is stored until it is answered.
    #[inline]
    pub(crate) fn record(self) -> FaultRecord {
        let (label, words) = match self {
            Self::Cap { cptr, phase, failure } => {
                let words = failure.words().0;
                let in_receive = u64::from(phase == Phase::Receive);
                (FaultLabel::Cap, [cptr, in_receive, words[0], words[1], words[2], words[3]])
            }
            Self::UnknownSyscall { number } => {
                (FaultLabel::UnknownSyscall, [number.cast_unsigned(), 0, 0, 0, 0, 0])
            }
            Self::UserException { vector, error_code } => {
                (FaultLabel::UserException, [vector.into(), error_code, 0, 0, 0, 0])
            }
            Self::Timeout { badge } => (FaultLabel::Timeout, [badge, 0, 0, 0, 0, 0]),
            Self::Vm { address, error_code } => {
                let fetch = u64::from(error_code & INSTRUCTION_FETCH != 0);
                (FaultLabel::VmFault, [address, fetch, error_code, 0, 0, 0])
            }
        };
        FaultRecord { label: label as u64, words }
    }
}

impl<M: Machine> Kernel<M> {
    /// Tells a thread's fault handler; without one the thread stops. The handler is lent the
    /// thread's time if it has none.
    pub(crate) fn raise_fault(&mut self, thread: Ref<Tcb>, fault: Fault) {
        self.send_to_handler(thread, TcbSlot::FaultHandler, fault, SendMode::FAULT);
    }

    /// Tells a thread's timeout handler that its budget has run out.
    pub(crate) fn raise_timeout(&mut self, thread: Ref<Tcb>, context: Ref<SchedContext>) {
        let fault = Fault::Timeout { badge: self.get(context).badge };
        self.send_to_handler(thread, TcbSlot::TimeoutHandler, fault, SendMode::TIMEOUT);
    }

    /// Whether somebody wants to know that a thread's budget has run out.
    pub(crate) fn has_timeout_handler(&self, thread: Ref<Tcb>) -> bool {
        let cap = self.cap_at(Self::tcb_slot(thread, TcbSlot::TimeoutHandler));
        matches!(cap, Cap::Endpoint { .. })
    }

    fn send_to_handler(&mut self, thread: Ref<Tcb>, slot: TcbSlot, fault: Fault, mode: SendMode) {
        match self.cap_at(Self::tcb_slot(thread, slot)) {
            Cap::Endpoint { object, badge, rights } => {
                self.get_mut(thread).fault = fault.record();
                let terms = SendTerms { badge, rights: rights.word(), is_call: 0 };
                self.send_ipc(thread, object, terms, mode);
            }
            _ => self.stop_unhandled(thread, fault),
        }
    }

    fn stop_unhandled(&mut self, thread: Ref<Tcb>, fault: Fault) {
        self.get_mut(thread).state = ThreadState::INACTIVE;
        #[cfg(feature = "debug-syscalls")]
        self.print_unhandled(thread, fault);
        #[cfg(not(feature = "debug-syscalls"))]
        let _ = fault;
    }

    /// Delivers the fault that a thread waits to tell.
    pub(crate) fn transfer_fault(&mut self, sender: Ref<Tcb>, badge: u64, receiver: Ref<Tcb>) {
        let FaultRecord { label, words: [a, b, c, d, e, f] } = self.get(sender).fault;
        let ip = self.get(sender).context.instruction();
        let length = match FaultLabel::from_number(label) {
            Some(FaultLabel::VmFault) => self.set_message_words(receiver, &[ip, a, b, c]),
            Some(FaultLabel::Cap) => {
                let kind_words = [2, 1, 2, 3, 4].get(index_of(c)).copied().unwrap_or(1);
                let words = [ip, a, b, c, d, e, f];
                self.set_message_words(receiver, &words[..3 + kind_words])
            }
            Some(FaultLabel::UnknownSyscall) => {
                self.tell_registers(sender, receiver, order::UNKNOWN_SYSCALL, &[a])
            }
            Some(FaultLabel::UserException) => {
                self.tell_registers(sender, receiver, order::USER_EXCEPTION, &[a, b])
            }
            Some(FaultLabel::Timeout) => match self.get(sender).sched_context.get() {
                Some(context) => {
                    let consumed = self.take_consumed(context);
                    self.set_message_words(receiver, &[a, consumed])
                }
                None => self.set_message_words(receiver, &[a]),
            },
            _ => 0,
        };
        self.finish_message(receiver, badge, MessageInfo::new(label, 0, 0, length));
    }

    /// Writes registers, then words, to a receiver; how many it had room for.
    fn tell_registers(
        &mut self,
        sender: Ref<Tcb>,
        receiver: Ref<Tcb>,
        order: &[usize],
        rest: &[u64],
    ) -> usize {
        let context = self.get(sender).context;
        let registers = order.iter().map(|register| context.read_register(*register));
        let mut length = 0;
        for word in registers.chain(rest.iter().copied()) {
            if !self.set_message_word(receiver, length, word) {
                break;
            }
            length += 1;
        }
        length
    }

    /// Carries out a handler's answer: registers that it rewrites, and whether the thread goes on.
    pub(crate) fn answer_fault(&mut self, handler: Ref<Tcb>, thread: Ref<Tcb>) {
        let info = MessageInfo(self.get(handler).context.rsi);
        let registers = match FaultLabel::from_number(self.get(thread).fault.label) {
            Some(FaultLabel::UnknownSyscall) => order::UNKNOWN_SYSCALL,
            Some(FaultLabel::UserException) => order::USER_EXCEPTION,
            Some(FaultLabel::Timeout) => order::TIMEOUT_REPLY,
            _ => &[],
        };
        for (index, register) in registers.iter().enumerate().take(info.length()) {
            let Some(word) = self.message_word(handler, index) else { break };
            self.get_mut(thread).context.write_register(*register, word);
        }
        let goes_on = registers.is_empty() || info.label() == 0;
        let tcb = self.get_mut(thread);
        tcb.fault = FaultRecord::default();
        tcb.state = if goes_on { ThreadState::RESTART } else { ThreadState::INACTIVE };
    }
}

fn index_of(word: u64) -> usize {
    usize::try_from(word).unwrap_or(usize::MAX)
}
