//! A program that tries everything: the kernel survives it, and so does everybody else.

use alloc::vec::Vec;
use libd3os::abi::{
    CNodeCapData, CapRights, FaultLabel, FrameSize, Label, MessageInfo, ObjectType, UserRegisters,
};
use libd3os::cap::{Bandwidth, CNode, Capability, Endpoint, Error, Slot, SlotRun};
use libd3os::sys::Cptr;

use super::tests;
use crate::arena::{ASID_CONTROL, Arena, CNODE, DOMAIN, IRQ_CONTROL, slot_of};
use crate::check::{Outcome, check, check_eq};
use crate::machine::Buffer;
use crate::raw;
use crate::worker::Options;

tests![any_invocation_of_any_object, any_message_to_anybody, any_registers_of_any_thread,];

/// Deterministic, so that a failure comes again.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// Numbers as arguments like them: small, near a power of two, or any.
    pub(super) fn argument(&mut self) -> u64 {
        match self.below(6) {
            0 => self.below(4),
            1 => self.below(64),
            2 => self.below(256),
            3 => 1 << self.below(64),
            4 => (1u64 << self.below(64)).wrapping_sub(self.below(3)),
            _ => self.next(),
        }
    }
}

/// Capability space of the hostile program: one capability of each kind, and a CNode of its own
/// for what it makes of them.
struct Cell {
    space: CNode,
    /// Where it tells that it is through, and waits; also gets its faults.
    events: Endpoint,
    /// Addresses of what answers each invocation at once.
    objects: Vec<u64>,
    /// Addresses of what a call would wait at.
    partners: Vec<u64>,
}

/// Bits of an address in the cell.
const SPACE_BITS: u8 = 6;
const EVENTS: u64 = 1;
/// Addresses that are worth trying: all in use, and some empty ones.
const ADDRESSES: u64 = 32;

impl Cell {
    fn new(arena: &mut Arena) -> Result<Self, Error> {
        let (space, events) = (arena.cnode(SPACE_BITS)?, arena.endpoint()?);
        let (objects, partners) = (Vec::new(), Vec::new());
        let mut cell = Self { space, events, objects, partners };
        cell.slot(EVENTS).copy_from(slot_of(events.cptr()), CapRights::ALL)?;
        let inner = arena.cnode(5)?;
        cell.add(inner)?;
        for (index, kind) in (0..).zip(ObjectType::ALL) {
            if !matches!(kind, ObjectType::HugePage | ObjectType::CNode) {
                let bits = if kind == ObjectType::Untyped { 16 } else { 8 };
                let made = arena.make(kind, bits)?;
                let place = cell.slot(cell.next());
                // Moved, as tables that are not mapped and roots without an identifier have no
                // copies, and a second copy of an untyped there cannot be.
                place.move_from(slot_of(made))?;
                cell.count(kind);
                let _ = inner.slot(index, 5).copy_from(place, CapRights::ALL);
            }
        }
        cell.add_configured(arena)?;
        cell.add(arena.sched_control())?;
        // Authorities that cannot be copied stay outside.
        let _ = cell.add(ASID_CONTROL);
        let _ = cell.add(IRQ_CONTROL);
        if arena.domains() == 1 {
            // With several, chance would give the core to a domain of nobody's for years.
            let _ = cell.add(DOMAIN);
        }
        Ok(cell)
    }

    fn slot(&self, index: u64) -> Slot {
        self.space.slot(index, SPACE_BITS)
    }

    fn next(&self) -> u64 {
        EVENTS + 1 + (self.objects.len() + self.partners.len()) as u64
    }

    fn add(&mut self, cap: impl Capability) -> Result<(), Error> {
        let index = self.next();
        self.slot(index).copy_from(slot_of(cap.cptr()), CapRights::ALL)?;
        self.objects.push(index);
        Ok(())
    }

    /// Counts what was put into the next slot.
    fn count(&mut self, kind: ObjectType) {
        let index = self.next();
        match kind {
            ObjectType::Endpoint | ObjectType::Notification | ObjectType::Reply => {
                self.partners.push(index);
            }
            _ => self.objects.push(index),
        }
    }

    /// An address space with a page in it, and time.
    fn add_configured(&mut self, arena: &mut Arena) -> Result<(), Error> {
        let assigned = arena.address_space()?;
        let page = arena.frame(FrameSize::Small)?;
        arena.map_at(assigned, page, 0x1000, CapRights::READ_WRITE)?;
        let bandwidth = Bandwidth { budget_us: 1000, period_us: 1000, ..Bandwidth::default() };
        let context = arena.sched_context(8, bandwidth)?;
        self.add(assigned)?;
        self.add(page)?;
        self.add(context)
    }
}

