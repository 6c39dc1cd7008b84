//! The server's decisions: sans-IO. Requests come in as methods, answers that are due come out.
//!
//! `R` is whatever answers a caller: a number in tests, a `Later` in the process.

use alloc::vec::Vec;

use crate::events::{Event, Journal};
use crate::interface::CounterError;

/// Callers that wait at most.
pub const WAITERS: usize = 8;

/// The number, and who waits for it to grow.
#[derive(Debug)]
pub struct Core<R> {
    value: u64,
    waiting: Vec<(u64, R)>,
    journal: Journal,
}

/// The process answers this caller with the number.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<R>(pub R, pub u64);

impl<R> Default for Core<R> {
    fn default() -> Self {
        Self { value: 0, waiting: Vec::new(), journal: Journal::default() }
    }
}

impl<R> Core<R> {
    /// Adds to the number; those that waited for what it is now are to be answered.
    ///
    /// # Errors
    /// [`CounterError::Overflow`]; nothing has changed then.
    pub fn add(&mut self, amount: u64) -> Result<(u64, Vec<Answer<R>>), CounterError> {
        let Some(sum) = self.value.checked_add(amount) else {
            self.journal.note(Event::Refused);
            return Err(CounterError::Overflow);
        };
        self.value = sum;
        self.journal.note(Event::Added(amount));
        let reached: Vec<_> = self.waiting.extract_if(.., |(limit, _)| *limit <= sum).collect();
        reached.iter().for_each(|(limit, _)| self.journal.note(Event::Reached(*limit)));
        Ok((sum, reached.into_iter().map(|(_, reply)| Answer(reply, sum)).collect()))
    }

    /// A caller waits until the number is at least `limit`; where it is, the answer is due at once.
    ///
    /// # Errors
    /// [`CounterError::TooManyWait`] and the reply back when [`WAITERS`] others wait.
    pub fn wait(&mut self, limit: u64, reply: R) -> Result<Option<Answer<R>>, (R, CounterError)> {
        if self.value >= limit {
            return Ok(Some(Answer(reply, self.value)));
        }
        if self.waiting.len() == WAITERS {
            self.journal.note(Event::Refused);
            return Err((reply, CounterError::TooManyWait));
        }
        self.journal.note(Event::Waits(limit));
        self.waiting.push((limit, reply));
        Ok(None)
    }

    /// The number.
    #[must_use]
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// What was done so far.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_waiter_is_answered_when_its_number_is_reached() {
        let mut core = Core::default();
        assert_eq!(core.wait(5, 'a'), Ok(None));
        assert_eq!(core.add(4), Ok((4, vec![])));
        assert_eq!(core.add(2), Ok((6, vec![Answer('a', 6)])));
        assert_eq!(core.wait(6, 'b'), Ok(Some(Answer('b', 6))));
        assert_eq!(core.journal().recorder().value("additions"), 2);
    }

    #[test]
    fn too_much_changes_nothing() {
        let mut core = Core::<()>::default();
        core.add(u64::MAX).expect("fits");
        assert_eq!(core.add(1), Err(CounterError::Overflow));
        assert_eq!(core.value(), u64::MAX);
    }

    proptest! {
        /// Beside a list of all who wait: each is answered once, as soon as its number is reached.
        #[test]
        fn no_waiter_is_forgotten(steps in prop::collection::vec((any::<bool>(), 0u64..20), 0..60)) {
            let (mut core, mut waiting, mut sum) = (Core::default(), Vec::new(), 0);
            for (reply, (adds, number)) in steps.into_iter().enumerate() {
                if adds {
                    sum += number;
                    let (told, answers) = core.add(number).expect("small");
                    prop_assert_eq!(told, sum);
                    let due: Vec<_> = waiting.extract_if(.., |(limit, _)| *limit <= sum).collect();
                    let due = due.into_iter().map(|(_, reply)| Answer(reply, sum));
                    prop_assert_eq!(answers, due.collect::<Vec<_>>());
                } else if number <= sum {
                    prop_assert_eq!(core.wait(number, reply), Ok(Some(Answer(reply, sum))));
                } else if waiting.len() == WAITERS {
                    let refused = Err((reply, CounterError::TooManyWait));
                    prop_assert_eq!(core.wait(number, reply), refused);
                } else {
                    prop_assert_eq!(core.wait(number, reply), Ok(None));
                    waiting.push((number, reply));
                }
            }
        }
    }
}
