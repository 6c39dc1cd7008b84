//! A snapshot: what an object held at one version, while the object goes on.
//!
//! The object stays where it is, in one piece, and changes in place; so whoever recovers it goes on as if
//! there were no snapshot. What is about to change for the first time is copied before, page by page, to
//! the snapshot's own memory. To begin one is to settle the object (what was committed is in place then,
//! and no log speaks of that version any more) and to write one line, whatever the object's size. To read a
//! page of one is to read its copy or, if there is none, the next newer snapshot's, or the object's.
//!
//! | bytes | what |
//! |---|---|
//! | 0…64 | magic with the version of this layout, the object's id, the snapshot's, the version that it holds, pages, checksum |
//! | 64 for each page | a copy: which page, checksum of its contents, checksum; the so-manieth line says what the so-manieth copy is |
//! | then, from the next page on | the copies |
//!
//! Copies are made in the order of their lines. A copy is durable before its line is written, and that
//! before the page changes: a fence each. So a line that is none ends them, and wherever power is lost, a
//! page is either copied or as it was. Checksums are seeded with the snapshot's id, which is never given
//! twice: what the memory held before is nothing that would have to be erased, and there is room for a copy
//! of each page, so that no change has to be refused later.
//!
//! *Who* makes the copies is whoever owns the page tables: all writable mappings are withdrawn when a
//! snapshot begins, at their root, and a page's first write faults. [`Kept`] does the same for somebody who
//! writes through a [`Medium`], as recovery does.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::fmt;
use core::ptr::NonNull;

use crate::checksum;
use crate::id::ObjectId;
use crate::layout::PAGE_BYTES;
use crate::mapping::Mapping;
use crate::medium::{LINE_BYTES, Line, Medium, WORD_BYTES};
use crate::session::{Busy, Session};

const MAGIC: u64 = u64::from_le_bytes(*b"D3OSsna\x01");
const HEAD_SEED: u64 = 0x0073_6e61_7073_686f;
const COPY_SEED: u64 = 0x736e_6170_636f_7079;
const PAGE_SEED: u64 = 0x736e_6170_7061_6765;
const PAGE: usize = 4096;
const LINE_WORDS: usize = LINE_BYTES / WORD_BYTES;
/// So many lines behind the last copy's are looked at, for copies that a damaged line hides.
const LOOK_AHEAD: u32 = 64;

const _: () = assert!(PAGE as u64 == PAGE_BYTES);

/// A page's contents.
pub type Page = [u8; PAGE];

/// The copies that a snapshot has of an object's pages.
#[derive(Debug)]
pub struct Snapshot<S> {
    store: S,
    head: Head,
    /// Of which pages, and the so-manieth.
    copies: BTreeMap<u32, u32>,
}

/// What a snapshot says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The object.
    pub origin: ObjectId,
    /// The snapshot's own id.
    pub id: ObjectId,
    /// The version of the object that it holds.
    pub version: u64,
    /// Pages of the object, the guard left out.
    pub pages: u32,
}

/// A snapshot cannot be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// There is none with this id.
    Missing,
    /// Its memory has no room for a copy of each page.
    Short,
    /// The copies behind this one cannot be told: their line is damaged.
    Copies {
        /// The so-manieth.
        copy: u32,
    },
    /// The copy of a page is damaged.
    Page {
        /// The page, from the object's header on.
        page: u32,
    },
    /// The object has no such page.
    Outside {
        /// The page, from the object's header on.
        page: u32,
    },
    /// The object's lock was not to be had.
    Busy(Busy),
}

/// Bytes that the snapshot of an object with so many pages needs, the object's guard page left out.
#[must_use]
pub const fn bytes_for(pages: u32) -> u64 {
    first_copy(pages) as u64 + pages as u64 * PAGE_BYTES
}

const fn first_copy(pages: u32) -> usize {
    ((pages as usize + 1) * LINE_BYTES).next_multiple_of(PAGE)
}

