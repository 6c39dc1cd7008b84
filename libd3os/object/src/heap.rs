//! The heap of an object: blocks that a transaction takes and gives back, and that are taken or given
//! back when it commits, or not at all.
//!
//! All that the heap knows is changed through the transaction like everything else, so that after a
//! loss of power it fits what the transactions have done: no block is lost, none is used twice.
//!
//! The pages of an object, from [`PAGES`](crate::layout) on, are divided into *spans*, one after the
//! other without gaps up to a page that the state tells; behind it nothing was used yet. A span
//! begins with a line that describes it: how many pages it has, how many the one before it, what it is
//! for. It is
//!
//! - a *slab*: one page of blocks of one size, with a bit for each that is free;
//! - *large*: one block;
//! - *free*: in a list of those of about its size. Two of them never follow each other, none is last.
//!
//! The state has the heads of the lists: of slabs with free blocks, for each size, and of free spans,
//! for each power of two of pages. Each line has its own checksum. To take or give back a small block
//! mostly changes two words of one line; a large one takes a look at a list for each power of two.

mod census;
pub(crate) mod line;
mod span;

use core::fmt;

use crate::editor::Editor;
use crate::layout::{self, PAGE_BYTES, PAGES};
use crate::medium::{LINE_BYTES, Medium};
use crate::persist::Persist;
use crate::pointer::{PPtr, PointerError};
use crate::tx::TxError;

pub use census::{Area, Block, Census, Damage, Purpose, areas, census};

use line::{Bounds, List};
use span::{Kind, SIZES, Span};

/// The first page of the heap.
const FIRST: u32 = page_of(PAGES);
const SPAN_HEADER: u64 = LINE_BYTES as u64;

/// A block cannot be taken or given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapError {
    /// The object has no room for so many bytes.
    Full {
        /// So many.
        bytes: u64,
    },
    /// No block has this alignment.
    Alignment {
        /// This one.
        align: u64,
    },
    /// No block that was taken begins there.
    NotTaken {
        /// There.
        offset: u64,
    },
    /// What describes the heap is damaged.
    Damaged {
        /// There.
        offset: u64,
    },
}

/// The heap of a new object, whose base has so many bytes; none if they do not fit. Durable after the
/// next fence.
pub(crate) fn format(medium: &impl Medium, size: u64, base: u64) -> Option<()> {
    let pages = pages_for(base)?;
    let limit = page_of(size);
    let end = FIRST.checked_add(pages).filter(|end| *end <= limit)?;
    let bounds = Bounds { end, last: pages, limit };
    let span = Span { kind: Kind::Large, pages, ..Span::default() };
    let lines = [(line::BOUNDS, bounds.line()), (offset_of(FIRST), span.line(FIRST))];
    let lists = List::empty_lines();
    for (offset, line) in lines.into_iter().chain(lists) {
        let bytes = line.map(u64::to_le_bytes);
        medium.store(layout::place(offset), bytes.as_flattened());
        medium.flush(layout::place(offset));
    }
    Some(())
}

