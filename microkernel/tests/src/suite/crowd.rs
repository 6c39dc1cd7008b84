//! Threads that share a capability space and make random system calls, right and wrong ones, a million
//! in all: the kernel survives them, and so does everybody else.
//!
//! They run in rounds. In each, four threads in an address space of their own execute lines that were
//! drawn for them (`machine::Line`), on the objects of a cell that one round has for itself; what they
//! do to each other stops them again and again. When a thread below them gets to run, all are brought
//! back to their next lines, a number of times; then the round is over, and all its memory revoked.

use alloc::vec::Vec;
use libd3os::abi::{
    CNodeCapData, CapRights, FrameSize, Label, MessageInfo, ObjectType, Syscall, UserRegisters,
};
use libd3os::cap::{
    Bandwidth, CNode, Capability, Endpoint, Frame, IoPortRange, MsiSource, Notification,
    SchedContext, Slot, SlotRun, Space, Tcb, VSpace,
};
use libd3os::sys::Cptr;

use super::hostile::{Random, check_life_goes_on};
use super::tests;
use crate::arena::{
    ASID_CONTROL, ASID_POOL, Arena, IMAGE_BASE, IO_PORT_CONTROL, IRQ_CONTROL, TCB, slot_of,
};
use crate::check::{Failure, Outcome, check};
use crate::machine::{self, Line};
use crate::raw;
use crate::worker::Options;

tests![; noisy: a_million_system_calls];

/// System calls to be made in all.
const CALLS: u64 = 1_000_000;
/// The same on a kernel that prints every fault that nobody handles, which takes its time.
const CALLS_WITH_DEBUGGING: u64 = 20_000;
/// Threads in a crowd.
const MEMBERS: u64 = 4;
const MEMBERS_PLACES: usize = 4;
/// Lines drawn for each.
const LINES: usize = 600;
/// Longest time that they run before they are.
const LONGEST_TURN_US: u64 = 20_000;
/// How often a round's threads are brought back to life.
const TURNS: u32 = 40;

/// What a cell has, by address in its capability space.
mod place {
    pub(super) const UNTYPED: &[u64] = &[1, 2, 3];
    /// The members first, then new ones.
    pub(super) const THREADS: &[u64] = &[4, 5, 6, 7, 8, 9];
    pub(super) const ENDPOINTS: &[u64] = &[10, 11, 12, 13];
    pub(super) const NOTIFICATIONS: &[u64] = &[14, 15, 16, 17];
    pub(super) const REPLIES: &[u64] = &[18, 19, 20, 21, 22, 23];
    pub(super) const CONTEXTS: &[u64] = &[24, 25, 26, 27, 28, 29];
    pub(super) const NODES: &[u64] = &[30, 31];
    pub(super) const FRAMES: &[u64] = &[32, 33, 34, 35];
    pub(super) const PDPTS: &[u64] = &[36];
    pub(super) const DIRECTORIES: &[u64] = &[37];
    pub(super) const TABLES: &[u64] = &[38];
    pub(super) const SPACES: &[u64] = &[39];
    pub(super) const NEW_SPACES: &[u64] = &[40];
    pub(super) const ASID_POOL: &[u64] = &[41];
    pub(super) const ASID_CONTROL: &[u64] = &[42];
    pub(super) const PORTS: &[u64] = &[43];
    pub(super) const HANDLERS: &[u64] = &[44];
    pub(super) const SCHED_CONTROL: &[u64] = &[45];
    /// Everything above.
    pub(super) const END: u64 = 46;
}
use place::{
    ASID_CONTROL as CONTROL_PLACE, ASID_POOL as POOL_PLACE, CONTEXTS, DIRECTORIES, ENDPOINTS,
    FRAMES, HANDLERS, NEW_SPACES, NODES, NOTIFICATIONS, PDPTS, PORTS, REPLIES, SCHED_CONTROL,
    SPACES, TABLES, THREADS, UNTYPED,
};

/// Bits of an address in the cell.
const CELL_BITS: u8 = 7;
/// First of four ports that nothing listens to.
const IDLE_PORT: u16 = 0x80;
/// A vector that no other test uses.
const VECTOR: u64 = 90;

