//! What a transaction has changed, before anybody else sees it: copies of lines.
//!
//! A transaction changes copies in the program's own memory. Whatever is larger than a line needs its
//! copies one behind the other; where they are not, they are copied once more to where they are. The
//! older copies stay until the transaction ends, but are not looked at any more.
//!
//! A savepoint begins an epoch: what was copied in an earlier one is copied again before it is changed,
//! so that going back is to look at the older copies again.

use alloc::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Range;
use core::ptr::{self, NonNull};

use crate::medium::LINE_BYTES;

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
        (self.0 >> 32) as usize
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
    /// Where lines are in `shadows`: a table with open addressing, at most half full.
    slots: Vec<Slot>,
    shadows: Vec<Shadow>,
    /// Slots of others are empty.
    generation: u32,
    /// The epoch of the innermost savepoint, and the last that there was.
    epoch: u32,
    last_epoch: u32,
    undo: Vec<Undo>,
    arena: RefCell<Arena>,
}

#[derive(Clone, Copy)]
struct Slot {
    key: Key,
    generation: u32,
    /// Which of the shadows.
    index: u32,
}

/// A line that was copied.
#[derive(Clone, Copy)]
pub(crate) struct Shadow {
    pub(crate) key: Key,
    /// None: it was taken back, as if it had not been.
    copy: Option<NonNull<u8>>,
    epoch: u32,
    /// The words in which the copy differs from the object, once that was looked at.
    pub(crate) changed: u8,
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

const EMPTY: Slot = Slot { key: Key(0), generation: 0, index: 0 };
const FIRST_SLOTS: usize = 64;

// SAFETY: the pointers lead into the arena, which moves with it.
unsafe impl Send for Shadows {}

impl Shadows {
    pub(crate) fn new() -> Self {
        Self {
            slots: alloc::vec![EMPTY; FIRST_SLOTS],
            shadows: Vec::new(),
            generation: 1,
            epoch: 0,
            last_epoch: 0,
            undo: Vec::new(),
            arena: RefCell::default(),
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.shadows.clear();
        self.undo.clear();
        self.epoch = 0;
        self.last_epoch = 0;
        self.arena.get_mut().reset();
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.slots.fill(EMPTY);
            self.generation = 1;
        }
    }

    /// Copies that may be changed of these lines, one behind the other.
    #[inline]
    pub(crate) fn copies(&mut self, home: Home, lines: Range<u32>) -> NonNull<u8> {
        if lines.len() == 1 {
            let key = Key::new(home.object, lines.start);
            return match self.find(key) {
                Ok(index) => self.own_copy(home, index),
                Err(at) => self.first_copy(home, key, at),
            };
        }
        self.long_copies(home, lines)
    }

    /// These lines as they are for the transaction, one behind the other.
    #[inline]
    pub(crate) fn look(&self, home: Home, lines: Range<u32>) -> NonNull<u8> {
        if self.shadows.is_empty() { home.at } else { self.look_among(home, lines) }
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

    fn first_copy(&mut self, home: Home, key: Key, at: usize) -> NonNull<u8> {
        let copy = copied(self.arena.get_mut(), home.at);
        self.add(key, at, copy);
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
                Ok(index) => self.replace(index, copy),
                Err(at) => self.add(key, at, copy),
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
            let shadow = &self.shadows[self.find(Key::new(object, line)).ok()?];
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

    /// Lets objects' lines follow each other, for [`each`](Self::each).
    pub(crate) fn sort_by_object(&mut self) {
        let objects = self.shadows.iter().map(|shadow| shadow.key.object());
        if !objects.is_sorted() {
            // Slots and savepoints say where shadows are; from here on, nobody asks them.
            self.shadows.sort_unstable_by_key(|shadow| shadow.key);
        }
    }

    /// All lines that were copied, with their copies. What is noted of a line stays.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = (&mut Shadow, NonNull<u8>)> {
        self.shadows.iter_mut().filter_map(|shadow| {
            let copy = shadow.copy?;
            Some((shadow, copy))
        })
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
        self.shadows[self.find(key).ok()?].copy
    }

    /// Which of the shadows is this line's; else the slot that it would get.
    #[inline]
    fn find(&self, key: Key) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut at = spread(key) & mask;
        loop {
            let slot = self.slots[at];
            if slot.generation != self.generation {
                return Err(at);
            }
            if slot.key == key {
                return Ok(slot.index as usize);
            }
            at = (at + 1) & mask;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "an object has fewer lines than 2^32")]
    fn add(&mut self, key: Key, at: usize, copy: NonNull<u8>) {
        let index = self.shadows.len() as u32;
        let epoch = self.epoch;
        if epoch > 0 {
            self.undo.push(Undo { index, epoch: 0, copy: None });
        }
        self.slots[at] = Slot { key, generation: self.generation, index };
        self.shadows.push(Shadow { key, copy: Some(copy), epoch, changed: 0 });
        if self.shadows.len() * 2 > self.slots.len() {
            self.grow();
        }
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

    #[cold]
    fn grow(&mut self) {
        self.slots = alloc::vec![EMPTY; self.slots.len() * 2];
        for (index, key) in (0..).zip(self.shadows.iter().map(|shadow| shadow.key)) {
            if let Err(at) = self.find(key) {
                self.slots[at] = Slot { key, generation: self.generation, index };
            }
        }
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

const fn spread(key: Key) -> usize {
    (key.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
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
