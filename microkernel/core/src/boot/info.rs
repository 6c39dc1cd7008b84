//! BootInfo and its extra chunks, as bytes in the root task's frames.

use super::image::PAGE_BYTES;
use super::{BootInput, MAX_COMMAND_LINE, MAX_RSDP, Share};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::memory::Ref;
use d3os_abi::{FIRST_SIGNAL_VECTOR, MachineChunk, SIGNAL_LINES, SlotRegion, chunk};
use heapless::Vec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Pages that extra BootInfo takes at most.
pub(super) const MAX_EXTRA_PAGES: usize = 2;
/// Entries of the memory map that are told, as many as seL4's structure holds.
const MAX_MAP_ENTRIES: usize = 50;
const MAP_ENTRY_BYTES: usize = 24;

/// A page of the root task, as bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(4096))]
pub(super) struct Page {
    pub(super) bytes: [u8; PAGE_BYTES],
}

/// What [`chunk::D3OS_MACHINE`] tells that is known only at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Findings {
    /// Bytes of RAM.
    pub(super) ram: u64,
    /// Bytes of it that the kernel keeps.
    pub(super) kernel: u64,
    /// Slot of the core control capability, or zero.
    pub(super) core_control: u64,
}

impl<M: Machine> Kernel<M> {
    /// Writes words into a page.
    pub(super) fn put_words(&mut self, page: Ref<Page>, offset: usize, words: &[u64]) {
        let bytes = words.as_bytes();
        self.get_mut(page).bytes[offset..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Writes regions of slots into a page.
    pub(super) fn put_regions(&mut self, page: Ref<Page>, offset: usize, regions: &[SlotRegion]) {
        for (region, place) in regions.iter().zip((offset..).step_by(size_of::<SlotRegion>())) {
            self.put_words(page, place, &[region.start, region.end]);
        }
    }

    /// Writes extra BootInfo.
    pub(super) fn write_extra(
        &mut self,
        pages: &Vec<Ref<Page>, MAX_EXTRA_PAGES>,
        input: &BootInput<'_>,
        findings: Findings,
    ) {
        let mut offset = 0;
        for_each_extra(input, findings, |bytes| {
            for &byte in bytes {
                if let Some(&page) = pages.get(offset / PAGE_BYTES) {
                    self.get_mut(page).bytes[offset % PAGE_BYTES] = byte;
                }
                offset += 1;
            }
        });
    }
}

/// Bytes of extra BootInfo.
pub(super) fn extra_bytes(input: &BootInput<'_>) -> u64 {
    let mut length = 0;
    for_each_extra(input, Findings::default(), |bytes| length += bytes.len() as u64);
    length
}

/// Tells `put` the bytes of extra BootInfo in order. D3OS's own chunk comes first, padded, so that
/// its words are aligned; the others have the lengths that readers of seL4's know.
fn for_each_extra(input: &BootInput<'_>, findings: Findings, mut put: impl FnMut(&[u8])) {
    machine_chunk(input, findings, &mut put);
    let rsdp = &input.rsdp[..input.rsdp.len().min(MAX_RSDP)];
    put_header(chunk::ACPI_RSDP, rsdp.len(), &mut put);
    put(rsdp);
    if let Some(framebuffer) = input.framebuffer {
        put_header(chunk::FRAMEBUFFER, framebuffer.len(), &mut put);
        put(&framebuffer);
    }
    memory_map_chunk(input, &mut put);
    put_header(chunk::TSC_FREQUENCY, 4, &mut put);
    put(&input.tsc_mhz.to_le_bytes());
}

fn put_header(id: u64, payload: usize, put: &mut impl FnMut(&[u8])) {
    put([id, payload as u64 + 16].as_bytes());
}

/// A length as chunks hold it; all of theirs are small.
fn length_field(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn machine_chunk(input: &BootInput<'_>, findings: Findings, put: &mut impl FnMut(&[u8])) {
    let line = &input.command_line[..input.command_line.len().min(MAX_COMMAND_LINE)];
    let padding = line.len().next_multiple_of(8) - line.len();
    put_header(chunk::D3OS_MACHINE, size_of::<MachineChunk>() + line.len() + padding, put);
    put([input.cores_present, length_field(line.len())].as_bytes());
    put([input.boot_tsc, findings.ram, findings.kernel].as_bytes());
    let Share { apic_id, pool, private } = &input.share;
    put([*apic_id, SIGNAL_LINES.into()].as_bytes());
    put([FIRST_SIGNAL_VECTOR.into(), pool.start, pool.end - pool.start].as_bytes());
    put([private.start, private.end - private.start, findings.core_control].as_bytes());
    put(line);
    put(&[0; 8][..padding]);
}

/// Multiboot entries: bytes that follow (20), base, length, type (1: RAM, 2: reserved).
fn memory_map_chunk(input: &BootInput<'_>, put: &mut impl FnMut(&[u8])) {
    let usable = input.usable.iter().map(|range| (range, 1u32));
    let entries = usable.chain(input.unusable.iter().map(|range| (range, 2)));
    let bytes = entries.clone().take(MAX_MAP_ENTRIES).count() * MAP_ENTRY_BYTES;
    put_header(chunk::MEMORY_MAP, 4 + bytes, put);
    put(&length_field(bytes).to_le_bytes());
    for (range, kind) in entries.take(MAX_MAP_ENTRIES) {
        put(&20u32.to_le_bytes());
        put([range.start, range.end - range.start].as_bytes());
        put(&kind.to_le_bytes());
    }
}
