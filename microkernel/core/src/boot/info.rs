//! BootInfo and its extra chunks, as bytes in the root task's frames.

use super::image::PAGE_BYTES;
use super::{BootInput, MAX_COMMAND_LINE};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::memory::Ref;
use core::mem::offset_of;
use d3os_abi::{BootInfo, SlotRegion, UntypedDescriptor, chunk};
use heapless::Vec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Pages that extra BootInfo takes at most.
pub(super) const MAX_EXTRA_PAGES: usize = 2;
/// Entries of the memory map that are told, as many as seL4's structure holds.
const MAX_MAP_ENTRIES: usize = 50;

/// A page of the root task, as bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(4096))]
pub(super) struct Page {
    pub(super) bytes: [u8; PAGE_BYTES],
}

/// What BootInfo tells about the root task's capability space.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    pub(super) extra_bytes: u64,
    pub(super) ipc_buffer: u64,
    pub(super) sched_control: SlotRegion,
    pub(super) paging: SlotRegion,
    pub(super) extra_pages: SlotRegion,
    pub(super) image_frames: SlotRegion,
    pub(super) untyped: SlotRegion,
    pub(super) empty: SlotRegion,
    pub(super) cnode_bits: u8,
}

/// Amounts of memory for [`chunk::D3OS_MACHINE`].
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryAmounts {
    pub(super) ram: u64,
    pub(super) kernel: u64,
}

impl<M: Machine> Kernel<M> {
    fn put_word(&mut self, page: Ref<Page>, offset: usize, value: u64) {
        self.get_mut(page).bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn put_region(&mut self, page: Ref<Page>, offset: usize, region: SlotRegion) {
        self.put_word(page, offset, region.start);
        self.put_word(page, offset + 8, region.end);
    }

    /// Writes all of BootInfo but the list of untypeds.
    pub(super) fn write_boot_info(
        &mut self,
        page: Ref<Page>,
        input: &BootInput<'_>,
        layout: &Layout,
    ) {
        self.put_word(page, offset_of!(BootInfo, extra_len), layout.extra_bytes);
        self.put_word(page, offset_of!(BootInfo, node_id), input.node_id);
        self.put_word(page, offset_of!(BootInfo, num_nodes), input.num_nodes);
        self.put_word(page, offset_of!(BootInfo, num_io_pt_levels), u64::MAX);
        self.put_word(page, offset_of!(BootInfo, ipc_buffer), layout.ipc_buffer);
        self.put_region(page, offset_of!(BootInfo, empty), layout.empty);
        self.put_region(page, offset_of!(BootInfo, user_image_frames), layout.image_frames);
        self.put_region(page, offset_of!(BootInfo, user_image_paging), layout.paging);
        self.put_region(page, offset_of!(BootInfo, extra_bi_pages), layout.extra_pages);
        let cnode_bits = layout.cnode_bits.into();
        self.put_word(page, offset_of!(BootInfo, init_cnode_size_bits), cnode_bits);
        self.put_region(page, offset_of!(BootInfo, sched_control), layout.sched_control);
        self.put_region(page, offset_of!(BootInfo, untyped), layout.untyped);
    }

    /// Writes entry `index` of the list of untypeds.
    pub(super) fn write_untyped(
        &mut self,
        page: Ref<Page>,
        index: usize,
        descriptor: UntypedDescriptor,
    ) {
        let entry = offset_of!(BootInfo, untyped_list) + index * size_of::<UntypedDescriptor>();
        let packed = u64::from(descriptor.size_bits) | u64::from(descriptor.is_device) << 8;
        self.put_word(page, entry, descriptor.paddr);
        self.put_word(page, entry + 8, packed);
    }

    /// Writes extra BootInfo.
    pub(super) fn write_extra(
        &mut self,
        pages: &Vec<Ref<Page>, MAX_EXTRA_PAGES>,
        input: &BootInput<'_>,
        amounts: MemoryAmounts,
    ) {
        let mut offset = 0;
        for_each_extra(input, amounts, |bytes| {
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
    for_each_extra(input, MemoryAmounts { ram: 0, kernel: 0 }, |bytes| {
        length += bytes.len() as u64;
    });
    length
}

/// Tells `put` the bytes of extra BootInfo in order. D3OS's own chunk comes first, padded, so that
/// its words are aligned; the others have the lengths that readers of seL4's know.
fn for_each_extra(input: &BootInput<'_>, amounts: MemoryAmounts, mut put: impl FnMut(&[u8])) {
    machine_chunk(input, amounts, &mut put);
    if let Some(rsdp) = input.rsdp {
        put_header(chunk::ACPI_RSDP, rsdp.len(), &mut put);
        put(rsdp);
    }
    framebuffer_chunk(input, &mut put);
    memory_map_chunk(input, &mut put);
    put_header(chunk::TSC_FREQUENCY, 4, &mut put);
    put(&input.tsc_mhz.to_le_bytes());
}

fn put_header(id: u64, payload: usize, put: &mut impl FnMut(&[u8])) {
    put(&id.to_le_bytes());
    put(&(payload as u64 + 16).to_le_bytes());
}

/// A length as chunks hold it; all of theirs are small.
fn length_field(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

fn machine_chunk(input: &BootInput<'_>, amounts: MemoryAmounts, put: &mut impl FnMut(&[u8])) {
    let line = &input.command_line[..input.command_line.len().min(MAX_COMMAND_LINE)];
    let padding = line.len().next_multiple_of(8) - line.len();
    put_header(chunk::D3OS_MACHINE, 32 + line.len() + padding, put);
    put(&input.cores_present.to_le_bytes());
    put(&length_field(line.len()));
    put(&input.boot_tsc.to_le_bytes());
    put(&amounts.ram.to_le_bytes());
    put(&amounts.kernel.to_le_bytes());
    put(line);
    put(&[0; 8][..padding]);
}

/// Address, pitch, width, height, bits a pixel, kind: the body of multiboot2's tag.
fn framebuffer_chunk(input: &BootInput<'_>, put: &mut impl FnMut(&[u8])) {
    let Some(screen) = input.framebuffer else { return };
    put_header(chunk::FRAMEBUFFER, 22, put);
    put(&screen.address.to_le_bytes());
    put(&screen.pitch.to_le_bytes());
    put(&screen.width.to_le_bytes());
    put(&screen.height.to_le_bytes());
    put(&[screen.bits_per_pixel, screen.kind]);
}

/// Multiboot entries: bytes that follow (20), base, length, type (1: RAM, 2: reserved).
fn memory_map_chunk(input: &BootInput<'_>, put: &mut impl FnMut(&[u8])) {
    let entries = &input.memory[..input.memory.len().min(MAX_MAP_ENTRIES)];
    let bytes = entries.len() * 24;
    put_header(chunk::MEMORY_MAP, 4 + bytes, put);
    put(&length_field(bytes));
    for range in entries {
        put(&20u32.to_le_bytes());
        put(&range.start.to_le_bytes());
        put(&range.end.saturating_sub(range.start).to_le_bytes());
        put(&(if range.usable { 1u32 } else { 2 }).to_le_bytes());
    }
}