impl<T> Editor<'_, T> {
    /// Takes a block for this value and puts it there.
    ///
    /// # Errors
    /// The object is full, or its heap damaged.
    pub fn alloc<U: Persist>(&mut self, value: U) -> Result<PPtr<U>, TxError> {
        let (bytes, align) = (size_of::<U>() as u64, align_of::<U>() as u64);
        let block = self.alloc_bytes(bytes, align)?.cast();
        self.set(block, value)?;
        Ok(block)
    }

    /// Takes a block of so many bytes, which hold whatever they held before.
    ///
    /// # Errors
    /// The object is full, or its heap damaged.
    pub fn alloc_bytes(&mut self, bytes: u64, align: u64) -> Result<PPtr<u8>, TxError> {
        let bytes = bytes.max(1);
        if !align.is_power_of_two() || align > LINE_BYTES as u64 {
            return Err(HeapError::Alignment { align }.into());
        }
        match span::class(bytes, align) {
            Some(class) => self.take_small(class),
            None => self.take_large(bytes),
        }
    }

    /// Gives a block back.
    ///
    /// # Errors
    /// No block that was taken begins there, or the heap is damaged.
    pub fn free<U>(&mut self, block: PPtr<U>) -> Result<(), TxError> {
        let offset = block.offset();
        let not_taken = HeapError::NotTaken { offset };
        let page = page_of(offset);
        let bounds = Bounds::load(self)?;
        let inside = block.entry() == 0 && page >= FIRST && page < bounds.end;
        if !inside || offset == crate::object::BASE.offset() {
            return Err(not_taken.into());
        }
        let span = Span::load(self, page).map_err(|_| not_taken)?;
        match span.kind {
            Kind::Slab => self.give_small(page, span, offset),
            Kind::Large if offset == offset_of(page) + SPAN_HEADER => self.give_span(page, span),
            Kind::Large | Kind::Free => Err(not_taken.into()),
        }
    }

    fn take_small(&mut self, class: usize) -> Result<PPtr<u8>, TxError> {
        let list = List::slabs(class);
        let (page, mut slab) = match list.head(self)? {
            0 => self.new_slab(class)?,
            page => (page, Span::load(self, page)?),
        };
        let damaged = HeapError::Damaged { offset: offset_of(page) };
        if slab.kind != Kind::Slab || slab.class != class {
            return Err(damaged.into());
        }
        let index = slab.take().ok_or(damaged)?;
        if slab.free == 0 {
            self.delist(list, page, &mut slab)?;
        }
        slab.store(self, page)?;
        Ok(PPtr::local(offset_of(page) + SPAN_HEADER + index * SIZES[class]))
    }

    fn new_slab(&mut self, class: usize) -> Result<(u32, Span), TxError> {
        let (page, before) = self.take_span(1, SIZES[class])?;
        let mut slab = Span::slab(class, before);
        self.enlist(List::slabs(class), page, &mut slab)?;
        Ok((page, slab))
    }

    fn give_small(&mut self, page: u32, mut slab: Span, offset: u64) -> Result<(), TxError> {
        let not_taken = HeapError::NotTaken { offset };
        let size = SIZES[slab.class];
        let at = (offset - offset_of(page)).checked_sub(SPAN_HEADER).ok_or(not_taken)?;
        if !at.is_multiple_of(size) || !slab.give(at / size) {
            return Err(not_taken.into());
        }
        let list = List::slabs(slab.class);
        if slab.free == 1 {
            self.enlist(list, page, &mut slab)?;
        }
        // The one that is taken from next is kept, or the same page would come and go.
        let is_spare = slab.is_unused() && list.head(self)? != page;
        if is_spare {
            self.delist(list, page, &mut slab)?;
            return self.give_span(page, slab);
        }
        slab.store(self, page)?;
        Ok(())
    }

    fn take_large(&mut self, bytes: u64) -> Result<PPtr<u8>, TxError> {
        let pages = pages_for(bytes).ok_or(HeapError::Full { bytes })?;
        let (page, before) = self.take_span(pages, bytes)?;
        let span = Span { kind: Kind::Large, pages, before, ..Span::default() };
        span.store(self, page)?;
        Ok(PPtr::local(offset_of(page) + SPAN_HEADER))
    }

    /// Takes so many pages out of the free ones: the first of them, and the length of the span before.
    /// The caller describes them.
    fn take_span(&mut self, pages: u32, bytes: u64) -> Result<(u32, u32), TxError> {
        let Some(page) = self.find(pages)? else {
            return self.take_unused(pages, bytes);
        };
        let mut span = Span::load(self, page)?;
        if span.kind != Kind::Free || span.pages < pages {
            return Err(HeapError::Damaged { offset: offset_of(page) }.into());
        }
        self.delist(List::spans(span.pages), page, &mut span)?;
        let rest = span.pages - pages;
        if rest == 0 {
            return Ok((page, span.before));
        }
        let mut free = Span { kind: Kind::Free, pages: rest, before: pages, ..Span::default() };
        self.enlist(List::spans(rest), page + pages, &mut free)?;
        free.store(self, page + pages)?;
        self.set_before(page + pages + rest, rest)?;
        Ok((page, span.before))
    }

    /// A free span of at least so many pages.
    fn find(&self, pages: u32) -> Result<Option<u32>, TxError> {
        let own = List::spans(pages).head(self)?;
        if own != 0 && Span::load(self, own)?.pages >= pages {
            return Ok(Some(own));
        }
        for list in List::longer_spans(pages) {
            match list.head(self)? {
                0 => {}
                page => return Ok(Some(page)),
            }
        }
        Ok(None)
    }

    fn take_unused(&mut self, pages: u32, bytes: u64) -> Result<(u32, u32), TxError> {
        let bounds = Bounds::load(self)?;
        let end = bounds.end.checked_add(pages).filter(|end| *end <= bounds.limit);
        let end = end.ok_or(HeapError::Full { bytes })?;
        Bounds { end, last: pages, ..bounds }.store(self)?;
        Ok((bounds.end, bounds.last))
    }

    /// Makes a span free, together with those around it that are.
    fn give_span(&mut self, mut page: u32, mut span: Span) -> Result<(), TxError> {
        let bounds = Bounds::load(self)?;
        let next = page + span.pages;
        if next < bounds.end {
            let mut after = Span::load(self, next)?;
            if after.kind == Kind::Free {
                self.delist(List::spans(after.pages), next, &mut after)?;
                Span::erase(self, next)?;
                span.pages += after.pages;
            }
        }
        if page > FIRST {
            let previous = page.checked_sub(span.before).filter(|page| *page >= FIRST);
            let damaged = HeapError::Damaged { offset: offset_of(page) };
            let previous = previous.ok_or(damaged)?;
            let mut ahead = Span::load(self, previous)?;
            if ahead.kind == Kind::Free {
                self.delist(List::spans(ahead.pages), previous, &mut ahead)?;
                Span::erase(self, page)?;
                (page, ahead.pages) = (previous, ahead.pages + span.pages);
                span = ahead;
            }
        }
        self.put_free(page, span, bounds)
    }

    fn put_free(&mut self, page: u32, span: Span, bounds: Bounds) -> Result<(), TxError> {
        let Span { pages, before, .. } = span;
        if page + pages >= bounds.end {
            Span::erase(self, page)?;
            return Ok(Bounds { end: page, last: before, ..bounds }.store(self)?);
        }
        let mut free = Span { kind: Kind::Free, pages, before, ..Span::default() };
        self.enlist(List::spans(pages), page, &mut free)?;
        free.store(self, page)?;
        self.set_before(page + pages, pages)
    }

    /// Tells the span at this page how long the one before it is.
    fn set_before(&mut self, page: u32, before: u32) -> Result<(), TxError> {
        let bounds = Bounds::load(self)?;
        if page >= bounds.end {
            return Ok(Bounds { last: before, ..bounds }.store(self)?);
        }
        let span = Span::load(self, page)?;
        Ok(Span { before, ..span }.store(self, page)?)
    }

    /// Puts a span at the head of a list; the caller stores it.
    fn enlist(&mut self, list: List, page: u32, span: &mut Span) -> Result<(), TxError> {
        let head = list.head(self)?;
        (span.next, span.previous) = (head, 0);
        if head != 0 {
            let first = Span::load(self, head)?;
            Span { previous: page, ..first }.store(self, head)?;
        }
        Ok(list.set_head(self, page)?)
    }

    /// Takes a span out of a list; the caller stores it.
    fn delist(&mut self, list: List, page: u32, span: &mut Span) -> Result<(), TxError> {
        let Span { next, previous, .. } = *span;
        if next != 0 {
            let after = Span::load(self, next)?;
            Span { previous, ..after }.store(self, next)?;
        }
        if previous != 0 {
            let ahead = Span::load(self, previous)?;
            Span { next, ..ahead }.store(self, previous)?;
        } else if list.head(self)? == page {
            list.set_head(self, next)?;
        } else {
            return Err(HeapError::Damaged { offset: offset_of(page) }.into());
        }
        (span.next, span.previous) = (0, 0);
        Ok(())
    }
}

