//! A hash map that grows bucket by bucket.
//!
//! Keys are compared and hashed as bytes. The map is a trie over the bits of the hash, whose leaves are
//! buckets: a line with a tag for each entry, so that mostly one line more is looked at, and the entries.
//! A bucket that is full is divided by one more bit of the hash. A directory that has no bit more for that
//! is doubled, up to 512 slots; below a slot of one that is so long, another begins. So growing never takes
//! more than a bucket's and a directory's time, a quarter of a million buckets are two directories deep,
//! and no directory is much longer than its buckets need: of directories a processor's cache should
//! hold all, of buckets it will not. Only where all bits are used up, buckets are chained. A bucket that
//! has become empty stays where it is.

use alloc::vec::Vec;

use crate::checksum;
use crate::editor::Editor;
use crate::medium::LINE_BYTES;
use crate::persist::{Persist, bytes_of};
use crate::pointer::{PPtr, PointerError};
use crate::tx::TxError;
use crate::view::View;

use super::node::{Entries, Steps, ahead};

/// A map from keys to values.
#[derive(Persist)]
#[repr(C)]
pub struct PHashMap<K, V> {
    top: Slot,
    length: u64,
    seed: u64,
    /// Null, as is the next: they tell tools, and the fingerprint, what the map holds.
    keys: PPtr<K>,
    values: PPtr<V>,
}

/// Bits of the hash that a directory uses: at first, and at most.
const FIRST_BITS: u32 = 3;
const MOST_BITS: u32 = 9;
/// With so many bits used, buckets are chained.
const MAX_DEPTH: u32 = 60;
/// So many bytes a bucket has, or a little less.
const BUCKET_BYTES: u64 = 1984;

/// Where a bucket (an even number) or a directory (an odd one) is; 0 for none. Both begin at a line, so that
/// there is room for how many bits a directory uses, from bit 1 on.
type Slot = u64;

/// Slots, of which so many bits of the hash choose one.
#[derive(Clone, Copy)]
struct Directory {
    first: PPtr<Slot>,
    bits: u32,
}

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

impl Head {
    /// The entries, of the first so many, that have this tag.
    #[inline]
    fn tagged(&self, tag: u8, count: u64) -> u64 {
        let same = self.tags.as_chunks().0.iter().map(|tags| bytes_equal(*tags, tag));
        let same =
            (0..count.div_ceil(8)).zip(same).fold(0, |all, (at, same)| all | same << (8 * at));
        same & self.used & low_bits(count)
    }

    /// Says that an entry is there.
    #[inline]
    fn put(&mut self, index: u64, hash: u64) {
        self.used |= 1 << index;
        self.tags[place(index)] = tag(hash);
    }
}

