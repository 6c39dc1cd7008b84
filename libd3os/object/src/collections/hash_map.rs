//! A hash map that grows bucket by bucket.
//!
//! Keys are compared and hashed as bytes. The map is a trie over the bits of the hash, six bits at a time,
//! whose leaves are buckets: a line with a tag for each entry, so that mostly one line more is looked at,
//! and the entries. A bucket that is full is divided by one more bit of the hash, so that growing never
//! takes more than a bucket's and a directory's time. Only where all bits are used up, buckets are
//! chained. A bucket that has become empty stays where it is.

use alloc::vec::Vec;

use crate::checksum;
use crate::editor::Editor;
use crate::medium::LINE_BYTES;
use crate::persist::{Persist, bytes_of};
use crate::pointer::{PPtr, PointerError};
use crate::tx::TxError;
use crate::view::View;

use super::node::{Entries, Steps};

/// A map from keys to values.
#[derive(Persist)]
#[repr(C)]
pub struct PHashMap<K, V> {
    root: Slot,
    length: u64,
    seed: u64,
    /// Null, as is the next: they tell tools, and the fingerprint, what the map holds.
    keys: PPtr<K>,
    values: PPtr<V>,
}

/// Bits of the hash that one directory uses.
const FAN_BITS: u32 = 6;
const FAN: usize = 1 << FAN_BITS;
/// With so many bits used, buckets are chained.
const MAX_DEPTH: u32 = 60;
/// So many bytes a bucket has, or a little less.
const BUCKET_BYTES: u64 = 960;

/// Where a bucket (an even number) or a directory (an odd one) is; 0 for none.
type Slot = u64;
type Directory = [Slot; FAN];

/// The line that describes a bucket.
#[derive(Clone, Copy, Persist)]
#[repr(C)]
struct Head {
    /// The next one of a chain.
    next: PPtr<Self>,
    /// A bit for each entry that is there.
    used: u64,
    /// How many bits of the hash its entries have in common.
    depth: u64,
    tags: [u8; MAX_ENTRIES],
}

const MAX_ENTRIES: usize = 40;

const _: () = assert!(size_of::<Head>() == LINE_BYTES);

/// Where a bucket is found.
#[derive(Clone, Copy)]
struct Found {
    bucket: PPtr<Head>,
    /// The directory with the slot that leads to it; null for the map's own.
    directory: PPtr<Directory>,
    /// How many bits of the hash lead to that directory.
    above: u32,
}

impl<K, V> Default for PHashMap<K, V> {
    fn default() -> Self {
        Self { root: 0, length: 0, seed: 0, keys: PPtr::NULL, values: PPtr::NULL }
    }
}

impl<K: Persist, V: Persist> PPtr<PHashMap<K, V>> {
    const ENTRIES: u64 = Entries::<K, V>::fit(BUCKET_BYTES, 2, MAX_ENTRIES as u64);

