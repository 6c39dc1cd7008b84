//! The kernel's own half of every address space: its image with a guard page below the stack, all
//! RAM, and the interrupt controllers' registers. Before it stands, the bootstrap tables show the
//! first 4 GiB of physical memory.

use crate::bytes::PhysicalMemory;
use crate::layout;
use crate::memory_map::MemoryMap;
use crate::window::{Table, Window, WindowFull};
use core::cell::UnsafeCell;
use core::ops::Range;
use kernel_core::PhysAddr;

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
/// Gibibytes that one table of the third level maps.
const HUGE_PAGES_PER_TABLE: usize = 512;
/// RAM that the kernel can see: 2 TiB.
const PHYSMAP_TABLES: usize = 4;
/// Tables of 4 KiB pages for the image: 8 MiB with its symbols.
const IMAGE_TABLES: usize = 4;
/// Tables of what user space shows: one at each level, and page tables for the code and for the core's
/// window, which may reach into a second.
const WINDOW_TABLES: usize = 6;

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
    /// Directories of the first 4 GiB, for processors without 1 GiB pages.
    low_directories: [Table; 4],
    window: [Table; WINDOW_TABLES],
}

/// A static that the boot core alone touches, once, through [`build`].
struct BootOnly<T>(UnsafeCell<T>);

// SAFETY: only `build` reaches the contents, and its caller promises to be alone.
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
    /// Bytes of the image, with its symbols.
    #[error("the kernel's image is to fit 8 MiB; it has {0} bytes")]
    ImageTooLarge(u64),
    /// No page of RAM below 4 GiB is left for the directories.
    #[error(
        "a processor without 1 GiB pages needs free memory below 4 GiB for page tables; found none"
    )]
    NoMemory,
    /// What user space shows lies too far apart.
    #[error("the kernel's entries and a core's window are to fit three page tables")]
    Window(#[from] WindowFull),
}

/// What the kernel's half is to show.
pub(crate) struct Plan<'a> {
    /// RAM.
    pub(crate) memory: &'a MemoryMap,
    /// The processor has 1 GiB pages.
    pub(crate) huge_pages: bool,
    /// The processor can forbid execution.
    pub(crate) no_execute: bool,
    /// One past the image's last virtual address, symbols included.
    pub(crate) image_end: u64,
    /// Physical addresses of pages of registers, seen from [`layout::DEVICES`] on in this order.
    pub(crate) devices: &'a [u64],
    /// Physical memory that holds something and is no place for directories.
    pub(crate) taken: &'a [Range<u64>],
    /// The core's window, which is all that user space shows beside the entry code; none: it shows
    /// all of the kernel's half.
    pub(crate) window: Option<Range<u64>>,
}

/// The kernel's half as built.
pub(crate) struct AddressSpace {
    /// A root that holds nothing else.
    pub(crate) root: PhysAddr,
    /// A root with what user space shows of it.
    pub(crate) shown: PhysAddr,
    /// Pages of RAM that became directories (of no size with 1 GiB pages).
    pub(crate) directories: Range<u64>,
}

/// Builds the kernel's half.
///
/// # Safety
/// Called once, by the boot core alone, on the bootstrap tables; `plan.memory` is RAM that nobody
/// uses but for what lies in `plan.taken` and the image.
pub(crate) unsafe fn build(plan: &Plan<'_>) -> Result<AddressSpace, MappingError> {
    // SAFETY: the caller promises that this is the only reference.
    let tables = unsafe { &mut *TABLES.0.get() };
    link_tables(tables);
    map_image(tables, plan)?;
    for (entry, device) in tables.devices.iter_mut().zip(plan.devices) {
        *entry = device | UNCACHED | plan.data();
    }
    let directories =
        if plan.huge_pages { map_ram_huge(tables, plan) } else { map_ram_large(tables, plan)? };
    let root = PhysAddr(layout::image_physical(&raw const tables.root));
    let shown = match &plan.window {
        Some(range) => show_window(tables, plan, range)?,
        None => root,
    };
    Ok(AddressSpace { root, shown, directories })
}

/// What user space shows is the same in every address space, so these pages are global.
fn show_window(
    tables: &mut Tables,
    plan: &Plan<'_>,
    range: &Range<u64>,
) -> Result<PhysAddr, MappingError> {
    let base = layout::image_physical(&raw const tables.window);
    let mut window = Window::new(&mut tables.window, base);
    let data = WRITABLE | plan.never_executed();
    for (range, flags) in [(layout::entry(), 0), (range.clone(), data)] {
        for page in (range.start / PAGE..range.end / PAGE).map(|page| page * PAGE) {
            let entry = (page - layout::KERNEL_BASE) | PRESENT | GLOBAL | flags;
            window.show(page, entry)?;
        }
    }
    Ok(PhysAddr(base))
}

impl Plan<'_> {
    fn never_executed(&self) -> u64 {
        if self.no_execute { NO_EXECUTE } else { 0 }
    }

    /// Flags of the kernel's own pages: in the processor's buffers they outlast a change of the address
    /// space, where that shows them, too.
    fn own(&self) -> u64 {
        if self.window.is_none() { PRESENT | GLOBAL } else { PRESENT }
    }

    /// Flags of data.
    fn data(&self) -> u64 {
        self.own() | WRITABLE | self.never_executed()
    }

    fn ram_end(&self) -> u64 {
        self.memory.end().min((PHYSMAP_TABLES * HUGE_PAGES_PER_TABLE) as u64 * HUGE_PAGE)
    }
}

