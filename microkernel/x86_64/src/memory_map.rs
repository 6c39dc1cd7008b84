//! The machine's RAM, as disjoint page-aligned ranges, from the overlapping and unaligned entries
//! that firmware tells.

use core::ops::Range;

const PAGE: u64 = 4096;
/// Physical addresses end here: 2^47, the largest untyped.
const LIMIT: u64 = 1 << 47;
/// Ranges that a set can hold; OVMF's maps have about a hundred entries before joining.
pub const MAX_RANGES: usize = 128;

/// A set of addresses as ascending, disjoint, non-touching ranges.
///
/// When full it forgets rather than fails: of what is added or of what a removal splits, the
/// smaller part is dropped, so that the set never holds an address that it should not.
#[derive(Clone, Debug)]
pub struct RangeSet {
    ranges: [Range<u64>; MAX_RANGES],
    length: usize,
    /// Bytes that were dropped because the set was full.
    pub dropped: u64,
}

impl RangeSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: [const { 0..0 }; MAX_RANGES], length: 0, dropped: 0 }
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges[..self.length]
    }

    /// Addresses in the set.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.ranges().iter().map(|range| range.end - range.start).sum()
    }

    /// Adds a range; joins it with those it touches.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.ranges().partition_point(|other| other.end < range.start);
        let last = self.ranges().partition_point(|other| other.start <= range.end);
        if first == last {
            self.insert_at(first, range);
            return;
        }
        let start = self.ranges[first].start.min(range.start);
        let end = self.ranges[last - 1].end.max(range.end);
        self.ranges[first] = start..end;
        self.cut(first + 1, last);
    }

    /// Takes a range out.
    pub fn remove(&mut self, range: Range<u64>) {
        let mut index = self.ranges().partition_point(|other| other.end <= range.start);
        while !range.is_empty() && index < self.length && self.ranges[index].start < range.end {
            let before = self.ranges[index].start..range.start;
            let after = range.end..self.ranges[index].end;
            match (before.is_empty(), after.is_empty()) {
                (true, true) => self.cut(index, index + 1),
                (true, false) => {
                    self.ranges[index] = after;
                    return;
                }
                (false, true) => {
                    self.ranges[index] = before;
                    index += 1;
                }
                (false, false) => {
                    self.ranges[index] = before;
                    self.insert_at(index + 1, after);
                    return;
                }
            }
        }
    }

    fn insert_at(&mut self, index: usize, range: Range<u64>) {
        if self.length == MAX_RANGES {
            self.dropped += range.end - range.start;
            return;
        }
        self.ranges[index..=self.length].rotate_right(1);
        self.ranges[index] = range;
        self.length += 1;
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.ranges[from..self.length].rotate_left(to - from);
        self.length -= to - from;
    }
}

impl Default for RangeSet {
    fn default() -> Self {
        Self::new()
    }
}

/// One entry of firmware's map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// 1 for RAM that may be used; every other type is kept away from.
    pub kind: u32,
}

impl Entry {
    /// Type of usable RAM, in E820, PVH and multiboot2 alike.
    pub const USABLE: u32 = 1;

    fn is_usable(&self) -> bool {
        self.kind == Self::USABLE
    }

    fn end(&self) -> u64 {
        self.start.saturating_add(self.length).min(LIMIT)
    }

    /// Whole pages inside.
    fn inner(&self) -> Range<u64> {
        self.start.min(LIMIT).next_multiple_of(PAGE)..self.end() & !(PAGE - 1)
    }

    /// Whole pages touched.
    fn outer(&self) -> Range<u64> {
        self.start.min(LIMIT) & !(PAGE - 1)..self.end().next_multiple_of(PAGE)
    }
}

/// RAM and what else firmware listed.
#[derive(Clone, Debug, Default)]
pub struct MemoryMap {
    /// RAM that may be used; in no reserved entry.
    pub usable: RangeSet,
    /// What firmware listed as anything else.
    pub reserved: RangeSet,
}

impl MemoryMap {
    /// Sorts firmware's entries out: what any entry reserves is not usable, whatever others say.
    #[must_use]
    pub fn from_entries(entries: impl Iterator<Item = Entry> + Clone) -> Self {
        let mut map = Self::default();
        for entry in entries.clone().filter(Entry::is_usable) {
            map.usable.insert(entry.inner());
        }
        for entry in entries.filter(|entry| !entry.is_usable() && entry.length > 0) {
            map.usable.remove(entry.outer());
            map.reserved.insert(entry.outer());
        }
        map
    }

    /// The end of the highest usable range.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.usable.ranges().last().map_or(0, |range| range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let entry = (0u64..64 * PAGE, 0u64..20 * PAGE, 1u32..4)
            .prop_map(|(start, length, kind)| Entry { start, length, kind });
        proptest::collection::vec(entry, 0..24)
    }

    /// The same question asked page by page.
    fn page_is_usable(entries: &[Entry], page: u64) -> bool {
        let range = page * PAGE..(page + 1) * PAGE;
        let mut covered: Vec<bool> = vec![false; 4096];
        let mut usable_pages = RangeSet::new();
        for entry in entries.iter().filter(|entry| entry.kind == 1) {
            usable_pages.insert(entry.inner());
            let inner = entry.inner();
            if inner.start <= range.start && range.end <= inner.end {
                covered.fill(true);
            }
        }
        covered[0]
            && !entries.iter().any(|entry| {
                entry.kind != 1
                    && entry.length > 0
                    && entry.start < range.end
                    && entry.start + entry.length > range.start
            })
    }

    proptest! {
        #[test]
        fn map_agrees_with_page_by_page(entries in entries()) {
            let map = MemoryMap::from_entries(entries.iter().copied());
            for page in 0..90 {
                let found = map.usable.ranges().iter().any(|range| range.contains(&(page * PAGE)));
                prop_assert_eq!(found, page_is_usable(&entries, page), "page {}", page);
            }
            for pair in map.usable.ranges().windows(2) {
                prop_assert!(pair[0].end < pair[1].start);
            }
        }

        #[test]
        fn sets_agree_with_booleans(steps in proptest::collection::vec((any::<bool>(), 0u64..200, 0u64..30), 0..60)) {
            let mut set = RangeSet::new();
            let mut model = [false; 256];
            for (insert, start, length) in steps {
                let range = start..start + length;
                for index in range.clone() {
                    model[usize::try_from(index).unwrap()] = insert;
                }
                if insert { set.insert(range) } else { set.remove(range) }
            }
            for (index, expected) in (0u64..).zip(model) {
                prop_assert_eq!(set.ranges().iter().any(|range| range.contains(&index)), expected);
            }
            prop_assert_eq!(set.bytes(), model.iter().filter(|set| **set).count() as u64);
        }

        #[test]
        fn any_entries_are_survived(raw in proptest::collection::vec((any::<u64>(), any::<u64>(), 0u32..6), 0..400)) {
            let entries = raw.iter().map(|&(start, length, kind)| Entry { start, length, kind });
            let map = MemoryMap::from_entries(entries);
            prop_assert!(map.end() <= LIMIT);
        }
    }

    #[test]
    fn a_full_set_drops_and_says_so() {
        let mut set = RangeSet::new();
        for index in 0..=MAX_RANGES as u64 {
            set.insert(index * 10..index * 10 + 5);
        }
        assert_eq!((set.ranges().len(), set.dropped), (MAX_RANGES, 5));
        set.remove(1..2);
        assert_eq!(set.ranges()[0], 0..1);
        assert_eq!(set.dropped, 8);
    }
}
