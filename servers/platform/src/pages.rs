//! Physical memory through a window of a few pages, of which each can show any page.
//!
//! Which page is where is decided here; a [`Mapper`] carries it out. A page that is asked for and
//! not shown takes the place that was used longest ago.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::memory::{DeviceMemory, PhysicalMemory, Unreadable};

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;

/// Shows pages at places, and accesses what is shown.
pub trait Mapper {
    /// Shows the page at `address`, a multiple of [`PAGE_BYTES`], at a place, instead of what was
    /// there.
    ///
    /// # Errors
    /// [`Unreadable`] where there is no such page, or none for this program; nothing is at the
    /// place then.
    fn map(&mut self, place: u16, address: u64) -> Result<(), Unreadable>;

    /// Reads four bytes at `offset`, a multiple of four, of what is at a place.
    fn read(&mut self, place: u16, offset: u16) -> u32;

    /// Writes them.
    fn write(&mut self, place: u16, offset: u16, value: u32);
}

/// Physical memory, as far as a mapper shows it.
#[derive(Debug)]
struct Physical<M> {
    mapper: M,
    places: Places,
}

impl<M: Mapper> Physical<M> {
    fn new(mapper: M, places: u16) -> Self {
        Self { mapper, places: Places::new(places) }
    }

    /// The place and the offset in it of four bytes, shown if they were not.
    fn reach(&mut self, address: u64) -> Result<(u16, u16), Unreadable> {
        let offset = u16::try_from((address % PAGE_BYTES) & !3).map_err(|_| Unreadable)?;
        let page = address - address % PAGE_BYTES;
        if let Some(place) = self.places.find(page) {
            return Ok((place, offset));
        }
        let place = self.places.oldest().ok_or(Unreadable)?;
        self.mapper.map(place, page)?;
        self.places.show(place, page);
        Ok((place, offset))
    }
}

/// Physical memory that several parts of the server use.
#[derive(Debug)]
pub struct Shared<M>(Rc<RefCell<Physical<M>>>);

impl<M> Clone for Shared<M> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<M: Mapper> Shared<M> {
    /// Memory through so many places.
    pub fn new(mapper: M, places: u16) -> Self {
        Self(Rc::new(RefCell::new(Physical::new(mapper, places))))
    }
}

impl<M: Mapper> DeviceMemory for Shared<M> {
    fn read(&mut self, address: u64) -> Result<u32, Unreadable> {
        let mut memory = self.0.borrow_mut();
        let (place, offset) = memory.reach(address)?;
        Ok(memory.mapper.read(place, offset))
    }

    fn write(&mut self, address: u64, value: u32) -> Result<(), Unreadable> {
        let mut memory = self.0.borrow_mut();
        let (place, offset) = memory.reach(address)?;
        memory.mapper.write(place, offset, value);
        Ok(())
    }
}

impl<M: Mapper> PhysicalMemory for Shared<M> {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Unreadable> {
        let mut memory = self.0.borrow_mut();
        let mut at = address;
        let mut rest = into;
        while !rest.is_empty() {
            let (place, offset) = memory.reach(at & !3)?;
            let word = memory.mapper.read(place, offset).to_le_bytes();
            let word = word.get(usize::from(at.to_le_bytes()[0] & 3)..).ok_or(Unreadable)?;
            let count = word.len().min(rest.len());
            let (filled, unfilled) = rest.split_at_mut(count);
            filled.copy_from_slice(word.get(..count).ok_or(Unreadable)?);
            rest = unfilled;
            at = at.checked_add(count as u64).ok_or(Unreadable)?;
        }
        Ok(())
    }
}

/// What is shown at which place.
#[derive(Debug)]
struct Places {
    shown: BTreeMap<u64, u16>,
    /// Per place: its page, and when it was last used.
    uses: Vec<(Option<u64>, u64)>,
    now: u64,
    /// What was found last: registers of one page are read in a row.
    last: Option<(u64, u16)>,
}

impl Places {
    fn new(count: u16) -> Self {
        let uses = alloc::vec![(None, 0); usize::from(count)];
        Self { shown: BTreeMap::new(), uses, now: 0, last: None }
    }

    fn find(&mut self, page: u64) -> Option<u16> {
        if let Some((_, place)) = self.last.filter(|(last, _)| *last == page) {
            return Some(place);
        }
        let place = *self.shown.get(&page)?;
        self.touch(place, page);
        Some(place)
    }

