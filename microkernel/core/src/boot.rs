//! The root task's first state: what memory there is, its image, its capabilities, BootInfo.
//!
//! Everything is made in this order, which is also that of the capabilities' slots from the first
//! free one on: time, paging structures, extra BootInfo, image, untyped memory. The kernel's own
//! objects come from the lowest memory above its image, so that large aligned pieces stay whole.

mod image;
mod info;
mod loader;
mod memory;
mod regions;
#[cfg(test)]
mod tests;

use self::image::RootImage;
use self::loader::Loader;
use self::memory::Memory;
use crate::kernel::Kernel;
use crate::machine::Machine;
use core::ops::Range;

pub use self::image::ImageError;
pub use self::regions::{MAX_REGIONS, RegionList};

/// Bytes of the command line that BootInfo repeats; the rest is cut.
const MAX_COMMAND_LINE: usize = 2048;
/// Bytes of the ACPI root pointer that BootInfo repeats: all of its second version.
const MAX_RSDP: usize = 36;

/// The screen, as the boot loader left it: address, pitch, width, height, bits a pixel, kind, as the
/// body of multiboot2's tag begins.
pub type Framebuffer = [u8; 22];

/// What the boot loader and the hardware told; every range covers whole pages.
///
/// None of the slices may lie in memory that `usable` lists, but for `module`, which lies in
/// `module_range` and is free once the root task is loaded.
#[derive(Clone, Debug)]
pub struct BootInput<'a> {
    /// RAM.
    pub usable: &'a RegionList,
    /// What else the memory map lists, for the root task to know.
    pub unusable: &'a RegionList,
    /// What user space must not get at all: the kernel, and the interrupt controllers.
    pub reserved: &'a RegionList,
    /// The root task: an ELF.
    pub module: &'a [u8],
    /// Where the module lies.
    pub module_range: Range<u64>,
    /// The ACPI root pointer, as found.
    pub rsdp: &'a [u8],
    /// The screen.
    pub framebuffer: Option<Framebuffer>,
    /// The kernel's command line.
    pub command_line: &'a [u8],
    /// Processors that the MADT lists as usable.
    pub cores_present: u32,
    /// Frequency of the time stamp counter.
    pub tsc_mhz: u32,
    /// Time stamp counter at the kernel's first instruction.
    pub boot_tsc: u64,
    /// Number of this kernel instance.
    pub node_id: u64,
    /// Kernel instances in the machine.
    pub num_nodes: u64,
    /// The core's local APIC.
    pub apic_id: u32,
    /// RAM that no instance keeps objects in: device memory to all; none of it is in
    /// [`BootInput::usable`].
    pub pool: Range<u64>,
    /// RAM that is this instance's.
    pub private: Range<u64>,
}

/// Why the root task could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// The boot module cannot be run.
    #[error("the boot module cannot be run: {0}")]
    Image(#[from] ImageError),
    /// The boot module needs more slots than the root task's CNode has.
    #[error("the boot module has {pages} pages, but the root task has slots for {most}")]
    ImageTooLarge {
        /// Pages of the image.
        pages: u64,
        /// Most pages that there are slots for.
        most: u64,
    },
    /// Not enough RAM.
    #[error(
        "not enough memory for {purpose}: {needed} bytes needed in one piece, {largest} free, of \
         {ram} in the machine"
    )]
    NotEnoughMemory {
        /// What it was needed for.
        purpose: &'static str,
        /// Bytes that were needed, in one aligned piece.
        needed: u64,
        /// Bytes of the largest free piece.
        largest: u64,
        /// Bytes of RAM in the machine.
        ram: u64,
    },
}

impl<M: Machine> Kernel<M> {
    /// Loads the root task and gives it everything.
    ///
    /// # Errors
    /// See [`BootError`]; the instance is then of no use.
    pub fn boot(&mut self, input: &BootInput<'_>) -> Result<(), BootError> {
        let image = RootImage::parse(input.module)?;
        image.check_room()?;
        let mut memory = Memory::new(input);
        Loader::new(self, input, &image, &mut memory)?.run()
    }
}
