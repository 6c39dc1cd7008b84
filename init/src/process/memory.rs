//! Init's memory: the library's allocators over what the kernel handed out.

use libd3os::abi::{BootInfo, ObjectType};
use libd3os::cap::{Frame, Untyped};
use libd3os::memory::{MemoryError, Objects, SlotPool};
use libd3os::sys::Cptr;

use super::device::DeviceMemory;
use super::kernel::MEMORY;
use super::trouble::{Doing, Refused};

/// RAM, device memory and capability slots that nobody uses yet.
#[derive(Debug)]
pub(super) struct Memory {
    objects: Objects,
    device: DeviceMemory,
    /// Bytes of RAM that the kernel handed out.
    pub(super) total: u64,
}

impl Memory {
    /// What the kernel handed out.
    pub(super) fn new(info: &BootInfo) -> Self {
        let mut objects = Objects::new(SlotPool::new(info.empty.start..info.empty.end));
        let mut device = DeviceMemory::default();
        let slots = info.untyped.start..info.untyped.end;
        for (slot, descriptor) in slots.zip(&info.untyped_list) {
            match descriptor.is_device {
                0 => objects.add_untyped(slot, descriptor.size_bits),
                _ => device.add(slot, descriptor.paddr, descriptor.size_bits),
            }
        }
        let total = objects.available();
        Self { objects, device, total }
    }

    /// Bytes of RAM that are free.
    pub(super) fn available(&self) -> u64 {
        self.objects.available()
    }

    /// The first of `count` empty slots in a row.
    pub(super) fn slots(&mut self, count: u64) -> Result<u64, MemoryError> {
        self.objects.slots().take_run(count)
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

    /// A frame over a page outside of RAM, or `None` where there is nothing.
    pub(super) fn device_frame(&mut self, paddr: u64) -> Result<Option<Frame>, Refused> {
        let frame = self.device.frame(&mut { MEMORY }, self.objects.slots(), paddr);
        frame.doing("making a device frame")
    }
}
