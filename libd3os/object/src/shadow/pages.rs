//! Which lines a transaction has copied, page by page.
//!
//! Most of what a large transaction reads it has not changed: one look here tells that of all lines of a
//! node at once, and most often the node lies in the page that was asked for before.

use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::Range;

use super::Key;

/// Lines of a page, one for each bit of a word.
const LINES: u32 = u64::BITS;

const FIRST_SLOTS: usize = 64;

/// The pages of which lines were copied: a table with open addressing, at most half full.
pub(super) struct Pages {
    slots: Vec<Page>,
    count: usize,
    /// Slots of others are empty.
    generation: u32,
    last: Cell<Page>,
}

/// What is known of a page.
#[derive(Clone, Copy)]
pub(super) struct Page {
    /// Its number in the place of a line's.
    key: Key,
    generation: u32,
    /// Which of the copies was added last; none if there are no lines.
    pub(super) newest: u32,
    /// A bit for each line that was copied.
    lines: u64,
}

const EMPTY: Page = Page { key: Key(0), generation: 0, newest: 0, lines: 0 };

impl Page {
    /// Whether this line was copied, which is one of the page.
    #[inline]
    pub(super) const fn has(&self, line: Key) -> bool {
        self.lines >> (line.line() % LINES) & 1 == 1
    }
}

impl Pages {
    pub(super) fn new() -> Self {
        let slots = alloc::vec![EMPTY; FIRST_SLOTS];
        Self { slots, count: 0, generation: 1, last: Cell::new(EMPTY) }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.slots.fill(EMPTY);
            self.last.set(EMPTY);
            self.generation = 1;
        }
    }

    /// The page of a line.
    #[inline]
    pub(super) fn of(&self, line: Key) -> Page {
        let key = page_of(line);
        let last = self.last.get();
        if last.key == key && last.generation == self.generation {
            return last;
        }
        let page = self.find(key).map_or_else(|_| self.empty(key), |at| self.slots[at]);
        self.last.set(page);
        page
    }

    /// Whether one of these lines may have been copied; surely none, if it says so.
    #[inline]
    pub(super) fn have_any(&self, object: u32, lines: Range<u32>) -> bool {
        let (first, last) = (lines.start, lines.end.wrapping_sub(1));
        if first / LINES != last / LINES {
            return true;
        }
        let from_first = u64::MAX << (first % LINES);
        let to_last = u64::MAX >> (LINES - 1 - last % LINES);
        self.of(Key::new(object, first)).lines & from_first & to_last != 0
    }

    /// Adds a line, of which this is the copy: the one that was added before of its page, if there is one.
    pub(super) fn insert(&mut self, line: Key, copy: u32) -> u32 {
        let key = page_of(line);
        let at = self.find(key).unwrap_or_else(|at| {
            self.count += 1;
            self.slots[at] = self.empty(key);
            at
        });
        let page = &mut self.slots[at];
        page.lines |= 1 << (line.line() % LINES);
        let before = core::mem::replace(&mut page.newest, copy);
        self.last.set(*page);
        if self.count * 2 > self.slots.len() {
            self.grow();
        }
        before
    }

    const fn empty(&self, key: Key) -> Page {
        Page { key, generation: self.generation, ..EMPTY }
    }

    /// Where a page is in the table; else the slot that it would get.
    #[inline]
    fn find(&self, key: Key) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut at = spread(key) & mask;
        loop {
            let page = &self.slots[at];
            if page.generation != self.generation {
                return Err(at);
            }
            if page.key == key {
                return Ok(at);
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let longer = alloc::vec![EMPTY; self.slots.len() * 2];
        let pages = core::mem::replace(&mut self.slots, longer);
        for page in pages.into_iter().filter(|page| page.generation == self.generation) {
            if let Err(at) = self.find(page.key) {
                self.slots[at] = page;
            }
        }
    }
}

/// The page of a line, as if it were a line.
const fn page_of(line: Key) -> Key {
    Key::new(line.object_number(), line.line() / LINES)
}

const fn spread(key: Key) -> usize {
    (key.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    #[test]
    fn what_was_added_is_known_until_all_is_forgotten() {
        let mut pages = Pages::new();
        pages.insert(Key::new(1, 130), 7);
        assert!(pages.have_any(1, 130..131) && pages.have_any(1, 128..192));
        assert!(!pages.have_any(1, 128..130) && !pages.have_any(1, 131..192));
        assert!(!pages.have_any(0, 130..131));
        assert_eq!(pages.insert(Key::new(1, 128), 8), 7, "the one before of this page");
        pages.clear();
        assert!(!pages.have_any(1, 130..131));
    }

    proptest! {
        #[test]
        fn no_line_is_denied_and_those_of_a_page_are_known(
            lines in prop::collection::btree_map((0_u32..3, 0_u32..20_000), any::<u32>(), 0..400),
            asked in prop::collection::vec((0_u32..3, 0_u32..20_000, 1_u32..80), 1..200),
        ) {
            let mut pages = Pages::new();
            let mut newest = BTreeMap::new();
            for ((object, line), copy) in &lines {
                let before = pages.insert(Key::new(*object, *line), *copy);
                let expected = newest.insert((*object, line / LINES), *copy);
                prop_assert_eq!(before, expected.unwrap_or(0));
            }
            for (object, first, count) in asked {
                let range = first..first + count;
                let has_one = range.clone().any(|line| lines.contains_key(&(object, line)));
                let in_one_page = first / LINES == (first + count - 1) / LINES;
                prop_assert!(pages.have_any(object, range.clone()) || !has_one);
                prop_assert!(!in_one_page || pages.have_any(object, range.clone()) == has_one);
                let line = Key::new(object, first);
                prop_assert_eq!(pages.of(line).has(line), lines.contains_key(&(object, first)));
            }
        }
    }
}
