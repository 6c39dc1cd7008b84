//! The machine's memory at boot: what is RAM, what of it is free, what is device memory.

use super::image::PAGE;
use super::regions::RegionList;
use super::{BootError, BootInput};
use crate::machine::Machine;
use crate::memory::PhysAddr;
use d3os_abi::MAX_UNTYPED_BITS;

/// End of the physical addresses that capabilities can name.
const PHYSICAL_END: u64 = 1 << MAX_UNTYPED_BITS;
/// Below, a PC's memory is in small pieces.
const LOW_MEMORY_END: u64 = 1 << 20;

/// The machine's memory, as it is being given away.
pub(super) struct Memory {
    /// Bytes of RAM in the machine.
    pub(super) ram_bytes: u64,
    /// RAM that is free.
    pub(super) free: RegionList,
    /// RAM that the boot module leaves.
    pub(super) module: RegionList,
    /// What is neither RAM nor reserved nor the pool.
    pub(super) device: RegionList,
    /// The pool, apart from `device` so that no capability covers some of both.
    pub(super) pool: RegionList,
}

impl Memory {
    pub(super) fn new(input: &BootInput<'_>) -> Self {
        let mut free = input.usable.clone();
        // The kernel's null.
        free.remove(0..PAGE);
        let mut device = RegionList::default();
        device.insert(0..PHYSICAL_END);
        device.remove_all(&free);
        device.remove_all(input.reserved);
        let mut pool = RegionList::default();
        pool.insert(input.pool.clone());
        device.remove_all(&pool);
        let ram_bytes = free.bytes();
        free.remove_all(input.reserved);
        let mut module = free.clone();
        module.intersect(input.module_range.clone());
        free.remove(input.module_range.clone());
        Self { ram_bytes, free, module, device, pool }
    }

    /// 2^`bits` bytes, zeroed: the lowest above the first MiB, else the lowest of all.
    pub(super) fn allocate(
        &mut self,
        machine: &mut impl Machine,
        bits: u8,
        purpose: &'static str,
    ) -> Result<PhysAddr, BootError> {
        let above = self.free.take(bits, LOW_MEMORY_END);
        let Some(start) = above.or_else(|| self.free.take(bits, 0)).map(PhysAddr) else {
            let (needed, largest, ram) = (1 << bits, self.free.largest(), self.ram_bytes);
            return Err(BootError::NotEnoughMemory { purpose, needed, largest, ram });
        };
        machine.clear(start, 1 << bits);
        Ok(start)
    }
}
