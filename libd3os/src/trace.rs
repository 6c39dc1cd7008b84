//! Traces: the last things that a program did, for whoever wants to know why it does what it does.
//!
//! A small event is noted without allocating anything. The oldest are forgotten; their numbers tell.
//! A server's trace is in its [`crate::observe::Recorder`], from where others read it.

/// The last `N` events.
#[derive(Clone, Debug)]
pub struct Trace<E, const N: usize> {
    events: [Option<E>; N],
    next: u64,
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

    /// The number that the next event will have.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    fn place(number: u64) -> usize {
        usize::try_from(number).unwrap_or(usize::MAX) % N.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn forgets_the_oldest() {
        let mut trace = Trace::<u32, 2>::default();
        assert!(trace.recent(0).next().is_none());
        (10..13).for_each(|event| trace.note(event));
        assert!(trace.recent(0).eq([(1, 11), (2, 12)]));
        assert!(trace.recent(2).eq([(2, 12)]));
        assert_eq!(trace.next(), 3);
    }

    proptest! {
        #[test]
        fn the_last_events_are_known_with_their_numbers(events in prop::collection::vec(any::<u64>(), 0..300), from in 0u64..320) {
            let mut trace = Trace::<u64, 128>::default();
            events.iter().for_each(|event| trace.note(*event));
            let known: Vec<_> = (0..).zip(events.iter().copied()).collect();
            let known = known.into_iter().skip(events.len().saturating_sub(128));
            prop_assert!(trace.recent(from).eq(known.filter(|(number, _)| *number >= from)));
        }
    }
}
