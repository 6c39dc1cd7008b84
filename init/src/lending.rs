//! Which frames it takes to lend pages of persistent memory to a program, and nothing else of it.
//!
//! Persistent memory is mapped by large frames, whose memory can be made into frames once only. So a
//! piece of a large frame's size of which a part is lent is made into small frames, everywhere, for as
//! long as any of it is lent and some time after; what covers whole pieces is lent as large ones.
//!
//! Behind the first GiB of a range, a GiB is one huge frame for as long as nothing of it is lent, or only all of it
//! together; when a part of it is, it is pieces for as long as somebody looks at it.
//!
//! RAM that is lent in the same way, for objects of the volatile tier, consists of small frames for good: the
//! kernel clears RAM of which other frames are made.

use alloc::collections::VecDeque;
use core::ops::Range;

use libd3os::abi::FrameSize;
use libd3os::start::layout::PAGE_SIZE;

const PIECE: u64 = FrameSize::Large.bytes();
const GIB: u64 = FrameSize::Huge.bytes();

/// log2 of the bytes of RAM that are lent at most.
const MOST_BITS: u8 = 26;

/// log2 of the bytes of RAM that are set aside to be lent, where so many bytes and slots are free: a quarter of
/// the bytes at most, and half of the slots, for each page has a slot of its own and one for whoever looks at
/// it. `None` where not even a piece can be spared.
#[must_use]
pub fn volatile_bits(free_bytes: u64, free_slots: u64) -> Option<u8> {
    let of_slots = (free_slots / 4).saturating_mul(PAGE_SIZE);
    let bits =
        (free_bytes / 4).min(of_slots).checked_ilog2().and_then(|bits| u8::try_from(bits).ok());
    bits.map(|bits| bits.min(MOST_BITS)).filter(|bits| *bits >= FrameSize::Large.bits())
}

/// Pages of one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The physical address of the first.
    pub start: u64,
    /// How many.
    pub pages: u64,
}

impl Segment {
    /// Where its piece begins.
    #[must_use]
    pub const fn piece(&self) -> u64 {
        self.start - self.start % PIECE
    }

    /// Its first page's number in the piece.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.start % PIECE / PAGE_SIZE
    }

    /// Whether it is the whole piece.
    #[must_use]
    pub const fn is_piece(&self) -> bool {
        self.pages == PIECE / PAGE_SIZE
    }

    /// Whether it is a whole GiB.
    #[must_use]
    pub const fn is_gib(&self) -> bool {
        self.pages == GIB / PAGE_SIZE
    }

    /// Where its GiB begins.
    #[must_use]
    pub const fn gib(&self) -> u64 {
        self.start - self.start % GIB
    }

    /// Its addresses.
    #[must_use]
    pub const fn addresses(&self) -> Range<u64> {
        self.start..self.end()
    }

    /// Where it ends.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start + self.pages * PAGE_SIZE
    }
}

/// Cuts pages, by their physical addresses, where pieces meet.
pub fn segments(pages: Range<u64>) -> impl Iterator<Item = Segment> {
    cut(pages, PIECE)
}

/// Cuts pages where GiBs meet.
pub fn gibs(pages: Range<u64>) -> impl Iterator<Item = Segment> {
    cut(pages, GIB)
}

fn cut(pages: Range<u64>, unit: u64) -> impl Iterator<Item = Segment> {
    let mut next = pages.start;
    core::iter::from_fn(move || {
        let start = (next < pages.end).then_some(next)?;
        let end = (start - start % unit + unit).min(pages.end);
        next = end;
        Some(Segment { start, pages: (end - start) / PAGE_SIZE })
    })
}

/// Pieces that rest at most: each takes a slot for every page, and one more for every page of each view.
pub const MOST_RESTING: usize = 8;
/// No piece rests where fewer slots are left for others.
pub const SLOTS_LEFT: u64 = 4096;

/// Pieces of small frames of which nothing is lent any more, those that rest longest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resting(VecDeque<u64>);

