//! One client's calls of one server: which is next, and whether an answer is right.

use alloc::vec::Vec;
use core::fmt;

use libd3os::call::{CallError, Error};

use crate::echo::{EchoError, Echoed};

/// Lengths of requests, in turn: up to one cache line, several, and close to the longest.
const LENGTHS: [usize; 8] = [0, 8, 31, 8, 120, 8, 56, 880];

/// The calls of a server so far.
#[derive(Clone, Debug)]
pub struct Course {
    /// Makes this course's bytes unlike another's.
    salt: u64,
    /// Number of the call to be made.
    number: u64,
    /// Life and count of the last answer.
    last: Option<(u64, u64)>,
    /// A call has failed since.
    is_out: bool,
    /// Calls that were answered.
    pub answered: u64,
    /// Times that another server answered than before.
    pub restarts: u64,
    /// Times that a call failed for the first time after an answer: its server had ended.
    pub outages: u64,
}

/// What an honest outcome of a call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Answered; the next call is another.
    Answered,
    /// The server is away: the same call is to be made again.
    Away,
}

/// Why an outcome shows that something was lost, doubled, mixed up or spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The answer's bytes are not the request's.
    Bytes,
    /// The server has counted otherwise.
    Count {
        /// Calls since the server started, as this client knows.
        due: u64,
        /// As the server told.
        told: u64,
    },
    /// A call failed, and yet the server is the same as before.
    FailedInVain,
    /// The server missed a call.
    Server(EchoError),
    /// A call failed as no call may.
    Call(CallError),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes => f.write_str("an answer is not that of its request"),
            Self::Count { due, told } => write!(f, "the server counts {told} calls and not {due}"),
            Self::FailedInVain => f.write_str("a call failed, and the server had not ended"),
            Self::Server(error) => write!(f, "the server missed a call: {error}"),
            Self::Call(error) => write!(f, "a call failed: {error}"),
        }
    }
}

impl core::error::Error for Flaw {}

impl Course {
    /// No call yet.
    #[must_use]
    pub const fn new(salt: u64) -> Self {
        Self { salt, number: 0, last: None, is_out: false, answered: 0, restarts: 0, outages: 0 }
    }

    /// The number of the call to be made.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The bytes of the call to be made.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let [turn, ..] = self.number.to_le_bytes();
        let length = LENGTHS[usize::from(turn) % LENGTHS.len()];
        let first = (self.salt << 48 | self.number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let words = (0..).map(|word: u64| first.rotate_left(7).wrapping_add(word));
        words.flat_map(u64::to_le_bytes).take(length).collect()
    }

    /// Takes what became of the call.
    ///
    /// # Errors
    /// [`Flaw`]: the system has lost or spoilt something.
    pub fn take(&mut self, outcome: Result<Echoed, Error<EchoError>>) -> Result<Progress, Flaw> {
        match outcome {
            Ok(echoed) => self.answer(&echoed).map(|()| Progress::Answered),
            Err(Error::Call(CallError::Restarted | CallError::Unavailable)) => {
                self.outages += u64::from(!self.is_out);
                self.is_out = true;
                Ok(Progress::Away)
            }
            Err(Error::Call(error)) => Err(Flaw::Call(error)),
            Err(Error::Service(error)) => Err(Flaw::Server(error)),
        }
    }

