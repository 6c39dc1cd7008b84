//! Lines of seven words and a checksum, and those of the state that the heap has.

use crate::checksum;
use crate::editor::Editor;
use crate::layout::STATE;
use crate::medium::LINE_BYTES;
use crate::pointer::PPtr;
use crate::view::View;

use super::{HeapError, damaged};

pub(crate) type Words = [u64; 8];

const SEED: u64 = 0x6865_6170;

/// Where the bounds are.
pub(crate) const BOUNDS: u64 = STATE;

/// Where the heads of the lists are, fourteen in a line.
const LISTS: u64 = STATE + LINE_BYTES as u64;
const LISTS_IN_LINE: u32 = 14;
const LIST_LINES: u64 = 4;

/// Lists of slabs come first, then those of spans.
const SPAN_LISTS: u32 = 24;
/// A power of two of pages each: the longest object has 2^24 pages.
const POWERS: u32 = 25;

/// These words with the checksum that belongs to this place.
pub(crate) fn sealed(words: [u64; 7], offset: u64) -> Words {
    let mut line = [0; 8];
    line[..7].copy_from_slice(&words);
    line[7] = checksum::of_words(words, SEED ^ offset);
    line
}

/// The words of a line, if they are what was stored there.
pub(crate) fn load(view: &impl View, offset: u64) -> Result<[u64; 7], HeapError> {
    let line = view.get::<Words>(PPtr::local(offset)).map_err(damaged)?;
    let [words @ .., checksum] = *line;
    let right = checksum == checksum::of_words(words, SEED ^ offset);
    if right { Ok(words) } else { Err(HeapError::Damaged { offset }) }
}

pub(crate) fn store<T>(
    editor: &mut Editor<'_, T>,
    offset: u64,
    words: Words,
) -> Result<(), HeapError> {
    *editor.modify_state(PPtr::local(offset)).map_err(damaged)? = words;
    Ok(())
}

/// Which pages the heap has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The first page behind the last span.
    pub(crate) end: u32,
    /// How many pages the last span has.
    pub(crate) last: u32,
    /// The first page that is not the heap's.
    pub(crate) limit: u32,
}

impl Bounds {
    pub(crate) fn line(self) -> Words {
        let Self { end, last, limit } = self;
        sealed([pair(end, last), u64::from(limit), 0, 0, 0, 0, 0], BOUNDS)
    }

    pub(crate) fn load(view: &impl View) -> Result<Self, HeapError> {
        let [first, limit, ..] = load(view, BOUNDS)?;
        let [end, last] = halves(first);
        Ok(Self { end, last, limit: halves(limit)[0] })
    }

    pub(crate) fn store<T>(self, editor: &mut Editor<'_, T>) -> Result<(), HeapError> {
        store(editor, BOUNDS, self.line())
    }
}

/// A list of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct List(u32);

impl List {
    /// Slabs of a size that have free blocks.
    #[expect(clippy::cast_possible_truncation, reason = "there are few sizes")]
    pub(crate) const fn slabs(class: usize) -> Self {
        Self(class as u32)
    }

    /// Free spans of about so many pages, of which there is one at least.
    pub(crate) const fn spans(pages: u32) -> Self {
        let power = pages.ilog2();
        Self(SPAN_LISTS + if power < POWERS { power } else { POWERS - 1 })
    }

    /// Free spans that have more pages in any case.
    pub(crate) fn longer_spans(pages: u32) -> impl Iterator<Item = Self> {
        (Self::spans(pages).0 + 1..SPAN_LISTS + POWERS).map(Self)
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..SPAN_LISTS + POWERS).map(Self)
    }

    pub(crate) fn empty_lines() -> impl Iterator<Item = (u64, Words)> {
        let offsets = (0..LIST_LINES).map(|line| LISTS + line * LINE_BYTES as u64);
        offsets.map(|offset| (offset, sealed([0; 7], offset)))
    }

    const fn line(self) -> u64 {
        LISTS + (self.0 / LISTS_IN_LINE) as u64 * LINE_BYTES as u64
    }

    /// Which word of the line, and which half.
    const fn place(self) -> (usize, usize) {
        let index = self.0 % LISTS_IN_LINE;
        (index as usize / 2, index as usize % 2)
    }

    /// The first page of the first span; 0 if there is none.
    pub(crate) fn head(self, view: &impl View) -> Result<u32, HeapError> {
        let (word, half) = self.place();
        Ok(halves(load(view, self.line())?[word])[half])
    }

    pub(crate) fn set_head<T>(
        self,
        editor: &mut Editor<'_, T>,
        page: u32,
    ) -> Result<(), HeapError> {
        let mut words = load(editor, self.line())?;
        let (word, half) = self.place();
        let mut both = halves(words[word]);
        both[half] = page;
        words[word] = pair(both[0], both[1]);
        store(editor, self.line(), sealed(words, self.line()))
    }
}

pub(crate) const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

#[expect(clippy::cast_possible_truncation, reason = "takes it apart")]
pub(crate) const fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

const _: () = assert!(SPAN_LISTS + POWERS <= LISTS_IN_LINE * 4);
const _: () = assert!(super::SIZES.len() <= SPAN_LISTS as usize);
