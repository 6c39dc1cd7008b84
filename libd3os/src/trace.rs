//! Traces: the last things that a server did, for whoever wants to know why it does what it does.
//!
//! A server notes small events ([`Trace::note`] allocates nothing) and hands them out in parts, as
//! text, by an operation `trace` of its interface. The oldest are forgotten; their numbers tell.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::call::MAX_BYTES;

/// Bytes of a page that are not events, and of an event's length.
const OVERHEAD: usize = 48;
const LENGTH_BYTES: usize = 2;

/// The last `N` events.
#[derive(Clone, Debug)]
pub struct Trace<E, const N: usize> {
    events: [Option<E>; N],
    next: u64,
}

/// A part of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracePage {
    /// Number of the first event of this part; events count from 0 at the server's start.
    pub first: u64,
    /// The events in words, oldest first; none at the end of the trace.
    pub events: Vec<String>,
}

impl TracePage {
    /// Where the next part begins.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

impl<E: Copy, const N: usize> Default for Trace<E, N> {
    fn default() -> Self {
        Self { events: [None; N], next: 0 }
    }
}

impl<E: Copy, const N: usize> Trace<E, N> {
    /// Notes an event; the oldest makes room.
    pub fn note(&mut self, event: E) {
        let place = Self::place(self.next);
        if let Some(slot) = self.events.get_mut(place) {
            *slot = Some(event);
            self.next += 1;
        }
    }

    /// The events that are still known from number `from` on, with their numbers, oldest first.
    pub fn recent(&self, from: u64) -> impl Iterator<Item = (u64, E)> + '_ {
        let oldest = self.next.saturating_sub(N as u64);
        let known = |number: u64| self.events.get(Self::place(number)).copied().flatten();
        (from.max(oldest)..self.next).filter_map(move |number| Some((number, known(number)?)))
    }

    fn place(number: u64) -> usize {
        usize::try_from(number).unwrap_or(usize::MAX) % N.max(1)
    }
}

impl<E: Copy + Display, const N: usize> Trace<E, N> {
    /// As many events from number `from` on as fit in a message.
    #[must_use]
    pub fn page(&self, from: u64) -> TracePage {
        let mut page = TracePage { first: self.next, events: Vec::new() };
        let mut room = MAX_BYTES - OVERHEAD;
        for (number, event) in self.recent(from) {
            let text = event.to_string();
            let Some(rest) = room.checked_sub(text.len() + LENGTH_BYTES) else { break };
            room = rest;
            page.first = page.first.min(number);
            page.events.push(text);
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forgets_the_oldest() {
        let mut trace = Trace::<u32, 2>::default();
        assert_eq!(trace.page(0), TracePage { first: 0, events: Vec::new() });
        (10..13).for_each(|event| trace.note(event));
        assert!(trace.recent(0).eq([(1, 11), (2, 12)]));
        assert_eq!(trace.page(2), TracePage { first: 2, events: alloc::vec!["12".to_string()] });
        assert_eq!(trace.page(9).next(), 3);
    }

    proptest! {
        #[test]
        fn pages_fit_and_lose_nothing_that_is_known(events in prop::collection::vec(any::<u64>(), 0..300)) {
            let mut trace = Trace::<u64, 128>::default();
            events.iter().for_each(|event| trace.note(*event));
            let (mut seen, mut from) = (Vec::new(), 0);
            loop {
                let page = trace.page(from);
                let answer: Result<&TracePage, ()> = Ok(&page);
                prop_assert!(postcard::to_allocvec(&answer).expect("encodes").len() <= MAX_BYTES);
                if page.events.is_empty() {
                    break;
                }
                from = page.next();
                seen.extend(page.events);
            }
            let known = events.iter().skip(events.len().saturating_sub(128));
            prop_assert_eq!(seen, known.map(ToString::to_string).collect::<Vec<_>>());
        }
    }
}
