//! An invocation of a kernel object: what decoding looks at, and what carrying it out returns.
//!
//! Each object has a `decode` that checks everything and changes nothing, and returns a request
//! type of its own; only that request can be carried out. Carrying out can be preempted (the
//! system call is then restarted), but cannot fail.

use crate::objects::Tcb;
use crate::{Cap, Decoded, Kernel, Machine, Preempted, Ref, Slot, SyscallError, ensure};
use d3os_abi::Label;

/// A message to a kernel object; words are fetched on demand with `Kernel::argument`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Invocation {
    /// The message's label.
    pub(crate) label: u64,
    /// Words in the message.
    pub(crate) length: usize,
    /// The capability that was invoked.
    pub(crate) cap: Cap,
    /// Where it lies.
    pub(crate) slot: Ref<Slot>,
    /// Slots of the extra capabilities, in order; `None` from the first that was not sent.
    pub(crate) extra: [Option<Ref<Slot>>; 3],
    /// The invoking thread.
    pub(crate) thread: Ref<Tcb>,
}

/// Words that an invocation answers with (most answer none).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Success, no words.
    #[default]
    Empty,
    /// Success, one word.
    Word(u64),
    /// Success; the words are already in the caller's message registers (`ReadRegisters`), this many.
    Written(usize),
    /// The caller's registers, state and reply are already what they must be (it changed itself).
    Done,
}

/// How carrying out ended: complete, or [`Preempted`]; then what was done is kept, and the thread
/// restarts its system call.
pub(crate) type Outcome = Result<Answer, Preempted>;

impl Invocation {
    /// What the object is asked to do.
    ///
    /// # Errors
    /// `IllegalOperation` for a number that is no label.
    pub(crate) fn label(&self) -> Decoded<Label> {
        Label::from_number(self.label).ok_or(SyscallError::IllegalOperation)
    }

    /// Checks that the object is asked to do the only thing that it does.
    ///
    /// # Errors
    /// `IllegalOperation` for any other.
    pub(crate) fn ensure_label(&self, label: Label) -> Decoded<()> {
        ensure(self.label == label.number(), SyscallError::IllegalOperation)
    }
}

impl<M: Machine> Kernel<M> {
    /// The `index`th word of the message.
    ///
    /// # Errors
    /// `TruncatedMessage` where the message is shorter.
    #[inline]
    pub(crate) fn argument(&self, inv: &Invocation, index: usize) -> Decoded<u64> {
        ensure(index < inv.length, SyscallError::TruncatedMessage)?;
        self.message_word(inv.thread, index).ok_or(SyscallError::TruncatedMessage)
    }

    /// The `index`th capability sent along, and where it lies.
    ///
    /// # Errors
    /// `TruncatedMessage` where fewer were sent.
    pub(crate) fn extra_cap(&self, inv: &Invocation, index: usize) -> Decoded<(Ref<Slot>, Cap)> {
        let slot = inv.extra.get(index).copied().flatten().ok_or(SyscallError::TruncatedMessage)?;
        Ok((slot, self.cap_at(slot)))
    }

    /// The first `N` words of the message from `first` on.
    ///
    /// # Errors
    /// `TruncatedMessage` where the message is shorter.
    pub(crate) fn arguments<const N: usize>(
        &self,
        inv: &Invocation,
        first: usize,
    ) -> Decoded<[u64; N]> {
        let mut words = [0; N];
        for (word, index) in words.iter_mut().zip(first..) {
            *word = self.argument(inv, index)?;
        }
        Ok(words)
    }

    /// The thread that the `index`th capability names.
    ///
    /// # Errors
    /// `TruncatedMessage` where fewer were sent, `InvalidCapability` where it names something else.
    pub(crate) fn extra_thread(&self, inv: &Invocation, index: usize) -> Decoded<Ref<Tcb>> {
        match self.extra_cap(inv, index)?.1 {
            Cap::Thread { object } => Ok(object),
            _ => Err(SyscallError::InvalidCapability(index as u64 + 1)),
        }
    }

    /// Decodes and carries out an invocation of a kernel object (message passing is elsewhere).
    ///
    /// # Errors
    /// What decoding refused it for; then nothing has changed.
    pub(crate) fn perform(&mut self, inv: &Invocation) -> Decoded<Outcome> {
        match inv.cap {
            Cap::Untyped { .. } => self.decode_untyped(inv).map(|r| self.perform_untyped(inv, r)),
            Cap::CNode { .. } => self.decode_cnode(inv).map(|r| self.perform_cnode(r)),
            Cap::Thread { object } => {
                self.decode_tcb(inv, object).map(|r| self.perform_tcb(inv, object, r))
            }
            Cap::SchedContext { object, .. } => self
                .decode_sched_context(inv, object)
                .map(|r| self.perform_sched_context(inv, object, r)),
            Cap::SchedControl { .. } => {
                self.decode_sched_control(inv).map(|r| self.perform_sched_control(r))
            }
            Cap::Frame { .. } => self.decode_frame(inv).map(|r| self.perform_frame(inv, r)),
            Cap::Table { .. } => self.decode_table(inv).map(|r| self.perform_table(inv, r)),
            Cap::AsidControl => self.decode_asid_control(inv).map(|r| self.perform_asid_control(r)),
            Cap::AsidPool { .. } => self.decode_asid_pool(inv).map(|r| self.perform_asid_pool(r)),
            Cap::IrqControl => {
                self.decode_irq_control(inv).map(|r| self.perform_irq_control(inv, r))
            }
            Cap::IrqHandler { .. } => {
                self.decode_irq_handler(inv).map(|r| self.perform_irq_handler(inv, r))
            }
            Cap::IoPortControl => {
                self.decode_io_port_control(inv).map(|r| self.perform_io_port_control(inv, r))
            }
            Cap::IoPort { .. } => self.decode_io_port(inv).map(|r| self.perform_io_port(r)),
            Cap::Domain => self.decode_domain(inv).map(|r| self.perform_domain(r)),
            Cap::VSpace { .. } => Err(SyscallError::IllegalOperation),
            Cap::Null
            | Cap::Zombie { .. }
            | Cap::Endpoint { .. }
            | Cap::Notification { .. }
            | Cap::Reply { .. } => Err(SyscallError::InvalidCapability(0)),
        }
    }
}
