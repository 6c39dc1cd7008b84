//! Makes a program from the memory set aside for it, in the order in which the kernel wants it:
//! objects, address space, contents, capabilities, thread.

use alloc::vec::Vec;
use core::ops::Range;

use init::grants::{Granted, Source};
use init::memory::PageUse;
use init::message::{Attachment, Route};
use libd3os::abi::{CNodeCapData, CapRights, FrameSize, ObjectType, UserRegisters};
use libd3os::cap::{Bandwidth, Error, Frame, SchedControl, Space};
use libd3os::memory::{AddressSpace, MemoryError};
use libd3os::start::Hardware;
use libd3os::start::layout::{HEAP_BASE, IPC_BUFFER, STACK_TOP, START_INFO};
use libd3os::sys::Cptr;

use super::held::Held;
use super::kernel::{ASID_POOL, MEMORY, OwnSlots, THREAD, make};
use super::memory::Memory;
use super::program::Program;
use super::resources::Shared;
use super::trouble::{Doing, Refused};
use super::window::Window;

/// What making a program takes besides the program.
#[derive(Debug)]
pub(super) struct Loader {
    pub(super) shared: Shared,
    pub(super) time: SchedControl,
}

/// What init makes programs with, besides what they share.
#[derive(Debug)]
pub(super) struct Means<'a> {
    pub(super) window: &'a mut Window,
    pub(super) memory: &'a mut Memory,
    pub(super) held: &'a mut Held,
}

/// Extra refills: as many as a scheduling context of [`init::memory::SCHED_CONTEXT_BITS`] holds.
const EXTRA_REFILLS: u64 = 8;

/// What a program is made with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outfit<'a> {
    /// Its encoded start information.
    pub(super) info: &'a [u8],
    pub(super) granted: &'a [Granted],
    /// Its signal line.
    pub(super) line: Option<u8>,
    pub(super) routes: &'a [Route],
}

impl Outfit<'_> {
    fn pairs(&self) -> impl Iterator<Item = &Attachment> {
        self.routes.iter().filter_map(|route| route.pair.as_ref())
    }

    /// The program's devices that this machine has, and the slots for their handlers.
    fn handlers(&self) -> Vec<(usize, u32)> {
        let device = |held: &Granted| match (held.source, &held.grant.hardware) {
            (Source::Device(device), Some(Hardware::Device(_))) => Some((device, held.grant.slot)),
            _ => None,
        };
        self.granted.iter().filter_map(device).collect()
    }
}

impl Loader {
    /// Makes the program and lets it run. When this fails, nothing of the program is left.
    pub(super) fn start(
        &self,
        means: Means<'_>,
        program: &mut Program,
        outfit: Outfit<'_>,
    ) -> Result<(), Refused> {
        let Means { window, memory, held } = means;
        let started = self.make(Means { window, memory, held }, program, outfit);
        if started.is_err() {
            held.detach(program)?;
            program.drop_rings(memory)?;
            program.reclaim()?;
        }
        program.is_live = started.is_ok();
        started
    }

    fn make(
        &self,
        Means { window, memory, held }: Means<'_>,
        program: &mut Program,
        outfit: Outfit<'_>,
    ) -> Result<(), Refused> {
        make_objects(program)?;
        ASID_POOL.assign(program.vspace()).doing("naming its address space")?;
        map_pages(window, program, outfit.info).doing("mapping its memory")?;
        self.grant_capabilities(program, outfit.granted)?;
        held.attach(program, &outfit.handlers(), memory)?;
        if let Some(line) = outfit.line {
            program.hang_bell(line, self.shared.notification(program.draft.number))?;
        }
        outfit.pairs().try_for_each(|pair| program.attach(pair, window, memory))?;
        self.start_thread(program, outfit)
    }

    fn grant_capabilities(&self, program: &Program, granted: &[Granted]) -> Result<(), Refused> {
        let replies = program.object(ObjectType::Reply);
        let in_slots = granted.iter().filter(|held| !held.source.is_mapped());
        for held in in_slots {
            let slot = program.slot(held.grant.slot);
            let reply = |number| replies + u64::from(number);
            let number = program.draft.number;
            self.shared.grant(number, held.source, held.rights, slot, reply)?;
        }
        Ok(())
    }

