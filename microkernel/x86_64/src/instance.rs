//! One kernel instance of several: what all are made from, and what each has of it.
//!
//! The boot core writes the [`Blueprint`] before it starts the others; from then on it is only
//! read. An instance that is started again is made from the same, and so from the same root task:
//! where there are several, nobody gets the memory of the boot module.

use crate::acpi::{self, Platform};
use crate::address_space::AddressSpace;
use crate::boot_info::BootInfo;
use crate::core_local::{Core, OtherCore};
use crate::hardware::Hardware;
use crate::io_apic::IoApics;
use crate::layout;
use crate::local_apic::LocalApic;
use crate::partition::Partition;
use crate::processor::{Features, Guards};
use core::ops::Range;
use heapless::Vec;
use kernel_core::{BootError, BootInput, Kernel, RegionList};

pub(crate) const PAGE: u64 = 4096;

/// What the boot core found out and decided.
pub(crate) struct Blueprint {
    pub(crate) info: BootInfo,
    pub(crate) platform: Platform,
    pub(crate) features: Features,
    pub(crate) guards: Guards,
    pub(crate) space: AddressSpace,
    /// The root task's ELF.
    pub(crate) module: &'static [u8],
    /// The pages in which that lies.
    pub(crate) module_range: Range<u64>,
    pub(crate) partition: Partition,
    /// The pages in which started cores begin lie below this one, below 1 MiB, by number.
    pub(crate) start_page: u8,
    pub(crate) megahertz: u32,
    pub(crate) boot_time: u64,
    /// The boot core's; every other core's is enabled alike.
    pub(crate) local_apic: LocalApic,
}

impl Blueprint {
    /// Makes the instance of the core that this runs on, and loads its root task.
    pub(crate) fn make(&'static self, core: &mut Core) -> Result<(), BootError> {
        // SAFETY: the core runs in the kernel's address space.
        let shown = unsafe { core.choose_entries(self.guards.separate, &self.space) };
        let mut local_apic = self.local_apic;
        local_apic.enable();
        let io_apics = if core.number == 0 { self.io_apics() } else { IoApics::default() };
        let hardware = Hardware::new(self, shown, local_apic, io_apics);
        let kernel = core.kernel.write(Kernel::new(hardware, core.number, core.irq_slots()));
        core.running = true;
        self.boot(kernel, core.number)
    }

    fn io_apics(&self) -> IoApics {
        let mut io_apics = IoApics::default();
        for (index, page) in self.platform.io_apics.iter().enumerate() {
            // SAFETY: the address space shows the I/O APICs behind the local one, in this order.
            unsafe { io_apics.add(mapped_controller(index + 1, *page)) };
        }
        io_apics
    }

    fn boot(&self, kernel: &mut Kernel<Hardware>, core: u32) -> Result<(), BootError> {
        let own = self.memory(core);
        let start = own.iter().next().map_or(0, |range| range.start);
        kernel.boot(&BootInput {
            usable: &own,
            unusable: &self.info.memory.reserved,
            reserved: &self.reserved(core, &own),
            module: self.module,
            module_range: if self.cores() > 1 { 0..0 } else { self.module_range.clone() },
            rsdp: &self.platform.rsdp,
            framebuffer: self.info.framebuffer,
            command_line: self.info.command_line.bytes(),
            cores_present: self.platform.processors,
            tsc_mhz: self.megahertz,
            boot_tsc: self.boot_time,
            node_id: core.into(),
            num_nodes: self.cores().into(),
            apic_id: kernel.machine.apic(),
            pool: self.partition.pool.clone(),
            private: start..start + own.bytes(),
        })
    }

    /// Instances in the machine.
    pub(crate) fn cores(&self) -> u32 {
        u32::try_from(self.partition.members.len()).unwrap_or(u32::MAX)
    }

    /// The page in which a core begins that is not the first.
    pub(crate) fn start_page_of(&self, core: u32) -> u8 {
        self.start_page.saturating_sub(u8::try_from(core).unwrap_or(u8::MAX))
    }

    /// What the kernel keeps for a core other than the boot core.
    pub(crate) fn other_core(&self, core: u32) -> *mut OtherCore {
        layout::physmap(self.partition.members[core as usize].private.start) as *mut OtherCore
    }

    /// RAM of one instance: a piece, or for the boot core all that nobody else has.
    fn memory(&self, core: u32) -> RegionList {
        if core != 0 {
            let mut own = RegionList::default();
            own.insert(self.partition.members[core as usize].private.clone());
            return own;
        }
        let mut own = self.info.memory.usable.clone();
        if self.cores() > 1 {
            own.remove_all(&self.partition.given_away());
            own.remove(self.module_range.clone());
            let end = u64::from(self.start_page) + 1;
            own.remove((end - u64::from(self.cores())) * PAGE..end * PAGE);
        }
        own
    }

    /// What an instance never gets: the kernel, the interrupt controllers, page directories, and RAM
    /// that is neither its own nor shared.
    fn reserved(&self, core: u32, own: &RegionList) -> RegionList {
        let mut reserved = self.info.memory.usable.clone();
        reserved.remove_all(own);
        reserved.remove(self.partition.pool.clone());
        for page in controller_pages(&self.platform) {
            reserved.insert(page..page + PAGE);
        }
        reserved.insert(self.space.directories.clone());
        reserved.insert(layout::image());
        if core != 0 {
            let start = self.partition.members[core as usize].private.start;
            reserved.insert(start..start + size_of::<OtherCore>() as u64);
        }
        reserved
    }
}

/// Pages of interrupt controllers: the local one first.
pub(crate) fn controller_pages(platform: &Platform) -> Vec<u64, { 1 + acpi::MAX_IO_APICS }> {
    let io_apics = platform.io_apics.iter().map(|io_apic| io_apic & !(PAGE - 1));
    core::iter::once(platform.local_apic).chain(io_apics).collect()
}

/// Where the mapping of the `index`th controller's registers is.
pub(crate) fn mapped_controller(index: usize, physical: u64) -> u64 {
    layout::DEVICES + index as u64 * PAGE + (physical & (PAGE - 1))
}
