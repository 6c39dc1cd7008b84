//! Where things lie in a pool: version 3 (1 had no snapshots, 2 did not know which pages are fresh).
//!
//! | from page | pages | what |
//! |---|---|---|
//! | 0 | 1 | superblock; from its third line on, which pages are [fresh](crate::fresh) |
//! | 1 | 1 | its copy |
//! | 2 | `logs` × `log_pages` | logs of sessions; the first one is the server's own |
//! | … | `system_pages` | the system object |
//! | … | the rest | objects, in extents of whole pages |
//!
//! A superblock is a line of eight little-endian words: magic with the layout's version, the pool's id
//! (two words), its pages, the three numbers above, and a checksum. It is written when the pool is
//! made: first that it is being made and, when everything else is durable, that it is. So whoever finds
//! neither a superblock nor zeros has somebody else's data before him.

use core::ops::Range;

use libd3os_object::control::Slot;
use libd3os_object::medium::{LINE_BYTES, Medium, WORD_BYTES};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The unit in which memory is given out.
pub(crate) const PAGE_BYTES: u64 = 4096;

const COPIES: [u64; 2] = [0, PAGE_BYTES];
const VERSION: u8 = 3;
const MAKING: u64 = u64::from_le_bytes([b'D', b'3', b'O', b'S', b'n', b'e', b'w', VERSION]);
const MADE: u64 = u64::from_le_bytes([b'D', b'3', b'O', b'S', b'p', b'o', b'l', VERSION]);
const SEED: u64 = 0x7375_7065_7262_6c6b;
/// Bytes that are looked at together in search of one that is not zero.
const LOOKED_AT: usize = 64 * LINE_BYTES;
/// Bytes after which is told how far the search is.
const TOLD: usize = 64 << 20;
/// How far the search goes at a start: more takes longer than somebody who has switched the machine on waits.
const SEARCHED: usize = 4 << 30;
const WORDS: usize = LINE_BYTES / WORD_BYTES;

/// How a pool is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The pool's name.
    pub id: u128,
    /// How long it is.
    pub pages: u64,
    /// How many sessions there can be at a time.
    pub logs: u64,
    /// The length of a session's log.
    pub log_pages: u64,
    /// The length of the system object.
    pub system_pages: u64,
}

/// There is no pool that could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// Nothing at all.
    #[error("the memory is empty")]
    Empty,
    /// A pool was being made when the power was lost. Nothing is lost if it is made anew.
    #[error("the pool was not made to the end")]
    Unfinished,
    /// It begins with zeros, and is too large to be looked through at every start.
    #[error(
        "nobody has looked whether all {gib} GiB of the memory are empty: `pmem init` does, and \
         `pmem init --empty` takes somebody's word for it"
    )]
    Unsearched {
        /// Its GiB.
        gib: u64,
    },
    /// It is not a pool, nor empty.
    #[error("the memory holds somebody else's data: the byte at {at:#x} is not zero")]
    Foreign {
        /// The first byte that is not zero.
        at: u64,
    },
    /// It is a pool of another version of this system.
    #[error("the memory holds a pool of version {found}, this system's are of version {VERSION}")]
    Version {
        /// Its version.
        found: u8,
    },
    /// Both superblocks are damaged.
    #[error("both copies of the superblock are damaged")]
    Damaged,
    /// The memory is shorter than the pool.
    #[error("the pool has {pages} pages, the memory {found}")]
    Cut {
        /// Of the pool.
        pages: u64,
        /// Of the memory.
        found: u64,
    },
    /// No pool is divided like this.
    #[error("a pool of {pages} pages cannot be divided so")]
    Division {
        /// Its pages.
        pages: u64,
    },
}

impl Layout {
    /// The division of a pool of so many bytes that suits most: 56 logs of 256 KiB or, in a small one,
    /// of a thousandth of it, and a 64th for the system object.
    #[must_use]
    pub fn usual(id: u128, bytes: u64) -> Self {
        let pages = bytes / PAGE_BYTES;
        let log_pages = (pages / 1024).clamp(1, 64);
        Self { id, pages, logs: 56, log_pages, system_pages: (pages / 64).max(16) }
    }

    /// The first page of a log.
    pub(crate) const fn log(&self, number: u64) -> u64 {
        COPIES.len() as u64 + number * self.log_pages
    }

