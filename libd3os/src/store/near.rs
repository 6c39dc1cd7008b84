//! Data near memory: an operator goes through an object where it lies, and only what comes of it travels.
//!
//! The object server does the work, a part of the object at a time ([`Pmem::work`](crate::service::pmem::Pmem::work)),
//! with others' calls in between. It is work of the processor's core that the server runs on, by one thread: what is
//! saved is to open the object, and to have its bytes sent. [`Sweep`] decides which part comes next and puts
//! the outcomes together; it knows nothing of calls.
//!
//! All parts must be of one version of one object. Where it was changed in between, the sweep begins
//! again, and after [`ATTEMPTS`] times gives up.

use alloc::string::ToString;
use core::ops::Range;

use libd3os_object::operators::{Operator, Outcome};

use super::StoreError;
use crate::call::{Error, Transport};
use crate::object::layout::{HEADER, PAGE_BYTES, PAGES};
use crate::service::pmem::{
    ObjectName, PLACES_MOST, PmemClient, PmemError, WORK_MOST, WorkDone, WorkPart,
};

/// How often a sweep is begun through an object that others change meanwhile.
pub const ATTEMPTS: u32 = 16;
/// How often a part is asked for whose object somebody holds.
const LOOKS: u32 = 256;

/// What came of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The object.
    pub id: ObjectName,
    /// Its version, of which all parts were.
    pub version: u64,
    /// The outcome. Places are offsets in the object.
    pub outcome: Outcome,
}

/// All bytes of an object of so many pages of 4 KiB, its header included: those that are free, and what
/// describes its heap, too.
#[must_use]
pub fn whole(pages: u64) -> Range<u64> {
    PAGES..pages.saturating_mul(PAGE_BYTES).saturating_add(HEADER).max(PAGES)
}

/// Carries out an operator on bytes of the object at a path. No session is needed.
///
/// # Errors
/// [`StoreError::Changing`] where others change the object all the time, or why the server refused.
pub fn carry_out<T: Transport>(
    client: &PmemClient<T>,
    path: &str,
    range: Range<u64>,
    operator: &Operator,
) -> Result<Swept, StoreError> {
    for _ in 0..ATTEMPTS {
        let mut sweep = Sweep::new(operator, range.clone());
        while let Some((part, message)) = sweep.next() {
            if sweep.take(ask(client, path, part, &message)?).is_err() {
                break;
            }
        }
        if let Some(swept) = sweep.done() {
            return Ok(swept);
        }
    }
    Err(StoreError::Changing)
}

/// Asks for one part, again while somebody changes the object just now.
fn ask<T: Transport>(
    client: &PmemClient<T>,
    path: &str,
    part: WorkPart,
    message: &Operator,
) -> Result<WorkDone, StoreError> {
    for _ in 0..LOOKS {
        match client.work(path.to_string(), part, message.encode()) {
            Err(Error::Service(PmemError::Busy)) => crate::sys::yield_now(),
            settled => return Ok(settled?),
        }
    }
    Err(StoreError::Refused(PmemError::Busy))
}

/// An operator on its way through an object.
#[derive(Debug)]
pub struct Sweep<'o> {
    operator: &'o Operator,
    at: u64,
    end: u64,
    object: Option<(ObjectName, u64)>,
    outcome: Outcome,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// An empty range takes one part, too, which tells the version.
    Begun,
    Under,
    Changed,
}

/// A part was of another version than those before, or of another object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed;

impl<'o> Sweep<'o> {
    /// From the beginning of a range of offsets.
    #[must_use]
    pub const fn new(operator: &'o Operator, range: Range<u64>) -> Self {
        let outcome = operator.nothing();
        Self {
            operator,
            at: range.start,
            end: range.end,
            object: None,
            outcome,
            state: State::Begun,
        }
    }

    /// What to ask for next: a part, and what is to be done with it. Nothing when it is done.
    #[must_use]
    pub fn next(&self) -> Option<(WorkPart, Operator)> {
        let is_due = match self.state {
            State::Begun => true,
            State::Under => self.at < self.end,
            State::Changed => false,
        };
        let end = self.end.min(self.at.saturating_add(WORK_MOST as u64)).max(self.at);
        let part = WorkPart { begin: self.at, end, reach: self.end.max(end) };
        is_due.then(|| (part, self.operator.limited(self.wanted().min(PLACES_MOST))))
    }

    /// Places that are still to be told.
    fn wanted(&self) -> u32 {
        let told = match &self.outcome {
            Outcome::Found { places, .. } => u32::try_from(places.len()).unwrap_or(u32::MAX),
            _ => 0,
        };
        self.operator.limit().saturating_sub(told)
    }

    /// Takes what came of the part that was asked for.
    ///
    /// # Errors
    /// [`Changed`]: this sweep has ended.
    pub fn take(&mut self, done: WorkDone) -> Result<(), Changed> {
        let found = (done.id, done.version);
        let Some((part, asked)) = self.next() else { return Ok(()) };
        if *self.object.get_or_insert(found) != found {
            self.state = State::Changed;
            return Err(Changed);
        }
        let (outcome, to) = self.of_object(done.outcome, part, &asked);
        let first = core::mem::replace(&mut self.outcome, self.operator.nothing());
        self.outcome = self.operator.together(first, outcome);
        (self.at, self.state) = (to, State::Under);
        Ok(())
    }

