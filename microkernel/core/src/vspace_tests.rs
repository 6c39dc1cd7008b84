//! Mappings compared with an obvious model, and what the translation cache may still hold.

use crate::cap::{Asid, Cap, TableLevel};
use crate::error::{LookupFailure, SyscallError};
use crate::memory::{PhysAddr, Ref};
use crate::objects::{PageTable, check_ipc_buffer};
use crate::slot::Slot;
use crate::test_bench::Bench;
use d3os_abi::{CapRights, FrameSize, Label, USER_TOP};
use proptest::prelude::*;
use std::collections::BTreeMap;

const LEVELS: [TableLevel; 3] =
    [TableLevel::Pdpt, TableLevel::PageDirectory, TableLevel::PageTable];
const SIZES: [FrameSize; 3] = [FrameSize::Small, FrameSize::Large, FrameSize::Huge];
const SPACES: usize = 2;

/// What a translation gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    base: u64,
    size: FrameSize,
    user: bool,
    write: bool,
    attributes: u64,
}

/// Translates as the processor does, from nothing but the tables in memory.
fn translate(bench: &Bench, root: Ref<PageTable>, vaddr: u64) -> Option<Page> {
    let mut table = root;
    for (shift, size) in
        [(39, None), (30, Some(FrameSize::Huge)), (21, Some(FrameSize::Large)), (12, None)]
    {
        let entry = bench.kernel.get(table).entries[(vaddr >> shift & 511) as usize];
        if entry & 1 == 0 {
            return None;
        }
        let leaf =
            if shift == 12 { Some(FrameSize::Small) } else { size.filter(|_| entry & 0x80 != 0) };
        if let Some(size) = leaf {
            let pat = if shift == 12 { entry >> 7 & 1 } else { entry >> 12 & 1 };
            return Some(Page {
                base: entry & 0x000f_ffff_ffff_f000 & !(size.bytes() - 1),
                size,
                user: entry & 4 != 0,
                write: entry & 2 != 0,
                attributes: entry >> 3 & 3 | pat << 2,
            });
        }
        table = Ref::at(PhysAddr(entry & 0x000f_ffff_ffff_f000));
    }
    None
}

#[derive(Clone, Copy, Debug)]
enum Op {
    MapFrame { cap: usize, space: usize, vaddr: u64, rights: u64, attributes: u64 },
    UnmapFrame(usize),
    DeleteFrame(usize),
    MapTable { cap: usize, space: usize, vaddr: u64 },
    UnmapTable(usize),
    DeleteTable(usize),
    DeleteSpace(usize),
    DeletePool,
}

/// Where a capability says that it is mapped: space and address.
type Record = Option<(usize, u64)>;

struct FrameCap {
    slot: Ref<Slot>,
    base: u64,
    size: FrameSize,
    write: bool,
    record: Record,
    deleted: bool,
}

struct TableCap {
    slot: Ref<Slot>,
    level: TableLevel,
    record: Record,
    deleted: bool,
}

/// A list of pages and a list of tables, searched from the start every time.
#[derive(Default)]
struct Model {
    tables: BTreeMap<(usize, u8, u64), usize>,
    pages: BTreeMap<(usize, u64), Page>,
    dead: [bool; SPACES],
    pool_deleted: bool,
}

impl Model {
    fn lookup(&self, space: usize, vaddr: u64) -> Option<Page> {
        self.pages
            .iter()
            .find(|((s, start), page)| {
                *s == space && (*start..start + page.size.bytes()).contains(&vaddr)
            })
            .map(|(_, page)| *page)
    }

    fn table_at(&self, space: usize, bits: u8, vaddr: u64) -> Option<usize> {
        self.tables.get(&(space, bits, vaddr >> bits << bits)).copied()
    }

    /// What stands at the place of something that covers 2^`bits`.
    fn check_place(&self, space: usize, bits: u8, vaddr: u64) -> Result<(), SyscallError> {
        for above in [39, 30, 21].into_iter().filter(|above| *above > bits) {
            if self.table_at(space, above, vaddr).is_none() {
                return Err(SyscallError::FailedLookup {
                    source: false,
                    failure: LookupFailure::MissingCapability { bits_left: above },
                });
            }
        }
        let page = self.pages.get(&(space, vaddr)).filter(|page| page.size.bits() == bits);
        if page.is_some() || (bits > 12 && self.table_at(space, bits, vaddr).is_some()) {
            return Err(SyscallError::DeleteFirst);
        }
        Ok(())
    }

