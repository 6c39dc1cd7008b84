//! What describes a span: its first line.
//!
//! | word | what |
//! |---|---|
//! | 0 | kind (8 bits), size class (8), free blocks (16), pages (32) |
//! | 1 | pages of the span before (32) |
//! | 2 | next in its list (32), previous (32): first pages, 0 for none |
//! | 3…6 | a bit for each block of a slab: free |
//! | 7 | checksum, seeded with the place |

use crate::editor::Editor;
use crate::layout::PAGE_BYTES;
use crate::view::View;

use super::line::{self, Words, halves, pair};
use super::{HeapError, SPAN_HEADER, offset_of};

/// The sizes of small blocks. Larger ones have pages for themselves.
pub(super) const SIZES: [u64; 24] = [
    16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 672, 800, 960,
    1008, 1344, 1984, 2016,
];

/// The class of the smallest small blocks that are so large and aligned.
pub(super) fn class(bytes: u64, align: u64) -> Option<usize> {
    let from = SIZES.partition_point(|size| *size < bytes);
    (from..SIZES.len()).find(|class| SIZES[*class].is_multiple_of(align))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Free = 1,
    Slab = 2,
    Large = 3,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) kind: Kind,
    pub(super) class: usize,
    pub(super) free: u16,
    pub(super) pages: u32,
    pub(super) before: u32,
    pub(super) next: u32,
    pub(super) previous: u32,
    pub(super) bits: [u64; 4],
}

impl Span {
    /// A slab with all its blocks free.
    pub(super) fn slab(class: usize, before: u32) -> Self {
        let blocks = blocks(class);
        let bits = core::array::from_fn(|word| ones(blocks.saturating_sub(64 * word)));
        let free = u16::try_from(blocks).unwrap_or(0);
        Self { kind: Kind::Slab, class, free, pages: 1, before, bits, ..Self::default() }
    }

    pub(super) fn line(self, page: u32) -> Words {
        let Self { kind, class, free, pages, before, next, previous, bits } = self;
        let kind = kind as u64 | (class as u64) << 8 | u64::from(free) << 16;
        let [first, second, third, fourth] = bits;
        let head = kind | u64::from(pages) << 32;
        let words = [head, u64::from(before), pair(next, previous), first, second, third, fourth];
        line::sealed(words, offset_of(page))
    }

    pub(super) fn load(view: &impl View, page: u32) -> Result<Self, HeapError> {
        let offset = offset_of(page);
        let [head, before, links, bits @ ..] = line::load(view, offset)?;
        let [kind, class, ..] = head.to_le_bytes();
        let kind = match kind {
            1 => Kind::Free,
            2 => Kind::Slab,
            3 => Kind::Large,
            _ => return Err(HeapError::Damaged { offset }),
        };
        let [next, previous] = halves(links);
        let [small, pages] = halves(head);
        let free = u16::try_from(small >> 16).unwrap_or(0);
        let (class, before) = (usize::from(class), halves(before)[0]);
        let span = Self { kind, class, free, pages, before, next, previous, bits };
        if span.makes_sense() { Ok(span) } else { Err(HeapError::Damaged { offset }) }
    }

    /// A checksum tells what was stored, not that it was sensible: the object's other users may be
    /// hostile.
    fn makes_sense(&self) -> bool {
        let counted: u32 = self.bits.iter().map(|bits| bits.count_ones()).sum();
        let in_page = self.kind != Kind::Slab || self.pages == 1 && self.class < SIZES.len();
        self.pages > 0 && self.pages <= 1 << 24 && in_page && counted == u32::from(self.free)
    }

    pub(super) fn store<T>(self, editor: &mut Editor<'_, T>, page: u32) -> Result<(), HeapError> {
        line::store(editor, offset_of(page), self.line(page))
    }

    /// Leaves nothing where a span began that ends to exist.
    pub(super) fn erase<T>(editor: &mut Editor<'_, T>, page: u32) -> Result<(), HeapError> {
        line::store(editor, offset_of(page), [0; 8])
    }

    /// Takes a free block of a slab.
    pub(super) fn take(&mut self) -> Option<u64> {
        let word = self.bits.iter().position(|bits| *bits != 0)?;
        let bit = self.bits[word].trailing_zeros();
        self.bits[word] &= self.bits[word] - 1;
        self.free -= 1;
        let index = word as u64 * 64 + u64::from(bit);
        (index < blocks(self.class) as u64).then_some(index)
    }

    /// Gives a block of a slab back; false if it was not taken.
    pub(super) fn give(&mut self, index: u64) -> bool {
        if index >= blocks(self.class) as u64 || self.is_free(index) {
            return false;
        }
        self.bits[word(index)] |= 1 << (index % 64);
        self.free += 1;
        true
    }

    /// Whether this block of a slab is free.
    pub(super) fn is_free(&self, index: u64) -> bool {
        self.bits[word(index)] & 1 << (index % 64) != 0
    }

    /// Whether all blocks of a slab are free.
    pub(super) fn is_unused(&self) -> bool {
        usize::from(self.free) == blocks(self.class)
    }
}

/// How many blocks a slab has.
#[expect(clippy::cast_possible_truncation, reason = "a page has few of them")]
pub(super) const fn blocks(class: usize) -> usize {
    ((PAGE_BYTES - SPAN_HEADER) / SIZES[class]) as usize
}

const fn word(index: u64) -> usize {
    (index / 64) as usize
}

/// So many ones, from the lowest bit; 64 at most.
const fn ones(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

const _: () = assert!(blocks(0) <= 256);
