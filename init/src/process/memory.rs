//! Init's memory: the library's allocators over what the kernel handed out.

use alloc::vec::Vec;
use core::arch::x86_64::__cpuid;
use core::ops::Range;

use init::device_memory::{DeviceFrame, DeviceMemory, LargestFrames};
use init::lending::volatile_bits;
use libd3os::abi::{BootInfo, FrameSize, ObjectType, RETYPE_FAN_OUT};
use libd3os::cap::{Frame, Untyped};
use libd3os::memory::{MemoryError, Object, Objects, SlotPool};
use libd3os::region::Region;
use libd3os::start::layout::PAGE_SIZE;
use libd3os::sys::Cptr;

use super::kernel::{MEMORY, WIDEST, make, widen};
use super::trouble::{Doing, Refused};

/// log2 of the slots that init makes for itself at least.
const FEWEST_SLOT_BITS: u8 = 8;

/// Whether the processor maps frames of 1 GiB.
fn largest_frames() -> LargestFrames {
    const EXTENDED: u32 = 0x8000_0000;
    const HUGE_PAGES: u32 = 1 << 26;
    let has_features = __cpuid(EXTENDED).eax > EXTENDED;
    match has_features && __cpuid(EXTENDED + 1).edx & HUGE_PAGES != 0 {
        true => LargestFrames::Huge,
        false => LargestFrames::Large,
    }
}

/// RAM, device memory and capability slots that nobody uses yet.
#[derive(Debug)]
pub(super) struct Memory {
    objects: Objects,
    device: DeviceMemory,
    /// log2 of the slots that the kernel made.
    root_bits: u8,
    /// Where the shared pool begins.
    pool_base: u64,
    /// Bytes of RAM that the kernel handed out.
    pub(super) total: u64,
    /// What of it is lent as persistent memory is.
    volatile: Option<Volatile>,
}

/// RAM in small frames, which are kept.
#[derive(Clone, Copy, Debug)]
struct Volatile {
    /// The first frame's slot.
    first: u64,
    paddr: u64,
    bytes: u64,
}

impl Volatile {
    const fn contains(&self, paddr: u64) -> bool {
        paddr >= self.paddr && paddr - self.paddr < self.bytes
    }
}

impl Memory {
    /// What the kernel handed out.
    pub(super) fn new(info: &BootInfo, pool_base: u64) -> Self {
        let mut objects = Objects::new(SlotPool::new(info.empty.start..info.empty.end));
        let mut device = DeviceMemory::new(largest_frames());
        let slots = info.untyped.start..info.untyped.end;
        for (slot, descriptor) in slots.zip(&info.untyped_list) {
            match descriptor.is_device {
                0 => objects.add_untyped(slot, descriptor.size_bits),
                _ => device.add(slot, descriptor.paddr, descriptor.size_bits),
            }
        }
        let total = objects.available();
        let root_bits = u8::try_from(info.init_cnode_size_bits).unwrap_or(u8::MAX);
        Self { objects, device, root_bits, pool_base, total, volatile: None }
    }

    /// Makes room for more capabilities: a slot for each page of free memory, as far as there is room
    /// for one CNode's, for a program's frames have a slot each.
    pub(super) fn widen(&mut self) -> Result<(), Refused> {
        let (space_bits, most) = WIDEST;
        let pages = (self.available() / PAGE_SIZE).max(1).ilog2();
        let bits = u8::try_from(pages).unwrap_or(most).clamp(FEWEST_SLOT_BITS, most);
        let mut make = |bits| self.make(ObjectType::CNode, bits).doing("making room for slots");
        let (second, above) = (make(bits)?, make(space_bits)?);
        let slots =
            widen(self.root_bits, (second, bits), above).doing("widening its capability space")?;
        self.give_back_slots(slots.start, slots.end - slots.start);
        Ok(())
    }

    /// Bytes of RAM that are free.
    pub(super) fn available(&self) -> u64 {
        self.objects.available()
    }

    /// Slots that nobody uses.
    pub(super) fn slots_free(&mut self) -> u64 {
        self.objects.slots().available()
    }

    /// The first of `count` empty slots in a row.
    pub(super) fn slots(&mut self, count: u64) -> Result<u64, MemoryError> {
        self.objects.slots().take_run(count)
    }

