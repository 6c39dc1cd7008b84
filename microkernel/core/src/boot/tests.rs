//! Booting on memory maps and images of all kinds, and looking at what the root task finds.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]

use super::image::PAGE;
use super::{BootError, BootInput, Framebuffer, ImageError, RegionList};
use crate::cap::{Asid, Cap, Mapping};
use crate::invariants::SlotArray;
use crate::kernel::{Event, Kernel, Next};
use crate::memory::{PhysAddr, Ref};
use crate::objects::{PageTable, Tcb, TcbSlot};
use crate::simulation::{RAM_BASE, SimulatedMachine};
use crate::slot::{Slot, TCB_SLOTS};
use d3os_abi::{BootInfo, CapRights, FrameSize, SlotRegion, USER_TOP, chunk, slot};
use proptest::prelude::*;
use std::mem::offset_of;
use std::ops::Range;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Simulated RAM: 12 MiB.
const RAM_PAGES: usize = 3072;
const RAM_END: u64 = RAM_BASE + RAM_PAGES as u64 * PAGE;
const KERNEL: Range<u64> = RAM_BASE..RAM_BASE + 0x5_2000;
const APICS: [Range<u64>; 2] = [0xfec0_0000..0xfec0_1000, 0xfee0_0000..0xfee0_1000];
const PHYSICAL_END: u64 = 1 << 47;

/// A piece of a memory map; pieces may overlap, and then what is not usable wins.
#[derive(Clone, Copy, Debug)]
struct MemoryRange {
    start: u64,
    end: u64,
    usable: bool,
}

/// A memory map as the kernel is told it: whole pages.
#[derive(Default)]
struct Lists {
    usable: RegionList,
    unusable: RegionList,
    reserved: RegionList,
}

impl Lists {
    fn new(memory: &[MemoryRange]) -> Self {
        let mut lists = Self::default();
        for range in memory.iter().filter(|range| range.usable && range.start < range.end) {
            let start = range.start.next_multiple_of(PAGE).min(PHYSICAL_END);
            lists.usable.insert(start..(range.end & !(PAGE - 1)).min(PHYSICAL_END));
        }
        for range in memory.iter().filter(|range| !range.usable && range.start < range.end) {
            let end = range.end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
            lists.usable.remove(range.start & !(PAGE - 1)..end);
            lists.unusable.insert(range.start & !(PAGE - 1)..end);
        }
        APICS.into_iter().chain([KERNEL]).for_each(|range| lists.reserved.insert(range));
        lists
    }
}

struct TestSegment {
    vaddr: u64,
    bytes: Vec<u8>,
    memory_bytes: u64,
}

fn segment(vaddr: u64, bytes: Vec<u8>, memory_bytes: u64) -> TestSegment {
    TestSegment { vaddr, bytes, memory_bytes }
}

/// An ELF file with these segments.
fn elf(entry: u64, segments: &[TestSegment]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |file: &mut Vec<u8>, words: &[u16]| {
        words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    };
    halves(&mut file, &[2, 62]);
    file.extend(1u32.to_le_bytes());
    [entry, 64, 0].iter().for_each(|word| file.extend(word.to_le_bytes()));
    file.extend(0u32.to_le_bytes());
    halves(&mut file, &[64, 56, segments.len() as u16, 64, 0, 0]);
    let mut offset = 64 + 56 * segments.len() as u64;
    for segment in segments {
        file.extend(1u32.to_le_bytes());
        file.extend(5u32.to_le_bytes());
        let length = segment.bytes.len() as u64;
        for word in [offset, segment.vaddr, segment.vaddr, length, segment.memory_bytes, PAGE] {
            file.extend(word.to_le_bytes());
        }
        offset += length;
    }
    segments.iter().for_each(|segment| file.extend(&segment.bytes));
    file
}

/// Two segments that share a page, and one far above.
fn sample_segments() -> Vec<TestSegment> {
    vec![
        segment(0x40_0010, (0..3000).map(|n| n as u8).collect(), 3000),
        segment(0x40_0f00, (0..9000).map(|n| (n * 7) as u8).collect(), 20_000),
        segment(0x1000_0000, vec![0xd3; 5000], 5000),
    ]
}