    /// How many entries there are.
    ///
    /// # Errors
    /// This pointer leads nowhere.
    pub fn len(self, view: &impl View) -> Result<u64, PointerError> {
        Ok(view.get(self)?.length)
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// This pointer leads nowhere.
    pub fn is_empty(self, view: &impl View) -> Result<bool, PointerError> {
        Ok(self.len(view)? == 0)
    }

    /// Where the value of a key is, if there is one.
    ///
    /// # Errors
    /// A pointer leads nowhere.
    pub fn find(self, view: &impl View, key: &K) -> Result<Option<PPtr<V>>, PointerError> {
        let hash = self.hash(view, key)?;
        let mut bucket = self.bucket(view, hash)?.bucket;
        let mut steps = Steps::in_object(view);
        while !bucket.is_null() {
            steps.step(bucket)?;
            let head = view.get(bucket)?;
            // Mostly it is where it would be alone: this line is fetched while the first one is.
            let preferred = Self::preferred(hash);
            let other = bytes_of(view.get(Self::key_at(bucket, preferred))?);
            if other == bytes_of(key) && head.used & 1 << preferred != 0 {
                return Ok(Some(Self::value_at(bucket, preferred)));
            }
            if let Some(index) = Self::index(view, bucket, head, hash, key)? {
                return Ok(Some(Self::value_at(bucket, index)));
            }
            bucket = head.next;
        }
        Ok(None)
    }

    /// The value of a key, if there is one.
    ///
    /// # Errors
    /// A pointer leads nowhere.
    pub fn get<'v>(self, view: &'v impl View, key: &K) -> Result<Option<&'v V>, PointerError> {
        self.find(view, key)?.map(|value| view.get(value)).transpose()
    }

    /// Sets the value of a key; whether there was none.
    ///
    /// # Errors
    /// The object is full, or damaged.
    pub fn insert<B>(self, editor: &mut Editor<'_, B>, key: K, value: V) -> Result<bool, TxError> {
        if let Some(place) = self.find(editor, &key)? {
            editor.set(place, value)?;
            return Ok(false);
        }
        if editor.get(self)?.root == 0 {
            self.begin(editor)?;
        }
        let hash = self.hash(editor, &key)?;
        let (bucket, index) = self.room(editor, hash)?;
        let head = editor.modify(bucket)?;
        head.used |= 1 << index;
        head.tags[place(index)] = tag(hash);
        editor.set(Self::key_at(bucket, index), key)?;
        editor.set(Self::value_at(bucket, index), value)?;
        let map = editor.modify(self)?;
        map.length = map.length.wrapping_add(1);
        Ok(true)
    }

    /// Takes a key away, with its value; whether it was there.
    ///
    /// # Errors
    /// A pointer leads nowhere.
    pub fn remove<B>(self, editor: &mut Editor<'_, B>, key: &K) -> Result<bool, TxError> {
        let hash = self.hash(editor, key)?;
        let mut bucket = self.bucket(editor, hash)?.bucket;
        let mut steps = Steps::in_object(editor);
        while !bucket.is_null() {
            steps.step(bucket)?;
            let head = *editor.get(bucket)?;
            if let Some(index) = Self::index(editor, bucket, &head, hash, key)? {
                editor.modify(bucket)?.used &= !(1 << index);
                let map = editor.modify(self)?;
                map.length = map.length.wrapping_sub(1);
                return Ok(true);
            }
            bucket = head.next;
        }
        Ok(false)
    }

    /// Calls `each` with all keys and values, in no particular order.
    ///
    /// # Errors
    /// A pointer leads nowhere.
    pub fn for_each(
        self,
        view: &impl View,
        mut each: impl FnMut(&K, &V),
    ) -> Result<(), PointerError> {
        self.visit(view, |block| {
            let Some(bucket) = block.bucket() else { return Ok(()) };
            let head = view.get(bucket)?;
            for index in entries(head.used) {
                each(
                    view.get(Self::key_at(bucket, index))?,
                    view.get(Self::value_at(bucket, index))?,
                );
            }
            Ok(())
        })
    }

    /// Takes all entries away and gives their memory back.
    ///
    /// # Errors
    /// The object is damaged.
    pub fn clear<B>(self, editor: &mut Editor<'_, B>) -> Result<(), TxError> {
        for block in self.blocks(editor)? {
            editor.free(block)?;
        }
        Ok(editor.set(self, PHashMap::default())?)
    }

    /// The blocks that the map has of the heap.
    ///
    /// # Errors
    /// A pointer leads nowhere.
    pub fn blocks(self, view: &impl View) -> Result<Vec<PPtr<u8>>, PointerError> {
        let mut blocks = Vec::new();
        self.visit(view, |block| {
            blocks.push(block.pointer());
            Ok(())
        })?;
        Ok(blocks)
    }

    /// Calls `each` with every block.
    fn visit(
        self,
        view: &impl View,
        mut each: impl FnMut(Block) -> Result<(), PointerError>,
    ) -> Result<(), PointerError> {
        let mut left = Vec::from_iter(Block::of(view.get(self)?.root));
        let mut steps = Steps::in_object(view);
        while let Some(block) = left.pop() {
            steps.step(block.pointer())?;
            each(block)?;
            match block {
                Block::Bucket(bucket) => {
                    let next = view.get(bucket)?.next;
                    left.extend((!next.is_null()).then_some(Block::Bucket(next)));
                }
                Block::Directory(directory) => {
                    // Several slots may lead to the same bucket.
                    let mut slots = *view.get(directory)?;
                    slots.sort_unstable();
                    let slots = slots.chunk_by(|one, next| one == next);
                    left.extend(slots.filter_map(|slots| Block::of(slots[0])));
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn hash(self, view: &impl View, key: &K) -> Result<u64, PointerError> {
        Ok(checksum::of(bytes_of(key), view.get(self)?.seed))
    }

    /// The first bucket in which entries of this hash are.
    #[inline]
    fn bucket(self, view: &impl View, hash: u64) -> Result<Found, PointerError> {
        let mut slot = view.get(self)?.root;
        let mut found = Found { bucket: PPtr::NULL, directory: PPtr::NULL, above: 0 };
        let mut used = 0;
        while slot & 1 == 1 {
            // Each directory uses bits up; who finds none left has met a circle.
            if used >= MAX_DEPTH {
                return Err(PointerError::Outside { offset: slot });
            }
            found = Found { directory: directory_of(slot), above: used, ..found };
            slot = view.get(found.directory)?[slot_of(hash, used)];
            used += FAN_BITS;
        }
        Ok(Found { bucket: PPtr::from_bits(slot), ..found })
    }

    #[inline]
    fn index(
        view: &impl View,
        bucket: PPtr<Head>,
        head: &Head,
        hash: u64,
        key: &K,
    ) -> Result<Option<u64>, PointerError> {
        let tag = tag(hash);
        for index in entries(head.used).filter(|index| *index < Self::ENTRIES) {
            if head.tags[place(index)] == tag {
                let other = view.get(Self::key_at(bucket, index))?;
                if bytes_of(other) == bytes_of(key) {
                    return Ok(Some(index));
                }
            }
        }
        Ok(None)
    }

    fn begin<B>(self, editor: &mut Editor<'_, B>) -> Result<(), TxError> {
        let bucket = Self::new_bucket(editor, 0, PPtr::NULL)?;
        let map = editor.modify(self)?;
        map.root = bucket.bits();
        map.seed = self.bits();
        Ok(())
    }

    fn new_bucket<B>(
        editor: &mut Editor<'_, B>,
        depth: u64,
        next: PPtr<Head>,
    ) -> Result<PPtr<Head>, TxError> {
        let bytes = Entries::<K, V>::bytes(Self::ENTRIES);
        let bucket = editor.alloc_bytes(bytes, LINE_BYTES as u64)?.cast();
        editor.set(bucket, Head { next, used: 0, depth, tags: [0; _] })?;
        Ok(bucket)
    }

    /// A bucket with a free place for an entry of this hash.
    fn room<B>(self, editor: &mut Editor<'_, B>, hash: u64) -> Result<(PPtr<Head>, u64), TxError> {
        loop {
            let found = self.bucket(editor, hash)?;
            let mut bucket = found.bucket;
            let mut steps = Steps::in_object(editor);
            while !bucket.is_null() {
                steps.step(bucket)?;
                let head = editor.get(bucket)?;
                if let Some(free) = Self::free(head, hash) {
                    return Ok((bucket, free));
                }
                bucket = head.next;
            }
            self.divide(editor, found, hash)?;
        }
    }

    /// Makes two of a full bucket, by the next bit of the hash.
    fn divide<B>(self, editor: &mut Editor<'_, B>, found: Found, hash: u64) -> Result<(), TxError> {
        let head = *editor.get(found.bucket)?;
        let depth = u32::try_from(head.depth).unwrap_or(MAX_DEPTH);
        if depth >= MAX_DEPTH {
            let more = Self::new_bucket(editor, head.depth, found.bucket)?;
            return self.redirect(editor, found, depth, hash, more.bits());
        }
        if depth == found.above + self.bits_of(found) {
            return self.descend(editor, found, hash);
        }
        editor.modify(found.bucket)?.depth = head.depth + 1;
        let other = Self::new_bucket(editor, head.depth + 1, PPtr::NULL)?;
        for index in entries(head.used) {
            let key = editor.get(Self::key_at(found.bucket, index))?;
            let hash = self.hash(editor, key)?;
            if hash >> depth & 1 == 1 {
                Self::move_entry(editor, found.bucket, other, index, hash)?;
            }
        }
        let with_bit = hash & low_bits(depth) | 1 << depth;
        self.redirect(editor, found, depth + 1, with_bit, other.bits())
    }

    /// How many bits the slots of a directory use.
    const fn bits_of(self, found: Found) -> u32 {
        if found.directory.is_null() { 0 } else { FAN_BITS }
    }

    fn move_entry<B>(
        editor: &mut Editor<'_, B>,
        from: PPtr<Head>,
        to: PPtr<Head>,
        index: u64,
        hash: u64,
    ) -> Result<(), TxError> {
        let damaged = PointerError::Outside { offset: to.offset() };
        let free = Self::free(editor.get(to)?, hash).ok_or(damaged)?;
        editor.copy_elements(Self::key_at(from, index), Self::key_at(to, free), 1)?;
        editor.copy_elements(Self::value_at(from, index), Self::value_at(to, free), 1)?;
        editor.modify(from)?.used &= !(1 << index);
        let head = editor.modify(to)?;
        head.used |= 1 << free;
        head.tags[place(free)] = tag(hash);
        Ok(())
    }

    /// Where an entry of this hash is put, if that place is free.
    const fn preferred(hash: u64) -> u64 {
        (hash >> 32) % Self::ENTRIES
    }

    /// The first free place from there on.
    fn free(head: &Head, hash: u64) -> Option<u64> {
        let preferred = Self::preferred(hash);
        let mut places = (preferred..Self::ENTRIES).chain(0..preferred);
        places.find(|place| head.used & 1 << place == 0)
    }

    /// Puts a directory between a slot and the bucket that it leads to.
    fn descend<B>(
        self,
        editor: &mut Editor<'_, B>,
        found: Found,
        hash: u64,
    ) -> Result<(), TxError> {
        let directory = editor.alloc::<Directory>([found.bucket.bits(); FAN])?;
        let slot = directory.bits() | 1;
        if found.directory.is_null() {
            editor.modify(self)?.root = slot;
        } else {
            editor.modify(found.directory)?[slot_of(hash, found.above)] = slot;
        }
        Ok(())
    }

    /// Lets all slots whose lower bits are those of `hash`, `depth` of them, lead to another bucket.
    fn redirect<B>(
        self,
        editor: &mut Editor<'_, B>,
        found: Found,
        depth: u32,
        hash: u64,
        slot: Slot,
    ) -> Result<(), TxError> {
        if found.directory.is_null() {
            editor.modify(self)?.root = slot;
            return Ok(());
        }
        let step = 1 << depth.saturating_sub(found.above).min(FAN_BITS);
        let first = slot_of(hash, found.above) % step;
        let directory = editor.modify(found.directory)?;
        directory.iter_mut().skip(first).step_by(step).for_each(|other| *other = slot);
        Ok(())
    }

    const fn key_at(bucket: PPtr<Head>, index: u64) -> PPtr<K> {
        Entries::<K, V>::first_at(bucket, index)
    }

    const fn value_at(bucket: PPtr<Head>, index: u64) -> PPtr<V> {
        Entries::<K, V>::second_at(bucket, index)
    }
}

#[derive(Clone, Copy)]
enum Block {
    Bucket(PPtr<Head>),
    Directory(PPtr<Directory>),
}

impl Block {
    const fn of(slot: Slot) -> Option<Self> {
        match slot {
            0 => None,
            slot if slot & 1 == 1 => Some(Self::Directory(directory_of(slot))),
            slot => Some(Self::Bucket(PPtr::from_bits(slot))),
        }
    }

    const fn bucket(self) -> Option<PPtr<Head>> {
        match self {
            Self::Bucket(bucket) => Some(bucket),
            Self::Directory(_) => None,
        }
    }

    const fn pointer(self) -> PPtr<u8> {
        match self {
            Self::Bucket(bucket) => bucket.cast(),
            Self::Directory(directory) => directory.cast(),
        }
    }
}

const fn directory_of(slot: Slot) -> PPtr<Directory> {
    PPtr::from_bits(slot & !1)
}

/// The numbers of the bits that are set.
fn entries(mut used: u64) -> impl Iterator<Item = u64> {
    core::iter::from_fn(move || {
        let index = (used != 0).then(|| u64::from(used.trailing_zeros()))?;
        used &= used - 1;
        Some(index)
    })
    .take_while(|index| *index < MAX_ENTRIES as u64)
}

#[expect(clippy::cast_possible_truncation, reason = "a bucket has few entries")]
const fn place(index: u64) -> usize {
    index as usize
}

/// Bits of the hash that the trie does not use before it is very deep.
const fn tag(hash: u64) -> u8 {
    hash.to_le_bytes()[7]
}

#[expect(clippy::cast_possible_truncation, reason = "six bits")]
const fn slot_of(hash: u64, used: u32) -> usize {
    (hash >> used) as usize % FAN
}

const fn low_bits(count: u32) -> u64 {
    (1 << count) - 1
}
