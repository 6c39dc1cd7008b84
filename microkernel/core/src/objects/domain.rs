//! Scheduling domains (manual, chapter 6.1.4): groups of threads that run by turns, so that what one
//! does tells another nothing by the time that it takes.

use crate::{
    Answer, Cap, Decoded, Invocation, Kernel, Machine, SyscallError, Ticks, ensure, ensure_range,
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

impl<M: Machine> Kernel<M> {
    /// Moves a thread to a domain, writes an entry of the schedule, or begins the schedule at an entry,
    /// now and whenever it repeats.
    pub(crate) fn invoke_domain(&mut self, inv: &Invocation) -> Decoded<Answer> {
        match inv.label()? {
            Label::DomainSetSet => {
                let domain = check_domain(self.argument(inv, 0)?, 0)?;
                let Cap::Thread { object } = self.extra_cap(inv, 0)?.1 else {
                    return Err(SyscallError::InvalidArgument(1));
                };
                self.set_domain(object, domain);
            }
            Label::DomainSetScheduleConfigure => {
                let duration = self.argument(inv, 2)?;
                let index = check_index(self.argument(inv, 0)?)?;
                let domain = check_domain(self.argument(inv, 1)?, 1)?;
                ensure_range(duration, 0, LONGEST_TURN)?;
                // The entry that the schedule begins with cannot become its end.
                let keeps_start = duration != 0 || index != self.domains.start;
                ensure(keeps_start, SyscallError::InvalidArgument(2))?;
                self.domains.turns[index] = Turn { domain, duration };
            }
            Label::DomainSetScheduleSetStart => {
                let index = check_index(self.argument(inv, 0)?)?;
                let is_end = self.domains.turns[index].duration == 0;
                ensure(!is_end, SyscallError::InvalidArgument(0))?;
                self.domains.start = index;
                self.take_turn(index);
            }
            _ => return Err(SyscallError::IllegalOperation),
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
