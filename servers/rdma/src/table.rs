//! Tables of things that programs name by number: a number that was given back means nothing.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Bits of a handle that say where.
const INDEX_BITS: u32 = 16;
const INDEX: u32 = (1 << INDEX_BITS) - 1;
/// No handle has these indices: numbers 0 and 1 of queue pairs have a meaning of their own.
const RESERVED: u32 = 2;

/// A table with handles of an index and a generation, which says the how-manieth of that index it is.
/// Indices are given again in the order in which they came back.
#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: VecDeque<u32>,
    limit: u16,
    generations: u32,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Table<T> {
    /// An empty table for so many things, whose handles have this many bits.
    pub(crate) const fn new(limit: u16, handle_bits: u32) -> Self {
        let generations = 1 << (handle_bits - INDEX_BITS);
        Self { slots: Vec::new(), free: VecDeque::new(), limit, generations }
    }

    /// Keeps what is made for its handle; `None` if the table is full.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(u32) -> T) -> Option<u32> {
        let place = self.place()?;
        let slot = self.slots.get_mut(usize::try_from(place).ok()?)?;
        let handle = slot.generation << INDEX_BITS | (place + RESERVED);
        slot.value = Some(make(handle));
        Some(handle)
    }

    fn place(&mut self) -> Option<u32> {
        if self.slots.len() < usize::from(self.limit) {
            self.slots.push(Slot { generation: 0, value: None });
            return u32::try_from(self.slots.len() - 1).ok();
        }
        self.free.pop_front()
    }

    fn slot_of(handle: u32) -> Option<usize> {
        usize::try_from((handle & INDEX).checked_sub(RESERVED)?).ok()
    }

    /// Where a handle's value lies, which no other handle's does at the same time.
    pub(crate) fn index(&self, handle: u32) -> Option<usize> {
        let index = Self::slot_of(handle)?;
        let slot = self.slots.get(index)?;
        (slot.value.is_some() && slot.generation == handle >> INDEX_BITS).then_some(index)
    }

    pub(crate) fn at(&self, index: usize) -> Option<&T> {
        self.slots.get(index)?.value.as_ref()
    }

    pub(crate) fn at_mut(&mut self, index: usize) -> Option<&mut T> {
        self.slots.get_mut(index)?.value.as_mut()
    }

    pub(crate) fn get(&self, handle: u32) -> Option<&T> {
        self.at(self.index(handle)?)
    }

    pub(crate) fn get_mut(&mut self, handle: u32) -> Option<&mut T> {
        let index = self.index(handle)?;
        self.at_mut(index)
    }

    /// Takes a value out; its handle means nothing from now on.
    pub(crate) fn remove(&mut self, handle: u32) -> Option<T> {
        let index = self.index(handle)?;
        let slot = self.slots.get_mut(index)?;
        slot.generation = (slot.generation + 1) % self.generations;
        self.free.push_back(u32::try_from(index).ok()?);
        slot.value.take()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| slot.value.as_mut())
    }

    /// All values with their handles.
    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        (RESERVED..).zip(&mut self.slots).filter_map(|(place, slot)| {
            let handle = slot.generation << INDEX_BITS | place;
            slot.value.as_mut().map(|value| (handle, value))
        })
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_that_was_given_back_means_nothing() {
        let mut table = Table::new(2, 24);
        let first = table.insert_with(|handle| handle).expect("room");
        let second = table.insert_with(|handle| handle).expect("room");
        assert_eq!(table.insert_with(|handle| handle), None);
        assert_eq!((table.get(first), table.get(second)), (Some(&first), Some(&second)));
        assert_eq!(table.remove(first), Some(first));
        assert_eq!(table.get(first), None);
        assert_eq!(table.remove(first), None);
        let third = table.insert_with(|handle| handle).expect("room");
        assert_ne!(third, first);
        assert_eq!(table.index(third), Some(0));
        assert_eq!(table.get(first), None);
        assert_eq!((table.get(0), table.get(1), table.get(u32::MAX)), (None, None, None));
        assert_eq!(table.values().count(), 2);
    }

    #[test]
    fn handles_stay_within_their_bits() {
        let mut table = Table::new(1, 24);
        for round in 0..600_u32 {
            let handle = table.insert_with(|handle| handle).expect("room");
            assert_eq!(handle >> 16, round % 256);
            table.remove(handle);
        }
    }
}