fn entry_for(table: &Table) -> u64 {
    layout::image_physical(&raw const *table) | TABLE
}

fn link_tables(tables: &mut Tables) {
    const FIRST_PHYSMAP: usize = 256;
    for (index, table) in tables.physmap.iter().enumerate() {
        tables.root[FIRST_PHYSMAP + index] = entry_for(table);
    }
    tables.root[511] = entry_for(&tables.top);
    tables.top[510] = entry_for(&tables.image_directory);
    tables.top[511] = entry_for(&tables.device_directory);
    tables.device_directory[0] = entry_for(&tables.devices);
    for (index, table) in tables.images.iter().enumerate() {
        tables.image_directory[index] = entry_for(table);
    }
}

fn map_image(tables: &mut Tables, plan: &Plan<'_>) -> Result<(), MappingError> {
    let size = plan.image_end - layout::KERNEL_BASE;
    if size > IMAGE_TABLES as u64 * LARGE_PAGE {
        return Err(MappingError::ImageTooLarge(size));
    }
    let constants = plan.own() | plan.never_executed();
    for (range, flags) in [
        (layout::text(), plan.own()),
        (layout::rodata(), constants),
        (layout::data(), plan.data()),
        (layout::stack(), plan.data()),
        (layout::data_after_stack(), plan.data()),
        (layout::symbols()..plan.image_end, constants),
    ] {
        for page in (range.start / PAGE..range.end / PAGE).map(|page| page * PAGE) {
            let physical = page - layout::KERNEL_BASE;
            let (table, entry) = (physical / LARGE_PAGE, physical / PAGE % 512);
            tables.images[index(table)][index(entry)] = physical | flags;
        }
    }
    Ok(())
}

/// Every gibibyte that holds RAM, by one page each.
fn map_ram_huge(tables: &mut Tables, plan: &Plan<'_>) -> Range<u64> {
    let flags = LARGE | plan.data();
    for range in plan.memory.usable.iter() {
        let last = range.end.min(plan.ram_end()).div_ceil(HUGE_PAGE);
        for gibibyte in range.start / HUGE_PAGE..last {
            *physmap_entry(tables, gibibyte) = (gibibyte * HUGE_PAGE) | flags;
        }
    }
    0..0
}

fn physmap_entry(tables: &mut Tables, gibibyte: u64) -> &mut u64 {
    &mut tables.physmap[index(gibibyte / 512)][index(gibibyte % 512)]
}

#[expect(clippy::cast_possible_truncation, reason = "the kernel's target has 64-bit indices")]
const fn index(number: u64) -> usize {
    number as usize
}

/// Every 2 MiB that hold RAM; directories above 4 GiB are taken from RAM below.
fn map_ram_large(tables: &mut Tables, plan: &Plan<'_>) -> Result<Range<u64>, MappingError> {
    let gibibytes = plan.ram_end().div_ceil(HUGE_PAGE);
    let extra = gibibytes.saturating_sub(tables.low_directories.len() as u64);
    let directories = find_pages(plan, extra)?;
    for gibibyte in 0..gibibytes {
        let physical = match tables.low_directories.get(index(gibibyte)) {
            Some(directory) => layout::image_physical(&raw const *directory),
            None => directories.start + (gibibyte - tables.low_directories.len() as u64) * PAGE,
        };
        *physmap_entry(tables, gibibyte) = physical | TABLE;
        let directory = layout::physmap(physical) as *mut Table;
        // SAFETY: a page of the static tables or one found free, below 4 GiB, which the bootstrap
        // tables map; nobody else refers to it.
        fill_directory(unsafe { &mut *directory }, gibibyte, plan);
    }
    Ok(directories)
}

fn fill_directory(directory: &mut Table, gibibyte: u64, plan: &Plan<'_>) {
    let flags = LARGE | plan.data();
    for (index, entry) in (0u64..).zip(directory.iter_mut()) {
        let start = gibibyte * HUGE_PAGE + index * LARGE_PAGE;
        let touches = |ram: Range<u64>| ram.start < start + LARGE_PAGE && start < ram.end;
        let holds_ram = plan.memory.usable.iter().any(touches);
        *entry = if holds_ram { start | flags } else { 0 };
    }
}

/// The highest free run of `count` pages below 4 GiB.
fn find_pages(plan: &Plan<'_>, count: u64) -> Result<Range<u64>, MappingError> {
    if count == 0 {
        return Ok(0..0);
    }
    let mut free = plan.memory.usable.clone();
    for taken in plan.taken {
        free.remove(taken.clone());
    }
    free.remove(BOOTSTRAP_END..u64::MAX);
    let fits = |range: &Range<u64>| range.end - range.start >= count * PAGE;
    let range = free.iter().filter(fits).last().ok_or(MappingError::NoMemory)?;
    Ok(range.end - count * PAGE..range.end)
}
