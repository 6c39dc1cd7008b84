//! Making the root task: its capabilities, address space, image, thread and untyped memory.

use super::image::{ImageError, PAGE, PAGE_BYTES, RootImage};
use super::info::{Findings, Page, write_extra};
use super::memory::Memory;
use super::regions::{Piece, RegionList};
use super::{BootError, BootInput};
use crate::cap::{Asid, Cap, Mapping, TableLevel};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::memory::{Link, PhysAddr, Ref};
use crate::objects::{
    AsidPool, MAX_RAM_UNTYPED_BITS, MIN_REFILLS, PageTable, SchedContext, Tcb, TcbSlot, ThreadState,
};
use crate::refill::Parameters;
use crate::scheduler::Place;
use crate::slot::Slot;
use crate::vspace::{Attributes, Entry};
use core::mem::offset_of;
use core::ops::Range;
use d3os_abi::{
    BootInfo, CapRights, FrameSize, MAX_UNTYPED_BITS, MAX_UNTYPED_DESCRIPTORS,
    MIN_SCHED_CONTEXT_BITS, MIN_UNTYPED_BITS, SLOT_SIZE_BITS, USER_TOP, UntypedDescriptor,
    size_bits, slot,
};

/// log2 of the slots of the root task's CNode.
const CNODE_BITS: u8 = 13;
/// Slots for scheduling control, paging structures and extra BootInfo, and some that stay empty.
const MAX_OTHER_SLOTS: u64 = 512;
/// The root task's identifier: the first that is given out.
const ROOT_ASID: Asid = Asid(1);
/// Untypeds that RAM may take in BootInfo's list; device memory gets the rest.
const MAX_RAM_UNTYPEDS: usize = MAX_UNTYPED_DESCRIPTORS * 3 / 4;
/// Interrupts on, and the bit that always reads as one.
const USER_FLAGS: u64 = 0x202;
/// The root task's time slice in microseconds.
const TIME_SLICE: u64 = 5_000;
/// Levels of I/O page tables, where there are none.
const NO_IOMMU: u64 = u64::MAX;
/// What the kernel's messages call its thread.
const THREAD_NAME: &[u8] = b"root task";

/// Where things go in the root task's address space: the IPC buffer follows the image, then
/// BootInfo and a page of its extra chunks.
impl RootImage<'_> {
    fn ipc_buffer(&self) -> u64 {
        self.end()
    }

    fn boot_info(&self) -> u64 {
        self.end() + PAGE
    }

    fn extra(&self) -> u64 {
        self.end() + 2 * PAGE
    }

    /// All page ranges, ascending.
    fn mapped_ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.page_ranges().chain(core::iter::once(self.end()..self.extra() + PAGE))
    }

    /// Checks that there is room for all of it.
    pub(super) fn check_room(&self) -> Result<(), BootError> {
        let slots = 1 << CNODE_BITS;
        let others = slot::FIRST_FREE + MAX_UNTYPED_DESCRIPTORS as u64 + MAX_OTHER_SLOTS;
        let (pages, most) = (self.pages(), slots - others);
        if pages > most {
            return Err(BootError::ImageTooLarge { pages, most });
        }
        if self.extra() + PAGE > USER_TOP {
            return Err(ImageError::SegmentAddress.into());
        }
        Ok(())
    }
}

/// What makes the root task, step by step.
pub(super) struct Loader<'a, 'i, M> {
    kernel: &'a mut Kernel<M>,
    input: &'a BootInput<'i>,
    image: &'a RootImage<'i>,
    memory: &'a mut Memory,
    cnode: Ref<Slot>,
    next_slot: u64,
    root: Ref<PageTable>,
    /// Pages in the root task's address space.
    user_pages: u64,
}

impl<'a, 'i, M: Machine> Loader<'a, 'i, M> {
    pub(super) fn new(
        kernel: &'a mut Kernel<M>,
        input: &'a BootInput<'i>,
        image: &'a RootImage<'i>,
        memory: &'a mut Memory,
    ) -> Result<Self, BootError> {
        let mut allocate = |bits, purpose| memory.allocate(&mut kernel.machine, bits, purpose);
        let cnode = Ref::at(allocate(CNODE_BITS + SLOT_SIZE_BITS, "the root task's capabilities")?);
        let root = Ref::at(allocate(size_bits::PAGING, "the root task's address space")?);
        let next_slot = slot::FIRST_FREE;
        Ok(Self { kernel, input, image, memory, cnode, next_slot, root, user_pages: 0 })
    }

