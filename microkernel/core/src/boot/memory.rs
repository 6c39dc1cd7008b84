//! The machine's memory at boot: what is RAM, what of it is free, what is device memory.

use super::image::PAGE;
use super::regions::RegionList;
use super::{BootError, BootInput, MemoryRange};
use crate::memory::PhysAddr;
use core::ops::Range;
use d3os_abi::MAX_UNTYPED_BITS;

/// End of the physical addresses that capabilities can name.
const PHYSICAL_END: u64 = 1 << MAX_UNTYPED_BITS;

/// The machine's memory, as it is being given away.
pub(super) struct Memory {
    /// Bytes of RAM in the machine.
    pub(super) ram_bytes: u64,
    /// RAM that is free.
    pub(super) free: RegionList,
    /// RAM that the boot module leaves.
    pub(super) module: RegionList,
    /// What is neither RAM nor reserved.
    pub(super) device: RegionList,
    /// End of the kernel's image.
    kernel_end: u64,
}

impl Memory {
    pub(super) fn new(input: &BootInput<'_>) -> Self {
        let ram = usable_ram(input.memory);
        let mut device = RegionList::default();
        device.insert(0..PHYSICAL_END);
        ram.iter().for_each(|region| device.remove(region));
        let ram_bytes = ram.bytes();
        let mut free = ram;
        let kernel = &input.kernel;
        for range in input.reserved.iter().chain([kernel]).map(outward) {
            device.remove(range.clone());
            free.remove(range);
        }
        let module_pages = outward(&input.module_range);
        let mut module = free.clone();
        module.intersect(module_pages.clone());
        free.remove(module_pages);
        Self { ram_bytes, free, module, device, kernel_end: outward(kernel).end }
    }

    /// 2^`bits` bytes: the lowest above the kernel, else the lowest of all.
    pub(super) fn allocate(
        &mut self,
        bits: u8,
        purpose: &'static str,
    ) -> Result<PhysAddr, BootError> {
        let above_kernel = self.free.take(bits, self.kernel_end);
        let start = above_kernel.or_else(|| self.free.take(bits, 0));
        start.map(PhysAddr).ok_or(BootError::NotEnoughMemory {
            purpose,
            needed: 1 << bits,
            largest: self.free.largest(),
            ram: self.ram_bytes,
        })
    }
}

/// Whole pages of RAM. The first page of all stays out (the kernel's null).
fn usable_ram(memory: &[MemoryRange]) -> RegionList {
    let mut ram = RegionList::default();
    for range in memory.iter().filter(|range| range.usable) {
        let start = range.start.checked_next_multiple_of(PAGE).unwrap_or(PHYSICAL_END);
        ram.insert(start.max(PAGE)..(range.end & !(PAGE - 1)).min(PHYSICAL_END));
    }
    for range in memory.iter().filter(|range| !range.usable) {
        ram.remove(outward(&(PhysAddr(range.start)..PhysAddr(range.end))));
    }
    ram
}

/// The pages that a range touches.
fn outward(range: &Range<PhysAddr>) -> Range<u64> {
    if range.start >= range.end {
        return 0..0;
    }
    range.start.0 & !(PAGE - 1)..range.end.0.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX)
}
