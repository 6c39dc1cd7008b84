//! Lists of address ranges: what is free, what is device memory.

use core::ops::Range;
use heapless::Vec;

/// Ranges that one list holds; OVMF's memory maps have about a hundred entries before joining.
pub const MAX_REGIONS: usize = 128;

/// Disjoint ranges of addresses, ascending, with gaps between them.
///
/// A list that is full forgets its smallest range: memory is then lost, never given out twice.
#[derive(Clone, Debug, Default)]
pub struct RegionList {
    regions: Vec<Range<u64>, MAX_REGIONS>,
}

impl RegionList {
    /// The ranges, ascending.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.regions
    }

    /// The ranges, ascending, each by itself.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + Clone + '_ {
        self.regions.iter().cloned()
    }

    /// Bytes in all ranges.
    pub fn bytes(&self) -> u64 {
        self.iter().map(|region| region.end - region.start).sum()
    }

    /// Bytes of the largest range.
    pub(super) fn largest(&self) -> u64 {
        self.iter().map(|region| region.end - region.start).max().unwrap_or(0)
    }

    /// Adds `range`, joining it with what it touches.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let touches = |r: &Range<u64>| r.start <= range.end && range.start <= r.end;
        let mut joined = range.clone();
        for region in self.regions.iter().filter(|r| touches(r)) {
            joined.start = joined.start.min(region.start);
            joined.end = joined.end.max(region.end);
        }
        self.regions.retain(|r| !touches(r));
        if self.regions.is_full() && !self.drop_smaller(&joined) {
            return;
        }
        let place = self.regions.iter().take_while(|r| r.start < joined.start).count();
        // There is room: the list was not full, or something was dropped.
        let _ = self.regions.insert(place, joined);
    }

    /// Drops the smallest range if it is smaller than `other`.
    fn drop_smaller(&mut self, other: &Range<u64>) -> bool {
        let sizes = self.regions.iter().map(|r| r.end - r.start).enumerate();
        match sizes.min_by_key(|&(_, size)| size) {
            Some((index, size)) if size < other.end - other.start => {
                self.regions.remove(index);
                true
            }
            _ => false,
        }
    }

    /// Takes `range` out.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut rest = 0..0;
        let touched = |r: &&mut Range<u64>| r.start < range.end && range.start < r.end;
        for region in self.regions.iter_mut().filter(touched) {
            let (before, after) = (region.start..range.start, range.end..region.end);
            // Only one region can stick out on both sides.
            if !before.is_empty() && !after.is_empty() {
                rest = after.clone();
            }
            *region = if before.is_empty() { after } else { before };
        }
        self.regions.retain(|r| !r.is_empty());
        self.insert(rest);
    }

    /// Takes all ranges of `others` out.
    pub fn remove_all(&mut self, others: &Self) {
        others.iter().for_each(|range| self.remove(range));
    }

    /// Keeps only what is inside `range`.
    pub fn intersect(&mut self, range: Range<u64>) {
        self.remove(0..range.start);
        self.remove(range.end..u64::MAX);
    }

    /// Takes out the lowest 2^`bits` bytes, aligned to their size, from `from` on.
    pub(super) fn take(&mut self, bits: u8, from: u64) -> Option<u64> {
        let size = 1u64 << bits;
        let start = self.iter().find_map(|region| {
            let start = region.start.max(from).checked_next_multiple_of(size)?;
            (start.checked_add(size)? <= region.end).then_some(start)
        })?;
        self.remove(start..start + size);
        Some(start)
    }

    /// The ranges cut into the largest pieces of a power of two that are aligned to their size.
    pub(super) fn pieces(&self, max_bits: u8) -> impl Iterator<Item = Piece> + '_ {
        self.iter().flat_map(move |region| Pieces { rest: region, max_bits })
    }
}

/// 2^`bits` bytes at `base`, a multiple of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) base: u64,
    pub(super) bits: u8,
}

struct Pieces {
    rest: Range<u64>,
    max_bits: u8,
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.rest.is_empty() {
            return None;
        }
        let base = self.rest.start;
        let fits = (self.rest.end - base).ilog2();
        let bits = fits.min(base.trailing_zeros()).min(self.max_bits.into());
        self.rest.start += 1 << bits;
        u8::try_from(bits).ok().map(|bits| Piece { base, bits })
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPACE: u64 = 512;

    /// The obvious model: a bit per address.
    fn apply(operations: &[(bool, u64, u64)]) -> (RegionList, Vec<bool, 512>) {
        let mut list = RegionList::default();
        let mut model = Vec::new();
        model.resize(SPACE as usize, false).unwrap();
        for &(insert, start, end) in operations {
            if insert {
                list.insert(start..end);
            } else {
                list.remove(start..end);
            }
            for address in start..end {
                model[address as usize] = insert;
            }
        }
        (list, model)
    }

    fn operations() -> impl Strategy<Value = std::vec::Vec<(bool, u64, u64)>> {
        prop::collection::vec((any::<bool>(), 0..SPACE, 0..SPACE), 0..40)
    }

    proptest! {
        #[test]
        fn holds_what_a_bit_per_address_holds(operations in operations()) {
            let (list, model) = apply(&operations);
            for address in 0..SPACE {
                let held = list.iter().any(|r| r.contains(&address));
                prop_assert_eq!(held, model[address as usize], "address {}", address);
            }
            let regions: std::vec::Vec<_> = list.iter().collect();
            prop_assert!(regions.windows(2).all(|w| w[0].end < w[1].start), "{:?}", regions);
        }

        #[test]
        fn pieces_cover_the_ranges_and_are_aligned(operations in operations()) {
            let (list, _) = apply(&operations);
            let mut covered = RegionList::default();
            for piece in list.pieces(47) {
                prop_assert_eq!(piece.base % (1 << piece.bits), 0);
                covered.insert(piece.base..piece.base + (1 << piece.bits));
            }
            prop_assert!(covered.iter().eq(list.iter()));
            prop_assert_eq!(list.pieces(47).map(|p| 1u64 << p.bits).sum::<u64>(), list.bytes());
        }

        #[test]
        fn takes_the_lowest_that_fits(operations in operations(), bits in 0u8..6, from in 0..SPACE) {
            let (mut list, model) = apply(&operations);
            let size = 1u64 << bits;
            let expected = (0..SPACE / size).map(|n| n * size).find(|&start| {
                start >= from && (start..start + size).all(|a| model[a as usize])
            });
            prop_assert_eq!(list.take(bits, from), expected);
            if let Some(start) = expected {
                prop_assert!(list.iter().all(|r| r.end <= start || r.start >= start + size));
            }
        }
    }

    #[test]
    fn a_full_list_forgets_its_smallest() {
        let mut list = RegionList::default();
        for n in 0..MAX_REGIONS as u64 {
            list.insert(n * 1000..n * 1000 + 2 + n);
        }
        list.insert(1_000_000..1_000_010);
        assert_eq!(list.iter().count(), MAX_REGIONS);
        assert_eq!(list.iter().next(), Some(1000..1003));
        list.insert(2_000_000..2_000_001);
        assert!(list.iter().all(|r| r.start != 2_000_000), "smaller than all others");
    }
}
