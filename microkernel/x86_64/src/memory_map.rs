//! The machine's RAM, as disjoint page-aligned ranges, from the overlapping and unaligned entries
//! that firmware tells.

use crate::bytes::{u32_at, u64_at};
use core::ops::Range;
use kernel_core::RegionList;

const PAGE: u64 = 4096;
/// Physical addresses end here: 2^47, the largest untyped.
const LIMIT: u64 = 1 << 47;
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
    /// Bytes of an entry as PVH and multiboot2 both write it.
    pub const SIZE: usize = 24;

    /// Reads such an entry.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (start, length) = (u64_at(bytes, 0)?, u64_at(bytes, 8)?);
        Some(Self { start, length, kind: u32_at(bytes, 16)? })
    }

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
    pub usable: RegionList,
    /// What firmware listed as anything else.
    pub reserved: RegionList,
}

impl MemoryMap {
    /// Sorts firmware's entries out: what any entry reserves is not usable, whatever others say.
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
        let mut usable_pages = RegionList::default();
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
        fn any_entries_are_survived(raw in proptest::collection::vec((any::<u64>(), any::<u64>(), 0u32..6), 0..400)) {
            let entries = raw.iter().map(|&(start, length, kind)| Entry { start, length, kind });
            let map = MemoryMap::from_entries(entries);
            prop_assert!(map.usable.ranges().iter().all(|range| range.end <= LIMIT));
        }
    }
}