    fn check_space(&self, space: usize) -> Result<(), SyscallError> {
        if self.dead[space] {
            return Err(SyscallError::InvalidCapability(1));
        }
        if self.pool_deleted {
            let failure = LookupFailure::InvalidRoot;
            return Err(SyscallError::FailedLookup { source: false, failure });
        }
        Ok(())
    }

    fn reaches(&self, space: usize) -> bool {
        !self.pool_deleted && !self.dead[space]
    }

    /// Takes a table away, with all that it reached.
    fn remove_table(&mut self, id: usize, bits: u8, (space, base): (usize, u64)) {
        if !self.reaches(space) || self.table_at(space, bits, base) != Some(id) {
            return;
        }
        let covered = |s: usize, vaddr: u64| s == space && vaddr >> bits == base >> bits;
        self.tables.retain(|&(s, level, vaddr), _| level > bits || !covered(s, vaddr));
        self.pages.retain(|&(s, vaddr), page| page.size.bits() >= bits || !covered(s, vaddr));
    }

    fn remove_page(&mut self, base: u64, size: FrameSize, (space, vaddr): (usize, u64)) {
        let here = self.pages.get(&(space, vaddr));
        if self.reaches(space) && here.is_some_and(|page| (page.base, page.size) == (base, size)) {
            self.pages.remove(&(space, vaddr));
        }
    }
}

struct World {
    bench: Bench,
    model: Model,
    pool: Ref<Slot>,
    spaces: Vec<(Ref<PageTable>, Ref<Slot>)>,
    frames: Vec<FrameCap>,
    tables: Vec<TableCap>,
    /// What the processor may have cached.
    cache: BTreeMap<(usize, u64), Page>,
}

