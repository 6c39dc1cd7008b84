//! Goes through a whole heap: what is taken, and whether all that describes it fits together.

use core::fmt;

use alloc::vec::Vec;

use crate::layout::PAGE_BYTES;
use crate::view::View;

use super::line::{Bounds, List};
use super::span::{self, Kind, SIZES, Span};
use super::{FIRST, HeapError, SPAN_HEADER, offset_of};

/// A block that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// Where it begins.
    pub offset: u64,
    /// How long it is: at least what was asked for.
    pub bytes: u64,
}

/// What a heap holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// All blocks that are taken, by offset. The first one holds the object's base.
    pub blocks: Vec<Block>,
    /// Pages that are in no span or in a free one.
    pub free_pages: u64,
}

/// A heap does not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A line is not what was stored there.
    Line(HeapError),
    /// A span says something wrong of the one before it, or reaches too far.
    Span {
        /// Its first page.
        page: u32,
    },
    /// Two free spans follow each other, or one is last.
    NotMerged {
        /// The first page of the second.
        page: u32,
    },
    /// A span is not in the list where it belongs, in one where it does not, or wrongly linked.
    List {
        /// Its first page.
        page: u32,
    },
}

/// Goes through the heap of an object that nobody changes.
///
/// # Errors
/// What does not fit.
pub fn census(view: &impl View) -> Result<Census, Damage> {
    let bounds = Bounds::load(view)?;
    let mut census = Census::default();
    let mut listed = Vec::new();
    let (mut page, mut before) = (FIRST, Span { pages: 0, kind: Kind::Large, ..Span::default() });
    while page < bounds.end {
        let span = Span::load(view, page)?;
        if span.before != before.pages || span.pages > bounds.end - page {
            return Err(Damage::Span { page });
        }
        if span.kind == Kind::Free && before.kind == Kind::Free {
            return Err(Damage::NotMerged { page });
        }
        census.add(page, &span);
        listed.extend(belongs(&span).map(|list| (list, page)));
        page += span.pages;
        before = span;
    }
    let fits = before.pages == bounds.last && bounds.end <= bounds.limit;
    if !fits {
        return Err(Damage::Span { page });
    }
    if before.kind == Kind::Free {
        return Err(Damage::NotMerged { page });
    }
    census.free_pages += u64::from(bounds.limit - bounds.end);
    lists(view, listed)?;
    Ok(census)
}

/// What pages of a heap are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Blocks of one size.
    Small {
        /// The size of each.
        bytes: u64,
        /// How many there are.
        blocks: u64,
        /// How many of them are taken.
        taken: u64,
    },
    /// One block.
    Large,
    /// Nothing: they were given back, or never used.
    Free,
}

/// Pages of a heap that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// The first of them.
    pub page: u32,
    /// How many.
    pub pages: u32,
    /// What they are for.
    pub purpose: Purpose,
}

/// What the pages of an object's heap are for, in order; pages of small blocks of one size that follow each
/// other are one area. Ends when there are `most`.
///
/// # Errors
/// A line that describes some of them is damaged.
pub fn areas(view: &impl View, most: usize) -> Result<Vec<Area>, HeapError> {
    let bounds = Bounds::load(view)?;
    let (mut areas, mut page) = (Vec::new(), FIRST);
    while page < bounds.end && areas.len() < most {
        let span = Span::load(view, page)?;
        add(&mut areas, Area { page, pages: span.pages, purpose: purpose(&span) });
        page = page.saturating_add(span.pages);
    }
    if (bounds.end..bounds.limit).contains(&page) {
        add(&mut areas, Area { page, pages: bounds.limit - page, purpose: Purpose::Free });
    }
    Ok(areas)
}

fn add(areas: &mut Vec<Area>, next: Area) {
    match (areas.last_mut(), next.purpose) {
        (
            Some(Area { pages, purpose: Purpose::Small { bytes, blocks, taken }, .. }),
            Purpose::Small { bytes: size, blocks: more, taken: further },
        ) if *bytes == size => {
            *pages += next.pages;
            *blocks += more;
            *taken += further;
        }
        _ => areas.push(next),
    }
}

fn purpose(span: &Span) -> Purpose {
    let blocks = || span::blocks(span.class) as u64;
    match span.kind {
        Kind::Free => Purpose::Free,
        Kind::Large => Purpose::Large,
        Kind::Slab => Purpose::Small {
            bytes: SIZES[span.class],
            blocks: blocks(),
            taken: blocks().saturating_sub(u64::from(span.free)),
        },
    }
}

impl Census {
    fn add(&mut self, page: u32, span: &Span) {
        let first = offset_of(page) + SPAN_HEADER;
        match span.kind {
            Kind::Free => self.free_pages += u64::from(span.pages),
            Kind::Large => {
                let bytes = u64::from(span.pages) * PAGE_BYTES - SPAN_HEADER;
                self.blocks.push(Block { offset: first, bytes });
            }
            Kind::Slab => {
                let bytes = SIZES[span.class];
                let taken = (0..span::blocks(span.class) as u64).filter(|at| !span.is_free(*at));
                self.blocks.extend(taken.map(|at| Block { offset: first + at * bytes, bytes }));
            }
        }
    }
}

/// The list in which a span has to be.
fn belongs(span: &Span) -> Option<List> {
    match span.kind {
        Kind::Free => Some(List::spans(span.pages)),
        Kind::Slab if span.free > 0 => Some(List::slabs(span.class)),
        Kind::Slab | Kind::Large => None,
    }
}

/// Whether the lists have exactly these members.
fn lists(view: &impl View, mut expected: Vec<(List, u32)>) -> Result<(), Damage> {
    for list in List::all() {
        let (mut page, mut previous) = (list.head(view)?, 0);
        while page != 0 {
            // Each is taken out when it is found, so that a circle ends.
            let found = expected.iter().position(|expected| *expected == (list, page));
            expected.swap_remove(found.ok_or(Damage::List { page })?);
            let span = Span::load(view, page)?;
            if span.previous != previous {
                return Err(Damage::List { page });
            }
            (previous, page) = (page, span.next);
        }
    }
    expected.first().map_or(Ok(()), |(_, page)| Err(Damage::List { page: *page }))
}

impl From<HeapError> for Damage {
    fn from(error: HeapError) -> Self {
        Self::Line(error)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(error) => error.fmt(to),
            Self::Span { page } => write!(to, "page {page}: the heap's spans do not fit"),
            Self::NotMerged { page } => write!(to, "page {page}: free spans are not merged"),
            Self::List { page } => write!(to, "page {page}: wrongly listed"),
        }
    }
}

impl core::error::Error for Damage {}