    pub(super) fn run(mut self) -> Result<(), BootError> {
        self.make_control_caps();
        self.make_address_space()?;
        let start = self.next_slot;
        self.insert_next(Cap::SchedControl { core: self.kernel.core });
        let sched_control = self.slots_since(start);
        let paging = self.make_tables()?;
        let (ipc_buffer, frame) = self.map_page(self.image.ipc_buffer())?;
        self.insert(slot::IPC_BUFFER_FRAME, frame);
        let (boot_info, frame) = self.map_page(self.image.boot_info())?;
        self.insert(slot::BOOT_INFO_FRAME, frame);
        let start = self.next_slot;
        let (extra, frame) = self.map_page(self.image.extra())?;
        self.insert_next(frame);
        let extra_pages = self.slots_since(start);
        let image_frames = self.load_image()?;
        self.make_thread(ipc_buffer.address())?;
        let mut findings = self.measure();
        let untyped = self.make_untypeds(boot_info);
        if self.input.node_id == 0 && self.input.num_nodes > 1 {
            findings.core_control = self.next_slot;
            self.insert_next(Cap::CoreControl);
        }
        let Self { kernel, input, image, next_slot, .. } = self;
        let extra_bytes = write_extra(kernel.get_mut(extra), input, findings);
        let head = [extra_bytes, input.node_id, input.num_nodes, NO_IOMMU, image.ipc_buffer()];
        kernel.put_words(boot_info, 0, &head);
        // Among the regions stand the root CNode's size and the thread's domain.
        let (empty, none, cnode) = ([next_slot, 1 << CNODE_BITS], [0; 2], [CNODE_BITS.into(), 0]);
        let regions =
            [empty, none, image_frames, paging, none, extra_pages, cnode, sched_control, untyped];
        kernel.put_words(boot_info, offset_of!(BootInfo, empty), regions.as_flattened());
        Ok(())
    }

    fn slot(&self, index: u64) -> Ref<Slot> {
        self.cnode.index(index)
    }

    fn insert(&mut self, index: u64, cap: Cap) {
        self.kernel.insert_root(self.slot(index), cap);
    }

    /// Puts a capability into the next free slot. Slots suffice: [`RootImage::check_room`] counted them.
    fn insert_next(&mut self, cap: Cap) {
        self.insert(self.next_slot, cap);
        self.next_slot += 1;
    }

    /// The slots that were filled since `start`.
    fn slots_since(&self, start: u64) -> [u64; 2] {
        [start, self.next_slot]
    }

    fn make_control_caps(&mut self) {
        let guard_size = 64 - CNODE_BITS;
        let (object, radix) = (self.cnode, CNODE_BITS);
        self.insert(slot::CNODE, Cap::CNode { object, radix, guard_size, guard: 0 });
        self.insert(slot::IRQ_CONTROL, Cap::IrqControl);
        self.insert(slot::ASID_CONTROL, Cap::AsidControl);
        self.insert(slot::IO_PORT_CONTROL, Cap::IoPortControl);
        self.insert(slot::DOMAIN, Cap::Domain);
    }

    fn make_address_space(&mut self) -> Result<(), BootError> {
        self.kernel.init_vspace_root(self.root);
        let pool: Ref<AsidPool> = self.allocate(size_bits::ASID_POOL, "the first ASID pool")?;
        self.kernel.get_mut(pool).roots[usize::from(ROOT_ASID.0)] = Link::to(self.root);
        self.kernel.asid_pools[0] = Link::to(pool);
        self.insert(slot::ASID_POOL, Cap::AsidPool { object: pool, base: Asid(0) });
        self.insert(slot::VSPACE, Cap::VSpace { root: self.root, asid: Some(ROOT_ASID) });
        Ok(())
    }