    /// The first page of the system object.
    pub(crate) const fn system(&self) -> u64 {
        self.log(self.logs)
    }

    /// The first page that objects can have.
    pub(crate) const fn data(&self) -> u64 {
        self.system() + self.system_pages
    }

    /// That there is room for everything; numbers that are too large for that do not overflow.
    fn check(self) -> Result<Self, SuperblockError> {
        let Self { pages, logs, log_pages, system_pages, .. } = self;
        let of_logs = logs.checked_mul(log_pages);
        let used = of_logs.and_then(|logs| logs.checked_add(system_pages)?.checked_add(2));
        let fits = used.is_some_and(|used| used < pages);
        if fits
            && (1..=Slot::COUNT.into()).contains(&logs)
            && log_pages > 0
            && system_pages >= 3
            && pages < 1 << 40
        {
            Ok(self)
        } else {
            Err(SuperblockError::Division { pages })
        }
    }

    fn words(self, state: u64) -> [u64; WORDS] {
        let Self { id, pages, logs, log_pages, system_pages } = self;
        let [low, high] = halves(id);
        let covered = [state, low, high, pages, logs, log_pages, system_pages];
        [state, low, high, pages, logs, log_pages, system_pages, checksum(covered)]
    }
}

/// What is known of the memory in which a pool is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Nothing: it is looked through, and somebody else's data is left alone.
    Unknown,
    /// Somebody says that it is all zeros, of which only the beginning is looked through: should there be data
    /// behind that, objects would seem to hold it.
    Believed,
    /// That it is all zeros: [`crate::Pool::open`] has just found it [`SuperblockError::Empty`].
    Zeros,
    /// That whatever is there may be lost: somebody said so, or [`crate::Pool::open`] has just found it
    /// [`SuperblockError::Unfinished`].
    GivenUp,
}

/// Whether a pool can be made here, and `layout` fits; tells whether there is nothing but zeros.
///
/// # Errors
/// Somebody else's data is here, unless that is given up, or the layout does not fit.
pub(crate) fn may_make(
    medium: &impl Medium,
    layout: Layout,
    ground: Ground,
) -> Result<bool, SuperblockError> {
    layout.check()?;
    let found = medium.bytes() as u64 / PAGE_BYTES;
    if layout.pages > found {
        return Err(SuperblockError::Cut { pages: layout.pages, found });
    }
    let extent = match ground {
        Ground::Unknown => medium.bytes(),
        Ground::Believed => SEARCHED,
        Ground::Zeros | Ground::GivenUp => return Ok(ground == Ground::Zeros),
    };
    match read_within(medium, extent, &mut |_| {}) {
        Err(SuperblockError::Empty | SuperblockError::Unsearched { .. }) => Ok(true),
        Err(SuperblockError::Unfinished) => Ok(false),
        Err(error) => Err(error),
        Ok(_) => Err(SuperblockError::Foreign { at: 0 }),
    }
}

/// Says that a pool is being made; durable when this returns.
pub(crate) fn begin(medium: &impl Medium, layout: Layout) {
    write(medium, layout, MAKING);
}

/// Says that the pool is made, which is durable; durable when this returns.
pub(crate) fn finish(medium: &impl Medium, layout: Layout) {
    write(medium, layout, MADE);
}

/// Makes both copies alike, if power was lost between them; durable when this returns.
pub(crate) fn mend(medium: &impl Medium, layout: Layout) {
    if COPIES.iter().any(|at| copy(medium, *at) != Some((MADE, layout))) {
        write(medium, layout, MADE);
    }
}

/// One copy after the other, so that one is whole at every instant after the first one was.
fn write(medium: &impl Medium, layout: Layout, state: u64) {
    for at in COPIES {
        for (word, to) in layout.words(state).into_iter().zip((place(at)..).step_by(WORD_BYTES)) {
            medium.store_word(to, word);
        }
        medium.flush(place(at));
        medium.fence();
    }
}

/// Reads the division of the pool on this medium. Where there is none, looks through all of it, and calls
/// `looked` now and then with the number of bytes that were looked at.
///
/// # Errors
/// See [`SuperblockError`].
pub(crate) fn read(
    medium: &impl Medium,
    looked: &mut dyn FnMut(u64),
) -> Result<Layout, SuperblockError> {
    read_within(medium, SEARCHED, looked)
}