    /// Takes back slots that are empty again.
    pub(super) fn give_back_slots(&mut self, first: u64, count: u64) {
        self.objects.slots().give_back(first, count);
    }

    /// Makes an object of init's own, for good; tells its slot.
    pub(super) fn make(&mut self, object: ObjectType, user_bits: u8) -> Result<u64, MemoryError> {
        self.objects.make(&mut { MEMORY }, object, user_bits).map(|made| made.slot())
    }

    /// Untyped memory of `1 << bits` bytes that belongs to a program for good.
    pub(super) fn piece(&mut self, bits: u8) -> Result<Untyped, MemoryError> {
        let block = self.objects.set_aside(&mut { MEMORY }, bits)?;
        Ok(Untyped::new(Cptr::new(block.slot())))
    }

    /// Empty slots.
    pub(super) fn free_slots(&self) -> u64 {
        self.objects.free_slots()
    }

    /// Frames over device memory that were made.
    pub(super) fn device_frames(&self) -> usize {
        self.device.frames()
    }

    /// A frame over a page outside of RAM, or `None` where there is nothing. It is kept; who maps it
    /// for long needs a copy of the capability.
    pub(super) fn device_frame(&mut self, paddr: u64) -> Result<Option<Frame>, Refused> {
        let (slots, size) = (self.objects.slots(), FrameSize::Small);
        let frame = self.device.frame(&mut { MEMORY }, slots, paddr, size);
        let frame = frame.doing("making a device frame")?;
        Ok(frame.map(|frame| Frame::new(Cptr::new(frame.slot))))
    }

    /// A large frame over persistent memory, by its slot. It is kept until [`Self::give_up_frame`]; who
    /// maps it needs a copy of the capability.
    pub(super) fn persistent_frame(&mut self, paddr: u64) -> Result<u64, Refused> {
        let (slots, size) = (self.objects.slots(), FrameSize::Large);
        let frame = self.device.frame(&mut { MEMORY }, slots, paddr, size);
        let missing = MemoryError::OutOfMemory { bits: size.bits() };
        let frame = frame.and_then(|frame| frame.ok_or(missing));
        frame.map(|frame| frame.slot).doing("making a frame")
    }

    /// A huge frame over persistent memory, by its slot, if the processor has such frames and nothing else is made
    /// of the memory. It is kept as a large one is.
    pub(super) fn persistent_huge(&mut self, paddr: u64) -> Result<Option<u64>, Refused> {
        let (slots, size) = (self.objects.slots(), FrameSize::Huge);
        let frame = self.device.frame(&mut { MEMORY }, slots, paddr, size);
        Ok(frame.doing("making a huge frame")?.map(|frame| frame.slot))
    }

    /// Small frames in the place of a large one over persistent memory: the first one's slot. They are
    /// kept as a large one is.
    pub(super) fn persistent_pages(&mut self, paddr: u64) -> Result<u64, Refused> {
        if let Some(found) = self.volatile.filter(|known| known.contains(paddr)) {
            return Ok(found.first + (paddr - found.paddr) / PAGE_SIZE);
        }
        let pages = self.device.pages(&mut { MEMORY }, self.objects.slots(), paddr);
        let missing = MemoryError::OutOfMemory { bits: FrameSize::Small.bits() };
        pages.and_then(|first| first.ok_or(missing)).doing("making frames of a piece")
    }

    /// Whether there are small frames in the place of a large one.
    pub(super) fn has_pages(&self, paddr: u64) -> bool {
        self.is_volatile(paddr) || self.device.has_pages(paddr)
    }

    /// Whether this is RAM that is lent, whose frames are kept.
    pub(super) fn is_volatile(&self, paddr: u64) -> bool {
        self.volatile.is_some_and(|known| known.contains(paddr))
    }

    /// Whether RAM was set aside to be lent.
    pub(super) const fn has_volatile(&self) -> bool {
        self.volatile.is_some()
    }

    /// Physical addresses of RAM that is lent as persistent memory is. It is set aside when this is first
    /// called, as much as can be spared then, and is zeros.
    pub(super) fn volatile(&mut self) -> Result<Range<u64>, Refused> {
        let Volatile { paddr, bytes, .. } = match self.volatile {
            Some(known) => known,
            None => {
                let made = self.make_volatile()?;
                *self.volatile.insert(made)
            }
        };
        Ok(paddr..paddr + bytes)
    }

