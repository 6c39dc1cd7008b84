//! Which lines of an object were changed and not written back yet: a small set.
//!
//! Writing a line back right after a change to it would have the next change wait for that; so lines
//! are remembered, each once however often it changes, and written back together when the set is full
//! or somebody settles. Only for whoever holds the object's lock: what one program changed, another
//! may write back.

use super::sync::{AtomicU32, Ordering};

/// How many lines there is room for; half of that is used, so that looking is short.
const PLACES: usize = 256;
pub(crate) const LIMIT: u32 = 128;

/// A set of lines. Zero is an empty place, others the line's number plus one.
#[derive(Debug)]
pub(crate) struct Dirty {
    count: AtomicU32,
    places: [AtomicU32; PLACES],
}

/// There is no room in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Default for Dirty {
    fn default() -> Self {
        let places = core::array::from_fn(|_| AtomicU32::new(0));
        Self { count: AtomicU32::new(0), places }
    }
}

impl Dirty {
    /// Adds a line.
    ///
    /// # Errors
    /// The set is full and the line not in it.
    pub(crate) fn insert(&self, line: u32) -> Result<(), Full> {
        let entry = line.wrapping_add(1);
        for place in self.places_of(line) {
            match place.load(Ordering::Relaxed) {
                found if found == entry => return Ok(()),
                0 => return self.add(place, entry),
                _ => {}
            }
        }
        Err(Full)
    }

    fn add(&self, place: &AtomicU32, entry: u32) -> Result<(), Full> {
        let count = self.count.load(Ordering::Relaxed);
        if count >= LIMIT {
            return Err(Full);
        }
        self.count.store(count + 1, Ordering::Relaxed);
        place.store(entry, Ordering::Relaxed);
        Ok(())
    }

    fn places_of(&self, line: u32) -> impl Iterator<Item = &AtomicU32> {
        let hash = line.wrapping_mul(0x9e37_79b1) >> 24;
        let (before, from) = self.places.split_at(hash as usize % PLACES);
        from.iter().chain(before)
    }

    /// The lines in the set.
    pub(crate) fn lines(&self) -> impl Iterator<Item = u32> {
        self.places.iter().filter_map(|place| place.load(Ordering::Relaxed).checked_sub(1))
    }

    /// Empties the set: its lines are durable.
    pub(crate) fn clear(&self) {
        self.places.iter().for_each(|place| place.store(0, Ordering::Relaxed));
        self.count.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(dirty: &Dirty) -> std::vec::Vec<u32> {
        let mut lines: std::vec::Vec<u32> = dirty.lines().collect();
        dirty.clear();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn a_line_is_in_it_once() {
        let dirty = Dirty::default();
        for line in [7, 300, 7, 7 + 256, 300] {
            dirty.insert(line).expect("room");
        }
        assert_eq!(drained(&dirty), [7, 263, 300]);
        assert_eq!(drained(&dirty), []);
    }

    #[test]
    fn a_full_set_still_knows_its_lines() {
        let dirty = Dirty::default();
        (0..LIMIT).for_each(|line| dirty.insert(line).expect("room"));
        assert_eq!(dirty.insert(LIMIT), Err(Full));
        assert_eq!(dirty.insert(3), Ok(()));
        assert_eq!(drained(&dirty).len(), LIMIT as usize);
        dirty.insert(LIMIT).expect("room again");
    }
}