/// Where the crowd's address space has what.
mod address {
    pub(super) const CODE: u64 = 0x10_0000;
    pub(super) const BUFFERS: u64 = 0x20_0000;
    pub(super) const LINES: u64 = 0x4000_0000;
}

/// What an argument word is drawn from.
#[derive(Clone, Copy)]
enum Word {
    Below(u64),
    /// An address in the cell that something is at, most likely.
    Full,
    /// One that nothing is at, most likely.
    Empty,
    /// The bits of such an address.
    Depth,
    Type,
    Rights,
    Address,
    Time,
    Any,
}

/// An invocation that can succeed: its label, on what, words, capabilities.
type Plan = (Label, &'static [u64], &'static [Word], &'static [&'static [u64]]);

const PLANS: &[Plan] = {
    use Word::{Address, Any, Below, Depth, Empty, Full, Rights, Time, Type};
    &[
        (
            Label::UntypedRetype,
            UNTYPED,
            &[Type, Below(14), Below(1), Below(1), Empty, Below(4)],
            &[NODES],
        ),
        (Label::TcbReadRegisters, THREADS, &[Below(2), Below(21)], &[]),
        (Label::TcbWriteRegisters, THREADS, &[Below(2), Below(6), Any, Any, Any, Any], &[]),
        (Label::TcbCopyRegisters, THREADS, &[Below(16)], &[THREADS]),
        (Label::TcbConfigure, THREADS, &[Below(1), Below(1), Address], &[NODES, SPACES, FRAMES]),
        (Label::TcbSetPriority, THREADS, &[Below(60)], &[THREADS]),
        (Label::TcbSetMcPriority, THREADS, &[Below(60)], &[THREADS]),
        (
            Label::TcbSetSchedParams,
            THREADS,
            &[Below(60), Below(60)],
            &[THREADS, CONTEXTS, ENDPOINTS],
        ),
        (Label::TcbSetTimeoutEndpoint, THREADS, &[], &[ENDPOINTS]),
        (Label::TcbSetIpcBuffer, THREADS, &[Address], &[FRAMES]),
        (Label::TcbSetSpace, THREADS, &[Below(1), Below(1)], &[ENDPOINTS, NODES, SPACES]),
        (Label::TcbSuspend, THREADS, &[], &[]),
        (Label::TcbResume, THREADS, &[], &[]),
        (Label::TcbResume, THREADS, &[], &[]),
        (Label::TcbBindNotification, THREADS, &[], &[NOTIFICATIONS]),
        (Label::TcbUnbindNotification, THREADS, &[], &[]),
        (Label::TcbSetTlsBase, THREADS, &[Any], &[]),
        (Label::TcbSetFlags, THREADS, &[Below(2), Below(2)], &[]),
        (Label::CNodeRevoke, NODES, &[Full, Depth], &[]),
        (Label::CNodeDelete, NODES, &[Full, Depth], &[]),
        (Label::CNodeDelete, NODES, &[Empty, Depth], &[]),
        (Label::CNodeCancelBadgedSends, NODES, &[Full, Depth], &[]),
        (Label::CNodeCopy, NODES, &[Empty, Depth, Full, Depth, Rights], &[NODES]),
        (Label::CNodeMint, NODES, &[Empty, Depth, Full, Depth, Rights, Below(4)], &[NODES]),
        (Label::CNodeMove, NODES, &[Empty, Depth, Full, Depth], &[NODES]),
        (Label::CNodeMutate, NODES, &[Empty, Depth, Full, Depth, Below(4)], &[NODES]),
        (
            Label::CNodeRotate,
            NODES,
            &[Empty, Depth, Below(2), Full, Depth, Below(2), Full, Depth],
            &[NODES, NODES],
        ),
        (Label::IrqHandlerAck, HANDLERS, &[], &[]),
        (Label::IrqHandlerSetNotification, HANDLERS, &[], &[NOTIFICATIONS]),
        (Label::IrqHandlerClear, HANDLERS, &[], &[]),
        (
            Label::SchedControlConfigureFlags,
            SCHED_CONTROL,
            &[Time, Time, Below(8), Any, Below(2)],
            &[CONTEXTS],
        ),
        (Label::SchedContextBind, CONTEXTS, &[], &[THREADS]),
        (Label::SchedContextBind, CONTEXTS, &[], &[NOTIFICATIONS]),
        (Label::SchedContextUnbind, CONTEXTS, &[], &[]),
        (Label::SchedContextUnbindObject, CONTEXTS, &[], &[THREADS]),
        (Label::SchedContextConsumed, CONTEXTS, &[], &[]),
        (Label::SchedContextYieldTo, CONTEXTS, &[], &[]),
        (Label::PdptMap, PDPTS, &[Address, Below(8)], &[SPACES]),
        (Label::PdptUnmap, PDPTS, &[], &[]),
        (Label::PageDirectoryMap, DIRECTORIES, &[Address, Below(8)], &[SPACES]),
        (Label::PageDirectoryUnmap, DIRECTORIES, &[], &[]),
        (Label::PageTableMap, TABLES, &[Address, Below(8)], &[SPACES]),
        (Label::PageTableUnmap, TABLES, &[], &[]),
        (Label::PageMap, FRAMES, &[Address, Rights, Below(8)], &[SPACES]),
        (Label::PageUnmap, FRAMES, &[], &[]),
        (Label::PageGetAddress, FRAMES, &[], &[]),
        (Label::AsidControlMakePool, CONTROL_PLACE, &[Empty, Depth], &[UNTYPED, NODES]),
        (Label::AsidPoolAssign, POOL_PLACE, &[], &[NEW_SPACES]),
        (Label::IoPortIn8, PORTS, &[Below(0x90)], &[]),
        (Label::IoPortIn16, PORTS, &[Below(0x90)], &[]),
        (Label::IoPortIn32, PORTS, &[Below(0x90)], &[]),
        (Label::IoPortOut8, PORTS, &[Below(0x90), Any], &[]),
        (Label::IoPortOut16, PORTS, &[Below(0x90), Any], &[]),
        (Label::IoPortOut32, PORTS, &[Below(0x90), Any], &[]),
    ]
};

