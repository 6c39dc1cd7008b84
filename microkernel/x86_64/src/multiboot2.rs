//! Multiboot2's boot information (specification 2.0, section 3.6), as GRUB leaves it.

use crate::boot_info::{BootInfo, BootInfoError, RSDP_LENGTH, Rsdp};
use crate::bytes::{PhysicalMemory, u8_at, u32_at, u64_at, until_nul};
use crate::command_line::CommandLine;
use crate::memory_map::{Entry, MemoryMap};
use core::ops::Range;
use kernel_core::Framebuffer;

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
/// If it cannot be read, a tag is damaged, or there is no memory map.
pub fn read(memory: &impl PhysicalMemory, address: u64) -> Result<BootInfo, BootInfoError> {
    let unreadable = BootInfoError::Unreadable { what: "boot information", address };
    let head = memory.bytes(address, 8).ok_or(unreadable)?;
    let size = u32_at(head, 0).filter(|size| (8..=MAX_SIZE).contains(size)).ok_or(unreadable)?;
    let tags = &memory.bytes(address, size.into()).ok_or(unreadable)?[8..];
    let mut info = BootInfo::default();
    let mut mapped = false;
    for tag in Tags(tags) {
        let (kind, body) = tag.ok_or(unreadable)?;
        mapped |= kind == tag::MEMORY_MAP;
        take(&mut info, kind, body).ok_or(unreadable)?;
    }
    if mapped { Ok(info) } else { Err(BootInfoError::NoMemoryMap) }
}

fn take(info: &mut BootInfo, kind: u32, body: &[u8]) -> Option<()> {
    match kind {
        tag::COMMAND_LINE => info.command_line = CommandLine::new(until_nul(body)),
        tag::MODULE => info.module = info.module.clone().or(Some(module(body)?)),
        tag::MEMORY_MAP => info.memory = memory_map(body)?,
        tag::FRAMEBUFFER => info.framebuffer = Some(framebuffer(body)?),
        tag::ACPI_OLD => info.rsdp = info.rsdp.take().or(Some(rsdp(body))),
        tag::ACPI_NEW => info.rsdp = Some(rsdp(body)),
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

fn framebuffer(body: &[u8]) -> Option<Framebuffer> {
    Some(Framebuffer {
        address: u64_at(body, 0)?,
        pitch: u32_at(body, 8)?,
        width: u32_at(body, 12)?,
        height: u32_at(body, 16)?,
        bits_per_pixel: u8_at(body, 20)?,
        kind: u8_at(body, 21)?,
    })
}

fn rsdp(body: &[u8]) -> Rsdp {
    Rsdp::Copy(body.iter().copied().take(RSDP_LENGTH).collect())
}

/// The tags of some boot information: type and body; `None` once for a damaged one.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Option<(u32, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0;
        if rest.is_empty() || u32_at(rest, 0) == Some(tag::END) {
            return None;
        }
        self.0 = &[];
        Some(self.split(rest))
    }
}

impl<'a> Tags<'a> {
    fn split(&mut self, rest: &'a [u8]) -> Option<(u32, &'a [u8])> {
        let kind = u32_at(rest, 0)?;
        let size = usize::try_from(u32_at(rest, 4)?).ok()?;
        let body = rest.get(TAG_HEADER..size)?;
        self.0 = rest.get(size.next_multiple_of(8)..).unwrap_or_default();
        Some((kind, body))
    }
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
        let info = read(
            &information(&[
                tag(tag::COMMAND_LINE, b"quiet exit_port=0xf4\0"),
                tag(tag::MODULE, &[0, 0, 0x30, 0, 0, 0x10, 0x30, 0, b'i', 0]),
                tag(99, &[1, 2, 3]),
                map_tag(),
                tag(tag::FRAMEBUFFER, &framebuffer.concat()),
                tag(tag::ACPI_NEW, &[2; 36]),
                tag(tag::ACPI_OLD, &[1; 20]),
            ]),
            INFO,
        )
        .unwrap();
        assert_eq!(info.command_line.bytes(), b"quiet exit_port=0xf4");
        assert_eq!(info.module, Some(0x30_0000..0x30_1000));
        assert_eq!(info.memory.usable.ranges(), [0x10_0000..0x20_0000, 0x20_1000..0x50_0000]);
        assert_eq!(info.rsdp, Some(Rsdp::Copy([2; 36].into())));
        let screen = info.framebuffer.unwrap();
        assert_eq!((screen.pitch, screen.width, screen.height), (5120, 1024, 768));
    }

    #[test]
    fn a_memory_map_is_needed() {
        let error = read(&information(&[tag(99, &[])]), INFO).unwrap_err();
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