impl World {
    fn new() -> Self {
        let mut bench = Bench::new();
        let pool = bench.asid_pool();
        let spaces = (0..SPACES).map(|_| bench.address_space()).collect();
        let mut frames = Vec::new();
        for (index, size) in SIZES.into_iter().chain(SIZES).enumerate() {
            let (base, write) = ((index as u64 + 1) << 30, index != 1);
            let (rights, device) =
                (if write { CapRights::READ_WRITE } else { CapRights::READ }, false);
            let cap = Cap::Frame { base: PhysAddr(base), size, rights, device, mapping: None };
            let original = bench.root_cap(cap);
            for slot in [original, bench.copy(original)] {
                frames.push(FrameCap { slot, base, size, write, record: None, deleted: false });
            }
        }
        let mut tables = Vec::new();
        for level in LEVELS.into_iter().chain(LEVELS).chain(LEVELS) {
            let object = Ref::at(bench.page());
            let slot = bench.root_cap(Cap::Table { object, level, mapping: None });
            tables.push(TableCap { slot, level, record: None, deleted: false });
        }
        let (model, cache) = (Model::default(), BTreeMap::new());
        Self { bench, model, pool, spaces, frames, tables, cache }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::MapFrame { cap, space, vaddr, rights, attributes } => {
                self.map_frame(cap, space, vaddr, rights, attributes);
            }
            Op::UnmapFrame(cap) if !self.frames[cap].deleted => {
                let slot = self.frames[cap].slot;
                assert_eq!(self.bench.invoke(slot, Label::PageUnmap, &[], &[]), Ok(0));
                self.forget_frame(cap);
            }
            Op::DeleteFrame(cap) if !self.frames[cap].deleted => {
                self.bench.kernel.delete(self.frames[cap].slot).expect("not preempted");
                self.forget_frame(cap);
                self.frames[cap].deleted = true;
            }
            Op::MapTable { cap, space, vaddr } => self.map_table(cap, space, vaddr),
            Op::UnmapTable(cap) if !self.tables[cap].deleted => {
                let TableCap { slot, level, .. } = self.tables[cap];
                assert_eq!(self.bench.invoke(slot, unmap_label(level), &[], &[]), Ok(0));
                self.forget_table(cap);
            }
            Op::DeleteTable(cap) if !self.tables[cap].deleted => {
                self.bench.kernel.delete(self.tables[cap].slot).expect("not preempted");
                self.forget_table(cap);
                self.tables[cap].deleted = true;
            }
            Op::DeleteSpace(space) if !self.model.dead[space] => {
                self.bench.kernel.delete(self.spaces[space].1).expect("not preempted");
                self.model.dead[space] = true;
            }
            Op::DeletePool if !self.model.pool_deleted => {
                self.bench.kernel.delete(self.pool).expect("not preempted");
                self.model.pool_deleted = true;
            }
            _ => {}
        }
    }

    fn map_frame(&mut self, cap: usize, space: usize, vaddr: u64, rights: u64, attributes: u64) {
        let FrameCap { slot, base, size, write, record, deleted } = self.frames[cap];
        if deleted {
            return;
        }
        let page =
            Page { base, size, user: rights & 2 != 0, write: write && rights & 1 != 0, attributes };
        let expected = self.expect_frame(page, record, space, vaddr);
        let words = [vaddr, rights, attributes];
        let got = self.bench.invoke(slot, Label::PageMap, &words, &[self.spaces[space].1]);
        assert_eq!(got, expected.map(|()| 0));
        if expected.is_ok() {
            self.model.pages.insert((space, vaddr), page);
            self.frames[cap].record = Some((space, vaddr));
        }
    }

    fn expect_frame(
        &self,
        page: Page,
        record: Record,
        space: usize,
        vaddr: u64,
    ) -> Result<(), SyscallError> {
        self.model.check_space(space)?;
        if record.is_some_and(|(s, _)| s != space) {
            return Err(SyscallError::InvalidCapability(1));
        }
        let end = u128::from(vaddr) + u128::from(page.size.bytes());
        if record.is_some_and(|(_, v)| v != vaddr) || end > u128::from(USER_TOP) {
            return Err(SyscallError::InvalidArgument(0));
        }
        if !vaddr.is_multiple_of(page.size.bytes()) {
            return Err(SyscallError::Alignment);
        }
        let here = self.model.pages.get(&(space, vaddr));
        let same = here.is_some_and(|here| (here.base, here.size) == (page.base, page.size));
        match self.model.check_place(space, page.size.bits(), vaddr) {
            Err(SyscallError::DeleteFirst) if same && record.is_some() => Ok(()),
            other => other,
        }
    }

    fn map_table(&mut self, cap: usize, space: usize, vaddr: u64) {
        let TableCap { slot, level, record, deleted } = self.tables[cap];
        if deleted {
            return;
        }
        let bits = level.coverage_bits();
        let base = vaddr >> bits << bits;
        let expected = if record.is_some() {
            Err(SyscallError::InvalidCapability(0))
        } else {
            self.model.check_space(space).and_then(|()| {
                if base >= USER_TOP {
                    return Err(SyscallError::InvalidArgument(0));
                }
                self.model.check_place(space, bits, base)
            })
        };
        let got = self.bench.invoke(slot, map_label(level), &[vaddr, 0], &[self.spaces[space].1]);
        assert_eq!(got, expected.map(|()| 0));
        if expected.is_ok() {
            self.model.tables.insert((space, bits, base), cap);
            self.tables[cap].record = Some((space, base));
        }
    }

    fn forget_frame(&mut self, cap: usize) {
        let FrameCap { base, size, ref mut record, .. } = self.frames[cap];
        if let Some(place) = record.take() {
            self.model.remove_page(base, size, place);
        }
    }

    fn forget_table(&mut self, cap: usize) {
        let TableCap { level, ref mut record, .. } = self.tables[cap];
        if let Some(place) = record.take() {
            self.model.remove_table(cap, level.coverage_bits(), place);
        }
    }

    /// Tables hold what the model holds, and nothing cached is stale.
    fn check(&mut self) {
        for (root, vaddr) in std::mem::take(&mut self.bench.kernel.machine.flushes) {
            let Some(space) = self.spaces.iter().position(|s| s.0.address() == root) else {
                continue;
            };
            self.cache.retain(|&(s, page), cached| {
                let inside = vaddr
                    .is_none_or(|vaddr| vaddr >> cached.size.bits() == page >> cached.size.bits());
                s != space || !inside
            });
        }
        for space in (0..SPACES).filter(|space| self.model.reaches(*space)) {
            for vaddr in probes() {
                let found = translate(&self.bench, self.spaces[space].0, vaddr);
                assert_eq!(found, self.model.lookup(space, vaddr), "space {space}, {vaddr:#x}");
                if let Some(cached) = self.cache.get(&(space, vaddr)) {
                    assert_eq!(Some(*cached), found, "stale at space {space}, {vaddr:#x}");
                }
                match found {
                    Some(page) => self.cache.insert((space, vaddr), page),
                    None => None,
                };
            }
        }
    }
}

