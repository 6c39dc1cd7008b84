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
    slots: Vec<Slot>,
    /// Where the lines of this transaction are in `slots`.
    keys: Vec<Key>,
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
    epoch: u32,
    /// None: as if it were not here.
    copy: Option<NonNull<u8>>,
}

struct Undo {
    key: Key,
    epoch: u32,
    copy: Option<NonNull<u8>>,
}

/// Where to go back to.
#[derive(Clone, Copy)]
pub(crate) struct Savepoint {
    undo: usize,
    outer: u32,
}

const EMPTY: Slot = Slot { key: Key(0), generation: 0, epoch: 0, copy: None };
const FIRST_SLOTS: usize = 64;

// SAFETY: the pointers lead into the arena, which moves with it.
unsafe impl Send for Shadows {}

impl Shadows {
    pub(crate) fn new() -> Self {
        Self {
            slots: alloc::vec![EMPTY; FIRST_SLOTS],
            keys: Vec::new(),
            generation: 1,
            epoch: 0,
            last_epoch: 0,
            undo: Vec::new(),
            arena: RefCell::default(),
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
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
    pub(crate) fn copies(&mut self, home: Home, lines: Range<u32>) -> NonNull<u8> {
        if let Some(copy) = self.contiguous(home.object, lines.clone(), self.epoch) {
            return copy;
        }
        let run = self.gather(home, lines.clone());
        for (index, line) in lines.enumerate() {
            // SAFETY: `gather` has made room for all of them.
            let copy = unsafe { run.add(index * LINE_BYTES) };
            self.set(Key::new(home.object, line), copy);
        }
        run
    }

    /// These lines as they are for the transaction, one behind the other.
    pub(crate) fn look(&self, home: Home, lines: Range<u32>) -> NonNull<u8> {
        if self.keys.is_empty() || self.none_of(home.object, lines.clone()) {
            return home.at;
        }
        self.contiguous(home.object, lines.clone(), 0).unwrap_or_else(|| self.gather(home, lines))
    }

    fn none_of(&self, object: u32, mut lines: Range<u32>) -> bool {
        lines.all(|line| self.find(Key::new(object, line)).is_none())
    }

    /// Where they are, if they lie one behind the other and are of this epoch or a later one.
    fn contiguous(&self, object: u32, mut lines: Range<u32>, epoch: u32) -> Option<NonNull<u8>> {
        let find = |line| self.find(Key::new(object, line)).filter(|slot| slot.epoch >= epoch);
        let first = lines.next().and_then(find)?.copy?;
        let follows = |(index, line): (usize, u32)| {
            let expected = first.as_ptr().wrapping_add((index + 1) * LINE_BYTES);
            find(line).and_then(|slot| slot.copy).is_some_and(|copy| copy.as_ptr() == expected)
        };
        lines.enumerate().all(follows).then_some(first)
    }

    /// A copy of all of them, as they are now.
    fn gather(&self, home: Home, lines: Range<u32>) -> NonNull<u8> {
        let run = self.arena.borrow_mut().take(lines.len() * LINE_BYTES);
        for (index, line) in lines.enumerate() {
            let copy = self.find(Key::new(home.object, line)).and_then(|slot| slot.copy);
            // SAFETY: in the run there is room for all of them.
            let to = unsafe { run.add(index * LINE_BYTES) };
            // SAFETY: the caller's lines lie one behind the other there.
            let home = unsafe { home.at.add(index * LINE_BYTES) };
            let from = copy.unwrap_or(home);
            // SAFETY: both are lines; the run is new, so that they do not overlap.
            unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr(), LINE_BYTES) };
        }
        run
    }

    /// All lines that were copied, by object and line, with their copies.
    pub(crate) fn sorted(&mut self) -> impl Iterator<Item = (Key, NonNull<u8>)> + '_ {
        self.keys.sort_unstable();
        self.keys.dedup();
        let this = &*self;
        this.keys.iter().filter_map(|key| Some((*key, this.find(*key)?.copy?)))
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
            let Some(Undo { key, epoch, copy }) = self.undo.pop() else { return };
            let at = self.position(key);
            self.slots[at].epoch = epoch;
            self.slots[at].copy = copy;
        }
    }

    fn find(&self, key: Key) -> Option<&Slot> {
        let slot = &self.slots[self.position(key)];
        (slot.generation == self.generation && slot.copy.is_some()).then_some(slot)
    }

    /// Where this key is, or would be.
    fn position(&self, key: Key) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = spread(key) & mask;
        while self.slots[at].generation == self.generation && self.slots[at].key != key {
            at = (at + 1) & mask;
        }
        at
    }

    fn set(&mut self, key: Key, copy: NonNull<u8>) {
        let at = self.position(key);
        let slot = self.slots[at];
        let is_new = slot.generation != self.generation;
        let (epoch, before) = if is_new { (0, None) } else { (slot.epoch, slot.copy) };
        if epoch < self.epoch {
            self.undo.push(Undo { key, epoch, copy: before });
        }
        let (generation, epoch) = (self.generation, self.epoch);
        self.slots[at] = Slot { key, generation, epoch, copy: Some(copy) };
        if is_new {
            self.keys.push(key);
            self.grow();
        }
    }

    /// Keeps the table half empty.
    fn grow(&mut self) {
        if self.keys.len() * 2 <= self.slots.len() {
            return;
        }
        let larger = alloc::vec![EMPTY; self.slots.len() * 2];
        let slots = core::mem::replace(&mut self.slots, larger);
        for slot in slots.into_iter().filter(|slot| slot.generation == self.generation) {
            let at = self.position(slot.key);
            self.slots[at] = slot;
        }
    }
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
    fn take(&mut self, bytes: usize) -> NonNull<u8> {
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
