//! Memory outside of RAM: frames at given addresses.
//!
//! The library's pools hand out any block; here the address decides which one is split. A frame that
//! was made is kept, since device memory can be made into a frame once only; whoever maps it needs a
//! capability of his own. Of memory that is too large for a frame everywhere, persistent memory, a
//! frame is given up when nobody maps it any more, and the halves that were split for it become one
//! again: what is in it stays, for the kernel clears no device memory.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use libd3os::abi::{FrameSize, ObjectType, RETYPE_FAN_OUT};
use libd3os::memory::{Kernel, MemoryError, SlotPool};
use libd3os::start::layout::PAGE_SIZE;

/// An untyped of which nothing is used.
#[derive(Clone, Copy, Debug)]
struct Piece {
    slot: u64,
    paddr: u64,
    bits: u8,
}

impl Piece {
    fn contains(&self, paddr: u64) -> bool {
        paddr.wrapping_sub(self.paddr) >> self.bits == 0
    }

    /// Both halves of this piece, as new pieces.
    fn halves(
        self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
    ) -> Result<[Self; 2], MemoryError> {
        let bits = self.bits - 1;
        let first = slots.take_run(2)?;
        if let Err(error) = kernel.retype(self.slot, ObjectType::Untyped, bits, first, 2) {
            slots.give_back(first, 2);
            return Err(error.into());
        }
        let half = |slot, paddr| Self { slot, paddr, bits };
        Ok([half(first, self.paddr), half(first + 1, self.paddr + (1 << bits))])
    }

    /// Whether this is what was split into that piece and its neighbour.
    fn is_parent_of(&self, half: &Self) -> bool {
        self.bits == half.bits + 1 && self.contains(half.paddr)
    }

    /// Whether both would be halves of one piece.
    fn is_neighbour_of(&self, other: &Self) -> bool {
        self.bits == other.bits && self.paddr ^ other.paddr == 1 << self.bits
    }
}

/// Frames in a row, the first of them, and the piece that they were made of.
#[derive(Clone, Copy, Debug)]
struct Made {
    frame: DeviceFrame,
    count: u64,
    piece: Piece,
}

impl Made {
    fn end(&self) -> u64 {
        self.frame.paddr + self.count * self.frame.size.bytes()
    }
}

/// A frame over device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceFrame {
    /// Its slot.
    pub slot: u64,
    /// Its size.
    pub size: FrameSize,
    /// Its physical address.
    pub paddr: u64,
}

impl DeviceFrame {
    fn end(&self) -> u64 {
        self.paddr + self.size.bytes()
    }
}

/// Small frames in a large one's place.
pub const PAGES: u64 = FrameSize::Large.bytes() / PAGE_SIZE;

/// Device memory that the kernel handed out.
#[derive(Debug, Default)]
pub struct DeviceMemory {
    /// Nothing is made of these.
    pieces: Vec<Piece>,
    /// These are in halves.
    split: Vec<Piece>,
    made: BTreeMap<u64, Made>,
    /// The largest frames that the processor can map.
    largest: LargestFrames,
}

/// The largest frames that a processor can map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LargestFrames {
    /// 2 MiB.
    #[default]
    Large,
    /// 1 GiB.
    Huge,
}

impl DeviceMemory {
    /// No memory yet, on a processor that can map frames of this size.
    #[must_use]
    pub fn new(largest: LargestFrames) -> Self {
        Self { largest, ..Self::default() }
    }

    /// Adds a device untyped.
    pub fn add(&mut self, slot: u64, paddr: u64, bits: u8) {
        self.pieces.push(Piece { slot, paddr, bits });
    }

