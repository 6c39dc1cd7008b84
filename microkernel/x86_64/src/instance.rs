//! One kernel instance of several: what all are made from, and what each has of it.
//!
//! The boot core writes the [`Blueprint`] before it starts the others; from then on it is only
//! read. An instance that is started again is made from the same, and so from the same root task:
//! where there are several, nobody gets the memory of the boot module.

use crate::acpi::{self, Platform};
use crate::address_space::AddressSpace;
use crate::boot_info::{BootInfo, RootPointer};
use crate::command_line::Options;
use crate::core_local::{Core, OtherCore};
use crate::hardware::Hardware;
use crate::io_apic::IoApics;
use crate::layout;
use crate::local_apic::LocalApic;
use crate::partition::Partition;
use crate::processor::{Features, Guards};
use crate::symbols::SymbolTable;
use crate::window::WindowFull;
use core::ops::Range;
use heapless::Vec;
use kernel_core::{BootError, BootInput, Kernel, RegionList, Share};

pub(crate) const PAGE: u64 = 4096;

/// What the boot core found out and decided.
pub(crate) struct Blueprint {
    pub(crate) info: BootInfo,
    pub(crate) rsdp: Option<RootPointer>,
    pub(crate) platform: Platform,
    pub(crate) features: Features,
    pub(crate) guards: Guards,
    pub(crate) space: AddressSpace,
    /// The kernel's image, physically.
    pub(crate) image: Range<u64>,
    /// The root task's ELF.
    pub(crate) module: &'static [u8],
    /// The pages in which that lies.
    pub(crate) module_range: Range<u64>,
    pub(crate) partition: Partition,
    /// The page below 1 MiB that a started core begins in, by number.
    pub(crate) start_page: u8,
    pub(crate) megahertz: u32,
    pub(crate) boot_time: u64,
    /// The boot core's; every other core's is enabled alike.
    pub(crate) local_apic: LocalApic,
    pub(crate) options: Options,
    pub(crate) symbols: Option<SymbolTable<'static>>,
}

/// Why there is no instance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstanceError {
    #[error(transparent)]
    Window(#[from] WindowFull),
    #[error(transparent)]
    Boot(#[from] BootError),
}

impl Blueprint {
    /// Makes the instance of a core, and loads its root task.
    pub(crate) fn make(
        &'static self,
        core: &mut Core,
        local_apic: LocalApic,
        io_apics: IoApics,
    ) -> Result<(), InstanceError> {
        core.options = self.options;
        core.symbols = self.symbols;
        // SAFETY: the core runs in the kernel's address space.
        let shown = unsafe { core.choose_entries(self.guards.separate, &self.space) }?;
        let hardware = Hardware::new(self, shown, local_apic, io_apics);
        let (number, irq_slots) = (core.number, core.irq_slots());
        let kernel = core.kernel.write(Kernel::new(hardware, number, irq_slots));
        core.running = true;
        Ok(self.boot(kernel, number)?)
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
            rsdp: self.rsdp.as_deref(),
            framebuffer: self.info.framebuffer,
            command_line: self.info.command_line.bytes(),
            cores_present: self.platform.processors,
            tsc_mhz: self.megahertz,
            boot_tsc: self.boot_time,
            node_id: core.into(),
            num_nodes: self.cores().into(),
            share: Share {
                apic_id: kernel.machine.apic(),
                pool: self.partition.pool.clone(),
                private: start..start + own.bytes(),
            },
        })
    }

    /// Instances in the machine.
    pub(crate) fn cores(&self) -> u32 {
        u32::try_from(self.partition.members.len()).unwrap_or(u32::MAX)
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
            let start_page = u64::from(self.start_page) * PAGE;
            own.remove(start_page..start_page + PAGE);
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
        reserved.insert(self.image.clone());
        if core != 0 {
            let start = self.partition.members[core as usize].private.start;
            reserved.insert(start..start + size_of::<OtherCore>() as u64);
        }
        reserved
    }
}

/// Pages of interrupt controllers: the local one first.
pub(crate) fn controller_pages(platform: &Platform) -> Vec<u64, { 1 + acpi::MAX_IO_APICS }> {
    let io_apics = platform.io_apics.iter().map(|io_apic| io_apic.address & !(PAGE - 1));
    core::iter::once(platform.local_apic).chain(io_apics).collect()
}

/// Where the mapping of the `index`th controller's registers is.
pub(crate) fn mapped_controller(index: usize, physical: u64) -> u64 {
    layout::DEVICES + index as u64 * PAGE + (physical & (PAGE - 1))
}
