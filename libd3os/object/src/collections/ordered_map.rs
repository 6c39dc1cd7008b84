//! An ordered map: a B+-tree with wide nodes.
//!
//! A leaf is a line that describes it, and its keys and values, which stay where they are put: their order
//! is a list of places in that line, so that an insertion changes one line beside the key and the value.
//! Inner nodes, which change rarely, have their keys in order. A leaf that becomes empty is taken out;
//! leaves are not merged before.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::cmp::Ordering;

use crate::editor::Editor;
use crate::medium::LINE_BYTES;
use crate::persist::Persist;
use crate::pointer::{PPtr, PointerError};
use crate::tx::TxError;
use crate::view::View;

use super::node::{Arrays, Steps, ahead};

/// A map from keys to values, in the order of the keys.
#[derive(Persist)]
#[repr(C)]
pub struct POrderedMap<K, V> {
    root: PPtr<Head>,
    /// Inner nodes between the root and a leaf; 0 if the root is a leaf.
    levels: u64,
    length: u64,
    /// Null, as is the next: they tell tools, and the fingerprint, what the map holds.
    keys: PPtr<K>,
    values: PPtr<V>,
}

/// Bytes of nodes, or a little less.
const LEAF_BYTES: u64 = 1984;
const INNER_BYTES: u64 = 960;
/// No tree is so high.
const MAX_STEPS: usize = 24;
const MAX_HEIGHT: u64 = MAX_STEPS as u64;
const MAX_LEAF: usize = 48;

/// The line that describes a node.
#[derive(Clone, Copy, Persist)]
#[repr(C)]
struct Head {
    count: u64,
    /// A leaf's places that are used.
    used: u64,
    /// A leaf's places in the order of their keys.
    order: [u8; MAX_LEAF],
}

const _: () = assert!(size_of::<Head>() == LINE_BYTES);

/// The way from the root to a leaf: inner nodes, and which of their children was taken.
struct Path {
    steps: [(PPtr<Head>, u64); MAX_STEPS],
    length: usize,
}

impl Path {
    const fn new() -> Self {
        Self { steps: [(PPtr::NULL, 0); MAX_STEPS], length: 0 }
    }

    /// One step further down. No way has more than [`MAX_HEIGHT`] of them.
    fn push(&mut self, step: (PPtr<Head>, u64)) {
        if let Some(next) = self.steps.get_mut(self.length) {
            *next = step;
            self.length += 1;
        }
    }

    fn pop(&mut self) -> Option<(PPtr<Head>, u64)> {
        self.length = self.length.checked_sub(1)?;
        Some(self.steps[self.length])
    }
}

impl<K, V> Default for POrderedMap<K, V> {
    fn default() -> Self {
        let (keys, values) = (PPtr::NULL, PPtr::NULL);
        Self { root: PPtr::NULL, levels: 0, length: 0, keys, values }
    }
}