/// Between threads. What would wait for ever is rarer.
const MESSAGES: &[Syscall] = &[
    Syscall::Call,
    Syscall::ReplyRecv,
    Syscall::NBSendRecv,
    Syscall::NBSendWait,
    Syscall::Send,
    Syscall::Recv,
    Syscall::Wait,
    Syscall::NBSend,
    Syscall::NBSend,
    Syscall::NBSend,
    Syscall::NBSend,
    Syscall::NBRecv,
    Syscall::NBRecv,
    Syscall::NBWait,
    Syscall::NBWait,
    Syscall::Yield,
    Syscall::SetTLSBase,
];

/// Draws lines.
struct Author(Random);

impl Author {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.index(from.len())]
    }

    fn word(&mut self, word: Word) -> u64 {
        match word {
            Word::Below(bound) => self.0.below(bound),
            Word::Full => 1 + self.0.below(place::END),
            Word::Empty => place::END + self.0.below((1 << CELL_BITS) - place::END),
            Word::Depth => CELL_BITS.into(),
            Word::Type => self.0.below(ObjectType::ALL.len() as u64),
            Word::Rights => self.0.below(16),
            Word::Address => self.0.below(2) << 30 | self.0.below(4) << 21 | self.0.below(4) << 12,
            Word::Time => 20 + self.0.below(2000),
            Word::Any => self.0.argument(),
        }
    }

    fn line(&mut self) -> Line {
        let mut line = if self.0.below(3) == 0 { self.message() } else { self.invocation() };
        if self.0.below(6) == 0 {
            self.spoil(&mut line);
        }
        line
    }

    fn invocation(&mut self) -> Line {
        let (label, targets, words, caps) = self.pick(PLANS);
        let mut line = Line {
            rdx: Syscall::Call.number().cast_unsigned(),
            rdi: self.pick(targets),
            rsi: MessageInfo::new(label.number(), 0, caps.len(), words.len()).0,
            ..Line::default()
        };
        for (index, word) in words.iter().enumerate() {
            let value = self.word(*word);
            match line.words.get_mut(index) {
                Some(place) => *place = value,
                None => line.more_words[index - 4] = value,
            }
        }
        for (place, from) in line.caps.iter_mut().zip(caps) {
            *place = self.pick(from);
        }
        line
    }

    fn message(&mut self) -> Line {
        let call = self.pick(MESSAGES);
        let partners = self.pick(&[ENDPOINTS, ENDPOINTS, NOTIFICATIONS, REPLIES]);
        let second = self.pick(ENDPOINTS);
        let r12 = if call == Syscall::NBSendWait { second } else { self.pick(REPLIES) };
        let caps = self.0.index(4);
        Line {
            rdx: call.number().cast_unsigned(),
            rdi: self.pick(partners),
            rsi: MessageInfo::new(self.0.below(4), 0, caps, self.0.index(14)).0,
            words: [(); 4].map(|()| self.0.argument()),
            r12,
            r13: second,
            caps: [(); 3].map(|()| self.0.below(place::END)),
            receive: [self.pick(NODES), self.word(Word::Empty), CELL_BITS.into()],
            ..Line::default()
        }
    }

    /// Makes something wrong, or only unlikely.
    fn spoil(&mut self, line: &mut Line) {
        let any = self.0.argument();
        match self.0.below(8) {
            0 => line.rsi = any,
            1 => line.rdi = any,
            2 => line.rdi = self.0.below(1 << CELL_BITS),
            3 => line.caps[self.0.index(3)] = any,
            // A system call that there is not, in kernels with and without those for debugging.
            4 => line.rdx = self.pick(&[0, 1, 77, 1 << 40, (-50_i64).cast_unsigned()]),
            5 => line.rsi ^= 1 << self.0.below(12),
            _ => line.words[self.0.index(4)] = any,
        }
    }
}