    fn make_volatile(&mut self) -> Result<Volatile, Refused> {
        let least = FrameSize::Large.bits();
        let missing = MemoryError::OutOfMemory { bits: least };
        let most = volatile_bits(self.available(), self.slots_free()).ok_or(missing);
        let most = most.doing("setting memory for volatile objects aside")?;
        // As much may be free, but not in one piece, or its slots not in a row.
        let found = (least..=most).rev().find_map(|bits| self.volatile_piece(bits).ok());
        let (piece, first, bits) =
            found.ok_or(missing).doing("setting memory for volatile objects aside")?;
        let (object, count) = (FrameSize::Small.object_type(), (1 << bits) / PAGE_SIZE);
        for done in (0..count).step_by(usize::try_from(RETYPE_FAN_OUT).unwrap_or(1)) {
            let part = RETYPE_FAN_OUT.min(count - done);
            make(piece, object, 0, first + done, part).doing("making frames of volatile memory")?;
        }
        let paddr = Frame::new(Cptr::new(first)).address();
        let paddr = paddr.doing("finding memory for volatile objects")?;
        Ok(Volatile { first, paddr, bytes: 1 << bits })
    }

    /// Makes an object that is destroyed again.
    pub(super) fn make_object(&mut self, object: ObjectType) -> Result<Object, Refused> {
        self.objects.make(&mut { MEMORY }, object, 0).doing("making a paging structure")
    }

    /// Destroys an object.
    pub(super) fn destroy(&mut self, object: Object) -> Result<(), Refused> {
        self.objects.destroy(&mut { MEMORY }, object).doing("taking a paging structure back")
    }

    /// Memory of this size, and the first of as many slots in a row as it has pages.
    fn volatile_piece(&mut self, bits: u8) -> Result<(Untyped, u64, u8), MemoryError> {
        let count = (1 << bits) / PAGE_SIZE;
        let first = self.slots(count)?;
        let piece = self.piece(bits).inspect_err(|_| self.give_back_slots(first, count))?;
        Ok((piece, first, bits))
    }

    /// Gives up a frame over device memory, with all capabilities to it. One of RAM is kept.
    pub(super) fn give_up_frame(&mut self, paddr: u64) -> Result<(), Refused> {
        if self.is_volatile(paddr) {
            return Ok(());
        }
        let slots = self.objects.slots();
        self.device.give_up(&mut { MEMORY }, slots, paddr).doing("giving up a frame")
    }

    /// Whether all of these pages are device memory; else the first address that is not.
    pub(super) fn check_device(&self, pages: &Range<u64>) -> Result<(), u64> {
        self.device.check(pages)
    }

    /// Frames over device memory that is to be mapped at `vaddr`; `None` where some of it is none, or
    /// part of a larger frame.
    pub(super) fn cover_device(
        &mut self,
        pages: &Range<u64>,
        vaddr: u64,
    ) -> Result<Option<Vec<DeviceFrame>>, Refused> {
        let slots = self.objects.slots();
        self.device.cover(&mut { MEMORY }, slots, pages, vaddr).doing("making device frames")
    }

    /// The frame of the shared pool that is `offset` bytes from its start. Init keeps this capability;
    /// programs get copies.
    pub(super) fn pool_frame(&mut self, offset: u64) -> Result<Frame, Refused> {
        let frame = self.device_frame(self.pool_base + offset)?;
        let missing = MemoryError::OutOfMemory { bits: FrameSize::Small.bits() };
        frame.ok_or(missing).doing("looking for a page in the shared pool")
    }

    /// The frames of a region of the pool.
    pub(super) fn pool_frames<const COUNT: usize>(
        &mut self,
        region: &Region,
    ) -> Result<[Frame; COUNT], Refused> {
        let mut frames = [Frame::new(Cptr::NULL); COUNT];
        for (page, frame) in (0..).zip(&mut frames) {
            *frame = self.pool_frame(region.range().start() + page * PAGE_SIZE)?;
        }
        Ok(frames)
    }
}
