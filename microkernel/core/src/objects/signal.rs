//! Signals between cores: the sending end, and how both ends are issued.
//!
//! A signal line is one interrupt vector of the core that it leads to. The receiving end is an
//! interrupt handler like any (see `irq`): it binds a notification, and a line that has delivered
//! stays masked until it is acknowledged; what arrives meanwhile is kept as one. The instances
//! share nothing but the interrupt itself.

use super::irq::check_range;
use crate::{
    Answer, Cap, Decoded, Invocation, Kernel, Machine, Outcome, Ref, Slot, SyscallError, ensure,
};
use d3os_abi::{FIRST_SIGNAL_VECTOR, Label, SIGNAL_LINES};

/// A new end of a signal line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignalIssue {
    cap: Cap,
    dest: Ref<Slot>,
}

/// Whether the interrupt control object is asked for an end of a signal line.
pub(crate) fn asks_for_signal(inv: &Invocation) -> bool {
    matches!(
        Label::from_number(inv.label),
        Some(Label::IrqControlIssueSignal | Label::IrqControlGetSignal)
    )
}

impl<M: Machine> Kernel<M> {
    /// Checks an invocation of the interrupt control object that [`asks_for_signal`].
    pub(crate) fn decode_signal_issue(&self, inv: &Invocation) -> Decoded<SignalIssue> {
        let sends = inv.label()? == Label::IrqControlIssueSignal;
        let skipped = usize::from(sends);
        let [line, index, depth] = self.arguments(inv, skipped)?;
        let (_, root) = self.extra_cap(inv, 0)?;
        let cap = if sends {
            let core = self.check_core(self.argument(inv, 0)?, 0)?;
            Cap::Signal { core, line: check_line(line)? }
        } else {
            let vector = FIRST_SIGNAL_VECTOR + check_line(line)?;
            ensure(!self.irqs.is_in_use(vector), SyscallError::RevokeFirst)?;
            Cap::IrqHandler { vector }
        };
        Ok(SignalIssue { cap, dest: self.empty_slot(root, index, depth)? })
    }

    /// Issues an end of a signal line.
    pub(crate) fn perform_signal_issue(&mut self, inv: &Invocation, issue: SignalIssue) -> Outcome {
        if let Cap::IrqHandler { vector } = issue.cap {
            self.irqs.set_in_use(vector);
        }
        self.insert_derived(issue.dest, issue.cap, inv.slot);
        Ok(Answer::Empty)
    }

    /// Signals: a send of any kind does.
    pub(crate) fn perform_signal(&mut self, core: u32, line: u8) -> Outcome {
        self.machine.send_signal(core, line);
        Ok(Answer::Empty)
    }

    /// A core's number, from `least` on.
    pub(super) fn check_core(&self, core: u64, least: u32) -> Decoded<u32> {
        let last = self.machine.cores().saturating_sub(1);
        let range = SyscallError::Range { min: least.into(), max: last.into() };
        u32::try_from(core).ok().filter(|core| (least..=last).contains(core)).ok_or(range)
    }
}

fn check_line(line: u64) -> Decoded<u8> {
    check_range(line, u64::from(SIGNAL_LINES) - 1)
}