/// A thread of the crowd.
struct Member {
    tcb: Tcb,
    context: SchedContext,
    /// Its buffer: the frame, and where it finds it.
    frame: Frame,
    buffer: u64,
    priority: u8,
    /// The line that it goes on with, and the end of all.
    next: u64,
    end: u64,
}

impl Member {
    fn registers(&self) -> UserRegisters {
        UserRegisters {
            rip: address::CODE + machine::crowd_entry() % 4096,
            rbp: self.next,
            r14: self.end,
            rbx: self.buffer,
            rflags: 0x202,
            ..UserRegisters::default()
        }
    }
}

/// The capability space of a crowd, and its address space.
struct Cell {
    space: CNode,
    vspace: VSpace,
    /// Where their faults go, to which nobody listens.
    graveyard: Endpoint,
    /// Where the test finds the lines, and the buffers.
    lines: u64,
    buffers: Vec<(Frame, u64)>,
}

impl Cell {
    fn new(arena: &mut Arena) -> Result<Self, Failure> {
        let (space, vspace) = (arena.cnode(CELL_BITS)?, arena.address_space()?);
        let (graveyard, buffers) = (arena.endpoint()?, Vec::new());
        let lines = arena.frame(FrameSize::Large)?;
        let shared = Frame::new(arena.copy(lines.cptr())?);
        arena.map_at(vspace, shared, address::LINES, CapRights::READ)?;
        let lines = arena.map(lines, FrameSize::Large)?;
        let mut cell = Self { space, vspace, graveyard, lines, buffers };
        cell.map_code(arena)?;
        for member in 0..MEMBERS {
            let frame = arena.frame(FrameSize::Small)?;
            let shared = Frame::new(arena.copy(frame.cptr())?);
            let there = address::BUFFERS + 4096 * member;
            arena.map_at(vspace, shared, there, CapRights::READ_WRITE)?;
            let here = arena.map(frame, FrameSize::Small)?;
            cell.buffers.push((frame, here));
        }
        cell.fill(arena)?;
        Ok(cell)
    }

    /// The page of the image that the code is in, for the crowd to read and execute.
    fn map_code(&mut self, arena: &mut Arena) -> Outcome {
        let page = (machine::crowd_entry() - IMAGE_BASE) / 4096;
        let frame = arena.boot().user_image_frames.start + page;
        let code = Frame::new(arena.copy(Cptr::new(frame))?);
        arena.map_at(self.vspace, code, address::CODE, CapRights::READ)?;
        Ok(())
    }

    fn slot(&self, index: u64) -> Slot {
        self.space.slot(index, CELL_BITS)
    }