impl<K: Persist + Ord + Copy, V: Persist> PPtr<POrderedMap<K, V>> {
    const LEAF: u64 = Arrays::<K, V>::fit(LEAF_BYTES, 0, 4, MAX_LEAF as u64);
    /// Keys of an inner node, which has one child more.
    const INNER: u64 = Arrays::<K, PPtr<Head>>::fit(INNER_BYTES, 1, 4, u64::MAX);

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
        let leaf = self.leaf(view, key, |_, _| ())?;
        if leaf.is_null() {
            return Ok(None);
        }
        let head = view.get(leaf)?;
        let found = Self::search_leaf(view, leaf, head, key)?.ok();
        Ok(found.map(|position| Self::value_at(leaf, head.place(position))))
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
        let mut path = Path::new();
        let mut leaf = self.leaf(editor, &key, |node, child| path.push((node, child)))?;
        if leaf.is_null() {
            leaf = Self::new_node(editor, Arrays::<K, V>::bytes(Self::LEAF, 0))?;
            editor.modify(self)?.root = leaf;
        }
        let value = match self.insert_into(editor, leaf, key, value)? {
            Ok(is_new) => return Ok(is_new),
            Err(value) => value,
        };
        let (right, first) = Self::split_leaf(editor, leaf)?;
        self.add_child(editor, path, first, right)?;
        let target = if key < first { leaf } else { right };
        let full = PointerError::Outside { offset: target.offset() };
        Ok(self.insert_into(editor, target, key, value)?.map_err(|_| full)?)
    }

    /// Sets the value of a key that belongs to this leaf; whether there was none, or the value back if the
    /// leaf has to be divided first.
    fn insert_into<B>(
        self,
        editor: &mut Editor<'_, B>,
        leaf: PPtr<Head>,
        key: K,
        value: V,
    ) -> Result<Result<bool, V>, TxError> {
        let head = *editor.get(leaf)?;
        // It comes while the keys are searched.
        editor.prefetch(Self::value_at(leaf, head.free().min(Self::LEAF - 1)));
        match Self::search_leaf(editor, leaf, &head, &key)? {
            Ok(position) => {
                editor.set(Self::value_at(leaf, head.place(position)), value)?;
                Ok(Ok(false))
            }
            Err(_) if head.count() >= Self::LEAF => Ok(Err(value)),
            Err(position) => {
                Self::put(editor, leaf, position, key, value)?;
                let map = editor.modify(self)?;
                map.length = map.length.wrapping_add(1);
                Ok(Ok(true))
            }
        }
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
        // Leaves that were divided while others waited: entries move from them, and from no others.
        let divided = RefCell::new(Vec::new());
        ahead(
            editor,
            entries,
            |editor, (key, _)| {
                let leaf = self.leaf(editor, key, |_, _| ())?;
                Ok((leaf, divided.borrow().len()))
            },
            |editor, (leaf, _)| Self::fetch_place(editor, *leaf),
            |editor, (key, value), (leaf, before)| {
                let is_right = !leaf.is_null() && !divided.borrow()[before..].contains(&leaf);
                let inserted = match is_right {
                    true => self.insert_into(editor, leaf, key, value)?,
                    false => Err(value),
                };
                if let Err(value) = inserted {
                    divided.borrow_mut().push(leaf);
                    self.insert(editor, key, value)?;
                }
                Ok(())
            },
        )
    }

    /// Has the place fetched that the next entry of a leaf would get.
    fn fetch_place(view: &impl View, leaf: PPtr<Head>) -> Result<(), PointerError> {
        if !leaf.is_null() {
            let free = view.get(leaf)?.free();
            view.prefetch(Self::value_at(leaf, free.min(Self::LEAF - 1)));
        }
        Ok(())
    }

    /// Takes a key away, with its value; whether it was there.
    ///
    /// # Errors
    /// The object is damaged.
    pub fn remove<B>(self, editor: &mut Editor<'_, B>, key: &K) -> Result<bool, TxError> {
        let mut path = Path::new();
        let leaf = self.leaf(editor, key, |node, child| path.push((node, child)))?;
        if leaf.is_null() {
            return Ok(false);
        }
        let head = *editor.get(leaf)?;
        let Ok(position) = Self::search_leaf(editor, leaf, &head, key)? else {
            return Ok(false);
        };
        editor.modify(leaf)?.remove(position);
        if head.count() == 1 {
            self.remove_child(editor, path, leaf)?;
        }
        let map = editor.modify(self)?;
        map.length = map.length.wrapping_sub(1);
        Ok(true)
    }

    /// Calls `each` with the keys from this one on and their values, in order, until it returns false.
    ///
    /// # Errors
    /// A pointer leads nowhere.
    pub fn for_each_from(
        self,
        view: &impl View,
        from: &K,
        mut each: impl FnMut(&K, &V) -> bool,
    ) -> Result<(), PointerError> {
        let mut path = Path::new();
        let mut leaf = self.leaf(view, from, |node, child| path.push((node, child)))?;
        let mut first = true;
        let mut steps = Steps::in_object(view);
        while !leaf.is_null() {
            steps.step(leaf)?;
            let head = view.get(leaf)?;
            let start = if first { Self::search_leaf(view, leaf, head, from)? } else { Ok(0) };
            first = false;
            for position in start.unwrap_or_else(|position| position)..head.count() {
                let place = head.place(position);
                let (key, value) = (Self::key_at(leaf, place), Self::value_at(leaf, place));
                if !each(view.get(key)?, view.get(value)?) {
                    return Ok(());
                }
            }
            leaf = self.next_leaf(view, &mut path)?;
        }
        Ok(())
    }

    /// Calls `each` with all keys and their values, in order.
    ///
    /// # Errors
    /// A pointer leads nowhere.
    pub fn for_each(
        self,
        view: &impl View,
        mut each: impl FnMut(&K, &V),
    ) -> Result<(), PointerError> {
        let map = view.get(self)?;
        let mut path = Path::new();
        let mut leaf = Self::leftmost(view, map.root, map.levels, &mut path)?;
        let mut steps = Steps::in_object(view);
        while !leaf.is_null() {
            steps.step(leaf)?;
            let head = view.get(leaf)?;
            for position in 0..head.count() {
                let place = head.place(position);
                each(view.get(Self::key_at(leaf, place))?, view.get(Self::value_at(leaf, place))?);
            }
            leaf = self.next_leaf(view, &mut path)?;
        }
        Ok(())
    }

    /// Takes all entries away and gives their memory back.
    ///
    /// # Errors
    /// The object is damaged.
    pub fn clear<B>(self, editor: &mut Editor<'_, B>) -> Result<(), TxError> {
        for block in self.blocks(editor)? {
            editor.free(block)?;
        }
        Ok(editor.set(self, POrderedMap::default())?)
    }

    /// The blocks that the map has of the heap.
    ///
    /// # Errors
    /// A pointer leads nowhere.
    pub fn blocks(self, view: &impl View) -> Result<Vec<PPtr<u8>>, PointerError> {
        let map = view.get(self)?;
        let mut blocks = Vec::new();
        let mut left =
            Vec::from_iter((!map.root.is_null()).then_some((map.root, checked(map.levels)?)));
        let mut steps = Steps::in_object(view);
        while let Some((node, height)) = left.pop() {
            steps.step(node)?;
            blocks.push(node.cast());
            if height > 0 {
                for child in 0..=Self::keys_of(view, node)? {
                    left.push((*view.get(Self::child_at(node, child))?, height - 1));
                }
            }
        }
        Ok(blocks)
    }

    /// The leaf in which a key is or would be; null in an empty map.
    #[inline]
    fn leaf(
        self,
        view: &impl View,
        key: &K,
        mut step: impl FnMut(PPtr<Head>, u64),
    ) -> Result<PPtr<Head>, PointerError> {
        let map = view.get(self)?;
        let mut node = map.root;
        for _ in 0..checked(map.levels)? {
            Arrays::<K, PPtr<Head>>::prefetch(view, node, Self::INNER);
            let child = Self::search_inner(view, node, key)?;
            step(node, child);
            node = *view.get(Self::child_at(node, child))?;
        }
        // All of them at once: a search would wait for one after the other.
        Arrays::<K, V>::prefetch(view, node, Self::LEAF);
        Ok(node)
    }

    fn leftmost(
        view: &impl View,
        mut node: PPtr<Head>,
        height: u64,
        path: &mut Path,
    ) -> Result<PPtr<Head>, PointerError> {
        for _ in 0..checked(height)? {
            path.push((node, 0));
            node = *view.get(Self::child_at(node, 0))?;
        }
        Ok(node)
    }

    /// The leaf behind the one to which a path led; null behind the last.
    fn next_leaf(self, view: &impl View, path: &mut Path) -> Result<PPtr<Head>, PointerError> {
        let height = view.get(self)?.levels;
        while let Some((node, child)) = path.pop() {
            if child < Self::keys_of(view, node)? {
                path.push((node, child + 1));
                let below = height.saturating_sub(path.length as u64);
                let next = *view.get(Self::child_at(node, child + 1))?;
                return Self::leftmost(view, next, below, path);
            }
        }
        Ok(PPtr::NULL)
    }

    /// The child of an inner node that leads to a key.
    #[inline]
    fn search_inner(view: &impl View, node: PPtr<Head>, key: &K) -> Result<u64, PointerError> {
        let (first, count) = (Self::inner_key_at(node, 0), Self::keys_of(view, node)?);
        if let Some(keys) = view.whole_slice(first, count)? {
            return Ok(keys.partition_point(|other| other <= key) as u64);
        }
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low.midpoint(high);
            if view.get(first.element(middle))? <= key { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// The position of a key in a leaf, or where it would be.
    #[inline]
    fn search_leaf(
        view: &impl View,
        leaf: PPtr<Head>,
        head: &Head,
        key: &K,
    ) -> Result<Result<u64, u64>, PointerError> {
        let first = Self::key_at(leaf, 0);
        let keys = view.whole_slice(first, Self::LEAF)?;
        let outside = PointerError::Outside { offset: leaf.offset() };
        let (mut low, mut high) = (0, head.count().min(Self::LEAF));
        while low < high {
            let middle = low.midpoint(high);
            let place = head.place(middle).min(Self::LEAF - 1);
            let other = match keys {
                Some(keys) => keys.get(index(place)).ok_or(outside)?,
                None => view.get(first.element(place))?,
            };
            match other.cmp(key) {
                Ordering::Equal => return Ok(Ok(middle)),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Ok(Err(low))
    }

    /// Puts an entry into a leaf that has room.
    fn put<B>(
        editor: &mut Editor<'_, B>,
        leaf: PPtr<Head>,
        position: u64,
        key: K,
        value: V,
    ) -> Result<(), TxError> {
        let place = editor.modify(leaf)?.insert(position);
        if place >= Self::LEAF {
            return Err(PointerError::Outside { offset: leaf.offset() }.into());
        }
        editor.set(Self::key_at(leaf, place), key)?;
        editor.set(Self::value_at(leaf, place), value)?;
        Ok(())
    }

    /// Moves the upper half of a leaf to a new one: that, and its first key.
    fn split_leaf<B>(
        editor: &mut Editor<'_, B>,
        leaf: PPtr<Head>,
    ) -> Result<(PPtr<Head>, K), TxError> {
        let head = *editor.get(leaf)?;
        let right = Self::new_node(editor, Arrays::<K, V>::bytes(Self::LEAF, 0))?;
        let half = head.count() / 2;
        let mut moved = Head::EMPTY;
        for (to, position) in (half..head.count()).enumerate() {
            let (from, to) = (head.place(position), to as u64);
            editor.copy_elements(Self::key_at(leaf, from), Self::key_at(right, to), 1)?;
            editor.copy_elements(Self::value_at(leaf, from), Self::value_at(right, to), 1)?;
            moved.insert(to);
        }
        editor.set(right, moved)?;
        let left = editor.modify(leaf)?;
        (half..head.count()).rev().for_each(|position| left.remove(position));
        let first = *editor.get(Self::key_at(right, 0))?;
        Ok((right, first))
    }

    /// Adds a child behind the one that the path took.
    fn add_child<B>(
        self,
        editor: &mut Editor<'_, B>,
        mut path: Path,
        mut key: K,
        mut child: PPtr<Head>,
    ) -> Result<(), TxError> {
        while let Some((node, position)) = path.pop() {
            let count = Self::keys_of(editor, node)?;
            Self::check_position(node, position, count)?;
            if count < Self::INNER {
                return Self::insert_child(editor, node, (position, count), key, child);
            }
            let (mut keys, mut children) = Self::inner(editor, node)?;
            keys.insert(index(position), key);
            children.insert(index(position) + 1, child);
            let half = keys.len() / 2;
            let right_keys = keys.split_off(half + 1);
            let right_children = children.split_off(half + 1);
            key = keys.remove(half);
            Self::set_inner(editor, node, &keys, &children)?;
            child = Self::new_inner(editor, &right_keys, &right_children)?;
        }
        let POrderedMap { root, levels: height, .. } = *editor.get(self)?;
        let root = Self::new_inner(editor, &[key], &[root, child])?;
        let map = editor.modify(self)?;
        map.root = root;
        map.levels = height + 1;
        Ok(())
    }

    /// Takes an empty child away to which the path led.
    fn remove_child<B>(
        self,
        editor: &mut Editor<'_, B>,
        mut path: Path,
        mut child: PPtr<Head>,
    ) -> Result<(), TxError> {
        loop {
            editor.free(child)?;
            let Some((node, position)) = path.pop() else {
                let map = editor.modify(self)?;
                (map.root, map.levels) = (PPtr::NULL, 0);
                return Ok(());
            };
            let (mut keys, mut children) = Self::inner(editor, node)?;
            Self::check_position(node, position, keys.len() as u64)?;
            children.remove(index(position));
            if children.is_empty() {
                child = node;
                continue;
            }
            keys.remove(index(position.saturating_sub(1)));
            Self::set_inner(editor, node, &keys, &children)?;
            return self.lower(editor);
        }
    }

    /// Takes roots away that have one child only.
    fn lower<B>(self, editor: &mut Editor<'_, B>) -> Result<(), TxError> {
        loop {
            let POrderedMap { root, levels: height, .. } = *editor.get(self)?;
            if height == 0 || Self::keys_of(editor, root)? > 0 {
                return Ok(());
            }
            let child = *editor.get(Self::child_at(root, 0))?;
            editor.free(root)?;
            let map = editor.modify(self)?;
            (map.root, map.levels) = (child, height - 1);
        }
    }

    /// A node that is its own child has changed since the path was taken.
    const fn check_position(
        node: PPtr<Head>,
        position: u64,
        keys: u64,
    ) -> Result<(), PointerError> {
        let outside = PointerError::Outside { offset: node.offset() };
        if position <= keys { Ok(()) } else { Err(outside) }
    }

    /// Adds a key at a position, and a child behind it, to an inner node of so many keys that has room.
    /// What is before them is not touched.
    fn insert_child<B>(
        editor: &mut Editor<'_, B>,
        node: PPtr<Head>,
        (position, count): (u64, u64),
        key: K,
        child: PPtr<Head>,
    ) -> Result<(), TxError> {
        editor.modify(node)?.count = count + 1;
        let behind = index(count - position);
        let keys = editor.modify_slice(Self::inner_key_at(node, position), behind + 1)?;
        keys.copy_within(..behind, 1);
        keys[0] = key;
        let children = editor.modify_slice(Self::child_at(node, position + 1), behind + 1)?;
        children.copy_within(..behind, 1);
        children[0] = child;
        Ok(())
    }

    /// How many keys an inner node has.
    fn keys_of(view: &impl View, node: PPtr<Head>) -> Result<u64, PointerError> {
        Ok(view.get(node)?.count.min(Self::INNER))
    }

    fn inner(
        view: &impl View,
        node: PPtr<Head>,
    ) -> Result<(Vec<K>, Vec<PPtr<Head>>), PointerError> {
        let count = Self::keys_of(view, node)?;
        let keys = view.slice(Self::inner_key_at(node, 0), count)?.to_vec();
        let children = view.slice(Self::child_at(node, 0), count + 1)?.to_vec();
        Ok((keys, children))
    }

    fn set_inner<B>(
        editor: &mut Editor<'_, B>,
        node: PPtr<Head>,
        keys: &[K],
        children: &[PPtr<Head>],
    ) -> Result<(), TxError> {
        editor.modify(node)?.count = keys.len() as u64;
        editor.modify_slice(Self::inner_key_at(node, 0), keys.len())?.copy_from_slice(keys);
        let place = Self::child_at(node, 0);
        editor.modify_slice(place, children.len())?.copy_from_slice(children);
        Ok(())
    }

    fn new_inner<B>(
        editor: &mut Editor<'_, B>,
        keys: &[K],
        children: &[PPtr<Head>],
    ) -> Result<PPtr<Head>, TxError> {
        let node = Self::new_node(editor, Arrays::<K, PPtr<Head>>::bytes(Self::INNER, 1))?;
        Self::set_inner(editor, node, keys, children)?;
        Ok(node)
    }

    fn new_node<B>(editor: &mut Editor<'_, B>, bytes: u64) -> Result<PPtr<Head>, TxError> {
        let node = editor.alloc_bytes(bytes, LINE_BYTES as u64)?.cast();
        editor.set(node, Head::EMPTY)?;
        Ok(node)
    }

    const fn key_at(leaf: PPtr<Head>, place: u64) -> PPtr<K> {
        Arrays::<K, V>::first_at(leaf, place)
    }

    const fn value_at(leaf: PPtr<Head>, place: u64) -> PPtr<V> {
        Arrays::<K, V>::second_at(leaf, Self::LEAF, place)
    }

    const fn inner_key_at(node: PPtr<Head>, place: u64) -> PPtr<K> {
        Arrays::<K, PPtr<Head>>::first_at(node, place)
    }

    const fn child_at(node: PPtr<Head>, place: u64) -> PPtr<PPtr<Head>> {
        Arrays::<K, PPtr<Head>>::second_at(node, Self::INNER, place)
    }
}

impl Head {
    const EMPTY: Self = Self { count: 0, used: 0, order: [0; _] };

    /// How many entries a leaf has.
    fn count(&self) -> u64 {
        self.count.min(MAX_LEAF as u64)
    }

    /// The place of the entry at this position.
    fn place(&self, position: u64) -> u64 {
        self.order.get(index(position)).map_or(u64::MAX, |place| u64::from(*place))
    }

    /// Takes a place for an entry at this position.
    fn insert(&mut self, position: u64) -> u64 {
        let (at, count) = (index(position), index(self.count()));
        let free = self.free();
        // A place that is used, but not known to be, would be lost.
        let is_damaged = u64::from(self.used.count_ones()) != self.count();
        if at > count || count >= MAX_LEAF || is_damaged {
            return u64::MAX;
        }
        self.order.copy_within(at..count, at + 1);
        self.order[at] = u8::try_from(free).unwrap_or(u8::MAX);
        self.used |= bit(free);
        self.count += 1;
        free
    }

    /// The place that the next entry of a leaf gets.
    fn free(&self) -> u64 {
        u64::from(self.used.trailing_ones())
    }

    /// Gives the place of the entry at this position back.
    fn remove(&mut self, position: u64) {
        let (at, count) = (index(position), index(self.count()));
        if at >= count {
            return;
        }
        self.used &= !bit(u64::from(self.order[at]));
        self.order.copy_within(at + 1..count, at);
        self.count -= 1;
    }
}

/// A place's bit; none if there is no such place.
fn bit(place: u64) -> u64 {
    u32::try_from(place).ok().and_then(|place| 1_u64.checked_shl(place)).unwrap_or(0)
}

/// What is found may have been written by somebody else.
const fn checked(height: u64) -> Result<u64, PointerError> {
    if height <= MAX_HEIGHT { Ok(height) } else { Err(PointerError::Outside { offset: height }) }
}

#[expect(clippy::cast_possible_truncation, reason = "64-bit addresses only")]
const fn index(position: u64) -> usize {
    position as usize
}