impl Resting {
    /// Lets a piece rest, which does not.
    pub fn add(&mut self, piece: u64) {
        self.0.push_back(piece);
    }

    /// A piece is used again, or given up: it rests no more. Whether it did.
    pub fn wake(&mut self, piece: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|known| *known != piece);
        self.0.len() < before
    }

    /// Takes out the piece that rests longest, if more of them do than there is room for.
    pub fn oldest_over(&mut self, slots_free: u64) -> Option<u64> {
        let is_over = self.0.len() > MOST_RESTING || slots_free < SLOTS_LEFT;
        is_over.then(|| self.oldest()).flatten()
    }

    /// Takes out the piece that rests longest.
    pub fn oldest(&mut self) -> Option<u64> {
        self.0.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn few_pieces_rest_and_only_where_slots_are_left() {
        let mut resting = Resting::default();
        (0..9).for_each(|piece| resting.add(piece * PIECE));
        assert!(resting.wake(3 * PIECE) && !resting.wake(3 * PIECE));
        assert_eq!(resting.oldest_over(SLOTS_LEFT), None);
        resting.add(3 * PIECE);
        assert_eq!(resting.oldest_over(SLOTS_LEFT), Some(0));
        assert_eq!(resting.oldest_over(SLOTS_LEFT), None);
        assert_eq!(resting.oldest_over(SLOTS_LEFT - 1), Some(PIECE));
        let rest = core::iter::from_fn(|| resting.oldest());
        assert_eq!(rest.collect::<std::vec::Vec<_>>(), [2, 4, 5, 6, 7, 8, 3].map(|n| n * PIECE));
    }

    #[test]
    fn pages_are_cut_where_pieces_meet() {
        let at = |piece: u64, page: u64| piece * PIECE + page * PAGE_SIZE;
        let cut: Vec<_> = segments(at(3, 510)..at(5, 1)).collect();
        let expected = [(at(3, 510), 2), (at(4, 0), 512), (at(5, 0), 1)];
        assert_eq!(cut, expected.map(|(start, pages)| Segment { start, pages }));
        assert_eq!(cut.iter().map(Segment::is_piece).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!((cut[0].piece(), cut[0].first()), (at(3, 0), 510));
    }

    #[test]
    fn ram_is_lent_as_far_as_there_is_some_to_spare() {
        assert_eq!(volatile_bits(512 << 20, 60_000), Some(25), "of slots");
        assert_eq!(volatile_bits(512 << 20, 70_000), Some(26), "no more is lent");
        assert_eq!(volatile_bits(40 << 20, 60_000), Some(23));
        assert_eq!(volatile_bits(8 << 20, 60_000), Some(21));
        assert_eq!(volatile_bits((8 << 20) - 1, 60_000), None);
        assert_eq!(volatile_bits(u64::MAX, u64::MAX), Some(26));
        assert_eq!(volatile_bits(0, 0), None);
    }

    proptest! {
        #[test]
        fn every_page_is_in_one_segment(first in 0u64..600_000, pages in 0u64..600_000) {
            let range = first * PAGE_SIZE..(first + pages) * PAGE_SIZE;
            for part in gibs(range.clone()) {
                prop_assert!(part.gib() <= part.start && part.end() <= part.gib() + GIB);
                prop_assert_eq!(part.is_gib(), part.addresses() == (part.gib()..part.gib() + GIB));
            }
            let parts: Vec<_> = gibs(range.clone()).flat_map(|part| segments(part.addresses())).collect();
            prop_assert_eq!(parts, segments(range.clone()).collect::<Vec<_>>());
            let mut next = range.start;
            for segment in segments(range.clone()) {
                prop_assert_eq!(segment.start, next);
                prop_assert!(segment.pages > 0 && segment.first() + segment.pages <= 512);
                next = segment.end();
            }
            prop_assert_eq!(next, range.end.max(range.start));
        }
    }
}