    fn make(&self, arena: &Arena, kind: ObjectType, bits: u8, places: &[u64]) -> Outcome {
        let run = SlotRun::within(self.space, places[0]);
        arena.memory().retype(kind, bits, run, places.len() as u64)?;
        Ok(())
    }

    /// Everything but the members.
    fn fill(&self, arena: &mut Arena) -> Outcome {
        self.make(arena, ObjectType::Untyped, 15, &UNTYPED[..2])?;
        self.make(arena, ObjectType::Untyped, 12, &UNTYPED[2..])?;
        self.make(arena, ObjectType::Tcb, 0, &THREADS[MEMBERS_PLACES..])?;
        self.make(arena, ObjectType::Endpoint, 0, &ENDPOINTS[..2])?;
        for (badge, place) in (1..).zip(&ENDPOINTS[2..]) {
            self.slot(*place).mint_from(self.slot(ENDPOINTS[0]), CapRights::ALL, badge)?;
        }
        self.make(arena, ObjectType::Notification, 0, NOTIFICATIONS)?;
        self.make(arena, ObjectType::Reply, 0, REPLIES)?;
        self.make(arena, ObjectType::SchedContext, 8, &CONTEXTS[MEMBERS_PLACES..])?;
        self.slot(NODES[0]).copy_from(slot_of(self.space.cptr()), CapRights::ALL)?;
        self.make(arena, ObjectType::CNode, 4, &NODES[1..])?;
        self.make(arena, ObjectType::SmallPage, 0, FRAMES)?;
        self.make(arena, ObjectType::Pdpt, 0, PDPTS)?;
        self.make(arena, ObjectType::PageDirectory, 0, DIRECTORIES)?;
        self.make(arena, ObjectType::PageTable, 0, TABLES)?;
        self.make(arena, ObjectType::Pml4, 0, NEW_SPACES)?;
        let copies = [
            (SPACES, self.vspace.cptr()),
            (POOL_PLACE, ASID_POOL.cptr()),
            (CONTROL_PLACE, ASID_CONTROL.cptr()),
            (SCHED_CONTROL, arena.sched_control().cptr()),
        ];
        for (place, cptr) in copies {
            self.slot(place[0]).copy_from(slot_of(cptr), CapRights::ALL)?;
        }
        let range = IoPortRange { first: IDLE_PORT, last: IDLE_PORT + 3 };
        IO_PORT_CONTROL.issue(range, self.slot(PORTS[0]))?;
        let source = MsiSource { bus: 0, device: 0, function: 0, handle: 0 };
        IRQ_CONTROL.get_msi(self.slot(HANDLERS[0]), source, VECTOR)?;
        Ok(())
    }

    /// Makes a member, with lines of its own.
    fn admit(
        &self,
        arena: &mut Arena,
        member: u64,
        author: &mut Author,
    ) -> Result<Member, Failure> {
        let lines: Vec<Line> = (0..LINES).map(|_| author.line()).collect();
        let bytes = size_of_val(lines.as_slice()) as u64;
        machine::write_lines(self.lines + member * bytes, &lines);
        let tcb = Tcb::new(arena.make(ObjectType::Tcb, 0)?);
        let context = SchedContext::new(arena.make(ObjectType::SchedContext, 8)?);
        let index = usize::try_from(member).unwrap_or(0);
        self.slot(THREADS[index]).copy_from(slot_of(tcb.cptr()), CapRights::ALL)?;
        self.slot(CONTEXTS[index]).copy_from(slot_of(context.cptr()), CapRights::ALL)?;
        let first = address::LINES + member * bytes;
        let (frame, _) = self.buffers[index];
        let buffer = address::BUFFERS + 4096 * member;
        let priority = 50 + u8::try_from(member % 3).unwrap_or(0);
        Ok(Member { tcb, context, frame, buffer, priority, next: first, end: first + bytes })
    }