    /// Makes every table that the image's pages need, a level after the other.
    fn make_tables(&mut self) -> Result<[u64; 2], BootError> {
        let start = self.next_slot;
        for level in [TableLevel::Pdpt, TableLevel::PageDirectory, TableLevel::PageTable] {
            let bits = level.coverage_bits();
            let mut next = 0;
            for range in self.image.mapped_ranges().filter(|range| !range.is_empty()) {
                let end = ((range.end - 1) >> bits) + 1;
                for index in (range.start >> bits).max(next)..end {
                    self.make_table(level, index << bits)?;
                }
                next = end;
            }
        }
        Ok(self.slots_since(start))
    }

    fn make_table(&mut self, level: TableLevel, vaddr: u64) -> Result<(), BootError> {
        let object = self.allocate(size_bits::PAGING, "the root task's address space")?;
        let entry = Entry::table(object, Attributes::from_word(0));
        self.enter(vaddr, level.coverage_bits(), entry);
        let mapping = Some(Mapping { asid: ROOT_ASID, vaddr });
        self.insert_next(Cap::Table { object, level, mapping });
        Ok(())
    }

    /// Sets the entry for `vaddr`; the tables above it were made before.
    fn enter(&mut self, vaddr: u64, shift: u8, entry: Entry) {
        if let Ok(place) = self.kernel.find_entry(self.root, vaddr, shift) {
            self.kernel.set_entry(place, entry);
        }
    }

    /// A new object's zeroed memory: 2^`bits` bytes.
    fn allocate<T>(&mut self, bits: u8, purpose: &'static str) -> Result<Ref<T>, BootError> {
        self.memory.allocate(&mut self.kernel.machine, bits, purpose).map(Ref::at)
    }

    /// Maps a new, zeroed page; returns it and its capability.
    fn map_page(&mut self, vaddr: u64) -> Result<(Ref<Page>, Cap), BootError> {
        let page: Ref<Page> = self.allocate(size_bits::PAGING, "the root task's image")?;
        self.user_pages += 1;
        let base = page.address();
        let (size, rights) = (FrameSize::Small, CapRights::READ_WRITE);
        let entry = Entry::page(base, size, rights, Attributes::from_word(0));
        self.enter(vaddr, size.bits(), entry);
        let mapping = Some(Mapping { asid: ROOT_ASID, vaddr });
        Ok((page, Cap::Frame { base, size, rights, device: false, mapping }))
    }

    /// Every page is readable, writable and executable, as on seL4.
    fn load_image(&mut self) -> Result<[u64; 2], BootError> {
        let start = self.next_slot;
        for range in self.image.page_ranges() {
            for vaddr in range.step_by(PAGE_BYTES) {
                let (page, frame) = self.map_page(vaddr)?;
                self.insert_next(frame);
                for segment in self.image.segments() {
                    let (offset, bytes) = segment.bytes_in_page(vaddr);
                    let target = &mut self.kernel.get_mut(page).bytes[offset..][..bytes.len()];
                    target.copy_from_slice(bytes);
                }
            }
        }
        Ok(self.slots_since(start))
    }

    fn make_thread(&mut self, ipc_buffer: PhysAddr) -> Result<(), BootError> {
        let thread = self.allocate(size_bits::TCB, "the root task's thread")?;
        self.kernel.init_thread(thread);
        self.insert(slot::TCB, Cap::Thread { object: thread });
        self.give_slot(thread, TcbSlot::CSpace, slot::CNODE);
        self.give_slot(thread, TcbSlot::VSpace, slot::VSPACE);
        self.give_slot(thread, TcbSlot::IpcBuffer, slot::IPC_BUFFER_FRAME);
        self.set_registers(thread, ipc_buffer);
        let context = self.make_sched_context()?;
        self.give_time(thread, context);
        Ok(())
    }

    /// Copies a capability of the root CNode into one of the thread's own slots.
    fn give_slot(&mut self, thread: Ref<Tcb>, to: TcbSlot, index: u64) {
        let source = self.slot(index);
        let cap = self.kernel.cap_at(source);
        if let Ok(copy) = self.kernel.derive_cap(source, cap) {
            self.kernel.insert_derived(thread.cast::<Slot>().index(to as u64), copy, source);
        }
    }