fn map_label(level: TableLevel) -> Label {
    match level {
        TableLevel::Pdpt => Label::PdptMap,
        TableLevel::PageDirectory => Label::PageDirectoryMap,
        TableLevel::PageTable => Label::PageTableMap,
    }
}

fn unmap_label(level: TableLevel) -> Label {
    match level {
        TableLevel::Pdpt => Label::PdptUnmap,
        TableLevel::PageDirectory => Label::PageDirectoryUnmap,
        TableLevel::PageTable => Label::PageTableUnmap,
    }
}

/// Addresses that differ in one index at a time, so that tables get in each other's way.
fn probes() -> impl Iterator<Item = u64> {
    (0..16u64).map(|bits| {
        let root = if bits & 8 == 0 { 0 } else { 255 };
        root << 39 | (bits >> 2 & 1) << 30 | (bits >> 1 & 1) << 21 | (bits & 1) << 12
    })
}

fn vaddr() -> impl Strategy<Value = u64> {
    let probe = prop::sample::select(probes().collect::<Vec<_>>());
    let low = prop::sample::select(vec![0u64, 0, 0, 0, 1 << 30]);
    prop_oneof![
        20 => probe,
        20 => low,
        1 => Just(USER_TOP),
        1 => Just(USER_TOP - 4096),
        1 => Just(0x8_0000),
        1 => Just(1),
        1 => any::<u64>(),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let space = prop_oneof![4 => Just(0usize), 1 => Just(1usize)];
    prop_oneof![
        12 => (0..12usize, space.clone(), vaddr(), 0..16u64, 0..8u64).prop_map(
            |(cap, space, vaddr, rights, attributes)| {
                Op::MapFrame { cap, space, vaddr, rights, attributes }
            }
        ),
        3 => (0..12usize).prop_map(Op::UnmapFrame),
        1 => (0..12usize).prop_map(Op::DeleteFrame),
        10 => (0..9usize, space, vaddr())
            .prop_map(|(cap, space, vaddr)| Op::MapTable { cap, space, vaddr }),
        2 => (0..9usize).prop_map(Op::UnmapTable),
        1 => (0..9usize).prop_map(Op::DeleteTable),
    ]
}

fn last_op() -> impl Strategy<Value = Op> {
    prop_oneof![Just(Op::DeletePool), (0..SPACES).prop_map(Op::DeleteSpace)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn mapping_agrees_with_the_model(
        ops in prop::collection::vec(op(), 1..120),
        ending in prop::collection::vec(last_op(), 0..3),
        after in prop::collection::vec(op(), 0..20),
    ) {
        let mut world = World::new();
        for op in ops.into_iter().chain(ending).chain(after) {
            world.run(op);
            world.check();
        }
    }
}

fn frame(bench: &mut Bench, size: FrameSize) -> Ref<Slot> {
    let rights = CapRights::READ_WRITE;
    let base = PhysAddr(4 << 30);
    bench.root_cap(Cap::Frame { base, size, rights, device: false, mapping: None })
}

fn table(bench: &mut Bench, level: TableLevel) -> Ref<Slot> {
    let object = Ref::at(bench.page());
    bench.root_cap(Cap::Table { object, level, mapping: None })
}

#[test]
fn a_mapped_frame_is_reached_until_any_part_of_its_path_ends() {
    for victim in 0..6 {
        let mut bench = Bench::new();
        let pool = bench.asid_pool();
        let (root, space) = bench.address_space();
        let mut caps = vec![pool, space];
        for level in LEVELS {
            let slot = table(&mut bench, level);
            bench.invoke(slot, map_label(level), &[0x1234_5678, 0], &[space]).unwrap();
            caps.push(slot);
        }
        let page = frame(&mut bench, FrameSize::Small);
        bench.invoke(page, Label::PageMap, &[0x1234_5000, 3, 0], &[space]).unwrap();
        caps.push(page);
        assert!(translate(&bench, root, 0x1234_5000).is_some());
        bench.kernel.delete(caps[victim]).unwrap();
        let root = bench.kernel.vspace_root(bench.kernel.cap_at(space));
        assert!(
            root.is_none_or(|root| translate(&bench, root, 0x1234_5000).is_none()),
            "still reached after deleting {victim}"
        );
        // What was recorded is harmless in whatever order the rest goes.
        for slot in caps.into_iter().rev() {
            bench.kernel.delete(slot).unwrap();
        }
    }
}

#[test]
fn what_is_no_address_space_is_refused() {
    let mut bench = Bench::new();
    let pool = bench.asid_pool();
    let root = Ref::at(bench.page());
    let unassigned = bench.root_cap(Cap::VSpace { root, asid: None });
    let page = frame(&mut bench, FrameSize::Huge);
    let pdpt = table(&mut bench, TableLevel::Pdpt);
    for wrong in [unassigned, page, pool] {
        let error = Err(SyscallError::InvalidCapability(1));
        assert_eq!(bench.invoke(page, Label::PageMap, &[0, 3, 0], &[wrong]), error);
        assert_eq!(bench.invoke(pdpt, Label::PdptMap, &[0, 0], &[wrong]), error);
    }
    let truncated = Err(SyscallError::TruncatedMessage);
    assert_eq!(bench.invoke(page, Label::PageMap, &[0, 3], &[unassigned]), truncated);
    assert_eq!(bench.invoke(page, Label::PageMap, &[0, 3, 0], &[]), truncated);
    assert_eq!(bench.invoke(pdpt, Label::PdptMap, &[0], &[unassigned]), truncated);
    let illegal = Err(SyscallError::IllegalOperation);
    assert_eq!(bench.invoke(page, Label::PageTableMap, &[0, 0], &[unassigned]), illegal);
    assert_eq!(bench.invoke(pdpt, Label::PageTableMap, &[0, 0], &[unassigned]), illegal);
    assert_eq!(bench.invoke_number(page, 9999, &[], &[]), illegal);
}

#[test]
fn a_frame_tells_its_address() {
    let mut bench = Bench::new();
    let page = frame(&mut bench, FrameSize::Large);
    assert_eq!(bench.invoke(page, Label::PageGetAddress, &[], &[]), Ok(4 << 30));
}

#[test]
fn a_copied_table_is_not_unmapped() {
    let mut bench = Bench::new();
    bench.asid_pool();
    let (root, space) = bench.address_space();
    let pdpt = table(&mut bench, TableLevel::Pdpt);
    bench.invoke(pdpt, Label::PdptMap, &[0, 0], &[space]).unwrap();
    let copy = bench.copy(pdpt);
    for slot in [pdpt, copy] {
        let refused = bench.invoke(slot, Label::PdptUnmap, &[], &[]);
        assert_eq!(refused, Err(SyscallError::RevokeFirst));
    }
    bench.kernel.delete(pdpt).unwrap();
    assert_ne!(bench.kernel.get(root).entries[0], 0, "the copy keeps it");
    bench.invoke(copy, Label::PdptUnmap, &[], &[]).unwrap();
    assert_eq!(bench.kernel.get(root).entries[0], 0);
}

#[test]
fn an_unmapped_table_forgets_its_entries() {
    let mut bench = Bench::new();
    bench.asid_pool();
    let (root, space) = bench.address_space();
    let pdpt = table(&mut bench, TableLevel::Pdpt);
    let page = frame(&mut bench, FrameSize::Huge);
    bench.invoke(pdpt, Label::PdptMap, &[0, 0], &[space]).unwrap();
    bench.invoke(page, Label::PageMap, &[0, 3, 0], &[space]).unwrap();
    bench.invoke(pdpt, Label::PdptUnmap, &[], &[]).unwrap();
    bench.invoke(pdpt, Label::PdptMap, &[1 << 39, 0], &[space]).unwrap();
    assert_eq!(translate(&bench, root, 1 << 39), None);
}

#[test]
fn pools_are_made_and_assigned() {
    let mut bench = Bench::new();
    let cnode = bench.cnode_cap();
    let control = bench.root_cap(Cap::AsidControl);
    let mut pools = Vec::new();
    for n in 0..8 {
        let (base, dest) = (bench.page(), bench.empty());
        let untyped = bench.root_cap(Cap::Untyped { base, size_bits: 12, device: false, free: 0 });
        bench.invoke(control, Label::AsidControlMakePool, &[dest, 64], &[untyped, cnode]).unwrap();
        pools.push(bench.slot(dest));
        let made = bench.kernel.cap_at(bench.slot(dest));
        assert_eq!(made, Cap::AsidPool { object: Ref::at(base), base: Asid(n << 9) });
        let Cap::Untyped { free, .. } = bench.kernel.cap_at(untyped) else { panic!("untyped") };
        assert_eq!(free, 4096, "the untyped is used up");
    }
    let (base, dest) = (bench.page(), bench.empty());
    let untyped = bench.root_cap(Cap::Untyped { base, size_bits: 12, device: false, free: 0 });
    let make = [untyped, cnode];
    let full = bench.invoke(control, Label::AsidControlMakePool, &[dest, 64], &make);
    assert_eq!(full, Err(SyscallError::DeleteFirst));
    bench.kernel.delete(pools[3]).unwrap();
    bench.invoke(control, Label::AsidControlMakePool, &[dest, 64], &make).unwrap();
    let made = bench.kernel.cap_at(bench.slot(dest));
    assert_eq!(made, Cap::AsidPool { object: Ref::at(base), base: Asid(3 << 9) });
}

#[test]
fn pools_are_made_of_the_right_memory_only() {
    let mut bench = Bench::new();
    let cnode = bench.cnode_cap();
    let control = bench.root_cap(Cap::AsidControl);
    let dest = bench.empty();
    let base = bench.page();
    for (size_bits, device) in [(13, false), (11, false), (12, true)] {
        let wrong = bench.root_cap(Cap::Untyped { base, size_bits, device, free: 0 });
        let words = [dest, 64];
        let got = bench.invoke(control, Label::AsidControlMakePool, &words, &[wrong, cnode]);
        assert_eq!(got, Err(SyscallError::InvalidCapability(1)));
    }
    let untyped = bench.root_cap(Cap::Untyped { base, size_bits: 12, device: false, free: 0 });
    let occupied = bench.empty() - 1;
    let words = [occupied, 64];
    let got = bench.invoke(control, Label::AsidControlMakePool, &words, &[untyped, cnode]);
    assert_eq!(got, Err(SyscallError::DeleteFirst));
    bench.invoke(control, Label::AsidControlMakePool, &[dest, 64], &[untyped, cnode]).unwrap();
    let other = bench.empty();
    let got = bench.invoke(control, Label::AsidControlMakePool, &[other, 64], &[untyped, cnode]);
    assert_eq!(got, Err(SyscallError::RevokeFirst), "it has a child");
}

#[test]
fn a_pool_has_room_for_512_roots_and_the_first_pool_for_511() {
    let mut bench = Bench::new();
    let pool = bench.asid_pool();
    let root = Ref::at(bench.page());
    let mut assigned = std::collections::BTreeSet::new();
    for _ in 0..511 {
        let space = bench.root_cap(Cap::VSpace { root, asid: None });
        bench.invoke(pool, Label::AsidPoolAssign, &[], &[space]).unwrap();
        let Cap::VSpace { asid: Some(asid), .. } = bench.kernel.cap_at(space) else {
            panic!("no identifier was given");
        };
        assert!(assigned.insert(asid.0) && asid.0 != 0);
        assert_eq!(bench.kernel.vspace_root(bench.kernel.cap_at(space)), Some(root));
        let again = bench.invoke(pool, Label::AsidPoolAssign, &[], &[space]);
        assert_eq!(again, Err(SyscallError::InvalidCapability(1)));
    }
    let space = bench.root_cap(Cap::VSpace { root, asid: None });
    let full = bench.invoke(pool, Label::AsidPoolAssign, &[], &[space]);
    assert_eq!(full, Err(SyscallError::DeleteFirst));
}

#[test]
fn an_ended_address_space_is_left() {
    let mut bench = Bench::new();
    let pool = bench.asid_pool();
    let (root, _) = bench.address_space();
    bench.kernel.machine.address_space = root.address();
    bench.kernel.delete(pool).unwrap();
    assert_ne!(bench.kernel.machine.address_space, root.address());
}

#[test]
fn an_ipc_buffer_is_ram_and_aligned() {
    let mut bench = Bench::new();
    let page = frame(&mut bench, FrameSize::Large);
    let cap = bench.kernel.cap_at(page);
    let Cap::Frame { base, size, rights, mapping, .. } = cap else { panic!("a frame") };
    let check = |cap: Cap, vaddr| check_ipc_buffer(cap.into(), vaddr);
    assert_eq!(check(cap, 0x7000_0400), Ok(PhysAddr((4 << 30) + 0x0400)));
    assert_eq!(check(cap, 0x7000_0200), Err(SyscallError::Alignment));
    let device = Cap::Frame { base, size, rights, mapping, device: true };
    assert_eq!(check(device, 0), Err(SyscallError::IllegalOperation));
    assert_eq!(check(Cap::Null, 0), Err(SyscallError::IllegalOperation));
}
