//! What the boot loader told, in one form for both protocols.

use crate::bytes::PhysicalMemory;
use crate::command_line::CommandLine;
use crate::memory_map::MemoryMap;
use crate::{multiboot2, pvh};
use core::ops::Range;
use heapless::Vec;
use kernel_core::Framebuffer;

/// Longest root pointer (ACPI 2.0 and later).
pub const RSDP_LENGTH: usize = 36;
/// The bytes of ACPI's root pointer.
pub type RootPointer = Vec<u8, RSDP_LENGTH>;

/// Everything that the kernel takes from the boot loader, copied.
#[derive(Clone, Debug, Default)]
pub struct BootInfo {
    /// RAM.
    pub memory: MemoryMap,
    /// Where the first module lies, physically.
    pub module: Option<Range<u64>>,
    /// Options.
    pub command_line: CommandLine,
    /// Where ACPI begins.
    pub rsdp: Option<Rsdp>,
    /// The screen that the boot loader left.
    pub framebuffer: Option<Framebuffer>,
}

/// The ACPI root pointer, or where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rsdp {
    /// Its physical address.
    At(u64),
    /// A copy.
    Copy(RootPointer),
}

/// Why the boot loader's information cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootInfoError {
    /// Entered by neither PVH nor multiboot2.
    #[error(
        "a boot loader that speaks PVH or multiboot2 is needed; found EAX={eax:#x}, EBX={ebx:#x}"
    )]
    UnknownProtocol {
        /// What EAX held.
        eax: u32,
        /// What EBX held.
        ebx: u32,
    },
    /// A structure lies where it cannot be read, or ends before its fields do.
    #[error("the boot loader's {what} at {address:#x} is damaged or out of reach")]
    Unreadable {
        /// Which structure.
        what: &'static str,
        /// Its physical address.
        address: u64,
    },
    /// There is no memory map.
    #[error("the boot loader must tell a memory map; it told none")]
    NoMemoryMap,
}

/// Reads what the boot loader left; `eax` and `ebx` are as they were at entry.
///
/// # Errors
/// If neither protocol's structures are there, or they are damaged.
pub fn read(memory: &impl PhysicalMemory, eax: u32, ebx: u32) -> Result<BootInfo, BootInfoError> {
    if eax == multiboot2::MAGIC {
        return multiboot2::read(memory, ebx.into());
    }
    if pvh::is_start_info(memory, ebx.into()) {
        return pvh::read(memory, ebx.into());
    }
    Err(BootInfoError::UnknownProtocol { eax, ebx })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::testing::Pieces;

    #[test]
    fn an_unknown_loader_is_named_by_its_registers() {
        let error = read(&Pieces::default(), 0x2bad_b002, 0x1000).unwrap_err();
        assert_eq!(error, BootInfoError::UnknownProtocol { eax: 0x2bad_b002, ebx: 0x1000 });
        assert!(error.to_string().contains("0x2badb002"));
    }
}
