//! Which capability slots are in use.

use alloc::collections::BTreeMap;
use core::ops::Range;

use super::MemoryError;

/// Empty slots, kept as ranges, the lowest handed out first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotPool {
    /// Start and end (exclusive) of each range; ranges neither overlap nor touch.
    empty: BTreeMap<u64, u64>,
}

impl SlotPool {
    /// A pool of these slots.
    #[must_use]
    pub fn new(slots: Range<u64>) -> Self {
        let mut pool = Self::default();
        pool.give_back(slots.start, slots.end.saturating_sub(slots.start));
        pool
    }

    /// How many slots are empty.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.empty.iter().map(|(start, end)| end - start).sum()
    }

    /// Takes a slot.
    ///
    /// # Errors
    /// [`MemoryError::OutOfSlots`].
    pub fn take(&mut self) -> Result<u64, MemoryError> {
        self.take_run(1)
    }

    /// Takes `count` slots in a row; returns the first.
    ///
    /// # Errors
    /// [`MemoryError::OutOfSlots`] where there are not so many in a row.
    pub fn take_run(&mut self, count: u64) -> Result<u64, MemoryError> {
        let (start, end) = self
            .empty
            .iter()
            .map(|(start, end)| (*start, *end))
            .find(|(start, end)| end - start >= count)
            .ok_or(MemoryError::OutOfSlots)?;
        self.empty.remove(&start);
        if start + count < end {
            self.empty.insert(start + count, end);
        }
        Ok(start)
    }

    /// Gives back `count` slots from `first` on, which were taken and are empty again.
    pub fn give_back(&mut self, first: u64, count: u64) {
        if count == 0 {
            return;
        }
        let (mut start, mut end) = (first, first + count);
        if let Some((&before, &touching)) = self.empty.range(..=start).next_back() {
            debug_assert!(touching <= start, "slot {start} was given back twice");
            if touching == start {
                start = before;
            }
        }
        if let Some(after) = self.empty.remove(&end) {
            end = after;
        }
        self.empty.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        /// The model is a set of empty slots, one by one.
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec((1u64..5, any::<prop::sample::Index>()), 1..200)) {
            let mut pool = SlotPool::new(10..60);
            let mut model: BTreeSet<u64> = (10..60).collect();
            let mut taken: Vec<(u64, u64)> = Vec::new();
            for (count, choice) in steps {
                if choice.index(2) == 0 && !taken.is_empty() {
                    let (first, count) = taken.swap_remove(choice.index(taken.len()));
                    pool.give_back(first, count);
                    model.extend(first..first + count);
                } else {
                    let expected = model
                        .iter()
                        .find(|first| (**first..**first + count).all(|slot| model.contains(&slot)))
                        .copied();
                    prop_assert_eq!(pool.take_run(count).ok(), expected);
                    if let Some(first) = expected {
                        model.retain(|slot| !(first..first + count).contains(slot));
                        taken.push((first, count));
                    }
                }
                prop_assert_eq!(pool.available(), model.len() as u64);
            }
        }
    }

    #[test]
    fn an_empty_pool_has_nothing() {
        assert_eq!(SlotPool::new(5..5).take(), Err(MemoryError::OutOfSlots));
    }
}