fn sample() -> Vec<u8> {
    elf(0x40_0010, &sample_segments())
}

fn usable(start: u64, end: u64) -> MemoryRange {
    MemoryRange { start, end, usable: true }
}

fn unusable(start: u64, end: u64) -> MemoryRange {
    MemoryRange { start, end, usable: false }
}

fn screen() -> Framebuffer {
    let mut tag = [0; 22];
    tag[..8].copy_from_slice(&0xfd00_0000u64.to_le_bytes());
    tag[20..].copy_from_slice(&[32, 1]);
    tag
}

fn input<'a>(memory: &'a Lists, module: &'a [u8]) -> BootInput<'a> {
    BootInput {
        usable: &memory.usable,
        unusable: &memory.unusable,
        reserved: &memory.reserved,
        module,
        module_range: RAM_BASE + 8 * MIB..RAM_BASE + 9 * MIB,
        rsdp: b"RSD PTR sample",
        framebuffer: Some(screen()),
        command_line: b"quiet shared=64M",
        cores_present: 4,
        tsc_mhz: 2400,
        boot_tsc: 123_456,
        node_id: 0,
        num_nodes: 1,
        apic_id: 7,
        pool: 0..0,
        private: RAM_BASE..RAM_END,
    }
}

fn kernel() -> Kernel<SimulatedMachine> {
    // The interrupt slots are part of what the kernel keeps beside its image.
    Kernel::new(SimulatedMachine::new(RAM_PAGES), 0, PhysAddr(RAM_BASE))
}

fn booted(memory: &[MemoryRange], module: &[u8]) -> Result<Root, BootError> {
    let mut kernel = kernel();
    kernel.boot(&input(&Lists::new(memory), module))?;
    let Next::Thread(thread) = kernel.start() else { panic!("nothing runs after boot") };
    Ok(Root { kernel, thread })
}

/// The root task, seen from outside.
struct Root {
    kernel: Kernel<SimulatedMachine>,
    thread: Ref<Tcb>,
}

impl Root {
    fn tcb(&self) -> &Tcb {
        self.kernel.get(self.thread)
    }

    fn own_cap(&self, index: TcbSlot) -> Cap {
        self.kernel.cap_at(self.thread.cast::<Slot>().index(index as u64))
    }

    fn cap(&self, index: u64) -> Cap {
        let Cap::CNode { object, radix: 13, .. } = self.own_cap(TcbSlot::CSpace) else {
            panic!("the root task has no CNode");
        };
        self.kernel.cap_at(object.index(index))
    }