    /// Lets a member go on with its next line, whatever has become of it; false when it has none.
    fn go_on(&self, arena: &Arena, member: &mut Member) -> Result<bool, Failure> {
        let registers = member.tcb.read_registers(true)?;
        let told = registers.rbp;
        let sane = (member.next..member.end).contains(&told);
        let aligned = sane && (told - member.next).is_multiple_of(size_of::<Line>() as u64);
        // One that was given other registers goes on where it last was, a line further.
        member.next = if aligned { told } else { member.next + size_of::<Line>() as u64 };
        if member.next >= member.end {
            return Ok(false);
        }
        let cspace_data = CNodeCapData::new(0, 64 - CELL_BITS).0;
        let space = Space { cspace: self.space, cspace_data, vspace: self.vspace };
        let placed = member.tcb.set_space(self.graveyard.cptr(), space);
        if placed.and_then(|()| member.tcb.set_ipc_buffer(member.buffer, member.frame)).is_err() {
            // Its capability space is the last capability to a CNode: that stays as it is.
            member.next = member.end;
            return Ok(false);
        }
        let plenty = Bandwidth { budget_us: 10_000, period_us: 10_000, ..Bandwidth::default() };
        arena.sched_control().configure(member.context, plenty)?;
        // Others may have it, as they may have lent it theirs.
        let _ = member.context.unbind();
        let _ = member.context.bind(member.tcb.cptr());
        member.tcb.set_mc_priority(TCB, 53)?;
        member.tcb.set_priority(TCB, member.priority)?;
        member.tcb.write_registers(&member.registers(), true)?;
        Ok(true)
    }

    /// Calls that were made, and those that were answered with the label 0.
    fn counts(&self) -> [u64; 2] {
        let counts = self.buffers.iter().map(|(_, page)| machine::crowd_counts(*page));
        counts.fold([0; 2], |[calls, good], [c, g]| [calls + c, good + g])
    }
}

/// Starts what ends a turn: a thread below the crowd, since when it runs, none of them can; and one
/// above them, now and then, since they may let each other do the same again for ever.
fn watch(arena: &mut Arena, turn: Notification, passed: Notification) -> Outcome {
    let tell = arena.mint(passed.cptr(), CapRights::ALL, 1)?;
    let go = turn.cptr();
    arena.worker(10, move |_| {
        loop {
            raw::wait(go);
            raw::signal(tell);
        }
    })?;
    let tick = arena.mint(passed.cptr(), CapRights::ALL, 2)?;
    let rarely = Bandwidth { budget_us: 100, period_us: LONGEST_TURN_US, ..Bandwidth::default() };
    let options = Options { bandwidth: Some(rarely), ..Options::priority(60) };
    arena.spawn(options, move |_| {
        loop {
            raw::yield_now();
            raw::signal(tick);
        }
    })?;
    Ok(())
}

/// One round; how many calls were made, and how many of them were answered with the label 0.
fn round(arena: &mut Arena, seed: u64) -> Result<[u64; 2], Failure> {
    let mut author = Author(Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
    let cell = Cell::new(arena)?;
    let mut members = Vec::new();
    for member in 0..MEMBERS {
        members.push(cell.admit(arena, member, &mut author)?);
    }
    let (turn, passed) = (arena.notification()?, arena.notification()?);
    watch(arena, turn, passed)?;
    for _ in 0..TURNS {
        let mut goes_on = false;
        for member in &mut members {
            goes_on |= cell.go_on(arena, member)?;
        }
        if !goes_on {
            break;
        }
        turn.signal();
        check!(passed.wait() != 0, "woken by nobody");
    }
    let counts = cell.counts();
    arena.reset()?;
    Ok(counts)
}

fn a_million_system_calls(arena: &mut Arena) -> Outcome {
    // The kernel with several domains is the one for debugging.
    let enough = if arena.domains() > 1 { CALLS_WITH_DEBUGGING } else { CALLS };
    let (mut calls, mut good, mut in_circles, mut seed) = (0, 0, 0, 0);
    while calls < enough {
        seed += 1;
        let [made, answered] = round(arena, seed)?;
        check!(made > 0, "nobody ran in the round of seed {seed}");
        // More calls than lines: members kept each other at the same lines until the watchdog's time,
        // which a busy host stretches. Such a round does not count.
        if made > MEMBERS * LINES as u64 {
            in_circles += made;
            continue;
        }
        calls += made;
        good += answered;
    }
    arena.note(alloc::format!(
        "{calls} calls, {good} answered by 0, seeds 1 to {seed}; {in_circles} more in circles"
    ));
    check!(good * 100 >= calls * 30, "only {good} of {calls} calls were answered by 0");
    check_life_goes_on(arena)
}