impl<M: Medium> Session<M> {
    /// Begins a snapshot of an object as it is now. What it takes does not depend on the object's size.
    /// Durable when this returns; if power is lost before, there is the snapshot or none.
    ///
    /// `store` is called once the object is settled, while its lock is held: it withdraws what writes the
    /// object without asking, and returns memory for the snapshot, of whatever contents. From then on,
    /// whoever changes the object calls [`Snapshot::keep`] before.
    ///
    /// # Errors
    /// The object's lock was not to be had, or there is no room.
    pub fn snapshot<S: Medium>(
        &mut self,
        mapping: &Mapping<M>,
        id: ObjectId,
        store: impl FnOnce() -> S,
    ) -> Result<Snapshot<S>, SnapshotError> {
        let pages = u32::try_from(mapping.medium().bytes() / PAGE);
        let pages = pages.map_err(|_| SnapshotError::Short)?;
        self.settled(mapping, |version| {
            Snapshot::begin(store(), Head { origin: mapping.id(), id, version, pages })
        })?
    }
}

impl<S: Medium> Snapshot<S> {
    fn begin(store: S, head: Head) -> Result<Self, SnapshotError> {
        if (store.bytes() as u64) < bytes_for(head.pages) {
            return Err(SnapshotError::Short);
        }
        store.store_line(0, &line(head.words()));
        store.fence();
        Ok(Self { store, head, copies: BTreeMap::new() })
    }