    fn caps(&self, region: SlotRegion) -> impl Iterator<Item = Cap> + '_ {
        (region.start..region.end).map(|index| self.cap(index))
    }

    fn root(&self) -> Ref<PageTable> {
        self.kernel.vspace_root(self.own_cap(TcbSlot::VSpace)).expect("no address space")
    }

    /// What the processor finds at a user address.
    fn byte(&self, vaddr: u64) -> Option<u8> {
        let mut table = self.root();
        for shift in [39, 30, 21, 12] {
            let entry = self.kernel.get(table).entries[(vaddr >> shift & 511) as usize];
            if entry & 7 != 7 {
                return None;
            }
            table = Ref::at(PhysAddr(entry & 0x000f_ffff_ffff_f000));
        }
        let word = self.kernel.get(table).entries[(vaddr & 0xfff) as usize / 8];
        Some(word.to_le_bytes()[(vaddr & 7) as usize])
    }

    fn word(&self, vaddr: u64) -> u64 {
        let byte = |n| self.byte(vaddr + n).expect("not mapped");
        u64::from_le_bytes(std::array::from_fn(|n| byte(n as u64)))
    }

    fn boot_info(&self, offset: usize) -> u64 {
        self.word(self.tcb().context.rdi + offset as u64)
    }

    fn region(&self, offset: usize) -> SlotRegion {
        SlotRegion { start: self.boot_info(offset), end: self.boot_info(offset + 8) }
    }

    fn untyped_region(&self) -> SlotRegion {
        self.region(offset_of!(BootInfo, untyped))
    }

    /// Base, size bits and kind of every untyped.
    fn untypeds(&self) -> Vec<(u64, u8, bool)> {
        self.caps(self.untyped_region())
            .map(|cap| match cap {
                Cap::Untyped { base, size_bits, device, free: 0 } => (base.0, size_bits, device),
                other => panic!("{other:?} among the untypeds"),
            })
            .collect()
    }

    /// Payloads of extra BootInfo, by id.
    fn chunks(&self) -> Vec<(u64, Vec<u8>)> {
        let base = self.tcb().context.rdi + PAGE;
        let end = base + self.boot_info(offset_of!(BootInfo, extra_len));
        let mut chunks = Vec::new();
        let mut at = base;
        while at < end {
            let (id, length) = (self.word(at), self.word(at + 8));
            assert!(length >= 16 && at + length <= end, "chunk {id} of {length} bytes");
            let payload = (at + 16..at + length).map(|at| self.byte(at).unwrap()).collect();
            chunks.push((id, payload));
            at += length;
        }
        chunks
    }

    /// Physical memory that objects of the root task and the kernel take.
    fn taken(&self) -> Vec<Range<u64>> {
        let end = self.untyped_region().start;
        let objects = (1..end).filter_map(|index| {
            let page = |base: PhysAddr| base.0..base.0 + PAGE;
            match self.cap(index) {
                Cap::Frame { base, .. } => Some(page(base)),
                Cap::Table { object, .. } => Some(page(object.address())),
                Cap::VSpace { root, .. } => Some(page(root.address())),
                Cap::AsidPool { object, .. } => Some(page(object.address())),
                Cap::CNode { object, .. } => Some(object.address().0..object.address().0 + MIB / 4),
                Cap::Thread { object } => Some(object.address().0..object.address().0 + 2048),
                Cap::SchedContext { object, .. } => {
                    Some(object.address().0..object.address().0 + 128)
                }
                _ => None,
            }
        });
        objects.collect()
    }

    /// Untypeds are aligned, apart from each other and from all that is in use, and device memory
    /// comes first and never is RAM.
    fn check_untypeds(&self, memory: &[MemoryRange]) {
        self.kernel.check_invariants(&[SlotArray { first: self.thread.cast(), count: TCB_SLOTS }]);
        let untypeds = self.untypeds();
        let first_ram = untypeds.iter().position(|u| !u.2).unwrap_or(untypeds.len());
        assert!(untypeds[first_ram..].iter().all(|u| !u.2), "device memory after RAM");
        let mut used = self.taken();
        used.extend(APICS.into_iter().chain([KERNEL]));
        for (index, &(base, bits, device)) in untypeds.iter().enumerate() {
            assert_eq!(base % (1 << bits), 0, "{base:#x} is not aligned to 2^{bits}");
            let range = base..base + (1 << bits);
            for other in &used {
                assert!(!overlap(&range, other), "{range:x?} overlaps {other:x?}");
            }
            used.push(range.clone());
            let entry = offset_of!(BootInfo, untyped_list) + 16 * index;
            assert_eq!(self.boot_info(entry), base);
            assert_eq!(self.boot_info(entry + 8), u64::from(bits) | u64::from(device) << 8);
            for page in [range.start, range.end - 1] {
                assert_eq!(is_ram(memory, page), !device, "{page:#x} in {range:x?}");
            }
        }
    }
}

fn overlap(one: &Range<u64>, two: &Range<u64>) -> bool {
    one.start < two.end && two.start < one.end
}

/// The obvious model of the memory map: whether the whole page of `address` is RAM.
fn is_ram(memory: &[MemoryRange], address: u64) -> bool {
    let page = address & !(PAGE - 1)..(address & !(PAGE - 1)) + PAGE;
    let touches = |range: &MemoryRange| overlap(&(range.start..range.end), &page);
    let mut covered: Vec<_> = memory.iter().filter(|r| r.usable && touches(r)).collect();
    covered.sort_by_key(|range| range.start);
    let covers = |r: &MemoryRange| r.start <= page.start && page.end <= r.end;
    page.start >= PAGE
        && covered.iter().any(|range| covers(range))
        && !memory.iter().any(|range| !range.usable && touches(range))
}

