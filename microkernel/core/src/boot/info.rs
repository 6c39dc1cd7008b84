//! BootInfo and its extra chunks, as bytes in the root task's frames.

use super::image::PAGE_BYTES;
use super::{BootInput, Framebuffer, MAX_COMMAND_LINE, MAX_RSDP};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::memory::Ref;
use d3os_abi::{FIRST_SIGNAL_VECTOR, MachineChunk, SIGNAL_LINES, chunk};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

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
}

/// Extra BootInfo as it is written into its page, for which no chunk is too long.
struct Extra<'a> {
    page: &'a mut Page,
    length: usize,
}

/// Writes extra BootInfo into a page of zeroes. Returns how many bytes it takes.
///
/// D3OS's own chunk comes first, padded, so that its words are aligned; the others have the lengths
/// that readers of seL4's know.
pub(super) fn write_extra(page: &mut Page, input: &BootInput<'_>, findings: Findings) -> u64 {
    let mut extra = Extra { page, length: 0 };
    extra.put_machine(input, findings);
    let rsdp = &input.rsdp[..input.rsdp.len().min(MAX_RSDP)];
    extra.put_chunk(chunk::ACPI_RSDP, rsdp);
    if let Some(framebuffer) = &input.framebuffer {
        extra.put_chunk(chunk::FRAMEBUFFER, framebuffer);
    }
    extra.put_memory_map(input);
    extra.put_chunk(chunk::TSC_FREQUENCY, &input.tsc_mhz.to_le_bytes());
    extra.length as u64
}

/// A length as chunks hold it; all of theirs are small.
fn length_field(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Extra<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.page.bytes[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn put_header(&mut self, id: u64, payload: usize) {
        self.put([id, payload as u64 + 16].as_bytes());
    }

    fn put_chunk(&mut self, id: u64, payload: &[u8]) {
        self.put_header(id, payload.len());
        self.put(payload);
    }

    fn put_machine(&mut self, input: &BootInput<'_>, findings: Findings) {
        let line = &input.command_line[..input.command_line.len().min(MAX_COMMAND_LINE)];
        let padding = line.len().next_multiple_of(8) - line.len();
        let payload = size_of::<MachineChunk>() + line.len() + padding;
        self.put_header(chunk::D3OS_MACHINE, payload);
        self.put([input.cores_present, length_field(line.len())].as_bytes());
        self.put([input.boot_tsc, findings.ram, findings.kernel].as_bytes());
        let BootInput { apic_id, pool, private, .. } = input;
        self.put([*apic_id, SIGNAL_LINES.into()].as_bytes());
        self.put([FIRST_SIGNAL_VECTOR.into(), pool.start, pool.end - pool.start].as_bytes());
        let bytes = private.end - private.start;
        self.put([private.start, bytes, findings.core_control].as_bytes());
        self.put(line);
        self.length += padding;
    }

    /// Multiboot entries: bytes that follow (20), base, length, type (1: RAM, 2: reserved).
    fn put_memory_map(&mut self, input: &BootInput<'_>) {
        let usable = input.usable.iter().map(|range| (range, 1u32));
        let entries = usable.chain(input.unusable.iter().map(|range| (range, 2)));
        let bytes = entries.clone().take(MAX_MAP_ENTRIES).count() * MAP_ENTRY_BYTES;
        self.put_header(chunk::MEMORY_MAP, 4 + bytes);
        self.put(&length_field(bytes).to_le_bytes());
        for (range, kind) in entries.take(MAX_MAP_ENTRIES) {
            self.put(&20u32.to_le_bytes());
            self.put([range.start, range.end - range.start].as_bytes());
            self.put(&kind.to_le_bytes());
        }
    }
}

/// What its chunks take at most: five headers, and what can be long.
const MAX_EXTRA_BYTES: usize = 5 * 16
    + size_of::<MachineChunk>()
    + MAX_COMMAND_LINE
    + MAX_RSDP
    + size_of::<Framebuffer>()
    + MAX_MAP_ENTRIES * MAP_ENTRY_BYTES
    + 8;
const _: () = assert!(MAX_EXTRA_BYTES <= PAGE_BYTES);
