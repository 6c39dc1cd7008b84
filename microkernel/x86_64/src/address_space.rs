//! The kernel's own half of every address space: its image with a guard page below the stack, all
//! RAM, and the interrupt controllers' registers. Before it stands, the bootstrap tables show the
//! first 4 GiB of physical memory.

use crate::bytes::PhysicalMemory;
use crate::instructions::write_cr3;
use crate::layout;
use crate::window::{Table, Window, index};
use core::cell::UnsafeCell;
use core::ops::Range;
use kernel_core::{PhysAddr, RegionList};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const UNCACHED: u64 = 1 << 3 | 1 << 4;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
const TABLE: u64 = PRESENT | WRITABLE;

const PAGE: u64 = 4096;
const LARGE_PAGE: u64 = 1 << 21;
const HUGE_PAGE: u64 = 1 << 30;
/// What the bootstrap tables show of physical memory.
const BOOTSTRAP_END: u64 = 4 * HUGE_PAGE;
/// RAM that the kernel can see: 2 TiB.
const PHYSMAP_TABLES: usize = 4;
/// Entries of a page-table root that the kernel's half has: of RAM, and of the image and devices.
pub(crate) const KERNEL_ENTRIES: [usize; PHYSMAP_TABLES + 1] = [256, 257, 258, 259, 511];
/// Tables of 4 KiB pages for the image: 8 MiB, as the linker script says, too.
const IMAGE_TABLES: usize = 4;
/// Tables of what user space shows: the root, and for the code as for the core's window one at each
/// level below, of the last another where they reach into it.
pub(crate) const SHOWN_TABLES: usize = 7;

/// The tables, as one page-aligned static.
#[repr(C, align(4096))]
struct Tables {
    root: Table,
    top: Table,
    image_directory: Table,
    images: [Table; IMAGE_TABLES],
    device_directory: Table,
    devices: Table,
    physmap: [Table; PHYSMAP_TABLES],
}

/// A static that the boot core alone touches, through [`build`] and [`map_stack`].
struct BootOnly<T>(UnsafeCell<T>);

// SAFETY: only `build` and `map_stack` reach the contents, and their caller is the boot core.
unsafe impl<T> Sync for BootOnly<T> {}

// SAFETY: zeroes are a table without entries.
static TABLES: BootOnly<Tables> = BootOnly(UnsafeCell::new(unsafe { core::mem::zeroed() }));

/// Physical memory below 4 GiB, as the bootstrap tables show it.
pub(crate) struct BootstrapMemory;

impl PhysicalMemory for BootstrapMemory {
    fn bytes(&self, address: u64, length: u64) -> Option<&[u8]> {
        let end = address.checked_add(length).filter(|end| *end <= BOOTSTRAP_END)?;
        let length = usize::try_from(end - address).ok()?;
        if length == 0 {
            return Some(&[]);
        }
        let start = layout::physmap(address) as *const u8;
        // SAFETY: the bootstrap tables map all of the first 4 GiB; nothing writes what boot loader
        // and firmware left there while the kernel boots.
        Some(unsafe { core::slice::from_raw_parts(start, length) })
    }
}

/// What does not fit the kernel's half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MappingError {
    /// No page of RAM below 4 GiB is left for the directories.
    #[error(
        "a processor without 1 GiB pages needs free memory below 4 GiB for page tables; found none"
    )]
    NoMemory,
}

/// Flags of the kernel's pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags {
    code: u64,
    constants: u64,
    data: u64,
}

impl Flags {
    /// For a processor that can forbid execution, or not; for address spaces that all show the kernel,
    /// or not: if so, its pages outlast a change in the processor's buffers.
    pub(crate) fn new(no_execute: bool, shown: bool) -> Self {
        let code = if shown { PRESENT | GLOBAL } else { PRESENT };
        let constants = if no_execute { code | NO_EXECUTE } else { code };
        Self { code, constants, data: constants | WRITABLE }
    }
}

/// What the kernel's half is to show.
pub(crate) struct Plan<'a> {
    /// RAM.
    pub(crate) memory: &'a RegionList,
    /// The part of it that holds nothing, and is a place for directories.
    pub(crate) free: &'a RegionList,
    /// The processor has 1 GiB pages.
    pub(crate) huge_pages: bool,
    /// How pages are mapped.
    pub(crate) flags: Flags,
    /// Physical addresses of pages of registers, seen from [`layout::DEVICES`] on in this order.
    pub(crate) devices: &'a [u64],
}

/// The kernel's half as built.
pub(crate) struct AddressSpace {
    /// A root that holds nothing else.
    pub(crate) root: PhysAddr,
    /// Pages of RAM that became directories (of no size with 1 GiB pages).
    pub(crate) directories: Range<u64>,
    /// How pages are mapped.
    pub(crate) flags: Flags,
}

/// Builds the kernel's half, and lets this core see it.
///
/// # Safety
/// Called once, by the boot core alone, on the bootstrap tables; nobody uses `plan.free`.
pub(crate) unsafe fn build(plan: &Plan<'_>) -> Result<AddressSpace, MappingError> {
    // SAFETY: the caller promises that this is the only reference.
    let tables = unsafe { &mut *TABLES.0.get() };
    link_tables(tables);
    map_image(tables, plan.flags);
    for (entry, device) in tables.devices.iter_mut().zip(plan.devices) {
        *entry = device | UNCACHED | plan.flags.data;
    }
    let directories = map_ram(tables, plan)?;
    let root = PhysAddr(place(&tables.root));
    // SAFETY: the new root maps the image, its stack included, where they are.
    unsafe { write_cr3(root.0) };
    Ok(AddressSpace { root, directories, flags: plan.flags })
}