    /// Frees the place that was used longest ago.
    fn oldest(&mut self) -> Option<u16> {
        let places = self.uses.iter_mut().enumerate();
        let (place, (page, _)) = places.min_by_key(|(_, (_, used))| *used)?;
        if let Some(page) = page.take() {
            self.shown.remove(&page);
        }
        self.last = None;
        u16::try_from(place).ok()
    }

    fn show(&mut self, place: u16, page: u64) {
        self.shown.insert(page, place);
        self.touch(place, page);
    }

    fn touch(&mut self, place: u16, page: u64) {
        self.now += 1;
        if let Some(entry) = self.uses.get_mut(usize::from(place)) {
            *entry = (Some(page), self.now);
        }
        self.last = Some((page, place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Memory whose words hold their own addresses until they are written; from `end` on there is
    /// none.
    #[derive(Debug, Default)]
    struct Machine {
        shown: BTreeMap<u16, u64>,
        written: BTreeMap<u64, u32>,
        end: u64,
        maps: usize,
    }

    impl Mapper for Machine {
        fn map(&mut self, place: u16, address: u64) -> Result<(), Unreadable> {
            assert!(place < 3 && address.is_multiple_of(PAGE_BYTES));
            self.shown.remove(&place);
            if address >= self.end {
                return Err(Unreadable);
            }
            self.maps += 1;
            self.shown.insert(place, address);
            Ok(())
        }

        fn read(&mut self, place: u16, offset: u16) -> u32 {
            let address = self.shown[&place] + u64::from(offset);
            let own = u32::try_from(address).expect("small");
            self.written.get(&address).copied().unwrap_or(own)
        }

        fn write(&mut self, place: u16, offset: u16, value: u32) {
            self.written.insert(self.shown[&place] + u64::from(offset), value);
        }
    }

    fn physical(pages: u64) -> Shared<Machine> {
        Shared::new(Machine { end: pages * PAGE_BYTES, ..Machine::default() }, 3)
    }

    fn maps(memory: &Shared<Machine>) -> usize {
        memory.0.borrow().mapper.maps
    }

    fn read(memory: &mut Shared<Machine>, address: u64) -> Result<u32, Unreadable> {
        DeviceMemory::read(memory, address)
    }

    #[test]
    fn what_is_shown_is_not_mapped_again_and_the_oldest_goes() {
        let mut memory = physical(8);
        for page in [0, 1, 2, 0, 1, 2, 0, 3, 0, 2, 1u32] {
            let address = page * 4096 + 8;
            assert_eq!(read(&mut memory, address.into()), Ok(address));
        }
        // 0, 1 and 2; 3 in 1's place; 1 again, in 3's.
        assert_eq!(maps(&memory), 5);
    }

    #[test]
    fn a_page_that_is_refused_is_no_longer_thought_to_be_there() {
        let mut memory = physical(3);
        for page in [0, 1, 2] {
            assert!(read(&mut memory, page * PAGE_BYTES).is_ok());
        }
        assert_eq!(read(&mut memory, 3 * PAGE_BYTES), Err(Unreadable));
        assert_eq!(read(&mut memory, 0), Ok(0), "its place was tried for the other");
        assert_eq!(maps(&memory), 4);
    }

    #[test]
    fn bytes_are_read_across_words_and_pages() {
        let memory = physical(2);
        let mut bytes = [0; 7];
        assert_eq!(PhysicalMemory::read(&memory, 0xffd, &mut bytes), Ok(()));
        assert_eq!(bytes, [0x0f, 0, 0, 0x00, 0x10, 0, 0]);
        assert_eq!(PhysicalMemory::read(&memory, 0x1ffd, &mut bytes), Err(Unreadable));
        assert_eq!(PhysicalMemory::read(&memory, u64::MAX, &mut bytes), Err(Unreadable));
    }

    proptest! {
        /// Whatever is read and written in whatever order: it is what plain memory would hold.
        #[test]
        fn it_is_memory(steps in prop::collection::vec((0u64..6 * 1024, prop::option::of(any::<u32>())), 0..200)) {
            let mut memory = physical(5);
            let mut plain = BTreeMap::new();
            for (word, write) in steps {
                let address = word * 4;
                let there = address < 5 * PAGE_BYTES;
                match write {
                    Some(value) => {
                        prop_assert_eq!(memory.write(address, value).is_ok(), there);
                        plain.insert(address, value);
                    }
                    None => {
                        let own = u32::try_from(address).expect("small");
                        let held = plain.get(&address).copied().unwrap_or(own);
                        prop_assert_eq!(read(&mut memory, address), there.then_some(held).ok_or(Unreadable));
                    }
                }
            }
        }
    }
}
