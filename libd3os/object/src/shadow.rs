//! What a transaction has changed, before anybody else sees it: copies of lines.
//!
//! A transaction changes copies in the program's own memory. Whatever is larger than a line needs its
//! copies one behind the other; where they are not, they are copied once more to where they are. The
//! older copies stay until the transaction ends, but are not looked at any more.
//!
//! A savepoint begins an epoch: what was copied in an earlier one is copied again before it is changed,
//! so that going back is to look at the older copies again.

mod pages;

use alloc::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Range;
use core::ptr::{self, NonNull};

use crate::medium::LINE_BYTES;
use pages::Pages;

/// A line of one of the objects of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) const fn new(object: u32, line: u32) -> Self {
        Self((object as u64) << 32 | line as u64)
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes it apart")]
    pub(crate) const fn line(self) -> u32 {
        self.0 as u32
    }

    pub(crate) const fn object(self) -> usize {
        self.object_number() as usize
    }

    const fn object_number(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Where the lines of an object are, before any change.
#[derive(Clone, Copy)]
pub(crate) struct Home {
    /// The object's number in the transaction.
    pub(crate) object: u32,
    /// The first of the lines that are asked for.
    pub(crate) at: NonNull<u8>,
}

/// The copies of a transaction, or of none: they are used again by the next one.
pub(crate) struct Shadows {
    /// Where lines are in `shadows`.
    pages: Pages,
    shadows: Vec<Shadow>,
    /// The epoch of the innermost savepoint, and the last that there was.
    epoch: u32,
    last_epoch: u32,
    undo: Vec<Undo>,
    arena: RefCell<Arena>,
}

/// A line that was copied.
#[derive(Clone, Copy)]
pub(crate) struct Shadow {
    pub(crate) key: Key,
    /// None: it was taken back, as if it had not been.
    copy: Option<NonNull<u8>>,
    epoch: u32,
    /// Which one was added before of the same page.
    before: u32,
    /// The words in which the copy differs from the object, once that was looked at.
    pub(crate) changed: u8,
}

impl Shadow {
    /// The line's copy, unless it was taken back.
    pub(crate) const fn copy(&self) -> Option<NonNull<u8>> {
        self.copy
    }
}

struct Undo {
    index: u32,
    epoch: u32,
    copy: Option<NonNull<u8>>,
}

/// Where to go back to.
#[derive(Clone, Copy)]
pub(crate) struct Savepoint {
    undo: usize,
    outer: u32,
}

/// So many lines are fetched at once.
const CHUNK: usize = 16;

// SAFETY: the pointers lead into the arena, which moves with it.
unsafe impl Send for Shadows {}

impl Shadows {
    pub(crate) fn new() -> Self {
        Self {
            pages: Pages::new(),
            shadows: Vec::new(),
            epoch: 0,
            last_epoch: 0,
            undo: Vec::new(),
            arena: RefCell::default(),
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.shadows.clear();
        self.pages.clear();
        self.undo.clear();
        self.epoch = 0;
        self.last_epoch = 0;
        self.arena.get_mut().reset();
    }

    /// Copies that may be changed of these lines, one behind the other.
    #[inline]
    pub(crate) fn copies(&mut self, home: Home, lines: Range<u32>) -> NonNull<u8> {
        if lines.len() == 1 {
            let key = Key::new(home.object, lines.start);
            return match self.find(key) {
                Some(index) => self.own_copy(home, index),
                None => self.first_copy(home, key),
            };
        }
        self.long_copies(home, lines)
    }

    /// These lines as they are for the transaction, one behind the other.
    #[inline]
    pub(crate) fn look(&self, home: Home, lines: Range<u32>) -> NonNull<u8> {
        if !self.may_have(home.object, lines.clone()) {
            return home.at;
        }
        self.look_among(home, lines)
    }

    /// Whether one of these lines may have been copied; surely none, if it says so.
    #[inline]
    pub(crate) fn may_have(&self, object: u32, lines: Range<u32>) -> bool {
        !self.shadows.is_empty() && self.pages.have_any(object, lines)
    }

    #[inline(never)]
    fn look_among(&self, home: Home, lines: Range<u32>) -> NonNull<u8> {
        if lines.len() == 1 {
            return self.copy_of(Key::new(home.object, lines.start)).unwrap_or(home.at);
        }
        self.long_look(home, lines)
    }

    /// The copy of a line that was copied before.
    #[inline]
    fn own_copy(&mut self, home: Home, index: usize) -> NonNull<u8> {
        let Shadow { copy, epoch, .. } = self.shadows[index];
        match copy {
            Some(copy) if epoch >= self.epoch => copy,
            _ => {
                let copy = copied(self.arena.get_mut(), copy.unwrap_or(home.at));
                self.replace(index, copy);
                copy
            }
        }
    }

    fn first_copy(&mut self, home: Home, key: Key) -> NonNull<u8> {
        let copy = copied(self.arena.get_mut(), home.at);
        self.add(key, copy);
        copy
    }

    #[cold]
    fn long_copies(&mut self, home: Home, lines: Range<u32>) -> NonNull<u8> {
        let current = |shadow: &Shadow| shadow.epoch >= self.epoch;
        if let Some(copy) = self.contiguous(home.object, lines.clone(), current) {
            return copy;
        }
        let run = self.gather(home, lines.clone());
        for (index, line) in lines.enumerate() {
            // SAFETY: `gather` has made room for all of them.
            let copy = unsafe { run.add(index * LINE_BYTES) };
            let key = Key::new(home.object, line);
            match self.find(key) {
                Some(index) => self.replace(index, copy),
                None => self.add(key, copy),
            }
        }
        run
    }

    #[cold]
    fn long_look(&self, home: Home, mut lines: Range<u32>) -> NonNull<u8> {
        let (object, all) = (home.object, lines.clone());
        if lines.all(|line| self.copy_of(Key::new(object, line)).is_none()) {
            return home.at;
        }
        let found = self.contiguous(object, all.clone(), |_| true);
        found.unwrap_or_else(|| self.gather(home, all))
    }

    /// Where they are, if they lie one behind the other and are all wanted.
    fn contiguous(
        &self,
        object: u32,
        mut lines: Range<u32>,
        wanted: impl Fn(&Shadow) -> bool,
    ) -> Option<NonNull<u8>> {
        let find = |line| {
            let shadow = &self.shadows[self.find(Key::new(object, line))?];
            shadow.copy.filter(|_| wanted(shadow))
        };
        let first = lines.next().and_then(find)?;
        let follows = |(index, line): (usize, u32)| {
            let expected = first.as_ptr().wrapping_add((index + 1) * LINE_BYTES);
            find(line).is_some_and(|copy| copy.as_ptr() == expected)
        };
        lines.enumerate().all(follows).then_some(first)
    }

    /// A copy of all of them, as they are now.
    fn gather(&self, home: Home, lines: Range<u32>) -> NonNull<u8> {
        let run = self.arena.borrow_mut().take(lines.len() * LINE_BYTES);
        for (index, line) in lines.enumerate() {
            // SAFETY: in the run there is room for all of them.
            let to = unsafe { run.add(index * LINE_BYTES) };
            // SAFETY: the caller's lines lie one behind the other there.
            let home_line = unsafe { home.at.add(index * LINE_BYTES) };
            let from = self.copy_of(Key::new(home.object, line)).unwrap_or(home_line);
            // SAFETY: both are lines; the run is new, so that they do not overlap.
            unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr(), LINE_BYTES) };
        }
        run
    }

    /// Lets objects' lines follow each other, for [`chunks`](Self::chunks).
    pub(crate) fn sort_by_object(&mut self) {
        let objects = self.shadows.iter().map(|shadow| shadow.key.object());
        if !objects.is_sorted() {
            // Pages and savepoints say where shadows are; from here on, nobody asks them.
            self.shadows.sort_unstable_by_key(|shadow| shadow.key);
        }
    }

    /// All lines that were copied, a few at a time. What is noted of a line stays.
    pub(crate) fn chunks(&mut self) -> impl Iterator<Item = &mut [Shadow]> {
        self.shadows.chunks_mut(CHUNK)
    }

    /// How many lines were copied.
    pub(crate) const fn count(&self) -> usize {
        self.shadows.len()
    }

    /// All lines that were found changed.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (&Shadow, NonNull<u8>)> {
        let changed = self.shadows.iter().filter(|shadow| shadow.changed != 0);
        changed.filter_map(|shadow| Some((shadow, shadow.copy?)))
    }

    /// Begins what can be taken back.
    pub(crate) fn savepoint(&mut self) -> Savepoint {
        let savepoint = Savepoint { undo: self.undo.len(), outer: self.epoch };
        self.last_epoch += 1;
        self.epoch = self.last_epoch;
        savepoint
    }

    /// Ends it, and keeps what was done since.
    pub(crate) fn keep(&mut self, savepoint: Savepoint) {
        self.epoch = savepoint.outer;
        if self.epoch == 0 {
            self.undo.clear();
        }
    }

    /// Ends it, and takes back what was done since.
    pub(crate) fn restore(&mut self, savepoint: Savepoint) {
        self.epoch = savepoint.outer;
        while self.undo.len() > savepoint.undo {
            let Some(Undo { index, epoch, copy }) = self.undo.pop() else { return };
            let shadow = &mut self.shadows[index as usize];
            shadow.epoch = epoch;
            shadow.copy = copy;
        }
    }

    #[inline]
    fn copy_of(&self, key: Key) -> Option<NonNull<u8>> {
        self.shadows[self.find(key)?].copy
    }

    /// Which of the shadows is this line's.
    #[inline]
    fn find(&self, key: Key) -> Option<usize> {
        let page = self.pages.of(key);
        if !page.has(key) {
            return None;
        }
        let mut at = page.newest as usize;
        while self.shadows[at].key != key {
            at = self.shadows[at].before as usize;
        }
        Some(at)
    }

    #[expect(clippy::cast_possible_truncation, reason = "an object has fewer lines than 2^32")]
    fn add(&mut self, key: Key, copy: NonNull<u8>) {
        let index = self.shadows.len() as u32;
        let epoch = self.epoch;
        if epoch > 0 {
            self.undo.push(Undo { index, epoch: 0, copy: None });
        }
        let before = self.pages.insert(key, index);
        self.shadows.push(Shadow { key, copy: Some(copy), epoch, before, changed: 0 });
    }

    #[expect(clippy::cast_possible_truncation, reason = "an object has fewer lines than 2^32")]
    fn replace(&mut self, index: usize, copy: NonNull<u8>) {
        let shadow = &mut self.shadows[index];
        if shadow.epoch < self.epoch {
            let Shadow { epoch, copy, .. } = *shadow;
            self.undo.push(Undo { index: index as u32, epoch, copy });
        }
        shadow.epoch = self.epoch;
        shadow.copy = Some(copy);
    }
}

