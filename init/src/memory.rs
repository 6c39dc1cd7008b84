//! How much memory a program needs, and in which pieces it is set aside.
//!
//! A program's [`Plan`] lists every kernel object that it is made of. Objects are powers of two in
//! size; placed in order of falling size they fill power-of-two pieces without a gap, so the pieces
//! are the binary digits of the sum. Each piece is an untyped of its own that belongs to the
//! program for good: revoking it takes the program apart, and the next start makes the same objects
//! in it again.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use libd3os::abi::{FrameSize, ObjectType, RETYPE_FAN_OUT};
use libd3os::image::ProgramSpec;
use libd3os::start::layout::{
    HEAP_BASE, HUGE_PLACES, IPC_BUFFER, PAGE_SIZE, PERSISTENT_BYTES, PERSISTENT_WINDOW,
    PLATFORM_PLACES, PLATFORM_WINDOW, RING_DIRECTORY, RING_PLACES, RING_SPAN, RING_WINDOW,
    STACK_TOP, START_INFO,
};

use crate::regions::{self, RegionUse};

/// log2 of the smallest piece: pieces smaller than a page are not worth a slot.
pub const SMALLEST_PIECE_BITS: u8 = 12;
/// log2 of a scheduling context's bytes: room for ten refills.
pub const SCHED_CONTEXT_BITS: u8 = 8;

/// `count` objects of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What to make.
    pub object: ObjectType,
    /// The retype's size argument: for CNodes log2 of slots, for scheduling contexts log2 of bytes.
    pub user_bits: u8,
    /// How many.
    pub count: u32,
}

impl Batch {
    const fn new(object: ObjectType, user_bits: u8, count: u32) -> Self {
        Self { object, user_bits, count }
    }

    /// log2 of one object's bytes.
    #[must_use]
    pub const fn object_bits(&self) -> u8 {
        self.object.size_bits(self.user_bits)
    }

    /// Bytes of all of them.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        (self.count as u64) << self.object_bits()
    }
}

/// What a program's address space holds, page-aligned ranges of addresses that need frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regions {
    /// The ELF's loadable segments, merged where they share pages, ascending.
    pub image: Vec<Range<u64>>,
    /// Heap.
    pub heap: Range<u64>,
    /// Stack; the page below stays unmapped.
    pub stack: Range<u64>,
    /// Start information.
    pub start_info: Range<u64>,
    /// The IPC buffer.
    pub ipc_buffer: Range<u64>,
    /// Where pairs of rings are mapped while the program runs: it has paging structures and no
    /// frames.
    pub ring_window: Range<u64>,
    /// The ring directory.
    pub ring_directory: Range<u64>,
    /// Shared memory, and the frames that it is made of, which are not the program's own.
    pub shared: Vec<(Range<u64>, FrameSize)>,
    /// Where pages of device memory are mapped for the program that asks for them: it has paging
    /// structures and no frames.
    pub platform_window: Range<u64>,
}

/// Whether a program may take part in rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingRoom {
    /// It neither serves nor calls another program, or all programs are on one core.
    None,
    /// It has a ring window and a directory.
    Window,
}

impl Regions {
    /// The regions of a program whose segments lie at `segments` (address, bytes) and whose start
    /// information takes `start_info_bytes`.
    ///
    /// # Errors
    /// [`PlanError`] where the image is empty or reaches into the heap, or the sizes are absurd.
    pub fn new(
        segments: &[(u64, u64)],
        start_info_bytes: u64,
        spec: &ProgramSpec,
        rings: RingRoom,
    ) -> Result<Self, PlanError> {
        let image = merge_pages(segments)?;
        let stack_bytes = round_up(spec.stack_bytes)?;
        let heap_bytes = round_up(spec.heap_bytes)?;
        if stack_bytes == 0 || stack_bytes > LARGEST_REGION || heap_bytes > LARGEST_REGION {
            return Err(PlanError::BadSize);
        }
        let (ring_window, ring_directory) = match rings {
            RingRoom::None => (0..0, 0..0),
            RingRoom::Window => (
                RING_WINDOW..RING_WINDOW + u64::from(RING_PLACES) * RING_SPAN,
                RING_DIRECTORY..RING_DIRECTORY + PAGE_SIZE,
            ),
        };
        Ok(Self {
            image,
            heap: HEAP_BASE..HEAP_BASE + heap_bytes,
            stack: STACK_TOP - stack_bytes..STACK_TOP,
            start_info: START_INFO..START_INFO + round_up(start_info_bytes)?,
            ipc_buffer: IPC_BUFFER..IPC_BUFFER + PAGE_SIZE,
            ring_window,
            ring_directory,
            shared: Vec::new(),
            platform_window: 0..0,
        })
    }