fn plain_memory() -> Vec<MemoryRange> {
    vec![usable(0, 0x9_fc00), unusable(0x9_fc00, 0x10_0000), usable(RAM_BASE, RAM_END)]
}

#[test]
fn the_root_task_starts_with_its_image_and_nothing_else() {
    let root = booted(&plain_memory(), &sample()).unwrap();
    let context = root.tcb().context;
    let boot_info = 0x1000_3000;
    assert_eq!((context.rip, context.rdi, context.rsp), (0x40_0010, boot_info, 0));
    assert_eq!((context.rflags, context.rax, context.r8), (0x202, 0, 0));
    assert_eq!((root.tcb().priority, root.tcb().mcp), (255, 255));
    for segment in sample_segments() {
        for offset in 0..segment.memory_bytes {
            let expected = segment.bytes.get(offset as usize).copied().unwrap_or(0);
            let address = segment.vaddr + offset;
            let later = sample_segments().into_iter().any(|s| {
                s.vaddr > segment.vaddr && (s.vaddr..s.vaddr + s.memory_bytes).contains(&address)
            });
            assert!(later || root.byte(address) == Some(expected), "{address:#x}");
        }
    }
    assert_eq!(root.byte(0x40_0000), Some(0), "before the first segment");
    assert_eq!(root.byte(0x3f_f000), None);
    assert_eq!(root.byte(0x40_6000), None, "between the segments");
    assert_eq!(root.byte(0), None);
    assert_eq!(root.boot_info(offset_of!(BootInfo, ipc_buffer)), 0x1000_2000);
}

#[test]
fn the_slots_hold_what_the_interface_says() {
    let root = booted(&plain_memory(), &sample()).unwrap();
    assert_eq!(root.cap(slot::NULL), Cap::Null);
    assert_eq!(root.cap(slot::TCB), Cap::Thread { object: root.thread });
    let Cap::CNode { radix: 13, guard_size: 51, guard: 0, .. } = root.cap(slot::CNODE) else {
        panic!("{:?}", root.cap(slot::CNODE));
    };
    assert_eq!(root.cap(slot::VSPACE), Cap::VSpace { root: root.root(), asid: Some(Asid(1)) });
    assert_eq!(root.cap(slot::IRQ_CONTROL), Cap::IrqControl);
    assert_eq!(root.cap(slot::ASID_CONTROL), Cap::AsidControl);
    assert!(matches!(root.cap(slot::ASID_POOL), Cap::AsidPool { base: Asid(0), .. }));
    assert_eq!(root.cap(slot::IO_PORT_CONTROL), Cap::IoPortControl);
    assert_eq!(root.cap(slot::IO_SPACE), Cap::Null);
    assert_eq!(root.cap(slot::DOMAIN), Cap::Domain);
    assert!(matches!(root.cap(slot::SCHED_CONTEXT), Cap::SchedContext { .. }));
    let expect_frame = |cap, vaddr| {
        let Cap::Frame { size, rights, device, mapping, .. } = cap else { panic!("{cap:?}") };
        assert_eq!((size, device), (FrameSize::Small, false));
        assert_eq!(rights, CapRights::READ_WRITE);
        assert_eq!(mapping, Some(Mapping { asid: Asid(1), vaddr }));
    };
    expect_frame(root.cap(slot::IPC_BUFFER_FRAME), 0x1000_2000);
    expect_frame(root.cap(slot::BOOT_INFO_FRAME), 0x1000_3000);
    let sched_control = root.region(offset_of!(BootInfo, sched_control));
    assert_eq!(root.caps(sched_control).collect::<Vec<_>>(), [Cap::SchedControl { core: 0 }]);
    let pages = [0x40_0000, 0x40_1000, 0x40_2000, 0x40_3000, 0x40_4000, 0x40_5000];
    let pages = pages.into_iter().chain([0x1000_0000, 0x1000_1000]);
    let frames = root.region(offset_of!(BootInfo, user_image_frames));
    assert_eq!(frames.end - frames.start, 8);
    root.caps(frames).zip(pages).for_each(|(cap, vaddr)| expect_frame(cap, vaddr));
    let extra = root.region(offset_of!(BootInfo, extra_bi_pages));
    root.caps(extra).for_each(|cap| expect_frame(cap, 0x1000_4000));
    let paging = root.region(offset_of!(BootInfo, user_image_paging));
    let levels = root.caps(paging).map(|cap| match cap {
        Cap::Table { mapping: Some(mapping), level, .. } => (level.coverage_bits(), mapping.vaddr),
        other => panic!("{other:?}"),
    });
    let expected = [(39, 0), (30, 0), (21, 0x40_0000), (21, 0x1000_0000)];
    assert_eq!(levels.collect::<Vec<_>>(), expected);
    let empty = root.region(offset_of!(BootInfo, empty));
    assert_eq!((empty.start, empty.end), (root.untyped_region().end, 8192));
    assert!(root.caps(empty).all(|cap| cap == Cap::Null));
    assert_eq!(root.boot_info(offset_of!(BootInfo, init_cnode_size_bits)), 13);
    assert_eq!(root.boot_info(offset_of!(BootInfo, num_io_pt_levels)), u64::MAX);
}

