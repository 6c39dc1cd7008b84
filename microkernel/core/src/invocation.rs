//! An invocation of a kernel object: what decoding looks at, and what carrying it out returns.
//!
//! An invocation checks everything before it changes anything: what is refused has changed nothing, and
//! nothing fails on the way (the fuzzer holds every refusal to that). Where there is much to check, or
//! to do, a `decode` returns a request that is then carried out, which can be preempted (the system
//! call is then restarted).

use crate::cap::{RawCap, tag};
use crate::objects::Tcb;
use crate::{Cap, Decoded, Kernel, Link, Machine, Preempted, Ref, Slot, SyscallError, ensure};
use d3os_abi::{Label, MAX_EXTRA_CAPS};

/// Slots of the capabilities that a message carries, in order.
pub(crate) type SentCaps = [Link<Slot>; MAX_EXTRA_CAPS];

/// The message carries none.
pub(crate) const NO_CAPS: SentCaps = [Link::NONE; MAX_EXTRA_CAPS];

/// A message to a kernel object; words are fetched on demand with `Kernel::argument`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Invocation {
    /// The message's label.
    pub(crate) label: u64,
    /// Words in the message.
    pub(crate) length: usize,
    /// Where the capability lies that was invoked.
    pub(crate) slot: Ref<Slot>,
    /// Slots of the extra capabilities, in order; none from the first that was not sent.
    pub(crate) extra: SentCaps,
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
        self.arguments(inv, index).map(|[word]| word)
    }

    /// `N` words of the message from `first` on.
    ///
    /// # Errors
    /// `TruncatedMessage` where the message is shorter.
    #[inline(always)]
    pub(crate) fn arguments<const N: usize>(
        &self,
        inv: &Invocation,
        first: usize,
    ) -> Decoded<[u64; N]> {
        ensure(first + N <= inv.length, SyscallError::TruncatedMessage)?;
        let mut words = [0; N];
        for (word, index) in words.iter_mut().zip(first..) {
            *word = self.message_word(inv.thread, index).unwrap_or(0);
        }
        Ok(words)
    }

    /// The capability that was invoked.
    #[inline]
    pub(crate) fn invoked(&self, inv: &Invocation) -> RawCap {
        self.get(inv.slot).raw
    }

    /// Where the `index`th capability sent along lies.
    ///
    /// # Errors
    /// `TruncatedMessage` where fewer were sent.
    #[inline]
    pub(crate) fn extra_slot(&self, inv: &Invocation, index: usize) -> Decoded<Ref<Slot>> {
        inv.extra.get(index).and_then(|slot| slot.get()).ok_or(SyscallError::TruncatedMessage)
    }

    /// The `index`th capability sent along.
    ///
    /// # Errors
    /// As [`Kernel::extra_slot`].
    #[inline]
    pub(crate) fn extra_raw(&self, inv: &Invocation, index: usize) -> Decoded<RawCap> {
        self.extra_slot(inv, index).map(|slot| self.get(slot).raw)
    }

    /// The `index`th capability sent along, and where it lies.
    ///
    /// # Errors
    /// As [`Kernel::extra_slot`].
    pub(crate) fn extra_cap(&self, inv: &Invocation, index: usize) -> Decoded<(Ref<Slot>, Cap)> {
        let slot = self.extra_slot(inv, index)?;
        Ok((slot, self.cap_at(slot)))
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

    /// Decodes and carries out an invocation of a kernel object of this type (message passing is
    /// elsewhere).
    ///
    /// # Errors
    /// What decoding refused it for; then nothing has changed.
    #[inline(always)]
    pub(crate) fn perform(&mut self, kind: u64, inv: &Invocation) -> Decoded<Outcome> {
        match kind {
            tag::CNODE => self.invoke_cnode(inv),
            tag::UNTYPED => self.invoke_untyped(inv),
            tag::FRAME => self.invoke_frame(inv),
            _ => self.invoke_other(kind, inv),
        }
    }

    #[inline(never)]
    fn invoke_other(&mut self, kind: u64, inv: &Invocation) -> Decoded<Outcome> {
        let object = self.invoked(inv);
        match kind {
            tag::TABLE => self.invoke_table(inv).map(Ok),
            tag::THREAD => self.invoke_tcb(inv, object.object()),
            tag::SCHED_CONTEXT => self.invoke_sched_context(inv, object.object()).map(Ok),
            tag::SCHED_CONTROL => self.invoke_sched_control(inv).map(Ok),
            tag::ASID_CONTROL => self.invoke_asid_control(inv).map(Ok),
            tag::ASID_POOL => self.invoke_asid_pool(inv).map(Ok),
            tag::IRQ_CONTROL => self.invoke_irq_control(inv).map(Ok),
            tag::IO_PORT_CONTROL => self.invoke_io_port_control(inv).map(Ok),
            tag::IO_PORT => self.invoke_io_port(inv).map(Ok),
            tag::CORE_CONTROL => self.invoke_core_control(inv).map(Ok),
            tag::DOMAIN => self.invoke_domain(inv).map(Ok),
            tag::SIGNAL | tag::IRQ_HANDLER => match object.unpack() {
                Cap::IrqHandler { vector } => self.invoke_irq_handler(inv, vector),
                Cap::Signal { core, line } => {
                    self.machine.send_signal(core, line);
                    Ok(Ok(Answer::Empty))
                }
                _ => Err(SyscallError::InvalidCapability(0)),
            },
            tag::VSPACE => Err(SyscallError::IllegalOperation),
            _ => Err(SyscallError::InvalidCapability(0)),
        }
    }

    #[inline(never)]
    fn invoke_untyped(&mut self, inv: &Invocation) -> Decoded<Outcome> {
        self.decode_untyped(inv).map(|request| self.perform_untyped(inv, request))
    }
}