/// Runs `body` as a thread in a cell until it is through.
fn imprison(arena: &mut Arena, body: impl Fn(Buffer, &[u64], &[u64]) + 'static) -> Outcome {
    let Cell { space, events, objects, partners } = Cell::new(arena)?;
    let options = Options {
        cspace: space,
        cspace_data: CNodeCapData::new(0, 64 - SPACE_BITS).0,
        fault_endpoint: events.cptr(),
        ..Options::default()
    };
    let prisoner = arena.spawn(options, move |buffer| {
        body(buffer, &objects, &partners);
        raw::call(Cptr::new(EVENTS), raw::info(THROUGH, 0), [0; 4]);
    })?;
    let reply = arena.reply()?;
    // Threads that it starts may die and tell so to the same endpoint.
    let mut message = raw::recv(events.cptr(), reply.cptr());
    while message.info.label() != THROUGH {
        let ip = prisoner.tcb.read_registers(false)?.rip;
        let own_fault = message.info.label() == FaultLabel::Cap as u64 && message.words[0] == ip;
        check!(!own_fault, "its own fault: {message:x?}");
        message = raw::recv(events.cptr(), reply.cptr());
    }
    check_life_goes_on(arena)
}

/// Label of the message that ends a cell; no fault has it.
const THROUGH: u64 = 0x77;

pub(super) fn check_life_goes_on(arena: &mut Arena) -> Outcome {
    let memory = arena.untyped(13)?;
    let slot = arena.empty_slot();
    memory.retype(ObjectType::SmallPage, 0, SlotRun::within(CNODE, slot.address()), 1)?;
    arena.worker(20, |_| ())?.join();
    Ok(())
}

fn invoke_anything(random: &mut Random, buffer: Buffer, target: u64) {
    let words = [(); 4].map(|()| random.argument());
    for index in 4..12 {
        buffer.set_word(index, random.argument());
    }
    for index in 0..3 {
        buffer.set_cap(index, random.below(ADDRESSES));
    }
    let label = match random.below(8) {
        0 => random.argument(),
        _ => random.below(Label::ALL.len() as u64 + 2),
    };
    let length = usize::try_from(random.below(128)).unwrap_or(0);
    let info = MessageInfo::new(label, random.below(8), 3, length);
    raw::call(Cptr::new(target), info, words);
}

fn any_invocation_of_any_object(arena: &mut Arena) -> Outcome {
    for seed in 1..6u64 {
        imprison(arena, move |buffer, objects, _| {
            let mut random = Random(seed * 0x9e37_79b9_7f4a_7c15);
            for _ in 0..20_000 {
                let target = objects[random.index(objects.len())];
                invoke_anything(&mut random, buffer, target);
            }
        })?;
        arena.reset()?;
    }
    Ok(())
}

fn any_message_to_anybody(arena: &mut Arena) -> Outcome {
    imprison(arena, move |buffer, objects, partners| {
        let mut random = Random(0xd305);
        for _ in 0..20_000 {
            for index in 0..3 {
                buffer.set_cap(index, random.below(ADDRESSES));
            }
            buffer.set_receive_slot(objects[0], random.below(ADDRESSES), 5);
            let partner = Cptr::new(partners[random.index(partners.len())]);
            let words = [(); 4].map(|()| random.argument());
            match random.below(4) {
                0 => raw::yield_now(),
                _ => raw::nb_send(partner, MessageInfo(random.next()), words),
            }
        }
    })
}

/// Threads are given all kinds of registers and started in this very address space; each dies of
/// what its registers hold, or the kernel refuses them.
fn any_registers_of_any_thread(arena: &mut Arena) -> Outcome {
    let mut random = Random(0x5eed);
    let space = arena.address_space()?;
    // Nobody listens to its faults: it waits for that, and is taken out of it again.
    let nobody = arena.endpoint()?;
    let options = Options { start: false, vspace: space, ..Options::faults_to(nobody) };
    let worker = arena.spawn(options, |_| ())?;
    let (turn, passed) = (arena.notification()?, arena.notification()?);
    let (go, tell) = (turn.cptr(), arena.mint(passed.cptr(), CapRights::ALL, 1)?);
    arena.worker(20, move |_| {
        loop {
            raw::wait(go);
            raw::signal(tell);
        }
    })?;
    let mut started = 0;
    for _ in 0..2000 {
        let words = core::array::from_fn(|_| random.argument());
        let registers = UserRegisters::from_words(words);
        worker.tcb.suspend()?;
        started += u32::from(worker.tcb.write_registers(&registers, true).is_ok());
        // The lower thread's turn comes when the other is dead.
        turn.signal();
        check_eq!(passed.wait(), 1);
        check!(!worker.is_done(), "it came to an end of its own");
    }
    check!(started > 0, "all registers were refused");
    check_life_goes_on(arena)
}