    /// With these regions of shared memory, which ascend.
    #[must_use]
    pub fn sharing(mut self, uses: &[RegionUse]) -> Self {
        let range = |known: &RegionUse| known.base..known.base + known.bytes;
        self.shared =
            uses.iter().map(|known| (range(known), regions::frame_size(known.bytes))).collect();
        self
    }

    /// With a window for pages of device memory.
    #[must_use]
    pub fn finding_devices(mut self) -> Self {
        let bytes = u64::from(PLATFORM_PLACES) * PAGE_SIZE;
        self.platform_window = PLATFORM_WINDOW..PLATFORM_WINDOW + bytes;
        self
    }

    /// With a window for pieces of persistent memory, 1 GiB at once; behind all that is shared. What it takes to
    /// see more is made when it is shown.
    #[must_use]
    pub fn seeing_persistent_memory(mut self) -> Self {
        let bytes = u64::from(HUGE_PLACES) * PERSISTENT_BYTES;
        self.shared.push((PERSISTENT_WINDOW..PERSISTENT_WINDOW + bytes, FrameSize::Large));
        self
    }

    /// Places whose paging structures must be there though the program has no frames of its own
    /// for them: an address for each structure of the lowest level.
    pub fn prepared(&self) -> impl Iterator<Item = (u64, FrameSize)> {
        let windows = [&self.platform_window, &self.ring_window];
        let windows = windows.into_iter().map(|range| (range, FrameSize::Small));
        let all = self.shared.iter().map(|(range, size)| (range, *size)).chain(windows);
        all.filter(|(range, _)| !range.is_empty()).flat_map(|(range, size)| {
            let bits = structure_bits(size);
            let numbers = range.start >> bits..((range.end - 1) >> bits) + 1;
            numbers.map(move |number| (number << bits, size))
        })
    }

    /// Every range that has frames, ascending by address.
    pub fn all(&self) -> impl Iterator<Item = &Range<u64>> {
        let rest =
            [&self.heap, &self.ring_directory, &self.ipc_buffer, &self.start_info, &self.stack];
        self.image.iter().chain(rest)
    }

    /// 4 KiB frames that all of it takes.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.all().map(|range| (range.end - range.start) / PAGE_SIZE).sum()
    }

    /// First addresses of the structures, each covering `1 << bits` bytes of address space, that
    /// all of it takes: 21 for page tables, 30 for page directories, 39 for what lies above those.
    pub fn tables(&self, bits: u8) -> impl Iterator<Item = u64> {
        let mut next = 0;
        let (low, high) = (self.image.iter().chain([&self.heap]), self.all());
        let high = high.skip(self.image.len() + 1);
        let shared = self.shared.iter().filter(move |(_, size)| bits >= structure_bits(*size));
        let middle = shared.map(|(range, _)| range);
        let middle = middle.chain([&self.platform_window, &self.ring_window]);
        let numbers = low.chain(middle).chain(high).filter(|range| !range.is_empty()).flat_map(
            move |range| {
                let first = next.max(range.start >> bits);
                next = ((range.end - 1) >> bits) + 1;
                first..next
            },
        );
        numbers.map(move |number| number << bits)
    }

    /// Every page, ascending, with what it is for.
    pub fn pages(&self) -> impl Iterator<Item = (PageUse, Range<u64>)> {
        let image = self.image.iter().map(|range| (PageUse::Image, range));
        let rest = [
            (PageUse::Memory, &self.heap),
            (PageUse::RingDirectory, &self.ring_directory),
            (PageUse::IpcBuffer, &self.ipc_buffer),
            (PageUse::StartInfo, &self.start_info),
            (PageUse::Memory, &self.stack),
        ];
        image.chain(rest).flat_map(|(purpose, range)| {
            let numbers = range.start / PAGE_SIZE..range.end / PAGE_SIZE;
            let starts = numbers.map(|number| number * PAGE_SIZE);
            starts.map(move |start| (purpose, start..start + PAGE_SIZE))
        })
    }
}

/// log2 of what the paging structure covers that a frame of this size hangs from.
const fn structure_bits(size: FrameSize) -> u8 {
    match size {
        FrameSize::Small => 21,
        FrameSize::Large => 30,
        FrameSize::Huge => 39,
    }
}

