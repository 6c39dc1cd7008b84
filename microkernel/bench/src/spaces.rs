//! Address spaces as full as they get, and many of them.

use kernel_workbench::{ASID_CONTROL, Workbench, nth, slot_of};
use libd3os::abi::{CapRights, ObjectType, VmAttributes, size_bits};
use libd3os::cap::{AsidPool, Capability, Error, Frame, PageDirectory, PageTable, Pdpt, VSpace};

/// Where tables are put first: each in the first entry of the one above.
pub(crate) const BASE: u64 = 0;
/// Nothing special about the memory.
pub(crate) const CACHED: VmAttributes = VmAttributes::WriteBack;

/// Entries of a table.
const ENTRIES: u64 = 512;
/// Tables below a root: its user half, but for the last entry.
const USER_ENTRIES: u64 = 255;
/// Identifiers in a pool.
const POOL_ENTRIES: u64 = 512;

/// log2 of the bytes that an entry of each level covers.
const PAGE: u8 = 12;
const TABLE: u8 = 21;
const DIRECTORY: u8 = 30;
const PDPT: u8 = 39;

/// A page table at [`BASE`] in which every page is mapped, and the tables above it.
pub(crate) fn full_page_table(bench: &mut Workbench, space: VSpace) -> Result<PageTable, Error> {
    pdpts(bench, space, 1)?;
    directories(bench, space, 1)?;
    let table = tables(bench, space, 1)?;
    let frames = bench.make_many(ObjectType::SmallPage, 0, ENTRIES)?;
    for n in 0..ENTRIES {
        let frame = Frame::new(nth(frames, n));
        frame.map(space, BASE + (n << PAGE), CapRights::READ_WRITE, CACHED)?;
    }
    Ok(table)
}

/// Tables at every place of the root, of one table below it, and of one below that.
pub(crate) fn fill_with_tables(bench: &mut Workbench, space: VSpace) -> Result<(), Error> {
    pdpts(bench, space, USER_ENTRIES)?;
    directories(bench, space, ENTRIES)?;
    tables(bench, space, ENTRIES).map(|_| ())
}

fn pdpts(bench: &mut Workbench, space: VSpace, count: u64) -> Result<(), Error> {
    let first = bench.make_many(ObjectType::Pdpt, 0, count)?;
    (0..count).try_for_each(|n| Pdpt::new(nth(first, n)).map(space, BASE + (n << PDPT), CACHED))
}

fn directories(bench: &mut Workbench, space: VSpace, count: u64) -> Result<(), Error> {
    let first = bench.make_many(ObjectType::PageDirectory, 0, count)?;
    (0..count).try_for_each(|n| {
        PageDirectory::new(nth(first, n)).map(space, BASE + (n << DIRECTORY), CACHED)
    })
}

/// The first of the page tables.
fn tables(bench: &mut Workbench, space: VSpace, count: u64) -> Result<PageTable, Error> {
    let first = bench.make_many(ObjectType::PageTable, 0, count)?;
    (0..count)
        .try_for_each(|n| PageTable::new(nth(first, n)).map(space, BASE + (n << TABLE), CACHED))?;
    Ok(PageTable::new(first))
}

/// A pool of identifiers that all have an address space.
pub(crate) fn full_asid_pool(bench: &mut Workbench) -> Result<AsidPool, Error> {
    let memory = bench.untyped(size_bits::ASID_POOL)?;
    let pool = AsidPool::new(bench.empty_slot());
    ASID_CONTROL.make_pool(memory, slot_of(pool.cptr()))?;
    let spaces = bench.make_many(ObjectType::Pml4, 0, POOL_ENTRIES)?;
    (0..POOL_ENTRIES).try_for_each(|n| pool.assign(VSpace::new(nth(spaces, n))))?;
    Ok(pool)
}