/// The same, but that so many bytes are looked through, if there are as many.
pub(crate) fn read_within(
    medium: &impl Medium,
    extent: usize,
    looked: &mut dyn FnMut(u64),
) -> Result<Layout, SuperblockError> {
    let found = medium.bytes() as u64 / PAGE_BYTES;
    if found < COPIES.len() as u64 {
        return Err(SuperblockError::Cut { pages: COPIES.len() as u64, found });
    }
    let copies = COPIES.map(|at| copy(medium, at));
    // Whoever makes a pool writes the first copy first: it knows better.
    match copies.into_iter().flatten().next() {
        Some((MADE, layout)) => within(layout.check()?, found),
        Some(_) => Err(SuperblockError::Unfinished),
        None => Err(none(medium, extent.min(medium.bytes()), looked)),
    }
}

fn within(layout: Layout, found: u64) -> Result<Layout, SuperblockError> {
    let pages = layout.pages;
    if pages <= found { Ok(layout) } else { Err(SuperblockError::Cut { pages, found }) }
}

/// What there is instead of a superblock.
fn none(medium: &impl Medium, extent: usize, looked: &mut dyn FnMut(u64)) -> SuperblockError {
    if let Some(found) = COPIES.into_iter().find_map(|at| other_version(medium, at)) {
        return SuperblockError::Version { found };
    }
    let is_begun = |at| [MAKING, MADE].contains(&medium.load_word(place(at)));
    // A line's words are durable in order, the first one first.
    match first_byte(medium, 0..extent, looked) {
        None if extent < medium.bytes() => {
            SuperblockError::Unsearched { gib: medium.bytes() as u64 >> 30 }
        }
        None => SuperblockError::Empty,
        Some(_)
            if is_begun(COPIES[0]) && first_byte(medium, LINE_BYTES..extent, looked).is_none() =>
        {
            SuperblockError::Unfinished
        }
        Some(_) if COPIES.into_iter().any(is_begun) => SuperblockError::Damaged,
        Some(at) => SuperblockError::Foreign { at },
    }
}

/// The version of a pool that this system does not read.
fn other_version(medium: &impl Medium, at: u64) -> Option<u8> {
    let [name @ .., found] = medium.load_word(place(at)).to_le_bytes();
    (name == *b"D3OSpol" && found != VERSION).then_some(found)
}

/// The state and the division that a copy says, if it is whole.
fn copy(medium: &impl Medium, at: u64) -> Option<(u64, Layout)> {
    let words = core::array::from_fn(|word| medium.load_word(place(at) + word * WORD_BYTES));
    let [state, low, high, pages, logs, log_pages, system_pages, sum] = words;
    let covered = [state, low, high, pages, logs, log_pages, system_pages];
    let id = u128::from(high) << 64 | u128::from(low);
    let layout = Layout { id, pages, logs, log_pages, system_pages };
    let known = state == MAKING || state == MADE;
    (known && sum == checksum(covered)).then_some((state, layout))
}

/// The first of these bytes that is not zero; the range begins and ends with a line.
fn first_byte(
    medium: &impl Medium,
    bytes: Range<usize>,
    looked: &mut dyn FnMut(u64),
) -> Option<u64> {
    let mut parts = bytes.clone().step_by(LOOKED_AT);
    let part = parts.find(|at| {
        if at.is_multiple_of(TOLD) && *at > 0 {
            looked(*at as u64);
        }
        !medium.is_zero(*at, LOOKED_AT.min(bytes.end - at))
    })?;
    let mut words = (part..bytes.end).step_by(WORD_BYTES);
    let at = words.find(|at| medium.load_word(*at) != 0)?;
    Some(at as u64 + u64::from(medium.load_word(at).trailing_zeros() / 8))
}

fn checksum(words: [u64; WORDS - 1]) -> u64 {
    xxh3_64_with_seed(words.map(u64::to_le_bytes).as_flattened(), SEED)
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
const fn halves(id: u128) -> [u64; 2] {
    [id as u64, (id >> 64) as u64]
}

/// Where a page begins on the medium, which is checked by whoever accesses it.
pub(crate) const fn page(number: u64) -> usize {
    place(number.saturating_mul(PAGE_BYTES))
}

/// An offset of the pool as one of its medium, which is checked by whoever accesses it.
#[expect(clippy::cast_possible_truncation, reason = "64-bit addresses only")]
pub(crate) const fn place(at: u64) -> usize {
    at as usize
}
