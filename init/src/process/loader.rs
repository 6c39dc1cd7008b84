//! Makes a program from the memory set aside for it, in the order in which the kernel wants it:
//! objects, address space, contents, capabilities, thread.

use core::ops::Range;

use init::memory::PageUse;
use libd3os::abi::{CNodeCapData, CapRights, FrameSize, ObjectType, UserRegisters};
use libd3os::cap::{Bandwidth, CNode, Error, Frame, SchedControl, Space, VSpace};
use libd3os::memory::{AddressSpace, MemoryError, RootCNode};
use libd3os::start::layout::{HEAP_BASE, IPC_BUFFER, STACK_TOP, START_INFO};
use libd3os::sys::Cptr;

use super::kernel::{ASID_POOL, MEMORY, THREAD, make};
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

/// Extra refills: as many as a scheduling context of [`init::memory::SCHED_CONTEXT_BITS`] holds.
const EXTRA_REFILLS: u64 = 8;

impl Loader {
    /// Makes the program and lets it run. `info` is its encoded start information. When this fails,
    /// nothing of the program is left.
    pub(super) fn start(
        &self,
        window: &mut Window,
        program: &Program,
        info: &[u8],
    ) -> Result<(), Refused> {
        let started = self.make(window, program, info);
        if started.is_err() {
            program.reclaim()?;
        }
        started
    }

    fn make(&self, window: &mut Window, program: &Program, info: &[u8]) -> Result<(), Refused> {
        make_objects(program)?;
        ASID_POOL.assign(vspace(program)).doing("naming its address space")?;
        map_pages(window, program, info).doing("mapping its memory")?;
        self.grant_capabilities(program)?;
        self.start_thread(program, info.len())
    }

    fn grant_capabilities(&self, program: &Program) -> Result<(), Refused> {
        let bits = program.draft.plan.cnode_bits;
        let replies = program.object(ObjectType::Reply);
        for granted in &program.draft.grants {
            let slot = cspace(program).slot(u64::from(granted.grant.slot), bits);
            let reply = |number| replies + u64::from(number);
            let number = program.draft.number;
            self.shared.grant(number, granted.source, granted.rights, slot, reply)?;
        }
        Ok(())
    }

    fn start_thread(&self, program: &Program, info_bytes: usize) -> Result<(), Refused> {
        let (thread, spec) = (program.thread(), &program.draft.spec);
        let guard = CNodeCapData::new(0, 64 - program.draft.plan.cnode_bits);
        let space =
            Space { cspace: cspace(program), cspace_data: guard.0, vspace: vspace(program) };
        thread
            .configure(space, IPC_BUFFER, ipc_frame(program))
            .doing("giving the thread its spaces")?;
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
        if !spec.waits.is_empty() {
            let notification = self.shared.notification(program.draft.number);
            thread.bind_notification(notification).doing("binding its notification")?;
        }
        thread.write_registers(&entry_registers(program, info_bytes), true).doing("letting it run")
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
    let mut space = AddressSpace::new(vspace(program));
    let mut tables = Tables::of(program);
    for (slot, (purpose, page)) in (first..).zip(program.draft.regions.pages()) {
        let frame = Frame::new(Cptr::new(slot));
        let rights = match purpose {
            PageUse::Image => fill_image_page(window, program, frame, &page)?,
            PageUse::Memory | PageUse::IpcBuffer => CapRights::READ_WRITE,
            PageUse::StartInfo => {
                let done = usize::try_from(page.start - START_INFO).unwrap_or(usize::MAX);
                window.write(frame, 0, info.get(done..).unwrap_or(&[]))?;
                CapRights::READ
            }
        };
        let make = |_: &mut RootCNode, object| tables.next(object);
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

fn vspace(program: &Program) -> VSpace {
    VSpace::new(Cptr::new(program.object(ObjectType::Pml4)))
}

fn cspace(program: &Program) -> CNode {
    CNode::new(Cptr::new(program.object(ObjectType::CNode)))
}

fn ipc_frame(program: &Program) -> Frame {
    let before = program.draft.regions.pages().take_while(|(what, _)| *what != PageUse::IpcBuffer);
    let first = program.object(FrameSize::Small.object_type());
    Frame::new(Cptr::new(first + before.count() as u64))
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
