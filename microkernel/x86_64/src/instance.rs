//! One kernel instance of several: what all are made from, and what each has of it.
//!
//! The boot core writes the [`Blueprint`] before it starts the others; from then on it is only
//! read. An instance that is started again is made from the same, and so from the same root task:
//! where there are several, nobody gets the memory of the boot module.

use crate::acpi::{self, Platform};
use crate::address_space::AddressSpace;
use crate::boot_info::{BootInfo, RSDP_LENGTH};
use crate::command_line::Options;
use crate::core_local::CoreBlock;
use crate::cores::Cores;
use crate::hardware::Hardware;
use crate::layout;
use crate::local_apic::Mode;
use crate::partition::Partition;
use crate::processor::Features;
use crate::symbols::SymbolTable;
use core::ops::Range;
use kernel_core::{
    BootError, BootInput, Kernel, MAX_REGIONS, MemoryRange, PhysAddr, RegionList, Share,
};

const PAGE: u64 = 4096;

/// The ACPI root pointer's bytes, and how many count.
pub(crate) type RootPointer = Option<([u8; RSDP_LENGTH], usize)>;

/// What the boot core found out and decided.
pub(crate) struct Blueprint {
    pub(crate) info: BootInfo,
    pub(crate) rsdp: RootPointer,
    pub(crate) platform: Platform,
    pub(crate) features: Features,
    pub(crate) space: AddressSpace,
    /// The kernel's image, physically.
    pub(crate) image: Range<u64>,
    /// The root task's ELF.
    pub(crate) module: &'static [u8],
    /// Where that lies.
    pub(crate) module_range: Range<u64>,
    pub(crate) cores: Cores,
    pub(crate) partition: Partition,
    pub(crate) megahertz: u32,
    pub(crate) boot_time: u64,
    pub(crate) local_apic: Mode,
    pub(crate) options: Options,
    pub(crate) symbols: Option<SymbolTable<'static>>,
}

impl Blueprint {
    /// Loads the root task of `core` into its instance.
    pub(crate) fn boot(&self, kernel: &mut Kernel<Hardware>, core: u32) -> Result<(), BootError> {
        let own = self.memory(core);
        let (memory, memory_count) = self.memory_ranges(&own);
        let (reserved, reserved_count) = physical(&self.reserved(&own));
        let module_range = if self.is_shared() { 0..0 } else { self.module_range.clone() };
        let first = own.ranges().first().map_or(0, |range| range.start);
        let input = BootInput {
            memory: &memory[..memory_count],
            kernel: addresses(&self.kernel_memory(core)),
            module: self.module,
            module_range: addresses(&module_range),
            reserved: &reserved[..reserved_count],
            rsdp: self.rsdp.as_ref().map(|(bytes, length)| &bytes[..*length]),
            framebuffer: self.info.framebuffer,
            command_line: self.info.command_line.bytes(),
            cores_present: self.platform.processors,
            tsc_mhz: self.megahertz,
            boot_tsc: self.boot_time,
            node_id: core.into(),
            num_nodes: self.cores.count().into(),
            share: Share {
                apic_id: kernel.machine.apic(),
                pool: addresses(&self.partition.pool),
                private: addresses(&(first..first + own.bytes())),
            },
        };
        kernel.boot(&input)
    }

    /// Where the kernel keeps what belongs to a core other than the boot core.
    pub(crate) fn block(&self, core: u32) -> u64 {
        self.partition.private(core).start
    }

    /// Whether there is more than one instance.
    pub(crate) fn is_shared(&self) -> bool {
        self.cores.count() > 1
    }

    /// What the kernel keeps for itself of an instance's memory.
    fn kernel_memory(&self, core: u32) -> Range<u64> {
        if core == 0 {
            return self.image.clone();
        }
        self.block(core)..self.block(core) + size_of::<CoreBlock>() as u64
    }

    /// RAM of one instance: a piece, or for the boot core all that nobody else has.
    fn memory(&self, core: u32) -> RegionList {
        let mut own = RegionList::default();
        if core != 0 {
            own.insert(self.partition.private(core));
            return own;
        }
        own.clone_from(&self.info.memory.usable);
        if self.is_shared() {
            self.partition.given_away().for_each(|piece| own.remove(piece.clone()));
            own.remove(pages(&self.module_range));
            let start_page = u64::from(self.cores.start_page()) * PAGE;
            own.remove(start_page..start_page + PAGE);
        }
        own
    }

    /// What an instance never gets: the interrupt controllers, page directories, and RAM that is
    /// neither its own nor shared.
    fn reserved(&self, own: &RegionList) -> RegionList {
        let mut reserved = self.info.memory.usable.clone();
        own.ranges().iter().for_each(|range| reserved.remove(range.clone()));
        reserved.remove(self.partition.pool.clone());
        let (controllers, count) = controller_pages(&self.platform);
        for page in &controllers[..count] {
            reserved.insert(*page..*page + PAGE);
        }
        reserved.insert(self.space.directories.clone());
        reserved.insert(pages(&self.image));
        reserved
    }

    /// The memory map as an instance is told it.
    fn memory_ranges(&self, own: &RegionList) -> ([MemoryRange; 2 * MAX_REGIONS], usize) {
        let mut ranges = [MemoryRange { start: 0, end: 0, usable: false }; 2 * MAX_REGIONS];
        let usable = own.ranges().iter().map(|range| (range, true));
        let reserved = self.info.memory.reserved.ranges().iter().map(|range| (range, false));
        let count = own.ranges().len() + self.info.memory.reserved.ranges().len();
        for (place, (range, usable)) in ranges.iter_mut().zip(usable.chain(reserved)) {
            *place = MemoryRange { start: range.start, end: range.end, usable };
        }
        (ranges, count)
    }
}

/// Pages of interrupt controllers: the local one first.
pub(crate) fn controller_pages(platform: &Platform) -> ([u64; 1 + acpi::MAX_IO_APICS], usize) {
    let mut pages = [platform.local_apic; 1 + acpi::MAX_IO_APICS];
    for (page, io_apic) in pages[1..].iter_mut().zip(platform.io_apics()) {
        *page = io_apic.address & !(PAGE - 1);
    }
    (pages, 1 + platform.io_apics().len())
}

/// Where the mapping of the `index`th controller's registers is.
pub(crate) fn mapped_controller(index: usize, physical: u64) -> u64 {
    layout::DEVICES + index as u64 * PAGE + (physical & (PAGE - 1))
}

/// The pages that a range touches.
fn pages(range: &Range<u64>) -> Range<u64> {
    range.start & !(PAGE - 1)..range.end.next_multiple_of(PAGE)
}

fn addresses(range: &Range<u64>) -> Range<PhysAddr> {
    PhysAddr(range.start)..PhysAddr(range.end)
}

fn physical(set: &RegionList) -> ([Range<PhysAddr>; MAX_REGIONS], usize) {
    let mut ranges = [const { PhysAddr(0)..PhysAddr(0) }; MAX_REGIONS];
    for (place, range) in ranges.iter_mut().zip(set.ranges()) {
        *place = addresses(range);
    }
    (ranges, set.ranges().len())
}