    /// The snapshot of this id that was begun here, after a loss of power or not.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn open(store: S, id: ObjectId) -> Result<Self, SnapshotError> {
        if store.bytes() < LINE_BYTES {
            return Err(SnapshotError::Short);
        }
        let head = Head::of(words(&store, 0)).filter(|head| head.id == id);
        let head = head.ok_or(SnapshotError::Missing)?;
        if (store.bytes() as u64) < bytes_for(head.pages) {
            return Err(SnapshotError::Short);
        }
        let mut snapshot = Self { store, head, copies: BTreeMap::new() };
        snapshot.read_copies()?;
        Ok(snapshot)
    }

    fn read_copies(&mut self) -> Result<(), SnapshotError> {
        let all = 0..self.head.pages;
        for copy in all.clone() {
            let Some(page) = self.copied(copy).map(|(page, _)| page) else {
                let mut hidden = copy + 1..self.head.pages.min(copy + LOOK_AHEAD);
                let is_damaged = hidden.any(|copy| self.copied(copy).is_some());
                return if is_damaged { Err(SnapshotError::Copies { copy }) } else { Ok(()) };
            };
            if !all.contains(&page) || self.copies.insert(page, copy).is_some() {
                return Err(SnapshotError::Copies { copy });
            }
        }
        Ok(())
    }

    /// What the snapshot says of itself.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// How many pages were copied.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.copies.len()
    }

    /// Whether a page may change: there is a copy of it.
    #[must_use]
    pub fn has(&self, page: u32) -> bool {
        self.copies.contains_key(&page)
    }

    /// Has a copy of a page of the object, which nobody writes meanwhile; durable when this returns. Only then
    /// it may change.
    ///
    /// # Errors
    /// The object has no such page.
    pub fn keep(&mut self, origin: &impl Medium, page: u32) -> Result<(), SnapshotError> {
        if self.has(page) {
            return Ok(());
        }
        let mut contents = [0; PAGE];
        origin.read(self.place(page)?, &mut contents);
        self.add(page, &contents)
    }

    /// Takes over what a newer snapshot has copied and this one has not, which would read it there. Then
    /// the newer one can be forgotten.
    ///
    /// # Errors
    /// A copy is damaged.
    pub fn inherit(&mut self, newer: &Self) -> Result<(), SnapshotError> {
        for page in newer.copies.keys() {
            if !self.has(*page)
                && let Some(contents) = newer.copy_of(*page)?
            {
                self.add(*page, &contents)?;
            }
        }
        Ok(())
    }

    /// What a page held. `newer` are the snapshots of the object that were begun since, oldest first.
    ///
    /// # Errors
    /// The object has no such page, or its copy is damaged.
    pub fn read(
        &self,
        newer: &[&Self],
        origin: &impl Medium,
        page: u32,
    ) -> Result<Page, SnapshotError> {
        let at = self.place(page)?;
        for snapshot in [&[self], newer].concat() {
            if let Some(contents) = snapshot.copy_of(page)? {
                return Ok(contents);
            }
        }
        let mut contents = [0; PAGE];
        origin.read(at, &mut contents);
        Ok(contents)
    }

    /// Makes an object of its own of a snapshot, on a medium of the same size; durable after the next fence.
    /// It has the id and the version that the object had.
    ///
    /// # Errors
    /// The medium is shorter, or a copy is damaged.
    pub fn copy_to(
        &self,
        newer: &[&Self],
        origin: &impl Medium,
        to: &impl Medium,
    ) -> Result<(), SnapshotError> {
        if to.bytes() < self.head.pages as usize * PAGE {
            return Err(SnapshotError::Short);
        }
        for page in 0..self.head.pages {
            store_page(to, page as usize * PAGE, &self.read(newer, origin, page)?);
        }
        Ok(())
    }

    fn place(&self, page: u32) -> Result<usize, SnapshotError> {
        let is_there = page < self.head.pages;
        is_there.then_some(page as usize * PAGE).ok_or(SnapshotError::Outside { page })
    }

    fn add(&mut self, page: u32, contents: &Page) -> Result<(), SnapshotError> {
        let outside = SnapshotError::Outside { page };
        let copy = u32::try_from(self.copies.len()).map_err(|_| outside)?;
        if copy >= self.head.pages {
            return Err(outside);
        }
        store_page(&self.store, self.copy_place(copy), contents);
        self.store.fence();
        let words = [page.into(), self.sum(page, contents)];
        let sum = checksum::of_words(words, self.seed(COPY_SEED, copy));
        self.store.store_line(line_place(copy), &line([words[0], words[1], sum, 0, 0, 0, 0, 0]));
        self.store.fence();
        self.copies.insert(page, copy);
        Ok(())
    }

    fn copy_of(&self, page: u32) -> Result<Option<Page>, SnapshotError> {
        let Some(copy) = self.copies.get(&page).copied() else { return Ok(None) };
        let mut contents = [0; PAGE];
        self.store.read(self.copy_place(copy), &mut contents);
        let right = self.copied(copy) == Some((page, self.sum(page, &contents)));
        if right { Ok(Some(contents)) } else { Err(SnapshotError::Page { page }) }
    }

    /// Of which page a copy is, and the checksum of what it holds.
    fn copied(&self, copy: u32) -> Option<(u32, u64)> {
        let [page, contents, sum, ..] = words(&self.store, line_place(copy));
        let right = sum == checksum::of_words([page, contents], self.seed(COPY_SEED, copy));
        right.then_some((u32::try_from(page).ok()?, contents))
    }

    fn copy_place(&self, copy: u32) -> usize {
        first_copy(self.head.pages) + copy as usize * PAGE
    }

    fn sum(&self, page: u32, contents: &Page) -> u64 {
        checksum::of(contents, self.seed(PAGE_SEED, page))
    }

    fn seed(&self, what: u64, number: u32) -> u64 {
        let [low, high] = self.head.id.words();
        checksum::of_words([low, high, number.into()], what)
    }
}

impl Head {
    fn covered(self) -> [u64; 7] {
        let ([first, second], [low, high]) = (self.origin.words(), self.id.words());
        [MAGIC, first, second, low, high, self.version, self.pages.into()]
    }

    fn words(self) -> [u64; LINE_WORDS] {
        let [magic, first, second, low, high, version, pages] = self.covered();
        let sum = checksum::of_words(self.covered(), HEAD_SEED);
        [magic, first, second, low, high, version, pages, sum]
    }

    fn of(words: [u64; LINE_WORDS]) -> Option<Self> {
        let [_, first, second, low, high, version, pages, _] = words;
        let (origin, id) =
            (ObjectId::from_words([first, second]), ObjectId::from_words([low, high]));
        let head = Self { origin, id, version, pages: u32::try_from(pages).ok()? };
        (head.words() == words).then_some(head)
    }
}

