//! Multiboot2's boot information (specification 2.0, section 3.6), as GRUB leaves it.

use crate::boot_info::{BootInfo, BootInfoError};
use crate::bytes::{PhysicalMemory, array_at, u32_at, until_nul};
use crate::command_line::CommandLine;
use crate::memory_map::{Entry, MemoryMap};
use core::ops::Range;

/// What EAX holds at entry.
pub const MAGIC: u32 = 0x36d7_6289;
/// Longer information is not believed.
const MAX_SIZE: u32 = 1 << 20;
const TAG_HEADER: usize = 8;

/// Tags that the kernel reads.
mod tag {
    pub(super) const END: u32 = 0;
    pub(super) const COMMAND_LINE: u32 = 1;
    pub(super) const MODULE: u32 = 3;
    pub(super) const MEMORY_MAP: u32 = 6;
    pub(super) const FRAMEBUFFER: u32 = 8;
    pub(super) const ACPI_OLD: u32 = 14;
    pub(super) const ACPI_NEW: u32 = 15;
}

/// Reads the boot information at `address`.
///
/// # Errors
/// If it cannot be read, or a tag is damaged.
pub fn read(memory: &impl PhysicalMemory, address: u64) -> Result<BootInfo, BootInfoError> {
    let size = memory.bytes(address, 8).and_then(|head| u32_at(head, 0));
    let size = size.filter(|size| (8..=MAX_SIZE).contains(size));
    let info = size.and_then(|size| memory.bytes(address, size.into()));
    let unreadable = BootInfoError::Unreadable { what: "boot information", address };
    info.and_then(|info| read_tags(info, address)).ok_or(unreadable)
}

/// Reads the tags of the information that lies at `address`; `None` if one is damaged.
fn read_tags(tags: &[u8], address: u64) -> Option<BootInfo> {
    let mut info = BootInfo::default();
    let mut at = TAG_HEADER;
    while let Some(kind) = u32_at(tags, at).filter(|kind| *kind != tag::END) {
        let size = usize::try_from(u32_at(tags, at + 4)?).ok()?;
        let (start, body) = (at + TAG_HEADER, tags.get(at + TAG_HEADER..at + size)?);
        take(&mut info, kind, body, address + start as u64)?;
        at += size.next_multiple_of(8);
    }
    Some(info)
}

/// Takes what the tag with this body, which lies at `place`, tells.
fn take(info: &mut BootInfo, kind: u32, body: &[u8], place: u64) -> Option<()> {
    match kind {
        tag::COMMAND_LINE => info.command_line = CommandLine::new(until_nul(body)),
        tag::MODULE => info.module = info.module.take().or(Some(module(body)?)),
        tag::MEMORY_MAP => info.memory = memory_map(body)?,
        tag::FRAMEBUFFER => info.framebuffer = Some(array_at(body, 0)?),
        tag::ACPI_OLD => info.rsdp = info.rsdp.or(Some(place)),
        tag::ACPI_NEW => info.rsdp = Some(place),
        _ => {}
    }
    Some(())
}

fn module(body: &[u8]) -> Option<Range<u64>> {
    Some(u32_at(body, 0)?.into()..u32_at(body, 4)?.into())
}

fn memory_map(body: &[u8]) -> Option<MemoryMap> {
    let size = usize::try_from(u32_at(body, 0)?).ok().filter(|size| *size >= Entry::SIZE)?;
    Some(MemoryMap::from_entries(body.get(8..)?.chunks_exact(size).filter_map(Entry::read)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::testing::Pieces;
    use proptest::prelude::*;

    const INFO: u64 = 0x9000;

    fn tag(kind: u32, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + TAG_HEADER).unwrap();
        let mut bytes = [kind.to_le_bytes(), size.to_le_bytes()].concat();
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(8), 0xaa);
        bytes
    }

    fn information(tags: &[Vec<u8>]) -> Pieces {
        let body = [tags.concat(), tag(tag::END, &[])].concat();
        let size = u32::try_from(body.len() + 8).unwrap();
        Pieces(vec![(INFO, [&size.to_le_bytes()[..], &[0; 4], &body].concat())])
    }

    fn map_tag() -> Vec<u8> {
        let mut body = [24u32.to_le_bytes(), 0u32.to_le_bytes()].concat();
        for word in [0x10_0000u64, 0x40_0000, 1, 0x20_0000, 0x1000, 2] {
            body.extend_from_slice(&word.to_le_bytes());
        }
        tag(tag::MEMORY_MAP, &body)
    }

    #[test]
    fn everything_is_read() {
        let framebuffer = [
            &0xfd00_0000u64.to_le_bytes()[..],
            &5120u32.to_le_bytes(),
            &1024u32.to_le_bytes(),
            &768u32.to_le_bytes(),
            &[32, 1, 0, 0],
        ];
        let memory = information(&[
            tag(tag::COMMAND_LINE, b"quiet exit_port=0xf4\0"),
            tag(tag::MODULE, &[0, 0, 0x30, 0, 0, 0x10, 0x30, 0, b'i', 0]),
            tag(99, &[1, 2, 3]),
            map_tag(),
            tag(tag::FRAMEBUFFER, &framebuffer.concat()),
            tag(tag::ACPI_NEW, &[2; 36]),
            tag(tag::ACPI_OLD, &[1; 20]),
        ]);
        let info = read(&memory, INFO).unwrap();
        assert_eq!(info.command_line.bytes(), b"quiet exit_port=0xf4");
        assert_eq!(info.module, Some(0x30_0000..0x30_1000));
        assert_eq!(info.memory.usable.ranges(), [0x10_0000..0x20_0000, 0x20_1000..0x50_0000]);
        assert_eq!(info.framebuffer.unwrap()[..], framebuffer.concat()[..22]);
        assert_eq!(memory.bytes(info.rsdp.unwrap(), 36), Some(&[2; 36][..]));
    }

    #[test]
    fn a_memory_map_is_needed() {
        let loader = information(&[tag(99, &[])]);
        let ebx = u32::try_from(INFO).unwrap();
        let error = crate::boot_info::read(&loader, MAGIC, ebx).unwrap_err();
        assert_eq!(error, BootInfoError::NoMemoryMap);
    }

    #[test]
    fn a_tag_that_outgrows_the_information_is_refused() {
        let mut damaged = information(&[map_tag()]);
        damaged.0[0].1[8 + 4] = 0xff;
        assert!(matches!(read(&damaged, INFO), Err(BootInfoError::Unreadable { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut body in proptest::collection::vec(any::<u8>(), 8..256), at in 0usize..100, value in any::<u8>()) {
            let size = u32::try_from(body.len()).unwrap();
            body[..4].copy_from_slice(&size.to_le_bytes());
            let _ = read(&Pieces(vec![(INFO, body)]), INFO);
            let mut damaged = information(&[map_tag(), tag(tag::MODULE, &[0; 9])]);
            if let Some(byte) = damaged.0[0].1.get_mut(at) {
                *byte = value;
            }
            let _ = read(&damaged, INFO);
        }
    }
}
