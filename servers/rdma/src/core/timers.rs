//! Deadlines by index: a heap that knows where each one stands.

use alloc::vec::Vec;
use core::time::Duration;

const NOWHERE: u32 = u32::MAX;

/// At most one deadline for each index; the earliest is at hand, changing one costs the logarithm of
/// how many there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    heap: Vec<(Duration, u32)>,
    places: Vec<u32>,
}

impl Timers {
    /// Makes room, so that indices below this need no memory later.
    pub(super) fn reserve(&mut self, indices: usize) {
        if indices > self.places.len() {
            self.heap.reserve(indices - self.heap.len());
            self.places.resize(indices, NOWHERE);
        }
    }

    /// The earliest deadline, and whose it is.
    pub(super) fn first(&self) -> Option<(Duration, u32)> {
        self.heap.first().copied()
    }

    /// Sets an index' deadline unless it has an earlier one.
    pub(super) fn at_latest(&mut self, index: u32, deadline: Duration) {
        let Some(place) = self.place(index) else {
            self.reserve(to_usize(index) + 1);
            self.heap.push((deadline, index));
            self.rise(self.heap.len() - 1);
            return;
        };
        if deadline < self.heap[place].0 {
            self.heap[place].0 = deadline;
            self.rise(place);
        }
    }

    /// Takes an index' deadline away.
    pub(super) fn clear(&mut self, index: u32) {
        let Some(place) = self.place(index) else { return };
        self.places[to_usize(index)] = NOWHERE;
        let Some(last) = self.heap.pop() else { return };
        if place < self.heap.len() {
            self.heap[place] = last;
            self.rise(place);
            self.sink(place);
        }
    }

    fn place(&self, index: u32) -> Option<usize> {
        let place = *self.places.get(to_usize(index))?;
        (place != NOWHERE).then(|| to_usize(place))
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let above = (place - 1) / 2;
            if self.heap[above].0 <= self.heap[place].0 {
                break;
            }
            self.heap.swap(above, place);
            self.note(place);
            place = above;
        }
        self.note(place);
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let below =
                [2 * place + 1, 2 * place + 2].into_iter().filter(|at| *at < self.heap.len());
            let Some(least) = below.min_by_key(|at| self.heap[*at].0) else { break };
            if self.heap[place].0 <= self.heap[least].0 {
                break;
            }
            self.heap.swap(place, least);
            self.note(place);
            place = least;
        }
        self.note(place);
    }

    /// Notes where the index at this place stands.
    fn note(&mut self, place: usize) {
        let (_, index) = self.heap[place];
        self.places[to_usize(index)] = u32::try_from(place).unwrap_or(NOWHERE);
    }
}

const fn to_usize(number: u32) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_earliest_is_at_hand(
            steps in prop::collection::vec((0..3_u8, 0..20_u32, 0..50_u64), 1..200),
        ) {
            let (mut timers, mut model) = (Timers::default(), BTreeMap::new());
            for (what, index, time) in steps {
                let time = Duration::from_nanos(time);
                if what == 0 {
                    timers.clear(index);
                    model.remove(&index);
                } else {
                    timers.at_latest(index, time);
                    let entry = model.entry(index).or_insert(time);
                    *entry = time.min(*entry);
                }
                prop_assert_eq!(timers.first().map(|(time, _)| time), model.values().min().copied());
                if let Some((time, index)) = timers.first() {
                    prop_assert_eq!(model.get(&index), Some(&time));
                }
            }
        }
    }
}
