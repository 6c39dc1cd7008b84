//! Scheduling domains (manual, chapter 6.1.4): there is one, so the schedule can be configured but
//! never leaves it.

use crate::objects::Tcb;
use crate::{
    Answer, Cap, Decoded, Invocation, Kernel, Machine, Outcome, Ref, SyscallError, Ticks, ensure,
    ensure_range,
};
use d3os_abi::Label;

/// Domains that exist.
const DOMAINS: u64 = 1;
/// Entries of the schedule.
const SCHEDULE_ENTRIES: usize = 2;

/// When each domain has its turn.
#[derive(Debug)]
pub(crate) struct DomainSchedule {
    /// How long the turn of each entry is, always of domain 0; a duration of 0 marks the end.
    durations: [Ticks; SCHEDULE_ENTRIES],
    start: usize,
}

impl DomainSchedule {
    /// Domain 0, for ever.
    pub(crate) const fn new() -> Self {
        Self { durations: [LONGEST_TURN, 0], start: 0 }
    }
}

/// Longest duration of a turn: what 56 bits hold.
const LONGEST_TURN: Ticks = Ticks::MAX >> 8;

/// A decoded invocation of the domain set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DomainRequest {
    /// Moves a thread to a domain.
    Set { thread: Ref<Tcb>, domain: u8 },
    /// Writes an entry of the schedule.
    Configure { index: usize, duration: Ticks },
    /// Begins the schedule at an entry, now and whenever it repeats.
    SetStart { index: usize },
}

impl<M: Machine> Kernel<M> {
    /// Decodes an invocation of the domain set.
    pub(crate) fn decode_domain(&self, inv: &Invocation) -> Decoded<DomainRequest> {
        match inv.label()? {
            Label::DomainSetSet => {
                let domain = check_domain(self.argument(inv, 0)?, 0)?;
                let Cap::Thread { object } = self.extra_cap(inv, 0)?.1 else {
                    return Err(SyscallError::InvalidArgument(1));
                };
                Ok(DomainRequest::Set { thread: object, domain })
            }
            Label::DomainSetScheduleConfigure => self.decode_configure_schedule(inv),
            Label::DomainSetScheduleSetStart => {
                let index = check_index(self.argument(inv, 0)?)?;
                let is_end = self.domains.durations[index] == 0;
                ensure(!is_end, SyscallError::InvalidArgument(0))?;
                Ok(DomainRequest::SetStart { index })
            }
            _ => Err(SyscallError::IllegalOperation),
        }
    }

    fn decode_configure_schedule(&self, inv: &Invocation) -> Decoded<DomainRequest> {
        let duration = self.argument(inv, 2)?;
        let index = check_index(self.argument(inv, 0)?)?;
        check_domain(self.argument(inv, 1)?, 1)?;
        ensure_range(duration, 0, LONGEST_TURN)?;
        // The entry that the schedule begins with cannot become its end.
        let keeps_start = duration != 0 || index != self.domains.start;
        ensure(keeps_start, SyscallError::InvalidArgument(2))?;
        Ok(DomainRequest::Configure { index, duration })
    }

    /// Carries out an invocation of the domain set.
    pub(crate) fn perform_domain(&mut self, request: DomainRequest) -> Outcome {
        match request {
            DomainRequest::Set { thread, domain } => self.get_mut(thread).domain = domain,
            DomainRequest::Configure { index, duration } => {
                self.domains.durations[index] = duration;
            }
            DomainRequest::SetStart { index } => self.domains.start = index,
        }
        Ok(Answer::Empty)
    }
}

/// A domain's number: 8 bits count.
fn check_domain(word: u64, argument: u64) -> Decoded<u8> {
    match u8::try_from(word & 0xff) {
        Ok(domain) if u64::from(domain) < DOMAINS => Ok(domain),
        _ => Err(SyscallError::InvalidArgument(argument)),
    }
}

fn check_index(word: u64) -> Decoded<usize> {
    match usize::try_from(word) {
        Ok(index) if index < SCHEDULE_ENTRIES => Ok(index),
        _ => Err(SyscallError::Range { min: 0, max: SCHEDULE_ENTRIES as u64 - 1 }),
    }
}