/// Builds a root in `tables`, which are zero, that shows what user space is to show of the kernel: the
/// entry code and a core's window. That is the same in every address space, so the pages are global.
pub(crate) fn show_window(
    tables: &mut [Table; SHOWN_TABLES],
    window: Range<u64>,
    flags: Flags,
) -> PhysAddr {
    let base = place(&tables[0]);
    let mut shown = Window::new(tables, base);
    for (range, flags) in [(layout::entry(), flags.code), (window, flags.data)] {
        for page in (range.start / PAGE..range.end / PAGE).map(|page| page * PAGE) {
            shown.show(page, layout::physical(page) | GLOBAL | flags);
        }
    }
    PhysAddr(base)
}

/// Maps the stack of a core other than the boot core where [`layout::stack_in_area`] says; `table` is
/// for the area's page table.
///
/// # Safety
/// Called by the boot core, for a core that does not run. Both are RAM that the kernel keeps.
pub(crate) unsafe fn map_stack(
    core: u32,
    table: &mut Table,
    stack: &[u8; layout::STACK_LENGTH],
    flags: Flags,
) {
    *table = [0; 512];
    let pages = stack.len() / index(PAGE);
    for (entry, page) in table[512 - pages..].iter_mut().zip(stack.chunks(index(PAGE))) {
        *entry = layout::physical(page.as_ptr().addr() as u64) | flags.data;
    }
    // SAFETY: after `build` only the boot core's calls of this function reach the tables, and
    // processors, which find either nothing or the new table.
    let tables = unsafe { &mut *TABLES.0.get() };
    tables.device_directory[index(core.into())] = entry_for(table);
}

/// Where a table is, physically.
fn place(table: &Table) -> u64 {
    layout::physical(table.as_ptr().addr() as u64)
}

fn entry_for(table: &Table) -> u64 {
    place(table) | TABLE
}

fn link_tables(tables: &mut Tables) {
    for (index, table) in KERNEL_ENTRIES.into_iter().zip(tables.physmap.iter().chain([&tables.top])) {
        tables.root[index] = entry_for(table);
    }
    tables.top[510] = entry_for(&tables.image_directory);
    tables.top[511] = entry_for(&tables.device_directory);
    tables.device_directory[0] = entry_for(&tables.devices);
    for (index, table) in tables.images.iter().enumerate() {
        tables.image_directory[index] = entry_for(table);
    }
}

fn map_image(tables: &mut Tables, Flags { code, constants, data }: Flags) {
    for (range, flags) in [
        (layout::text(), code),
        (layout::rodata(), constants),
        (layout::data(), data),
        (layout::stack(), data),
    ] {
        for page in (range.start / PAGE..range.end / PAGE).map(|page| page * PAGE) {
            let physical = page - layout::KERNEL_BASE;
            tables.images.as_flattened_mut()[index(physical / PAGE)] = physical | flags;
        }
    }
}

/// Every gibibyte that holds RAM, by a page of that size or a directory of smaller pages.
fn map_ram(tables: &mut Tables, plan: &Plan<'_>) -> Result<Range<u64>, MappingError> {
    let end = plan.memory.iter().last().map_or(0, |range| range.end).div_ceil(HUGE_PAGE);
    let gibibytes = end.min(PHYSMAP_TABLES as u64 * 512);
    let directories = find_pages(plan, if plan.huge_pages { 0 } else { gibibytes })?;
    for gibibyte in (0..gibibytes).filter(|gibibyte| plan.has_ram(gibibyte * HUGE_PAGE, HUGE_PAGE)) {
        let entry = if plan.huge_pages {
            (gibibyte * HUGE_PAGE) | LARGE | plan.flags.data
        } else {
            let physical = directories.start + gibibyte * PAGE;
            let directory = layout::physmap(physical) as *mut Table;
            // SAFETY: a page that was found free, below 4 GiB, which the bootstrap tables map; nobody
            // else refers to it.
            fill_directory(unsafe { &mut *directory }, gibibyte, plan);
            physical | TABLE
        };
        tables.physmap.as_flattened_mut()[index(gibibyte)] = entry;
    }
    Ok(directories)
}

fn fill_directory(directory: &mut Table, gibibyte: u64, plan: &Plan<'_>) {
    for (index, entry) in (0u64..).zip(directory.iter_mut()) {
        let start = gibibyte * HUGE_PAGE + index * LARGE_PAGE;
        let has_ram = plan.has_ram(start, LARGE_PAGE);
        *entry = if has_ram { start | LARGE | plan.flags.data } else { 0 };
    }
}

impl Plan<'_> {
    fn has_ram(&self, start: u64, bytes: u64) -> bool {
        self.memory.iter().any(|ram| ram.start < start + bytes && start < ram.end)
    }
}

/// The highest free run of `count` pages below 4 GiB.
fn find_pages(plan: &Plan<'_>, count: u64) -> Result<Range<u64>, MappingError> {
    let mut low = plan.free.clone();
    low.remove(BOOTSTRAP_END..u64::MAX);
    let fits = |range: &Range<u64>| range.end - range.start >= count * PAGE;
    let range = low.iter().filter(fits).last().ok_or(MappingError::NoMemory)?;
    Ok(range.end - count * PAGE..range.end)
}