/// What a page of a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageUse {
    /// Contents and rights as the ELF's segments say.
    Image,
    /// Heap or stack: zero at the start, writable.
    Memory,
    /// The IPC buffer: writable.
    IpcBuffer,
    /// Start information: read-only.
    StartInfo,
    /// The ring directory: read-only.
    RingDirectory,
}

/// Largest heap or stack: half of what lies between the regions, and far more than 4 KiB frames
/// suit.
const LARGEST_REGION: u64 = 1 << 32;

/// Why a program cannot be laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// The ELF has no loadable segment.
    NoImage,
    /// A segment lies where the heap or the kernel's half begins.
    ImageOutOfPlace,
    /// Stack of zero bytes, or stack or heap of more than 4 GiB.
    BadSize,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoImage => "its file has nothing to load",
            Self::ImageOutOfPlace => "its file loads outside of the image's address range",
            Self::BadSize => "its heap or stack has an impossible size",
        })
    }
}

impl core::error::Error for PlanError {}

/// Which kernel objects a program is made of, by falling size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The objects.
    pub batches: Vec<Batch>,
    /// log2 of the slots of its CNode.
    pub cnode_bits: u8,
}

impl Plan {
    /// The plan for these regions, `grants` capabilities and `replies` reply objects.
    ///
    /// # Errors
    /// [`PlanError::BadSize`] where a count leaves its range.
    pub fn new(regions: &Regions, grants: u32, replies: u32) -> Result<Self, PlanError> {
        let count = |n: u64| u32::try_from(n).map_err(|_| PlanError::BadSize);
        let tables = |bits| count(regions.tables(bits).count() as u64);
        let cnode_bits = cnode_bits(grants);
        let mut batches = alloc::vec![
            Batch::new(ObjectType::Pml4, 0, 1),
            Batch::new(ObjectType::Pdpt, 0, tables(39)?),
            Batch::new(ObjectType::PageDirectory, 0, tables(30)?),
            Batch::new(ObjectType::PageTable, 0, tables(21)?),
            Batch::new(FrameSize::Small.object_type(), 0, count(regions.frames())?),
            Batch::new(ObjectType::CNode, cnode_bits, 1),
            Batch::new(ObjectType::Tcb, 0, 1),
            Batch::new(ObjectType::SchedContext, SCHED_CONTEXT_BITS, 1),
            Batch::new(ObjectType::Reply, 0, replies),
        ];
        batches.retain(|batch| batch.count > 0);
        batches.sort_by_key(|batch| core::cmp::Reverse(batch.object_bits()));
        Ok(Self { batches, cnode_bits })
    }

    /// Bytes of all objects.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.batches.iter().map(Batch::bytes).sum()
    }

    /// Slots that init needs for its capabilities to the objects.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.batches.iter().map(|batch| u64::from(batch.count)).sum()
    }

    /// Sizes (log2) of the untyped pieces to set aside, falling, no two alike.
    #[must_use]
    pub fn pieces(&self) -> Vec<u8> {
        let bytes = self.bytes().next_multiple_of(1 << SMALLEST_PIECE_BITS);
        (SMALLEST_PIECE_BITS..64).rev().filter(|bits| bytes >> bits & 1 == 1).collect()
    }

    /// How many objects stand before those of this type: slots are taken in the same order.
    #[must_use]
    pub fn position(&self, object: ObjectType) -> u64 {
        let before = self.batches.iter().take_while(|batch| batch.object != object);
        before.map(|batch| u64::from(batch.count)).sum()
    }

    /// How many objects of this type there are.
    #[must_use]
    pub fn count(&self, object: ObjectType) -> u64 {
        let batches = self.batches.iter().filter(|batch| batch.object == object);
        batches.map(|batch| u64::from(batch.count)).sum()
    }

    /// Which objects to make from which piece: retype calls in order, each within the kernel's
    /// fan-out.
    #[must_use]
    pub fn retypes(&self) -> Vec<Retype> {
        let mut pieces = self.pieces().into_iter().enumerate().map(|(i, bits)| (i, 1u64 << bits));
        let (mut piece, mut room) = pieces.next().unwrap_or((0, 0));
        let mut calls = Vec::new();
        for batch in &self.batches {
            let mut left = u64::from(batch.count);
            while left > 0 {
                let fit = (room >> batch.object_bits()).min(left).min(RETYPE_FAN_OUT);
                if fit == 0 {
                    // Cannot run out: the pieces' sum is no less than the objects', see module doc.
                    let Some(next) = pieces.next() else { return calls };
                    (piece, room) = next;
                    continue;
                }
                calls.push(Retype { piece, batch: *batch, count: fit });
                room -= fit << batch.object_bits();
                left -= fit;
            }
        }
        calls
    }
}

