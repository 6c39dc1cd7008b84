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
use self::loader::{Loader, Plan};
use self::memory::Memory;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::memory::PhysAddr;
use core::fmt;
use core::ops::Range;

pub use self::image::ImageError;
pub use self::regions::{MAX_REGIONS, RegionList};

/// Bytes of the command line that BootInfo repeats; the rest is cut.
const MAX_COMMAND_LINE: usize = 2048;
/// Bytes of the ACPI root pointer that BootInfo repeats: all of its second version.
const MAX_RSDP: usize = 36;

/// A piece of the machine's memory map; pieces may overlap, and then what is not usable wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Whether it is RAM that nobody holds.
    pub usable: bool,
}

/// The screen, as the boot loader left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framebuffer {
    /// Physical address.
    pub address: u64,
    /// Bytes of a line.
    pub pitch: u32,
    /// Pixels of a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Bits of a pixel.
    pub bits_per_pixel: u8,
    /// Kind, as multiboot2 numbers it (1: direct colour).
    pub kind: u8,
}

/// What the boot loader and the hardware told.
///
/// None of the slices may lie in memory that `memory` calls usable, but for `module`, which lies in
/// `module_range` and is free once the root task is loaded.
#[derive(Clone, Debug)]
pub struct BootInput<'a> {
    /// The memory map, in any order.
    pub memory: &'a [MemoryRange],
    /// The kernel's image and whatever else it keeps beside it.
    pub kernel: Range<PhysAddr>,
    /// The root task: an ELF.
    pub module: &'a [u8],
    /// Where the module lies.
    pub module_range: Range<PhysAddr>,
    /// What user space must not get at all: the interrupt controllers.
    pub reserved: &'a [Range<PhysAddr>],
    /// The ACPI root pointer, as found.
    pub rsdp: Option<&'a [u8]>,
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
}

/// Why the root task could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// No boot module was given.
    NoModule,
    /// The boot module cannot be run.
    Image(ImageError),
    /// The boot module needs more slots than the root task's CNode has.
    ImageTooLarge {
        /// Pages of the image.
        pages: u64,
        /// Most pages that there are slots for.
        most: u64,
    },
    /// Not enough RAM.
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

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoModule => write!(f, "no boot module: give the root task's ELF (-initrd)"),
            Self::Image(error) => write!(f, "the boot module cannot be run: {error}"),
            Self::ImageTooLarge { pages, most } => write!(
                f,
                "the boot module has {pages} pages, but the root task has slots for {most}"
            ),
            Self::NotEnoughMemory { purpose, needed, largest, ram } => write!(
                f,
                "not enough memory for {purpose}: {needed} bytes needed in one piece, \
                 {largest} free, of {ram} in the machine"
            ),
        }
    }
}

impl From<ImageError> for BootError {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

impl<M: Machine> Kernel<M> {
    /// Loads the root task and gives it everything.
    ///
    /// # Errors
    /// See [`BootError`]; the instance is then of no use.
    pub fn boot(&mut self, input: &BootInput<'_>) -> Result<(), BootError> {
        if input.module.is_empty() {
            return Err(BootError::NoModule);
        }
        let rsdp = input.rsdp.map(|bytes| &bytes[..bytes.len().min(MAX_RSDP)]);
        let input = BootInput { rsdp, ..input.clone() };
        let image = RootImage::parse(input.module)?;
        let plan = Plan::new(&image, &input)?;
        let mut memory = Memory::new(&input);
        Loader::new(self, &input, &image, plan, &mut memory)?.run()
    }
}
