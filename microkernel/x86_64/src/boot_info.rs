//! What the boot loader told, in one form for both protocols.

use crate::bytes::PhysicalMemory;
use crate::command_line::CommandLine;
use crate::memory_map::MemoryMap;
use crate::{multiboot2, pvh};
use core::ops::Range;
use kernel_core::Framebuffer;

/// Everything that the kernel takes from the boot loader, copied.
#[derive(Clone, Debug, Default)]
pub struct BootInfo {
    /// RAM.
    pub memory: MemoryMap,
    /// Where the first module lies, physically.
    pub module: Option<Range<u64>>,
    /// Options.
    pub command_line: CommandLine,
    /// Where ACPI's root pointer lies, physically.
    pub rsdp: Option<u64>,
    /// The screen that the boot loader left.
    pub framebuffer: Option<Framebuffer>,
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
    /// There is no memory map, or no RAM in it.
    #[error("the boot loader must tell a memory map; it told none")]
    NoMemoryMap,
}

/// Reads what the boot loader left; `eax` and `ebx` are as they were at entry.
///
/// # Errors
/// If neither protocol's structures are there, or they are damaged.
pub fn read(memory: &impl PhysicalMemory, eax: u32, ebx: u32) -> Result<BootInfo, BootInfoError> {
    let info = match eax {
        multiboot2::MAGIC => multiboot2::read(memory, ebx.into())?,
        _ if pvh::is_start_info(memory, ebx.into()) => pvh::read(memory, ebx.into())?,
        _ => return Err(BootInfoError::UnknownProtocol { eax, ebx }),
    };
    let has_memory = !info.memory.usable.ranges().is_empty();
    if has_memory { Ok(info) } else { Err(BootInfoError::NoMemoryMap) }
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