    /// Frames that were made.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.made.len()
    }

    /// A frame of this size at `paddr`; `None` where the kernel handed out nothing there, or what is
    /// there was made into frames of other sizes, or was handed out in smaller pieces.
    ///
    /// # Errors
    /// [`MemoryError`]; nothing is lost then, though pieces may have been split.
    pub fn frame(
        &mut self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
        paddr: u64,
        size: FrameSize,
    ) -> Result<Option<DeviceFrame>, MemoryError> {
        if size == FrameSize::Huge && self.largest == LargestFrames::Large {
            return Ok(None);
        }
        let is_it = |made: &&Made| made.frame.size == size && made.count == 1;
        if let Some(made) = self.made.get(&paddr).filter(is_it) {
            return Ok(Some(made.frame));
        }
        let found = self.pieces.iter().position(|piece| piece.contains(paddr));
        let Some(index) = found.filter(|&index| self.pieces[index].bits >= size.bits()) else {
            return Ok(None);
        };
        let piece = self.split(kernel, slots, index, (paddr, size))?;
        let slot = slots.take()?;
        if let Err(error) = kernel.retype(piece.slot, size.object_type(), 0, slot, 1) {
            slots.give_back(slot, 1);
            return Err(error.into());
        }
        self.pieces.retain(|known| known.slot != piece.slot);
        let frame = DeviceFrame { slot, size, paddr };
        self.made.insert(paddr, Made { frame, count: 1, piece });
        Ok(Some(frame))
    }

    /// Small frames in the place of a large one at `paddr`: the slot of the first of [`PAGES`] in a
    /// row. `None` where the large frame could not be had, or is there.
    ///
    /// # Errors
    /// [`MemoryError`]; nothing is lost then, though pieces may have been split.
    pub fn pages(
        &mut self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
        paddr: u64,
    ) -> Result<Option<u64>, MemoryError> {
        let (large, size) = (FrameSize::Large, FrameSize::Small);
        if let Some(made) = self.made.get(&paddr) {
            return Ok((made.count == PAGES).then_some(made.frame.slot));
        }
        let found = self.pieces.iter().position(|piece| piece.contains(paddr));
        let Some(index) = found.filter(|&index| self.pieces[index].bits >= large.bits()) else {
            return Ok(None);
        };
        let piece = self.split(kernel, slots, index, (paddr, large))?;
        let first = slots.take_run(PAGES)?;
        let mut done = 0;
        while done < PAGES {
            let (object, count) = (size.object_type(), RETYPE_FAN_OUT.min(PAGES - done));
            if let Err(error) = kernel.retype(piece.slot, object, 0, first + done, count) {
                kernel.revoke(piece.slot)?;
                slots.give_back(first, PAGES);
                return Err(error.into());
            }
            done += count;
        }
        self.pieces.retain(|known| known.slot != piece.slot);
        let frame = DeviceFrame { slot: first, size, paddr };
        self.made.insert(paddr, Made { frame, count: PAGES, piece });
        Ok(Some(first))
    }

    /// Whether there are small frames in the place of a large one at `paddr`.
    #[must_use]
    pub fn has_pages(&self, paddr: u64) -> bool {
        self.made.get(&paddr).is_some_and(|made| made.count == PAGES)
    }

    /// Gives up the frame at `paddr`, if there is one, or the small ones in a large one's place, and
    /// with them every capability to them: others may be made of the memory, which keeps its contents.
    ///
    /// # Errors
    /// [`MemoryError`] where the kernel refuses; what was given up until then stays so.
    pub fn give_up(
        &mut self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
        paddr: u64,
    ) -> Result<(), MemoryError> {
        let Some(Made { frame, count, piece }) = self.made.get(&paddr).copied() else {
            return Ok(());
        };
        kernel.revoke(piece.slot)?;
        self.made.remove(&paddr);
        slots.give_back(frame.slot, count);
        self.pieces.push(piece);
        self.join(kernel, slots, piece)
    }

    /// Makes one piece of a piece and its neighbour, and so on, as far as they were one.
    fn join(
        &mut self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
        mut piece: Piece,
    ) -> Result<(), MemoryError> {
        while let Some((neighbour, parent)) = self.family(&piece) {
            kernel.revoke(parent.slot)?;
            self.pieces.retain(|known| ![piece.slot, neighbour.slot].contains(&known.slot));
            self.split.retain(|known| known.slot != parent.slot);
            slots.give_back(piece.slot.min(neighbour.slot), 2);
            self.pieces.push(parent);
            piece = parent;
        }
        Ok(())
    }

    /// The other half of what a piece was a half of, if nothing is made of that, and the whole.
    fn family(&self, piece: &Piece) -> Option<(Piece, Piece)> {
        let neighbour = self.pieces.iter().find(|known| known.is_neighbour_of(piece))?;
        let parent = self.split.iter().find(|known| known.is_parent_of(piece))?;
        Some((*neighbour, *parent))
    }

    /// Whether all of these pages are device memory, in frames or not yet.
    ///
    /// # Errors
    /// The first address that is not.
    pub fn check(&self, pages: &Range<u64>) -> Result<(), u64> {
        let mut next = pages.start;
        while next < pages.end {
            let piece = self.pieces.iter().find(|piece| piece.contains(next));
            let end = piece.map(|piece| piece.paddr + (1 << piece.bits));
            next = end.or_else(|| Some(self.made_over(next)?.end())).ok_or(next)?;
        }
        Ok(())
    }

    /// Frames over these pages, the largest that there are and that `vaddr`, where the first page is
    /// to be mapped, lets be mapped. `None` where something is no device memory or is part of a
    /// larger frame.
    ///
    /// # Errors
    /// [`MemoryError`]; frames that were made before are kept for the next time.
    pub fn cover(
        &mut self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
        pages: &Range<u64>,
        vaddr: u64,
    ) -> Result<Option<Vec<DeviceFrame>>, MemoryError> {
        let mut frames = Vec::new();
        let mut next = pages.start;
        while next < pages.end {
            let place = vaddr + (next - pages.start);
            let Some(frame) = self.largest(kernel, slots, next..pages.end, place)? else {
                return Ok(None);
            };
            next = frame.end();
            frames.push(frame);
        }
        Ok(Some(frames))
    }

    fn largest(
        &mut self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
        pages: Range<u64>,
        vaddr: u64,
    ) -> Result<Option<DeviceFrame>, MemoryError> {
        let sizes = [FrameSize::Huge, FrameSize::Large, FrameSize::Small];
        for size in &sizes[usize::from(self.largest == LargestFrames::Large)..] {
            let size = *size;
            let fits = (pages.start | vaddr).is_multiple_of(size.bytes())
                && pages.end - pages.start >= size.bytes();
            if fits && let Some(frame) = self.frame(kernel, slots, pages.start, size)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn made_over(&self, paddr: u64) -> Option<Made> {
        let (_, made) = self.made.range(..=paddr).next_back()?;
        (paddr < made.end()).then_some(*made)
    }

    /// Splits the piece of this index until one is left that is the wanted frame's.
    fn split(
        &mut self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
        index: usize,
        (paddr, size): (u64, FrameSize),
    ) -> Result<Piece, MemoryError> {
        let mut piece = self.pieces[index];
        while piece.bits > size.bits() {
            let [low, high] = piece.halves(kernel, slots)?;
            self.pieces.retain(|known| known.slot != piece.slot);
            self.pieces.extend([low, high]);
            self.split.push(piece);
            piece = if high.contains(paddr) { high } else { low };
        }
        Ok(piece)
    }
}

/// The page that contains an address.
#[must_use]
pub const fn page_of(paddr: u64) -> u64 {
    paddr & !(PAGE_SIZE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libd3os::abi::{CapRights, VmAttributes};
    use libd3os::cap::{Error, Frame, VSpace};
    use libd3os::memory::Table;
    use proptest::prelude::*;

    /// What stands in each slot: address, size, and how many bytes of it something was made of.
    #[derive(Default)]
    struct Model(BTreeMap<u64, (u64, u8, u64)>);

    impl Kernel for Model {
        fn retype(
            &mut self,
            untyped: u64,
            kind: ObjectType,
            size_bits: u8,
            first: u64,
            count: u64,
        ) -> Result<(), Error> {
            let bits = kind.size_bits(size_bits);
            let (paddr, whole, used) = self.0[&untyped];
            assert!(used + (count << bits) <= 1 << whole, "nothing is made of {untyped} twice");
            self.0.insert(untyped, (paddr, whole, used + (count << bits)));
            for number in 0..count {
                let paddr = paddr + used + (number << bits);
                let made = self.0.insert(first + number, (paddr, bits, 0));
                assert_eq!(made, None, "slot {first} was empty");
            }
            Ok(())
        }

        fn revoke(&mut self, untyped: u64) -> Result<(), Error> {
            let (paddr, whole, used) = self.0[&untyped];
            assert!(used > 0, "nothing is made of {untyped}");
            let inside = |paddr_made: u64| paddr_made.wrapping_sub(paddr) >> whole == 0;
            self.0.retain(|slot, (made, bits, _)| {
                *slot == untyped || *bits > whole || !inside(*made) || *slot < 100
            });
            self.0.insert(untyped, (paddr, whole, 0));
            Ok(())
        }

        fn map_table(&mut self, _: u64, _: Table, _: VSpace) -> Result<(), Error> {
            Err(Error::IllegalOperation)
        }

        fn map_frame(
            &mut self,
            _: Frame,
            _: VSpace,
            _: u64,
            _: CapRights,
            _: VmAttributes,
        ) -> Result<(), Error> {
            Err(Error::IllegalOperation)
        }
    }

    const LOW: u64 = 0x8000_0000;

    /// Where 2 GiB lie in a piece.
    const GIB_PIECE: u64 = 1 << 35;

    /// 64 MiB from 2 GiB on, and a page beyond a hole; far away 2 GiB more.
    fn memory() -> (Model, SlotPool, DeviceMemory) {
        let mut memory = DeviceMemory::new(LargestFrames::Huge);
        let mut model = Model::default();
        for (slot, paddr, bits) in [(1, LOW, 26), (2, LOW + (128 << 20), 12), (3, GIB_PIECE, 31)] {
            memory.add(slot, paddr, bits);
            model.0.insert(slot, (paddr, bits, 0));
        }
        (model, SlotPool::new(100..100_000), memory)
    }

    #[test]
    fn a_frame_is_made_once_and_found_again() {
        let (mut kernel, mut slots, mut memory) = memory();
        let mut frame = |paddr, size| {
            let frame = memory.frame(&mut kernel, &mut slots, paddr, size).expect("memory");
            frame.map(|frame| (frame.slot, kernel.0[&frame.slot].0))
        };
        let first = frame(LOW + 0x5000, FrameSize::Small).expect("device memory");
        assert_eq!(first.1, LOW + 0x5000);
        assert_eq!(frame(LOW + 0x5000, FrameSize::Small), Some(first));
        assert_eq!(frame(LOW, FrameSize::Large), None, "a part is in use");
        assert!(frame(LOW + (2 << 20), FrameSize::Large).is_some());
        assert_eq!(frame(LOW + (2 << 20), FrameSize::Small), None, "the whole is one frame");
        assert_eq!(frame(LOW - 0x1000, FrameSize::Small), None);
        assert_eq!(frame(LOW + (128 << 20), FrameSize::Large), None, "only a page is there");
    }

    #[test]
    fn ram_is_refused_by_address() {
        let (mut kernel, mut slots, mut memory) = memory();
        assert_eq!(memory.check(&(LOW..LOW + (64 << 20))), Ok(()));
        assert_eq!(memory.check(&(LOW..LOW + (65 << 20))), Err(LOW + (64 << 20)));
        assert_eq!(memory.check(&(0x1000..0x2000)), Err(0x1000));
        let pages = LOW..LOW + (4 << 20);
        let frames = memory.cover(&mut kernel, &mut slots, &pages, 0x5000_0000_0000);
        assert_eq!(frames.expect("memory").map(|frames| frames.len()), Some(2));
        assert_eq!(memory.check(&pages), Ok(()), "frames are device memory, too");
        let none = memory.cover(&mut kernel, &mut slots, &(0..0x1000), 0x5000_0000_0000);
        assert_eq!(none.expect("memory"), None);
    }

    #[test]
    fn the_largest_frames_are_those_of_the_processor() {
        let sizes = |largest, vaddr| {
            let (mut kernel, mut slots, mut memory) = memory();
            memory.largest = largest;
            let pages = GIB_PIECE..GIB_PIECE + (1 << 30) + (2 << 20) + 0x1000;
            let frames = memory.cover(&mut kernel, &mut slots, &pages, vaddr).expect("memory");
            let frames = frames.expect("device memory");
            let of = |size| frames.iter().filter(|frame| frame.size == size).count();
            [FrameSize::Huge, FrameSize::Large, FrameSize::Small].map(of)
        };
        assert_eq!(sizes(LargestFrames::Huge, 1 << 40), [1, 1, 1]);
        assert_eq!(sizes(LargestFrames::Large, 1 << 40), [0, 513, 1]);
        assert_eq!(sizes(LargestFrames::Huge, (1 << 40) + (2 << 20)), [0, 513, 1]);
    }

    #[test]
    fn what_is_given_up_is_whole_again() {
        let (mut kernel, mut slots, mut memory) = memory();
        let (capabilities, free) = (kernel.0.clone(), slots.available());
        let places = [0, 5 << 21, (1 << 21) + (1 << 30), 1 << 21].map(|offset| GIB_PIECE + offset);
        for paddr in places {
            let frame = memory.frame(&mut kernel, &mut slots, paddr, FrameSize::Large);
            assert_eq!(frame.expect("memory").map(|frame| frame.paddr), Some(paddr));
        }
        for paddr in places {
            assert!(kernel.0.len() > capabilities.len());
            memory.give_up(&mut kernel, &mut slots, paddr).expect("the kernel agrees");
            memory.give_up(&mut kernel, &mut slots, paddr).expect("there is nothing");
        }
        assert_eq!((&kernel.0, slots.available()), (&capabilities, free));
        let huge = memory.frame(&mut kernel, &mut slots, GIB_PIECE, FrameSize::Huge);
        assert!(huge.expect("memory").is_some(), "of other sizes, too");
    }

    #[test]
    fn small_frames_take_the_place_of_a_large_one() {
        let (mut kernel, mut slots, mut memory) = memory();
        let (capabilities, free) = (kernel.0.clone(), slots.available());
        let paddr = GIB_PIECE + (6 << 20);
        let first = memory.pages(&mut kernel, &mut slots, paddr).expect("memory");
        let first = first.expect("nothing was made of it");
        for page in 0..PAGES {
            assert_eq!(kernel.0[&(first + page)], (paddr + page * PAGE_SIZE, 12, 0));
        }
        assert_eq!(memory.pages(&mut kernel, &mut slots, paddr), Ok(Some(first)));
        assert!(memory.has_pages(paddr));
        let large = memory.frame(&mut kernel, &mut slots, paddr, FrameSize::Large);
        assert_eq!(large, Ok(None), "its pages are there");
        assert_eq!(memory.check(&(GIB_PIECE..GIB_PIECE + (1 << 31))), Ok(()));
        memory.give_up(&mut kernel, &mut slots, paddr).expect("the kernel agrees");
        assert_eq!((&kernel.0, slots.available()), (&capabilities, free));
        let large = memory.frame(&mut kernel, &mut slots, paddr, FrameSize::Large);
        assert!(large.expect("memory").is_some());
        assert_eq!(memory.pages(&mut kernel, &mut slots, paddr), Ok(None), "a large one is there");
        assert!(!memory.has_pages(paddr));
    }

    proptest! {
        /// However frames come and go, those that are there are the model's, and in the end everything
        /// is as it was.
        #[test]
        fn frames_come_and_go(
            steps in prop::collection::vec((0u64..1024, any::<bool>(), any::<bool>()), 1..60),
        ) {
            let (mut kernel, mut slots, mut memory) = memory();
            let (capabilities, free) = (kernel.0.clone(), slots.available());
            let mut there = BTreeMap::new();
            for (number, is_made, is_small) in steps {
                let size = if is_small { FrameSize::Small } else { FrameSize::Large };
                let paddr = GIB_PIECE + number * (2 << 20);
                if is_made {
                    let frame = memory.frame(&mut kernel, &mut slots, paddr, size).expect("memory");
                    let first = *there.entry(paddr).or_insert(size);
                    prop_assert_eq!(frame.map(|frame| frame.size), (first == size).then_some(size));
                } else {
                    memory.give_up(&mut kernel, &mut slots, paddr).expect("the kernel agrees");
                    there.remove(&paddr);
                }
                prop_assert_eq!(memory.frames(), there.len());
                prop_assert_eq!(memory.check(&(GIB_PIECE..GIB_PIECE + (1 << 31))), Ok(()));
            }
            for paddr in there.into_keys() {
                memory.give_up(&mut kernel, &mut slots, paddr).expect("the kernel agrees");
            }
            prop_assert_eq!((&kernel.0, slots.available()), (&capabilities, free));
        }

        /// Whatever is covered is covered exactly, in a row, by frames that can be mapped there.
        #[test]
        fn pages_are_covered_without_gaps(
            requests in prop::collection::vec((0u64..16384, 1u64..3000, any::<bool>()), 1..8),
        ) {
            let (mut kernel, mut slots, mut memory) = memory();
            for (page, count, congruent) in requests {
                let pages = LOW + page * PAGE_SIZE..LOW + (page + count) * PAGE_SIZE;
                let shift = if congruent { pages.start % (2 << 20) } else { 0 };
                let vaddr = 0x5000_0000_0000 + shift;
                let is_device = memory.check(&pages).is_ok();
                prop_assert_eq!(is_device, page + count <= 16384);
                let frames = memory.cover(&mut kernel, &mut slots, &pages, vaddr).expect("memory");
                let Some(frames) = frames else { continue };
                prop_assert!(is_device);
                let mut next = pages.start;
                for frame in frames {
                    prop_assert_eq!(frame.paddr, next);
                    prop_assert_eq!(kernel.0[&frame.slot].0, next);
                    prop_assert_eq!(kernel.0[&frame.slot].1, frame.size.bits());
                    let place = vaddr + (next - pages.start);
                    prop_assert!(place.is_multiple_of(frame.size.bytes()));
                    next = frame.end();
                }
                prop_assert_eq!(next, pages.end);
            }
        }
    }
}