const fn line_place(copy: u32) -> usize {
    (copy as usize + 1) * LINE_BYTES
}

fn line(words: [u64; LINE_WORDS]) -> Line {
    let mut line = [0; LINE_BYTES];
    for (to, word) in line.as_chunks_mut().0.iter_mut().zip(words) {
        *to = word.to_le_bytes();
    }
    line
}

fn words(medium: &impl Medium, at: usize) -> [u64; LINE_WORDS] {
    core::array::from_fn(|word| medium.load_word(at + word * WORD_BYTES))
}

fn store_page(medium: &impl Medium, at: usize, contents: &Page) {
    for (number, line) in contents.as_chunks().0.iter().enumerate() {
        medium.store_line(at + number * LINE_BYTES, line);
    }
}

/// An object's memory, each page of which is copied to the newest snapshot before it changes: what a fault
/// of a program's first write does, for whoever writes through a medium. For one thread.
#[derive(Debug)]
pub struct Kept<M, S> {
    origin: M,
    newest: Newest<S>,
}

/// An object's newest snapshot, if there is one, for all who write the object.
pub type Newest<S> = Rc<RefCell<Option<Snapshot<S>>>>;

impl<M: Medium, S: Medium> Kept<M, S> {
    /// This memory, with the object's newest snapshot.
    #[must_use]
    pub const fn new(origin: M, newest: Newest<S>) -> Self {
        Self { origin, newest }
    }

    fn keep(&self, at: usize, bytes: usize) {
        let mut newest = self.newest.borrow_mut();
        let Some(newest) = newest.as_mut() else { return };
        let pages = at / PAGE..(at + bytes).div_ceil(PAGE);
        for page in pages.filter_map(|page| u32::try_from(page).ok()) {
            // Whoever asks for what is outside panics with the store; a page behind those that the object
            // had when the snapshot began is none of its.
            let kept = newest.keep(&self.origin, page);
            debug_assert!(matches!(kept, Ok(()) | Err(SnapshotError::Outside { .. })), "{kept:?}");
        }
    }
}

impl<M: Clone, S> Clone for Kept<M, S> {
    fn clone(&self) -> Self {
        Self { origin: self.origin.clone(), newest: self.newest.clone() }
    }
}

// SAFETY: it is the memory within.
unsafe impl<M: Medium, S: Medium> Medium for Kept<M, S> {
    fn base(&self) -> NonNull<u8> {
        self.origin.base()
    }

    fn bytes(&self) -> usize {
        self.origin.bytes()
    }

    fn read(&self, at: usize, into: &mut [u8]) {
        self.origin.read(at, into);
    }

    fn load_word(&self, at: usize) -> u64 {
        self.origin.load_word(at)
    }

    fn store(&self, at: usize, from: &[u8]) {
        self.keep(at, from.len());
        self.origin.store(at, from);
    }

    fn store_word(&self, at: usize, word: u64) {
        self.keep(at, WORD_BYTES);
        self.origin.store_word(at, word);
    }

    fn store_line(&self, at: usize, line: &Line) {
        self.keep(at, LINE_BYTES);
        self.origin.store_line(at, line);
    }

    fn flush(&self, at: usize) {
        self.origin.flush(at);
    }

    fn fence(&self) {
        self.origin.fence();
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => to.write_str("there is no such snapshot"),
            Self::Short => to.write_str("there is no room for a snapshot of the object"),
            Self::Copies { copy } => write!(to, "the snapshot is damaged from copy {copy} on"),
            Self::Page { page } => write!(to, "the snapshot's copy of page {page} is damaged"),
            Self::Outside { page } => write!(to, "the snapshot has no page {page}"),
            Self::Busy(busy) => busy.fmt(to),
        }
    }
}

impl core::error::Error for SnapshotError {}

impl From<Busy> for SnapshotError {
    fn from(busy: Busy) -> Self {
        Self::Busy(busy)
    }
}