/// How many pages a block needs that has them for itself.
fn pages_for(bytes: u64) -> Option<u32> {
    u32::try_from(bytes.checked_add(SPAN_HEADER)?.div_ceil(PAGE_BYTES)).ok()
}

/// Every page of an object has a number of 24 bits.
#[expect(clippy::cast_possible_truncation, reason = "offsets have 40 bits")]
const fn page_of(offset: u64) -> u32 {
    (offset / PAGE_BYTES) as u32
}

const fn offset_of(page: u32) -> u64 {
    page as u64 * PAGE_BYTES
}

impl fmt::Display for HeapError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { bytes } => write!(to, "the object has no room for {bytes} bytes"),
            Self::Alignment { align } => write!(to, "no block is aligned to {align}"),
            Self::NotTaken { offset } => write!(to, "no block was taken at {offset:#x}"),
            Self::Damaged { offset } => write!(to, "the heap is damaged at {offset:#x}"),
        }
    }
}

impl core::error::Error for HeapError {}

impl From<HeapError> for TxError {
    fn from(error: HeapError) -> Self {
        Self::Heap(error)
    }
}

/// Pointers to what describes the heap lead outside only if it is damaged.
fn damaged(error: PointerError) -> HeapError {
    match error {
        PointerError::Outside { offset } | PointerError::Misaligned { offset } => {
            HeapError::Damaged { offset }
        }
        PointerError::Null | PointerError::Foreign { .. } => HeapError::Damaged { offset: 0 },
    }
}