/// One retype: `count` objects like `batch`'s from the piece of this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retype {
    /// Index into [`Plan::pieces`].
    pub piece: usize,
    /// Which objects.
    pub batch: Batch,
    /// How many of them.
    pub count: u64,
}

/// log2 of the slots of a CNode that holds `grants` capabilities from slot 1 up.
#[must_use]
pub const fn cnode_bits(grants: u32) -> u8 {
    let mut bits = 1;
    while (1u64 << bits) < grants as u64 + 1 {
        bits += 1;
    }
    bits
}

fn round_up(bytes: u64) -> Result<u64, PlanError> {
    bytes.checked_next_multiple_of(PAGE_SIZE).ok_or(PlanError::BadSize)
}

fn merge_pages(segments: &[(u64, u64)]) -> Result<Vec<Range<u64>>, PlanError> {
    let mut pages = Vec::new();
    for &(address, bytes) in segments.iter().filter(|(_, bytes)| *bytes > 0) {
        let end = address.checked_add(bytes).ok_or(PlanError::ImageOutOfPlace)?;
        if end > HEAP_BASE || address < PAGE_SIZE {
            return Err(PlanError::ImageOutOfPlace);
        }
        pages.push(address & !(PAGE_SIZE - 1)..end.next_multiple_of(PAGE_SIZE));
    }
    pages.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in pages {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    if merged.is_empty() { Err(PlanError::NoImage) } else { Ok(merged) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libd3os::memory::Table;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn spec(heap_bytes: u64, stack_bytes: u64) -> ProgramSpec {
        ProgramSpec { heap_bytes, stack_bytes, ..ProgramSpec::default() }
    }

    #[test]
    fn a_small_program_is_laid_out() {
        let segments = [(0x40_0000, 0x1800), (0x40_1800, 0x900), (0x40_4000, 1)];
        let regions =
            Regions::new(&segments, 100, &spec(0x2000, 0x1001), RingRoom::None).expect("sound");
        assert_eq!(regions.image, [0x40_0000..0x40_3000, 0x40_4000..0x40_5000]);
        assert_eq!(regions.stack, 0x7ffe_ffff_e000..0x7fff_0000_0000);
        assert_eq!(regions.frames(), 4 + 2 + 1 + 1 + 2);
        // Only image and heap share 512 GiB; only buffer and start information share 2 MiB.
        assert_eq!([39, 30, 21].map(|bits| regions.tables(bits).count()), [3, 4, 4]);
    }

    #[test]
    fn impossible_programs_are_refused() {
        let plan = |segments: &[(u64, u64)], heap, stack| {
            Regions::new(segments, 1, &spec(heap, stack), RingRoom::None).err()
        };
        assert_eq!(plan(&[], 0, 1), Some(PlanError::NoImage));
        assert_eq!(plan(&[(0, 1)], 0, 1), Some(PlanError::ImageOutOfPlace));
        assert_eq!(plan(&[(HEAP_BASE, 1)], 0, 1), Some(PlanError::ImageOutOfPlace));
        assert_eq!(plan(&[(u64::MAX, 2)], 0, 1), Some(PlanError::ImageOutOfPlace));
        assert_eq!(plan(&[(0x40_0000, 1)], u64::MAX, 1), Some(PlanError::BadSize));
        assert_eq!(plan(&[(0x40_0000, 1)], 0, 0), Some(PlanError::BadSize));
    }

    #[test]
    fn pages_are_listed_in_the_order_of_frames() {
        let spec = spec(0x1000, 0x1000);
        let regions = Regions::new(&[(0x40_0000, 1)], 1, &spec, RingRoom::Window).expect("sound");
        let uses: Vec<_> = regions.pages().map(|(purpose, _)| purpose).collect();
        let expected = [
            PageUse::Image,
            PageUse::Memory,
            PageUse::RingDirectory,
            PageUse::IpcBuffer,
            PageUse::StartInfo,
            PageUse::Memory,
        ];
        assert_eq!(uses, expected);
        assert_eq!(regions.pages().count() as u64, regions.frames());
        assert!(regions.pages().map(|(_, page)| page.start).is_sorted());
    }

    #[test]
    fn the_cnode_has_room_for_the_grants_and_the_null_slot() {
        assert_eq!([0, 1, 3, 4, 7, 8].map(cnode_bits), [1, 1, 2, 3, 3, 4]);
    }

    /// Regions of these sizes (log2), where a program that uses them all sees them.
    fn shared_memory(bits: &[u8]) -> Vec<RegionUse> {
        let region = |(number, bits): (usize, &u8)| libd3os::image::RegionSpec {
            name: format!("region-{number}"),
            bytes: 1 << bits,
        };
        let regions: Vec<_> = bits.iter().enumerate().map(region).collect();
        let names = regions.iter().map(|region| region.name.clone()).collect();
        let spec = ProgramSpec { regions: names, ..ProgramSpec::default() };
        let manifest = libd3os::image::Manifest { regions, ..Default::default() };
        regions::uses(&manifest, &spec).expect("all described")
    }

    fn plans() -> impl Strategy<Value = Plan> {
        (
            prop::collection::vec((1u64..0x8000, 0u64..0x20_0000), 1..5),
            0u64..0x100_0000,
            1u64..0x10_0000,
            0u32..300,
            0u32..40,
        )
            .prop_map(|(segments, heap, stack, grants, replies)| {
                let segments: Vec<_> = segments.iter().map(|&(a, n)| (a << 12, n + 1)).collect();
                let regions = Regions::new(&segments, 99, &spec(heap, stack), RingRoom::Window)
                    .expect("sound");
                Plan::new(&regions, grants, replies).expect("sound")
            })
    }

    proptest! {
        /// The pieces hold every object, in order, aligned, with less than a page of waste.
        #[test]
        fn pieces_fit_without_gaps(plan in plans()) {
            let pieces = plan.pieces();
            let total: u64 = pieces.iter().map(|bits| 1u64 << bits).sum();
            prop_assert!(total >= plan.bytes() && total - plan.bytes() < 4096);
            let mut used = vec![0u64; pieces.len()];
            let mut made = 0;
            for call in plan.retypes() {
                prop_assert!(call.count <= RETYPE_FAN_OUT);
                let size = 1u64 << call.batch.object_bits();
                prop_assert_eq!(used[call.piece] % size, 0, "unaligned: the kernel would skip");
                used[call.piece] += size * call.count;
                prop_assert!(used[call.piece] <= 1 << pieces[call.piece]);
                made += call.count;
            }
            prop_assert_eq!(made, plan.slots());
        }

        /// Mapping every page takes exactly the paging structures that were planned.
        #[test]
        fn the_planned_tables_are_those_that_mapping_takes(
            starts in prop::collection::vec((1u64..0x8_0000, 0u64..0x80_0000), 1..5),
            heap in 0u64..0x100_0000,
            stack in 1u64..0x40_0000,
            has_rings: bool,
            shared in prop::collection::vec(12u8..25, 0..4),
            finds_devices: bool,
        ) {
            let segments: Vec<_> = starts.iter().map(|&(page, bytes)| (page << 12, bytes + 1)).collect();
            let rings = if has_rings { RingRoom::Window } else { RingRoom::None };
            let regions = Regions::new(&segments, 9000, &spec(heap, stack), rings).expect("sound");
            let uses = shared_memory(&shared);
            let regions = regions.sharing(&uses);
            let regions = if finds_devices { regions.finding_devices() } else { regions };
            let windows = [&regions.ring_window, &regions.platform_window];
            let windows = windows.into_iter().flat_map(|range| range.clone().step_by(4096));
            let pages = regions.pages().map(|(_, page)| page.start).chain(windows);
            let pages = pages.map(|page| (page, FrameSize::Small));
            let frames = uses.iter().flat_map(|known| {
                let size = regions::frame_size(known.bytes);
                let range = known.base..known.base + known.bytes;
                (range.start..range.end).step_by(1 << size.bits()).map(move |base| (base, size))
            });
            let above = |(place, size)| Table::above(place, size);
            let mapped: BTreeSet<Table> = pages.chain(frames).flat_map(above).collect();
            let prepared: BTreeSet<Table> = regions.prepared().flat_map(above).collect();
            prop_assert!(prepared.is_subset(&mapped));
            let own: BTreeSet<Table> = regions.pages()
                .flat_map(|(_, page)| Table::above(page.start, FrameSize::Small)).collect();
            prop_assert!(mapped.iter().all(|table| own.contains(table) || prepared.contains(table)));
            let planned: BTreeSet<Table> = regions.tables(39).map(|base| Table::Pdpt { base })
                .chain(regions.tables(30).map(|base| Table::PageDirectory { base }))
                .chain(regions.tables(21).map(|base| Table::PageTable { base }))
                .collect();
            prop_assert_eq!(mapped, planned);
        }
    }
}
