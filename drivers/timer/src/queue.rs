//! Deadlines in order, one for each key.

use alloc::collections::{BTreeMap, BTreeSet};

/// At most `N` deadlines, each under a key of its own. A full queue refuses new keys; those that
/// are in it can always be moved.
#[derive(Clone, Debug)]
pub struct Deadlines<K, const N: usize> {
    by_key: BTreeMap<K, u64>,
    by_time: BTreeSet<(u64, K)>,
}

/// There is no room for another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<K: Ord + Clone, const N: usize> Deadlines<K, N> {
    /// Sets a key's deadline, instead of the one that it had.
    ///
    /// # Errors
    /// [`Full`] where the key is new and there is no room; nothing has changed then.
    pub fn set(&mut self, key: K, deadline: u64) -> Result<(), Full> {
        if self.by_key.len() >= N && !self.by_key.contains_key(&key) {
            return Err(Full);
        }
        self.remove(&key);
        self.by_time.insert((deadline, key.clone()));
        self.by_key.insert(key, deadline);
        Ok(())
    }

    /// Removes a key. Tells whether it had a deadline.
    pub fn remove(&mut self, key: &K) -> bool {
        let Some(deadline) = self.by_key.remove(key) else { return false };
        self.by_time.remove(&(deadline, key.clone()))
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.by_time.first().map(|(deadline, _)| *deadline)
    }

    /// Takes a key whose deadline is not after `now`, the earliest first.
    pub fn take_due(&mut self, now: u64) -> Option<(u64, K)> {
        if self.next()? > now {
            return None;
        }
        let (deadline, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some((deadline, key))
    }
}

impl<K, const N: usize> Default for Deadlines<K, N> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Beside a map that is searched from end to end.
        #[test]
        fn behaves_like_a_small_map(steps in prop::collection::vec((0u8..3, 0u8..8, 0u64..50), 0..100)) {
            let mut queue = Deadlines::<u8, 5>::default();
            let mut model = BTreeMap::new();
            for (kind, key, time) in steps {
                match kind {
                    0 => {
                        let fits = model.len() < 5 || model.contains_key(&key);
                        prop_assert_eq!(queue.set(key, time).is_ok(), fits);
                        if fits {
                            model.insert(key, time);
                        }
                    }
                    1 => prop_assert_eq!(queue.remove(&key), model.remove(&key).is_some()),
                    _ => {
                        let due = model.iter().map(|(key, time)| (*time, *key)).min();
                        let due = due.filter(|(deadline, _)| *deadline <= time);
                        prop_assert_eq!(queue.take_due(time), due);
                        if let Some((_, key)) = due {
                            model.remove(&key);
                        }
                    }
                }
                prop_assert_eq!(queue.next(), model.values().min().copied());
            }
        }
    }
}