#[test]
fn extra_boot_info_tells_what_the_loader_told() {
    let memory = plain_memory();
    let root = booted(&memory, &sample()).unwrap();
    let chunks = root.chunks();
    let chunk = |id| &chunks.iter().find(|chunk| chunk.0 == id).expect("chunk is missing").1;
    assert_eq!(chunk(chunk::ACPI_RSDP), b"RSD PTR sample");
    assert_eq!(chunk(chunk::TSC_FREQUENCY)[..], 2400u32.to_le_bytes());
    let map = chunk(chunk::MEMORY_MAP);
    assert_eq!(map[..4], (24 * 3u32).to_le_bytes());
    assert_eq!(map[4 + 2 * 24 + 4..][..8], 0x9_f000u64.to_le_bytes());
    assert_eq!(map[4 + 2 * 24 + 20..][..4], 2u32.to_le_bytes());
    let screen = chunk(chunk::FRAMEBUFFER);
    assert_eq!(screen[..8], 0xfd00_0000u64.to_le_bytes());
    assert_eq!(screen[20..], [32, 1]);
    let machine = chunk(chunk::D3OS_MACHINE);
    assert_eq!(machine[..8], [4, 0, 0, 0, 16, 0, 0, 0]);
    assert_eq!(machine[8..16], 123_456u64.to_le_bytes());
    assert_eq!(&machine[88..104], b"quiet shared=64M");
    assert_eq!(machine[32..40], [7, 0, 0, 0, 16, 0, 0, 0]);
    let words = |at: usize| u64::from_le_bytes(machine[at..at + 8].try_into().unwrap());
    let free: u64 = root.untypeds().iter().filter(|u| !u.2).map(|u| 1 << u.1).sum();
    // The image, the IPC buffer, BootInfo and its extra page.
    let user = (8 + 3) * PAGE;
    let ram = RAM_PAGES as u64 * PAGE + 0x9_e000;
    assert_eq!((words(16), words(24)), (ram, ram - free - user));
    let share = [112, 0, 0, RAM_BASE, RAM_END - RAM_BASE, 0];
    assert_eq!(std::array::from_fn(|n| words(40 + 8 * n)), share);
}

#[test]
fn a_long_command_line_is_cut() {
    let line = vec![b'x'; 100_000];
    let memory = Lists::new(&plain_memory());
    let module = sample();
    let mut kernel = kernel();
    let input = BootInput { command_line: &line, rsdp: &line, ..input(&memory, &module) };
    kernel.boot(&input).unwrap();
    let Next::Thread(thread) = kernel.start() else { panic!("nothing runs after boot") };
    let chunks = Root { kernel, thread }.chunks();
    assert_eq!(chunks[0].1.len(), 88 + 2048);
    assert_eq!(chunks[1].1.len(), 36);
}

