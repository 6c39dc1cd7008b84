//! Where a server counts and notes what it does.

use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt::{self, Display};

use super::{Count, Happening, TracePage};
use crate::call::MAX_BYTES;
use crate::control::note_event;
use crate::time::{Clock, tsc};
use crate::trace::Trace;

/// Bytes of a part of a trace that are not events.
const OVERHEAD: usize = 48;
/// Bytes of an event that are not its words: their length, and the time.
const EVENT_BYTES: usize = 12;

/// What can be told about a server.
pub trait Observable {
    /// Its counters, always the same ones in the same order.
    fn counters(&self) -> Vec<Count>;

    /// As many of its events from number `from` on as fit in a message.
    fn page(&self, from: u64) -> TracePage;
}

/// Counts of what a server does, and its last `N` events. A clone is the same recorder.
pub struct Recorder<E, const N: usize>(Rc<Record<E, N>>);

struct Record<E, const N: usize> {
    counters: RefCell<Vec<(&'static str, Counter)>>,
    events: RefCell<Trace<Stamped<E>, N>>,
}

/// An event, and the time stamp counter when it was noted.
#[derive(Clone, Copy, Debug)]
struct Stamped<E> {
    at: u64,
    event: E,
}

/// A number that grows. A clone is the same counter.
#[derive(Clone, Debug, Default)]
pub struct Counter(Rc<Cell<u64>>);

impl Counter {
    /// Adds to it. After 2⁶⁴ it begins anew.
    pub fn add(&self, amount: u64) {
        self.0.set(self.0.get().wrapping_add(amount));
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

impl<E: Copy, const N: usize> Recorder<E, N> {
    /// The counter of this name, which is told to whoever observes the server. Counters are told
    /// in the order in which they were first asked for.
    #[must_use]
    pub fn counter(&self, name: &'static str) -> Counter {
        let mut counters = self.0.counters.borrow_mut();
        if let Some((_, counter)) = counters.iter().find(|(known, _)| *known == name) {
            return counter.clone();
        }
        let counter = Counter::default();
        counters.push((name, counter.clone()));
        counter
    }

    /// Notes an event; the oldest makes room. A program that is to end at this event does not return
    /// from here.
    pub fn note(&self, event: E) {
        note_event();
        self.0.events.borrow_mut().note(Stamped { at: tsc(), event });
    }

    /// The events that are still known from number `from` on, with their numbers, oldest first.
    #[must_use]
    pub fn recent(&self, from: u64) -> Vec<(u64, E)> {
        let events = self.0.events.borrow();
        events.recent(from).map(|(number, stamped)| (number, stamped.event)).collect()
    }

    /// What the counter of this name says; 0 where there is none.
    #[must_use]
    pub fn value(&self, name: &str) -> u64 {
        let counters = self.0.counters.borrow();
        counters.iter().find(|(known, _)| *known == name).map_or(0, |(_, counter)| counter.get())
    }
}

impl<E: Copy + Display, const N: usize> Observable for Recorder<E, N> {
    fn counters(&self) -> Vec<Count> {
        let counters = self.0.counters.borrow();
        counters.iter().map(|(name, counter)| Count::new(name, counter.get())).collect()
    }

    fn page(&self, from: u64) -> TracePage {
        let events = self.0.events.borrow();
        let clock = Clock::of_program();
        let mut page = TracePage { first: events.next(), events: Vec::new() };
        let mut room = MAX_BYTES - OVERHEAD;
        for (number, Stamped { at, event }) in events.recent(from) {
            let what = event.to_string();
            let Some(rest) = room.checked_sub(what.len() + EVENT_BYTES) else { break };
            room = rest;
            page.first = page.first.min(number);
            let at = clock.map_or(0, |clock| clock.since_origin(at).as_micros());
            page.events.push(Happening { at_us: u64::try_from(at).unwrap_or(u64::MAX), what });
        }
        page
    }
}

impl<E, const N: usize> Clone for Recorder<E, N> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<E: Copy, const N: usize> Default for Recorder<E, N> {
    fn default() -> Self {
        let (counters, events) = (RefCell::default(), RefCell::default());
        Self(Rc::new(Record { counters, events }))
    }
}

impl<E, const N: usize> fmt::Debug for Recorder<E, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = self.0.counters.borrow();
        f.debug_map().entries(counters.iter().map(|(name, counter)| (name, counter.get()))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn words(page: &TracePage) -> Vec<&str> {
        page.events.iter().map(|event| event.what.as_str()).collect()
    }

    #[test]
    fn counters_are_told_in_the_order_of_their_first_mention() {
        let recorder = Recorder::<u32, 4>::default();
        let (sent, received) = (recorder.counter("sent"), recorder.counter("received"));
        recorder.clone().counter("sent").add(5);
        received.increment();
        sent.increment();
        assert_eq!(recorder.counters(), [Count::new("sent", 6), Count::new("received", 1)]);
        assert_eq!((recorder.value("sent"), recorder.value("unknown")), (6, 0));
    }

    #[test]
    fn the_oldest_events_are_forgotten_and_keep_their_numbers() {
        let recorder = Recorder::<u32, 2>::default();
        assert_eq!(recorder.page(0), TracePage::default());
        (10..13).for_each(|event| recorder.note(event));
        assert_eq!(recorder.recent(0), [(1, 11), (2, 12)]);
        let page = recorder.page(2);
        assert_eq!((page.first, words(&page)), (2, alloc::vec!["12"]));
        assert_eq!((recorder.page(9).first, recorder.page(u64::MAX).next()), (3, 3));
    }

    proptest! {
        #[test]
        fn pages_fit_and_lose_nothing_that_is_known(events in prop::collection::vec(any::<u64>(), 0..300)) {
            let recorder = Recorder::<u64, 128>::default();
            events.iter().for_each(|event| recorder.note(*event));
            let (mut seen, mut from) = (Vec::<String>::new(), 0);
            loop {
                let page = recorder.page(from);
                prop_assert!(crate::call::encode(&page).is_ok());
                if page.events.is_empty() {
                    break;
                }
                from = page.next();
                seen.extend(page.events.into_iter().map(|event| event.what));
            }
            let known = events.iter().skip(events.len().saturating_sub(128));
            prop_assert_eq!(seen, known.map(ToString::to_string).collect::<Vec<_>>());
        }
    }
}