/// A copy of one line.
#[inline]
fn copied(arena: &mut Arena, from: NonNull<u8>) -> NonNull<u8> {
    let to = arena.take(LINE_BYTES);
    // SAFETY: both are lines; the copy is new, so that they do not overlap.
    unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr(), LINE_BYTES) };
    to
}

/// Memory that is taken piece by piece and given back as a whole. Pieces are aligned to lines.
#[derive(Default)]
struct Arena {
    blocks: Vec<Block>,
    block: usize,
    used: usize,
}

struct Block {
    at: NonNull<u8>,
    layout: Layout,
}

const BLOCK_BYTES: usize = 16 * 1024;

impl Arena {
    #[inline]
    fn take(&mut self, bytes: usize) -> NonNull<u8> {
        if let Some(block) = self.blocks.get(self.block)
            && block.bytes() - self.used >= bytes
        {
            // SAFETY: the block has so much room left.
            let piece = unsafe { block.at.add(self.used) };
            self.used += bytes;
            return piece;
        }
        self.take_elsewhere(bytes)
    }

    #[cold]
    fn take_elsewhere(&mut self, bytes: usize) -> NonNull<u8> {
        while self.blocks.get(self.block).is_some_and(|block| block.bytes() - self.used < bytes) {
            self.block += 1;
            self.used = 0;
        }
        if self.block == self.blocks.len() {
            let doubled = BLOCK_BYTES << self.blocks.len().min(10);
            self.blocks.push(Block::new(bytes.max(doubled)));
        }
        // SAFETY: the loop has found a block with so much room left, or this one is new.
        let piece = unsafe { self.blocks[self.block].at.add(self.used) };
        self.used += bytes;
        piece
    }

    const fn reset(&mut self) {
        self.block = 0;
        self.used = 0;
    }
}

impl Block {
    fn new(bytes: usize) -> Self {
        // Pieces of two blocks are never one behind the other: an unused line is between them.
        let layout = Layout::from_size_align(bytes + LINE_BYTES, LINE_BYTES)
            .expect("an object's part is smaller");
        // SAFETY: nobody takes nothing.
        let at = NonNull::new(unsafe { alloc(layout) });
        Self { at: at.unwrap_or_else(|| handle_alloc_error(layout)), layout }
    }

    const fn bytes(&self) -> usize {
        self.layout.size() - LINE_BYTES
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated by this layout, and with the arena everything ends that was taken from it.
        unsafe { dealloc(self.at.as_ptr(), self.layout) };
    }
}
