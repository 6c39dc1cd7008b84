//! Scheduling domains (manual, chapter 6.1.4): groups of threads that run by turns, so that what one
//! does tells another nothing by the time that it takes.

use crate::objects::Tcb;
use crate::{
    Answer, Cap, Decoded, Invocation, Kernel, Machine, Outcome, Ref, SyscallError, Ticks, ensure,
    ensure_range,
};
use d3os_abi::Label;

/// Domains that exist; fixed when the kernel is built. The shipped kernel has one; the core's own tests
/// have four.
pub const DOMAINS: usize = if cfg!(any(test, feature = "four-domains")) { 4 } else { 1 };
/// Entries of the schedule.
const SCHEDULE_ENTRIES: usize = 2 * DOMAINS;

/// When each domain has its turn.
#[derive(Debug)]
pub(crate) struct DomainSchedule {
    turns: [Turn; SCHEDULE_ENTRIES],
    start: usize,
    current: usize,
}

/// An entry of the schedule; a duration of 0 marks its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    domain: u8,
    duration: Ticks,
}

impl DomainSchedule {
    /// Domain 0, for ever.
    pub(crate) const fn new() -> Self {
        let mut turns = [Turn { domain: 0, duration: 0 }; SCHEDULE_ENTRIES];
        turns[0].duration = LONGEST_TURN;
        Self { turns, start: 0, current: 0 }
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
    Configure { index: usize, turn: Turn },
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
                let is_end = self.domains.turns[index].duration == 0;
                ensure(!is_end, SyscallError::InvalidArgument(0))?;
                Ok(DomainRequest::SetStart { index })
            }
            _ => Err(SyscallError::IllegalOperation),
        }
    }

    fn decode_configure_schedule(&self, inv: &Invocation) -> Decoded<DomainRequest> {
        let duration = self.argument(inv, 2)?;
        let index = check_index(self.argument(inv, 0)?)?;
        let domain = check_domain(self.argument(inv, 1)?, 1)?;
        ensure_range(duration, 0, LONGEST_TURN)?;
        // The entry that the schedule begins with cannot become its end.
        let keeps_start = duration != 0 || index != self.domains.start;
        ensure(keeps_start, SyscallError::InvalidArgument(2))?;
        Ok(DomainRequest::Configure { index, turn: Turn { domain, duration } })
    }

    /// Carries out an invocation of the domain set.
    pub(crate) fn perform_domain(&mut self, request: DomainRequest) -> Outcome {
        match request {
            DomainRequest::Set { thread, domain } => self.set_domain(thread, domain),
            DomainRequest::Configure { index, turn } => self.domains.turns[index] = turn,
            DomainRequest::SetStart { index } => {
                self.domains.start = index;
                self.take_turn(index);
            }
        }
        Ok(Answer::Empty)
    }

    /// The turn is over: that of the next entry begins, or the schedule anew.
    pub(crate) fn next_turn(&mut self) {
        let next = self.domains.current + 1;
        let is_end = self.domains.turns.get(next).is_none_or(|turn| turn.duration == 0);
        self.take_turn(if is_end { self.domains.start } else { next });
    }

    fn take_turn(&mut self, index: usize) {
        self.domains.current = index;
        let Turn { domain, duration } = self.domains.turns[index];
        self.begin_turn(domain, duration);
    }
}

/// A domain's number: 8 bits count.
fn check_domain(word: u64, argument: u64) -> Decoded<u8> {
    match u8::try_from(word & 0xff) {
        Ok(domain) if usize::from(domain) < DOMAINS => Ok(domain),
        _ => Err(SyscallError::InvalidArgument(argument)),
    }
}

fn check_index(word: u64) -> Decoded<usize> {
    match usize::try_from(word) {
        Ok(index) if index < SCHEDULE_ENTRIES => Ok(index),
        _ => Err(SyscallError::Range { min: 0, max: SCHEDULE_ENTRIES as u64 - 1 }),
    }
}