#[test]
fn untypeds_are_all_that_is_left() {
    let memory = plain_memory();
    let root = booted(&memory, &sample()).unwrap();
    root.check_untypeds(&memory);
    let free: u64 = root.untypeds().iter().filter(|u| !u.2).map(|u| 1 << u.1).sum();
    let taken: u64 = root.taken().iter().map(|range| range.end - range.start).sum();
    let kernel = KERNEL.end - KERNEL.start;
    assert_eq!(free + taken + kernel, RAM_PAGES as u64 * PAGE + 0x9_e000, "the module's too");
}

#[test]
fn large_memory_stays_whole() {
    for (low_end, high_end) in [(3 * GIB, 4 * GIB), (2 * GIB, 5 * GIB)] {
        let memory = [
            usable(0, 0x9_fc00),
            usable(RAM_BASE, low_end - 0x2_1000),
            unusable(low_end - 0x2_1000, low_end),
            usable(4 * GIB, high_end),
        ];
        let root = booted(&memory, &sample()).unwrap();
        root.check_untypeds(&memory);
        let whole = |u: &(u64, u8, bool)| !u.2 && u.1 >= 30;
        assert!(root.untypeds().iter().any(whole), "no aligned 1 GiB below {low_end:#x}");
    }
}

#[test]
fn what_is_missing_is_said() {
    let error = booted(&plain_memory(), &[]).map(|_| ()).unwrap_err();
    assert_eq!(error, BootError::Image(ImageError::Malformed));
    let tiny = [usable(RAM_BASE, RAM_BASE + 0x9_0000)];
    let error = booted(&tiny, &sample()).map(|_| ()).unwrap_err();
    let BootError::NotEnoughMemory { needed: 0x4_0000, ram: 0x9_0000, .. } = error else {
        panic!("{error:?}");
    };
    assert!(error.to_string().contains("262144 bytes needed"), "{error}");
    let ram = [usable(RAM_BASE, RAM_END)];
    let huge = elf(0x40_0000, &[segment(0x40_0000, vec![], 8192 * PAGE)]);
    let error = booted(&ram, &huge).map(|_| ()).unwrap_err();
    assert!(matches!(error, BootError::ImageTooLarge { pages: 8192, .. }), "{error:?}");
    let large = elf(0x40_0000, &[segment(0x40_0000, vec![], 4000 * PAGE)]);
    let error = booted(&ram, &large).map(|_| ()).unwrap_err();
    assert!(matches!(error, BootError::NotEnoughMemory { needed: 4096, .. }), "{error:?}");
}

#[test]
fn images_that_cannot_run_are_refused() {
    let refuse = |module: &[u8], expected| {
        let error = booted(&plain_memory(), module).map(|_| ()).unwrap_err();
        assert_eq!(error, BootError::Image(expected));
    };
    let one = |vaddr, length: usize, memory| elf(vaddr, &[segment(vaddr, vec![1; length], memory)]);
    refuse(b"not an ELF", ImageError::Malformed);
    refuse(&elf(0, &[]), ImageError::Entry);
    refuse(&one(0x40_0000, 2, 1), ImageError::SegmentBytes);
    refuse(&one(0x800, 1, 1), ImageError::SegmentAddress);
    refuse(&one(USER_TOP - 1, 1, 2), ImageError::SegmentAddress);
    refuse(&one(u64::MAX, 1, 1), ImageError::SegmentAddress);
    refuse(&one(USER_TOP - PAGE, 1, 1), ImageError::SegmentAddress);
    let pair = |first, second| [segment(first, vec![1], 16), segment(second, vec![1], 16)];
    refuse(&elf(0x40_0000, &pair(0x40_0000, 0x40_000f)), ImageError::SegmentOrder);
    refuse(&elf(0x40_0000, &pair(0x40_0000, 0x3f_0000)), ImageError::SegmentOrder);
    refuse(&elf(0x40_0010, &pair(0x40_0000, 0x40_0020)), ImageError::Entry);
    let many: Vec<_> = (0..17).map(|n| segment(0x40_0000 + n * PAGE, vec![], 1)).collect();
    refuse(&elf(0x40_0000, &many), ImageError::TooManySegments);
    let mut other = sample();
    other[18] = 0xb7;
    refuse(&other, ImageError::WrongKind);
    let mut shared = sample();
    shared[16] = 3;
    refuse(&shared, ImageError::WrongKind);
    let mut cut = sample();
    cut.truncate(cut.len() - 1);
    refuse(&cut, ImageError::SegmentBytes);
}