/// A bit for each of the bytes that is this one.
#[inline]
const fn bytes_equal(bytes: [u8; 8], byte: u8) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    let other = u64::from_le_bytes(bytes) ^ u64::from_ne_bytes([byte; 8]);
    // The highest bit of each byte that is zero now, and no other bit.
    let equal = !(((other & LOW) + LOW) | other | LOW);
    // Each of these bits is moved to its place in the highest byte.
    (equal >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Where a bucket is found.
#[derive(Clone, Copy)]
struct Found {
    bucket: PPtr<Head>,
    /// The directory with the slot that leads to it; none if the map's own does.
    directory: Option<Directory>,
    /// The slot that leads to that directory, or to the bucket.
    holder: PPtr<Slot>,
    /// How many bits of the hash lead to that directory.
    above: u32,
}

impl<K, V> Default for PHashMap<K, V> {
    fn default() -> Self {
        Self { top: 0, length: 0, seed: 0, keys: PPtr::NULL, values: PPtr::NULL }
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
    #[inline]
    pub fn find(self, view: &impl View, key: &K) -> Result<Option<PPtr<V>>, PointerError> {
        let (hash, bucket) = self.start(view, key)?;
        let found = Self::seek(view, bucket.bucket, hash, key)?;
        Ok(found.map(|(bucket, index)| Self::value_at(bucket, index)))
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
        let (mut hash, mut found) = self.start(editor, &key)?;
        if let Some((bucket, index)) = Self::seek(editor, found.bucket, hash, &key)? {
            editor.set(Self::value_at(bucket, index), value)?;
            return Ok(false);
        }
        if found.bucket.is_null() {
            self.begin(editor)?;
            (hash, found) = self.start(editor, &key)?;
        }
        let (bucket, index) = self.room(editor, found, hash)?;
        let head = editor.modify(bucket)?;
        head.put(index, hash);
        editor.set(Self::key_at(bucket, index), key)?;
        editor.set(Self::value_at(bucket, index), value)?;
        let map = editor.modify(self)?;
        map.length = map.length.wrapping_add(1);
        Ok(true)
    }

    /// Sets the values of many keys. While one is put in place, what the next ones need is fetched: a
    /// transaction of many is bound by the memory's rate rather than by its latency.
    ///
    /// # Errors
    /// The object is full, or damaged.
    pub fn extend<B>(
        self,
        editor: &mut Editor<'_, B>,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), TxError> {
        ahead(
            editor,
            entries,
            |editor, (key, _)| self.fetch(editor, key),
            |editor, found| Self::fetch_place(editor, *found),
            |editor, (key, value), _| self.insert(editor, key, value).map(drop),
        )
    }

    /// Has the head of a key's bucket fetched, and where the key is if it is there.
    fn fetch(self, view: &impl View, key: &K) -> Result<(PPtr<Head>, u64), PointerError> {
        let (hash, Found { bucket, .. }) = self.start(view, key)?;
        view.prefetch(bucket);
        view.prefetch(Self::key_at(bucket, Self::preferred(hash)));
        Ok((bucket, hash))
    }

    /// Has the place fetched that an entry of this hash would get.
    fn fetch_place(
        view: &impl View,
        (bucket, hash): (PPtr<Head>, u64),
    ) -> Result<(), PointerError> {
        if !bucket.is_null()
            && let Some(free) = Self::free(view.get(bucket)?, hash)
        {
            view.prefetch(Self::key_at(bucket, free));
        }
        Ok(())
    }

    /// Takes a key away, with its value; whether it was there.
    ///
    /// # Errors
    /// A pointer leads nowhere.
    pub fn remove<B>(self, editor: &mut Editor<'_, B>, key: &K) -> Result<bool, TxError> {
        let (hash, found) = self.start(editor, key)?;
        let Some((bucket, index)) = Self::seek(editor, found.bucket, hash, key)? else {
            return Ok(false);
        };
        editor.modify(bucket)?.used &= !(1 << index);
        let map = editor.modify(self)?;
        map.length = map.length.wrapping_sub(1);
        Ok(true)
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
        let mut left = Vec::from_iter(Block::of(view.get(self)?.top));
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
                    let mut slots = view.slice(directory.first, directory.length())?.to_vec();
                    slots.sort_unstable();
                    let slots = slots.chunk_by(|one, next| one == next);
                    left.extend(slots.filter_map(|slots| Block::of(slots[0])));
                }
            }
        }
        Ok(())
    }

    fn hash(self, view: &impl View, key: &K) -> Result<u64, PointerError> {
        Ok(checksum::of(bytes_of(key), view.get(self)?.seed))
    }

    /// A key's hash, and the first bucket in which entries of this hash are.
    #[inline]
    fn start(self, view: &impl View, key: &K) -> Result<(u64, Found), PointerError> {
        let map = view.get(self)?;
        let hash = checksum::of(bytes_of(key), map.seed);
        Ok((hash, self.bucket(view, map.top, hash)?))
    }

    #[inline]
    fn bucket(self, view: &impl View, top: Slot, hash: u64) -> Result<Found, PointerError> {
        let (mut slot, mut at, mut used) = (top, self.top(), 0);
        let mut found = Found { bucket: PPtr::NULL, directory: None, holder: at, above: 0 };
        while let Some(directory) = Directory::of(slot) {
            // Each directory uses bits up; who finds none left has met a circle.
            if used >= MAX_DEPTH {
                return Err(PointerError::Outside { offset: directory.first.offset() });
            }
            found = Found { directory: Some(directory), holder: at, above: used, ..found };
            at = directory.slot(hash >> used);
            slot = *view.get(at)?;
            used += directory.bits;
        }
        Ok(Found { bucket: PPtr::from_bits(slot), ..found })
    }

    /// The map's own slot.
    const fn top(self) -> PPtr<Slot> {
        self.byte_add(core::mem::offset_of!(PHashMap<K, V>, top) as u64)
    }

    /// The bucket and the place of a key, from this bucket of a chain on.
    #[inline]
    fn seek(
        view: &impl View,
        mut bucket: PPtr<Head>,
        hash: u64,
        key: &K,
    ) -> Result<Option<(PPtr<Head>, u64)>, PointerError> {
        let mut steps = Steps::in_object(view);
        while !bucket.is_null() {
            steps.step(bucket)?;
            // Mostly it is where it would be alone: this line is fetched while the first one is.
            view.prefetch(Self::key_at(bucket, Self::preferred(hash)));
            let head = view.get(bucket)?;
            if let Some(index) = Self::index(view, bucket, head, hash, key)? {
                return Ok(Some((bucket, index)));
            }
            bucket = head.next;
        }
        Ok(None)
    }

    #[inline]
    fn index(
        view: &impl View,
        bucket: PPtr<Head>,
        head: &Head,
        hash: u64,
        key: &K,
    ) -> Result<Option<u64>, PointerError> {
        for index in entries(head.tagged(tag(hash), Self::ENTRIES)) {
            let other = view.get(Self::key_at(bucket, index))?;
            if bytes_of(other) == bytes_of(key) {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    fn begin<B>(self, editor: &mut Editor<'_, B>) -> Result<(), TxError> {
        let bucket = Self::new_bucket(editor, 0, PPtr::NULL)?;
        let map = editor.modify(self)?;
        map.top = bucket.bits();
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

    /// A bucket with a free place for an entry of this hash, which was found to belong there.
    fn room<B>(
        self,
        editor: &mut Editor<'_, B>,
        mut found: Found,
        hash: u64,
    ) -> Result<(PPtr<Head>, u64), TxError> {
        loop {
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
            found = self.bucket(editor, *editor.get(self.top())?, hash)?;
        }
    }

    /// Makes two of a full bucket, by the next bit of the hash.
    fn divide<B>(self, editor: &mut Editor<'_, B>, found: Found, hash: u64) -> Result<(), TxError> {
        let head = *editor.get(found.bucket)?;
        let depth = u32::try_from(head.depth).unwrap_or(MAX_DEPTH);
        if depth >= MAX_DEPTH {
            let more = Self::new_bucket(editor, head.depth, found.bucket)?;
            return Self::redirect(editor, found, depth, hash, more.bits());
        }
        if depth >= found.above + found.directory.map_or(0, |directory| directory.bits) {
            return Self::widen(editor, found, hash);
        }
        let other = Self::new_bucket(editor, head.depth + 1, PPtr::NULL)?;
        let (mut kept, mut moved) = (head, *editor.get(other)?);
        kept.depth += 1;
        for index in entries(head.used).filter(|index| *index < Self::ENTRIES) {
            let key = editor.get(Self::key_at(found.bucket, index))?;
            let hash = self.hash(editor, key)?;
            if hash >> depth & 1 == 1 {
                let damaged = PointerError::Outside { offset: other.offset() };
                let free = Self::free(&moved, hash).ok_or(damaged)?;
                Entries::<K, V>::copy(editor, (found.bucket, index), (other, free))?;
                kept.used &= !(1 << index);
                moved.put(free, hash);
            }
        }
        editor.set(other, moved)?;
        editor.set(found.bucket, kept)?;
        let with_bit = hash & low_bits(depth.into()) | 1 << depth;
        Self::redirect(editor, found, depth + 1, with_bit, other.bits())
    }

    /// Where an entry of this hash is put, if that place is free.
    const fn preferred(hash: u64) -> u64 {
        (hash >> 32) % Self::ENTRIES
    }

    /// The first free place from there on.
    #[inline]
    fn free(head: &Head, hash: u64) -> Option<u64> {
        let free = !head.used & low_bits(Self::ENTRIES);
        let behind = free >> Self::preferred(hash) << Self::preferred(hash);
        let place = if behind == 0 { free } else { behind }.trailing_zeros();
        (free != 0).then_some(u64::from(place))
    }

    /// Makes the directory longer that leads to a bucket; where there is none, or it is as long as it may
    /// be, puts one between its slot and the bucket.
    fn widen<B>(editor: &mut Editor<'_, B>, found: Found, hash: u64) -> Result<(), TxError> {
        match found.directory {
            Some(old) if old.bits < MOST_BITS => {
                let slots = editor.slice(old.first, old.length())?.repeat(2);
                let new = Directory::make(editor, old.bits + 1, &slots)?;
                editor.free(old.first)?;
                editor.set(found.holder, new.leading())?;
            }
            full => {
                let slots = [found.bucket.bits(); 1 << FIRST_BITS];
                let new = Directory::make(editor, FIRST_BITS, &slots)?;
                let slot = full.map_or(found.holder, |full| full.slot(hash >> found.above));
                editor.set(slot, new.leading())?;
            }
        }
        Ok(())
    }

    /// Lets all slots whose lower bits are those of `hash`, `depth` of them, lead to another bucket.
    fn redirect<B>(
        editor: &mut Editor<'_, B>,
        found: Found,
        depth: u32,
        hash: u64,
        slot: Slot,
    ) -> Result<(), TxError> {
        let Some(directory) = found.directory else {
            return Ok(editor.set(found.holder, slot)?);
        };
        let bits = depth.saturating_sub(found.above).min(directory.bits);
        let first = hash >> found.above & low_bits(bits.into());
        for other in (first..directory.length()).step_by(1 << bits) {
            editor.set(directory.slot(other), slot)?;
        }
        Ok(())
    }

    const fn key_at(bucket: PPtr<Head>, index: u64) -> PPtr<K> {
        Entries::<K, V>::first_at(bucket, index)
    }

    const fn value_at(bucket: PPtr<Head>, index: u64) -> PPtr<V> {
        Entries::<K, V>::second_at(bucket, index)
    }
}

impl Directory {
    /// What an odd slot leads to.
    #[inline]
    const fn of(slot: Slot) -> Option<Self> {
        let bits = (slot >> 1 & 0xf) as u32;
        let bits = if bits > MOST_BITS { MOST_BITS } else { bits };
        let first = PPtr::from_bits(slot & !(LINE_BYTES as u64 - 1));
        // One that uses no bits would be looked through for ever.
        if slot & 1 == 1 && bits > 0 { Some(Self { first, bits }) } else { None }
    }

    fn make<B>(editor: &mut Editor<'_, B>, bits: u32, slots: &[Slot]) -> Result<Self, TxError> {
        let bytes = size_of_val(slots) as u64;
        let first = editor.alloc_bytes(bytes, LINE_BYTES as u64)?.cast();
        editor.modify_slice(first, slots.len())?.copy_from_slice(slots);
        Ok(Self { first, bits })
    }

    /// The slot that leads to it.
    const fn leading(self) -> Slot {
        self.first.bits() | (self.bits as u64) << 1 | 1
    }

    const fn length(self) -> u64 {
        1 << self.bits
    }

    /// The slot that the lowest bits choose.
    #[inline]
    const fn slot(self, hash: u64) -> PPtr<Slot> {
        self.first.element(hash & low_bits(self.bits as u64))
    }
}

#[derive(Clone, Copy)]
enum Block {
    Bucket(PPtr<Head>),
    Directory(Directory),
}

impl Block {
    const fn of(slot: Slot) -> Option<Self> {
        match (slot, Directory::of(slot)) {
            (0, _) => None,
            (_, Some(directory)) => Some(Self::Directory(directory)),
            (bucket, None) => Some(Self::Bucket(PPtr::from_bits(bucket))),
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
            Self::Directory(directory) => directory.first.cast(),
        }
    }
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

const fn low_bits(count: u64) -> u64 {
    (1 << count) - 1
}