    fn start_thread(&self, program: &Program, outfit: Outfit<'_>) -> Result<(), Refused> {
        let (thread, spec) = (program.thread(), &program.draft.spec);
        let guard = CNodeCapData::new(0, 64 - program.draft.plan.cnode_bits);
        let (cspace, vspace) = (program.cspace(), program.vspace());
        let space = Space { cspace, cspace_data: guard.0, vspace };
        let ipc_frame = Frame::new(Cptr::new(program.frame_for(PageUse::IpcBuffer)));
        thread.configure(space, IPC_BUFFER, ipc_frame).doing("giving the thread its spaces")?;
        let has_limit = spec.budget_us < spec.period_us;
        let bandwidth = Bandwidth {
            budget_us: spec.budget_us,
            period_us: spec.period_us,
            extra_refills: if has_limit { EXTRA_REFILLS } else { 0 },
            ..Bandwidth::default()
        };
        self.time
            .configure(program.context(), bandwidth)
            .doing("setting its share of the processor")?;
        let priority = spec.priority;
        let fault = program.fault_endpoint;
        thread
            .set_sched_params(THREAD, priority, priority, program.context(), fault)
            .doing("setting its priority")?;
        if !spec.waits.is_empty() || outfit.line.is_some() || program.has_heart() {
            let notification = self.shared.notification(program.draft.number);
            thread.bind_notification(notification).doing("binding its notification")?;
        }
        thread
            .write_registers(&entry_registers(program, outfit.info.len()), true)
            .doing("letting it run")
    }
}

fn make_objects(program: &Program) -> Result<(), Refused> {
    let mut slot = program.objects;
    for call in program.draft.plan.retypes() {
        let Some(piece) = program.pieces.get(call.piece) else { continue };
        make(*piece, call.batch.object, call.batch.user_bits, slot, call.count)
            .doing("making its objects")?;
        slot += call.count;
    }
    Ok(())
}

/// Fills and maps every page, and with it the paging structures that it hangs from.
fn map_pages(window: &mut Window, program: &Program, info: &[u8]) -> Result<(), MemoryError> {
    let first = program.object(FrameSize::Small.object_type());
    let mut space = AddressSpace::new(program.vspace());
    let mut tables = Tables::of(program);
    for (address, size) in program.draft.regions.prepared() {
        let make = |_: &mut OwnSlots, object| tables.next(object);
        space.prepare(&mut { MEMORY }, make, address, size)?;
    }
    for (slot, (purpose, page)) in (first..).zip(program.draft.regions.pages()) {
        let frame = Frame::new(Cptr::new(slot));
        let rights = match purpose {
            PageUse::Image => fill_image_page(window, program, frame, &page)?,
            PageUse::Memory | PageUse::IpcBuffer => CapRights::READ_WRITE,
            PageUse::RingDirectory => CapRights::READ,
            PageUse::StartInfo => {
                let done = usize::try_from(page.start - START_INFO).unwrap_or(usize::MAX);
                window.write(frame, 0, info.get(done..).unwrap_or(&[]))?;
                CapRights::READ
            }
        };
        let make = |_: &mut OwnSlots, object| tables.next(object);
        let frame = (frame, FrameSize::Small);
        space.map(&mut { MEMORY }, make, frame, page.start, rights)?;
    }
    Ok(())
}

/// The paging structures that were planned and made for a program, in the order of their use.
struct Tables([(ObjectType, Range<u64>); 3]);

impl Tables {
    fn of(program: &Program) -> Self {
        let kinds = [ObjectType::Pdpt, ObjectType::PageDirectory, ObjectType::PageTable];
        Self(kinds.map(|kind| (kind, program.objects_of(kind))))
    }

    /// The slot of the next one of this type. The plan counts exactly what mapping takes.
    fn next(&mut self, kind: ObjectType) -> Result<u64, MemoryError> {
        let slots = self.0.iter_mut().find(|(known, _)| *known == kind);
        slots.and_then(|(_, slots)| slots.next()).ok_or(MemoryError::OutOfSlots)
    }
}

/// Copies what the file has for this page; tells what the program may do there.
fn fill_image_page(
    window: &mut Window,
    program: &Program,
    frame: Frame,
    page: &Range<u64>,
) -> Result<CapRights, Error> {
    let mut rights = CapRights::READ;
    for segment in program.draft.file.segments.iter().filter(|part| part.touches(page)) {
        if segment.writable {
            rights = CapRights::READ_WRITE;
        }
        if let Some((offset, bytes)) = segment.contents_in(page) {
            window.write(frame, usize::try_from(offset).unwrap_or(usize::MAX), bytes)?;
        }
    }
    Ok(rights)
}

/// The registers with which a program begins; see [`libd3os::start`].
fn entry_registers(program: &Program, info_bytes: usize) -> UserRegisters {
    let heap = &program.draft.regions.heap;
    UserRegisters {
        rip: program.draft.file.entry,
        rsp: STACK_TOP,
        rflags: 0x202,
        rdi: START_INFO,
        rsi: info_bytes as u64,
        rdx: HEAP_BASE,
        rcx: heap.end - heap.start,
        r8: IPC_BUFFER,
        ..UserRegisters::default()
    }
}
