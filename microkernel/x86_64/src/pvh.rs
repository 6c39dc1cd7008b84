//! PVH's start information (Xen, `hvm_start_info`), as QEMU's `-kernel` leaves it.

use crate::boot_info::{BootInfo, BootInfoError};
use crate::bytes::{PhysicalMemory, u32_at, u64_at, until_nul};
use crate::command_line::{CommandLine, MAX_COMMAND_LINE};
use crate::memory_map::{Entry, MemoryMap};
use core::ops::Range;

/// First word of the start information.
pub const MAGIC: u32 = 0x336e_c578;
const START_INFO: &str = "start information";
const START_INFO_SIZE: u64 = 56;
const MODULE_SIZE: u64 = 32;
/// Entries that are read; more are not believed.
const MAX_MEMORY_ENTRIES: u32 = 4096;

/// Whether start information lies at `address`.
pub fn is_start_info(memory: &impl PhysicalMemory, address: u64) -> bool {
    memory.bytes(address, 4).and_then(|bytes| u32_at(bytes, 0)) == Some(MAGIC)
}

/// Reads the start information at `address`.
///
/// # Errors
/// If it or what it points at cannot be read, or if it is of version 0, without a memory map.
pub fn read(memory: &impl PhysicalMemory, address: u64) -> Result<BootInfo, BootInfoError> {
    let unreadable = BootInfoError::Unreadable { what: START_INFO, address };
    let info = memory.bytes(address, START_INFO_SIZE).ok_or(unreadable)?;
    let word = |offset| u32_at(info, offset).ok_or(unreadable);
    let long = |offset| u64_at(info, offset).ok_or(unreadable);
    if word(4)? < 1 {
        return Err(BootInfoError::NoMemoryMap);
    }
    Ok(BootInfo {
        memory: memory_map(memory, long(40)?, word(48)?)?,
        module: if word(12)? > 0 { Some(first_module(memory, long(16)?)?) } else { None },
        command_line: command_line(memory, long(24)?),
        rsdp: Some(long(32)?).filter(|address| *address != 0),
        framebuffer: None,
    })
}

fn memory_map(
    memory: &impl PhysicalMemory,
    address: u64,
    count: u32,
) -> Result<MemoryMap, BootInfoError> {
    let bytes = memory
        .bytes(address, u64::from(count.min(MAX_MEMORY_ENTRIES)) * Entry::SIZE as u64)
        .ok_or(BootInfoError::Unreadable { what: "memory map", address })?;
    Ok(MemoryMap::from_entries(bytes.chunks_exact(Entry::SIZE).filter_map(Entry::read)))
}

fn first_module(memory: &impl PhysicalMemory, list: u64) -> Result<Range<u64>, BootInfoError> {
    let unreadable = BootInfoError::Unreadable { what: "module list", address: list };
    let entry = memory.bytes(list, MODULE_SIZE).ok_or(unreadable)?;
    let start = u64_at(entry, 0).ok_or(unreadable)?;
    let size = u64_at(entry, 8).ok_or(unreadable)?;
    Ok(start..start.checked_add(size).ok_or(unreadable)?)
}

fn command_line(memory: &impl PhysicalMemory, address: u64) -> CommandLine {
    let bytes = memory.bytes(address, MAX_COMMAND_LINE as u64).filter(|_| address != 0);
    CommandLine::new(until_nul(bytes.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::testing::Pieces;
    use proptest::prelude::*;

    const INFO: u64 = 0x1000;
    const MODULES: u64 = 0x2000;
    const LINE: u64 = 0x3000;
    const MAP: u64 = 0x4000;

    fn quads(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn machine(modules: u64) -> Pieces {
        let magic_and_version = u64::from(MAGIC) | 1 << 32;
        let mut line = b"quiet\0".to_vec();
        line.resize(MAX_COMMAND_LINE, 7);
        Pieces(vec![
            (INFO, quads(&[magic_and_version, modules << 32, MODULES, LINE, 0xf_0000, MAP, 2])),
            (MODULES, quads(&[0x50_0000, 0x1234, 0, 0])),
            (LINE, line),
            (MAP, quads(&[0, 0x9_fc00, 1, 0x10_0000, 0x100_0000, 1])),
        ])
    }

    #[test]
    fn everything_is_read() {
        let info = read(&machine(1), INFO).unwrap();
        assert_eq!(info.memory.usable.ranges(), [0..0x9_f000, 0x10_0000..0x110_0000]);
        assert_eq!(info.module, Some(0x50_0000..0x50_1234));
        assert_eq!(info.command_line.bytes(), b"quiet");
        assert_eq!(info.rsdp, Some(0xf_0000));
    }

    #[test]
    fn no_module_is_not_an_error_here() {
        assert_eq!(read(&machine(0), INFO).unwrap().module, None);
    }

    #[test]
    fn unreadable_lists_are_named() {
        let mut machine = machine(1);
        machine.0.retain(|(address, _)| *address != MODULES);
        let error = read(&machine, INFO).unwrap_err();
        assert_eq!(error, BootInfoError::Unreadable { what: "module list", address: MODULES });
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(info in proptest::collection::vec(any::<u8>(), 0..64), at in 0usize..56, value in any::<u8>()) {
            let _ = read(&Pieces(vec![(INFO, info)]), INFO);
            let mut damaged = machine(1);
            damaged.0[0].1[at] = value;
            let _ = read(&damaged, INFO);
        }
    }
}