    fn set_registers(&mut self, thread: Ref<Tcb>, ipc_buffer: PhysAddr) {
        let tcb = self.kernel.get_mut(thread);
        tcb.ipc_buffer = ipc_buffer;
        tcb.ipc_buffer_writable = 1;
        tcb.name[..THREAD_NAME.len()].copy_from_slice(THREAD_NAME);
        let context = &mut tcb.context;
        context.rip = self.image.entry;
        context.fault_ip = self.image.entry;
        context.rdi = self.image.boot_info();
        context.rflags = USER_FLAGS;
        context.full_frame = 1;
    }

    fn make_sched_context(&mut self) -> Result<Ref<SchedContext>, BootError> {
        let size_bits = MIN_SCHED_CONTEXT_BITS;
        let object = self.allocate(size_bits, "the root task's time")?;
        self.insert(slot::SCHED_CONTEXT, Cap::SchedContext { object, size_bits });
        Ok(object)
    }

    /// The thread is ready, with a time slice that it shares with others of its priority.
    fn give_time(&mut self, thread: Ref<Tcb>, context: Ref<SchedContext>) {
        let budget = TIME_SLICE * self.kernel.machine.ticks_per_microsecond();
        let refill_max = u32::try_from(MIN_REFILLS).unwrap_or(u32::MAX);
        self.kernel.new_refills(context, Parameters { budget, period: 0, refill_max });
        self.kernel.get_mut(context).thread = Link::to(thread);
        let tcb = self.kernel.get_mut(thread);
        tcb.sched_context = Link::to(context);
        tcb.priority = u8::MAX;
        tcb.mcp = u8::MAX;
        tcb.state = ThreadState::RUNNING;
        self.kernel.make_ready(thread, Place::Last);
    }

    fn measure(&self) -> Findings {
        let ram = self.memory.ram_bytes;
        let free = self.memory.free.bytes() + self.memory.module.bytes();
        Findings { ram, kernel: ram - free - self.user_pages * PAGE, core_control: 0 }
    }

    /// Makes a capability for every piece of memory that is left: device memory first. Where
    /// BootInfo's list is too short for all, the smallest are lost.
    fn make_untypeds(&mut self, boot_info: Ref<Page>) -> [u64; 2] {
        let Self { kernel, memory, cnode, next_slot, .. } = self;
        let start = *next_slot;
        let Memory { free: ram, device, module, pool, .. } = &mut **memory;
        module.iter().for_each(|region| ram.insert(region));
        let (ram_most, device_most) = (MAX_RAM_UNTYPED_BITS, MAX_UNTYPED_BITS);
        let least = smallest_listed(ram, MIN_UNTYPED_BITS, ram_most, MAX_RAM_UNTYPEDS);
        let ram = || listed(ram, least, ram_most);
        let pool = || listed(pool, FrameSize::Small.bits(), device_most);
        let room = MAX_UNTYPED_DESCRIPTORS - ram().count() - pool().count();
        let least = smallest_listed(device, FrameSize::Small.bits(), device_most, room);
        let pieces = listed(device, least, device_most).chain(pool()).map(|piece| (piece, true));
        let pieces = pieces.chain(ram().map(|piece| (piece, false)));
        for (index, (piece, device)) in pieces.enumerate() {
            let (base, size_bits) = (PhysAddr(piece.base), piece.bits);
            let cap = Cap::Untyped { base, size_bits, device, free: 0 };
            kernel.insert_root(cnode.index(*next_slot), cap);
            let entry = offset_of!(BootInfo, untyped_list) + index * size_of::<UntypedDescriptor>();
            let size_and_kind = u64::from(size_bits) | u64::from(device) << 8;
            kernel.put_words(boot_info, entry, &[base.0, size_and_kind]);
            *next_slot += 1;
        }
        self.slots_since(start)
    }
}

/// Pieces of at most 2^`most` bytes, without those smaller than 2^`least`.
fn listed(regions: &RegionList, least: u8, most: u8) -> impl Iterator<Item = Piece> + '_ {
    regions.pieces(most).filter(move |piece| piece.bits >= least)
}

/// The least size, from 2^`least` on, of which at most `room` pieces are as large.
fn smallest_listed(regions: &RegionList, least: u8, most: u8, room: usize) -> u8 {
    let fits = |bits: &u8| listed(regions, *bits, most).count() <= room;
    (least..=most).find(fits).unwrap_or(u8::MAX)
}