    fn answer(&mut self, echoed: &Echoed) -> Result<(), Flaw> {
        if !echoed.bytes.iter().rev().eq(&self.bytes()) {
            return Err(Flaw::Bytes);
        }
        let due = match self.last {
            Some((life, _)) if life == echoed.life && self.is_out => {
                return Err(Flaw::FailedInVain);
            }
            Some((life, count)) if life == echoed.life => count + 1,
            Some(_) => {
                self.restarts += 1;
                1
            }
            None => 1,
        };
        if echoed.count != due {
            return Err(Flaw::Count { due, told: echoed.count });
        }
        self.last = Some((echoed.life, echoed.count));
        self.is_out = false;
        self.number += 1;
        self.answered += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo::{Echo, Ledger};
    use libd3os::call::Caller;
    use proptest::prelude::*;

    const CALLER: Caller = Caller(9);

    fn ask(course: &Course, ledger: &mut Ledger) -> Result<Echoed, Error<EchoError>> {
        ledger.echo(CALLER, course.number(), course.bytes()).map_err(Error::Service)
    }

    fn step(course: &mut Course, ledger: &mut Ledger) -> Result<Progress, Flaw> {
        let outcome = ask(course, ledger);
        course.take(outcome)
    }

    const AWAY: Result<Echoed, Error<EchoError>> = Err(Error::Call(CallError::Restarted));

    #[test]
    fn a_call_that_is_lost_doubled_or_mixed_up_is_found() {
        let (mut course, mut ledger) = (Course::new(1), Ledger::new(7));
        assert_eq!(step(&mut course, &mut ledger), Ok(Progress::Answered));
        let mut doubled = course.clone();
        let answer = ask(&course, &mut ledger);
        assert_eq!(course.take(answer.clone()), Ok(Progress::Answered));
        assert_eq!(course.take(answer), Err(Flaw::Bytes), "of the call before");
        let twice = step(&mut doubled, &mut ledger);
        assert_eq!(twice, Err(Flaw::Server(EchoError::OutOfOrder { due: 2 })));
        let mut unanswered = course.clone();
        assert!(ask(&unanswered, &mut ledger).is_ok(), "which the client does not get");
        assert!(matches!(step(&mut unanswered, &mut ledger), Err(Flaw::Server(_))));
        let mut echoed = ask(&course, &mut Ledger::new(7)).expect("a first call");
        assert_eq!(course.take(Ok(echoed.clone())), Err(Flaw::Count { due: 3, told: 1 }));
        echoed.bytes.push(0);
        assert_eq!(course.take(Ok(echoed)), Err(Flaw::Bytes));
        let busy = course.take(Err(Error::Call(CallError::Busy)));
        assert_eq!(busy, Err(Flaw::Call(CallError::Busy)));
    }

    #[test]
    fn a_call_fails_only_when_the_server_ends() {
        let (mut course, mut ledger) = (Course::new(1), Ledger::new(7));
        assert_eq!(step(&mut course, &mut ledger), Ok(Progress::Answered));
        assert_eq!(course.take(AWAY), Ok(Progress::Away));
        assert_eq!(step(&mut course.clone(), &mut ledger), Err(Flaw::FailedInVain));
        assert_eq!(course.take(AWAY), Ok(Progress::Away));
        assert_eq!(step(&mut course, &mut Ledger::new(8)), Ok(Progress::Answered));
        assert_eq!((course.answered, course.restarts, course.outages), (2, 1, 1));
        assert_eq!(step(&mut course, &mut Ledger::new(9)), Ok(Progress::Answered), "it waited");
        assert_eq!((course.restarts, course.outages), (2, 1));
    }

    proptest! {
        /// With restarts whenever, nothing honest is taken for a flaw, and all calls are answered.
        #[test]
        fn an_honest_system_has_no_flaw(ends in prop::collection::vec(any::<bool>(), 1..200)) {
            let (mut course, mut ledger) = (Course::new(3), Ledger::new(0));
            for (life, has_ended) in (1..).zip(ends) {
                if has_ended {
                    // The call was made or was not: nobody knows.
                    if life % 2 == 0 {
                        prop_assert!(ask(&course, &mut ledger).is_ok());
                    }
                    ledger = Ledger::new(life);
                    prop_assert_eq!(course.take(AWAY), Ok(Progress::Away));
                }
                prop_assert_eq!(step(&mut course, &mut ledger), Ok(Progress::Answered));
            }
            prop_assert_eq!(course.answered, course.number());
        }
    }
}