#[test]
fn the_root_task_runs_and_keeps_running() {
    let mut root = booted(&plain_memory(), &sample()).unwrap();
    assert_eq!(root.kernel.thread_name(root.thread), b"root task");
    assert_eq!(root.kernel.machine.address_space, root.root().address());
    for _ in 0..10 {
        root.kernel.machine.now = root.kernel.machine.deadline.unwrap() + 1;
        assert_eq!(root.kernel.handle(Event::Timer), Next::Thread(root.thread));
    }
}

/// Ranges of all kinds; what lies in simulated RAM begins at `low` or above.
fn memory_range(low: u64) -> impl Strategy<Value = MemoryRange> {
    let inside = (low..RAM_END, low..RAM_END);
    let above = (RAM_END..1 << 48, 0u64..1 << 34).prop_map(|(start, bytes)| (start, start + bytes));
    prop_oneof![
        4 => (inside, any::<bool>()).prop_map(|((a, b), usable)| (a, b, usable)),
        2 => (above, any::<bool>()).prop_map(|((a, b), usable)| (a, b, usable)),
        1 => (low.., any::<u64>()).prop_map(|(a, b)| (a, b, false)),
    ]
    .prop_map(|(start, end, usable)| MemoryRange { start, end, usable })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Boots, or says why not; what it gives away is free, and nothing free is lost.
    #[test]
    fn any_memory_map(mut memory in prop::collection::vec(memory_range(RAM_BASE + 2 * MIB), 0..12)) {
        memory.push(usable(RAM_BASE, RAM_BASE + 2 * MIB));
        let module = sample();
        match booted(&memory, &module) {
            Ok(root) => {
                root.check_untypeds(&memory);
                let untypeds = root.untypeds();
                let taken = root.taken();
                prop_assume!(untypeds.len() < 170);
                for page in (RAM_BASE..RAM_END).step_by(PAGE as usize) {
                    let covered = |ranges: &mut dyn Iterator<Item = Range<u64>>| {
                        ranges.map(|r| r.end.min(page + PAGE).saturating_sub(r.start.max(page))).sum::<u64>()
                    };
                    let mut free = untypeds.iter().map(|u| u.0..u.0 + (1 << u.1));
                    let held = covered(&mut free) + covered(&mut taken.iter().cloned());
                    let kernel = KERNEL.contains(&page);
                    prop_assert_eq!(held, if kernel { 0 } else { PAGE }, "page {:#x}", page);
                }
            }
            Err(BootError::NotEnoughMemory { .. }) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    /// Memory in bits and pieces suffices, or what is missing is said.
    #[test]
    fn any_little_memory(mut memory in prop::collection::vec(memory_range(RAM_BASE), 0..12)) {
        memory.iter_mut().for_each(|range| range.usable &= range.end <= RAM_END);
        match booted(&memory, &sample()) {
            Ok(root) => root.check_untypeds(&memory),
            Err(BootError::NotEnoughMemory { needed, .. }) => prop_assert!(needed > 0),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    /// Damaged files are refused or loaded, and nothing else happens.
    #[test]
    fn any_damage(
        damage in prop::collection::vec((0usize..400, any::<u8>()), 1..6),
        cut in prop::option::of(0usize..17_000),
    ) {
        let mut module = sample();
        for (at, byte) in damage {
            module[at] = byte;
        }
        module.truncate(cut.unwrap_or(usize::MAX));
        let memory = [usable(RAM_BASE, RAM_END)];
        match booted(&memory, &module) {
            Ok(root) => root.check_untypeds(&memory),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