    /// An outcome with offsets of the object, and up to where it holds: where more places are wanted than
    /// one answer has room for, up to the last of them.
    fn of_object(&self, outcome: Outcome, part: WorkPart, asked: &Operator) -> (Outcome, u64) {
        let Outcome::Found { mut places, count } = outcome else { return (outcome, part.end) };
        places.iter_mut().for_each(|place| *place = place.saturating_add(part.begin));
        let told = places.len() as u64;
        let are_left = told < count && asked.limit() < self.wanted();
        let last = places.last().copied().filter(|_| are_left);
        match last.filter(|last| (part.begin..part.end).contains(last)) {
            Some(last) => (Outcome::Found { places, count: told }, last + 1),
            None => (Outcome::Found { places, count }, part.end),
        }
    }

    /// What came of all parts, once there is no next one.
    #[must_use]
    pub fn done(self) -> Option<Swept> {
        let is_done = self.state == State::Under && self.at >= self.end;
        let (id, version) = self.object.filter(|_| is_done)?;
        Some(Swept { id, version, outcome: self.outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use libd3os_object::operators::Pattern;
    use proptest::prelude::*;

    const FIRST: u64 = PAGES;

    /// What the server does, with an object that begins at [`FIRST`].
    fn serve(bytes: &[u8], version: u64, part: WorkPart, message: &Operator) -> WorkDone {
        let at = |offset: u64| usize::try_from(offset - FIRST).expect("small");
        assert!(message.limit() <= PLACES_MOST && part.end - part.begin <= WORK_MOST as u64);
        let all = &bytes[at(part.begin)..at(part.reach)];
        let outcome = message.carry_out(all, 0..at(part.end) - at(part.begin));
        WorkDone { id: ObjectName(7), version, outcome }
    }

    fn sweep(operator: &Operator, bytes: &[u8], range: Range<u64>) -> Swept {
        let mut sweep = Sweep::new(operator, range);
        while let Some((part, message)) = sweep.next() {
            sweep.take(serve(bytes, 1, part, &message)).expect("nobody changes it");
        }
        sweep.done().expect("to the end")
    }

    fn search(pattern: &[u8], limit: u32) -> Operator {
        Operator::Search { pattern: Pattern::new(pattern).expect("short"), limit }
    }

    #[test]
    fn more_places_than_fit_in_an_answer_are_told_by_several() {
        let bytes = vec![b'a'; 200];
        let range = FIRST..FIRST + 200;
        let Outcome::Found { places, count } =
            sweep(&search(b"aa", 150), &bytes, range.clone()).outcome
        else {
            panic!("a search finds");
        };
        let expected: Vec<u64> = (FIRST..FIRST + 150).collect();
        assert_eq!((places, count), (expected, 199));
        let none = sweep(&search(b"aa", 0), &bytes, range).outcome;
        assert_eq!(none, Outcome::Found { places: vec![], count: 199 });
    }

    #[test]
    fn a_match_over_a_boundary_is_found_once() {
        let mut bytes = vec![0; WORK_MOST + 100];
        bytes[WORK_MOST - 2..WORK_MOST + 2].copy_from_slice(b"word");
        let end = FIRST + bytes.len() as u64;
        let found = sweep(&search(b"word", 3), &bytes, FIRST..end).outcome;
        let place = FIRST + WORK_MOST as u64 - 2;
        assert_eq!(found, Outcome::Found { places: vec![place], count: 1 });
        let before = sweep(&search(b"word", 3), &bytes, FIRST..place + 3).outcome;
        assert_eq!(before, Outcome::Found { places: vec![], count: 0 }, "it ends outside");
    }

    #[test]
    fn a_change_in_between_ends_it() {
        let bytes = vec![1; 2 * WORK_MOST];
        let mut sweep = Sweep::new(&Operator::Sum, FIRST..FIRST + bytes.len() as u64);
        let (part, message) = sweep.next().expect("the first");
        sweep.take(serve(&bytes, 1, part, &message)).expect("the first");
        let (part, message) = sweep.next().expect("the second");
        assert_eq!(sweep.take(serve(&bytes, 2, part, &message)), Err(Changed));
        assert!(sweep.next().is_none() && sweep.done().is_none());
    }

    #[test]
    fn nothing_has_an_outcome_and_a_version() {
        let swept = sweep(&Operator::Least, &[], FIRST..FIRST);
        assert_eq!((swept.version, swept.outcome), (1, Outcome::Word(None)));
        assert_eq!((whole(3), whole(0)), (0x2000..0x4000, 0x2000..0x2000));
    }

    proptest! {
        #[test]
        fn a_sweep_finds_what_one_look_finds(
            bytes in prop::collection::vec(b'a'..=b'b', 0..600),
            pattern in prop::collection::vec(b'a'..=b'b', 1..4),
            limit in 0..300_u32,
        ) {
            let operator = search(&pattern, limit);
            let mut expected = operator.carry_out(&bytes, 0..bytes.len());
            if let Outcome::Found { places, .. } = &mut expected {
                places.iter_mut().for_each(|place| *place += FIRST);
            }
            let swept = sweep(&operator, &bytes, FIRST..FIRST + bytes.len() as u64);
            prop_assert_eq!(swept.outcome, expected);
        }
    }
}
