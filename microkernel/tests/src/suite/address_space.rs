//! Address spaces beside the root task's, and what becomes of a mapping when part of it ends.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use libd3os::abi::{CapRights, FaultLabel, FrameSize, ObjectType, VmAttributes};
use libd3os::cap::{Capability, Endpoint, Error, PageTable, Reply, VSpace};

use super::tests;
use crate::arena::{Arena, VSPACE, slot_of};
use crate::check::{Failure, Outcome, check, check_eq};
use crate::worker::{Options, Worker};
use crate::{machine, raw};

tests![
    a_thread_sees_its_own_address_space,
    tables_are_checked,
    an_unmapped_frame_faults,
    an_unmapped_table_faults,
    a_deleted_table_faults,
    rights_can_be_taken_away,
    a_deleted_address_space_stops_its_threads,
    another_table_takes_the_place,
];

const PROBE: u64 = 0x1111_0000_0000;

fn a_thread_sees_its_own_address_space(arena: &mut Arena) -> Outcome {
    let space = arena.twin_address_space()?;
    let here = arena.frame(FrameSize::Small)?;
    let there = arena.frame(FrameSize::Small)?;
    arena.map_at(VSPACE, here, PROBE, CapRights::READ_WRITE)?;
    arena.map_at(space, there, PROBE, CapRights::READ_WRITE)?;
    machine::write(PROBE, 1);
    let seen = Arc::new(AtomicU64::new(u64::MAX));
    let tell = Arc::clone(&seen);
    let options = Options { vspace: space, ..Options::default() };
    let worker = arena.spawn(options, move |_| {
        tell.store(machine::read(PROBE), Ordering::Relaxed);
        machine::write(PROBE, 2);
    })?;
    worker.join();
    check_eq!(seen.load(Ordering::Relaxed), 0, "what the thread read");
    check_eq!(machine::read(PROBE), 1, "what is here");
    let alias = there_alias(arena, there.cptr())?;
    check_eq!(machine::read(alias), 2, "what the thread wrote");
    Ok(())
}

fn there_alias(arena: &mut Arena, frame: libd3os::sys::Cptr) -> Result<u64, Error> {
    let copy = libd3os::cap::Frame::new(arena.copy(frame)?);
    arena.map(copy, FrameSize::Small)
}

fn tables_are_checked(arena: &mut Arena) -> Outcome {
    let attributes = VmAttributes::WriteBack;
    let space = arena.address_space()?;
    let table = PageTable::new(arena.make(ObjectType::PageTable, 0)?);
    check!(matches!(table.map(space, 0, attributes), Err(Error::FailedLookup { .. })));
    let top = table.map(VSPACE, 0xffff_8000_0000_0000, attributes);
    check_eq!(top, Err(Error::InvalidArgument { index: 0 }));
    let wrong = table.map(VSpace::new(table.cptr()), 0, attributes);
    check_eq!(wrong, Err(Error::InvalidCapability { index: 1 }));
    arena.make_table(space, 0, 39)?;
    arena.make_table(space, 0, 30)?;
    // The address names the region that it lies in.
    table.map(space, 0x12_3456, attributes)?;
    check_eq!(table.map(space, 1 << 21, attributes), Err(Error::InvalidCapability { index: 0 }));
    let other = PageTable::new(arena.make(ObjectType::PageTable, 0)?);
    check_eq!(other.map(space, 0, attributes), Err(Error::DeleteFirst));
    let copy = PageTable::new(arena.copy(table.cptr())?);
    check_eq!(copy.unmap(), Err(Error::RevokeFirst));
    slot_of(copy.cptr()).delete()?;
    table.unmap()?;
    other.map(space, 0, attributes)?;
    Ok(())
}

/// A worker that reads PROBE again and again: each read that succeeds signals, and a fault is
/// told to the endpoint.
struct Prober {
    faults: Endpoint,
    reply: Reply,
    reads: Arc<AtomicU64>,
    worker: Worker,
}

impl Prober {
    fn new(arena: &mut Arena, space: VSpace) -> Result<Self, Failure> {
        let (faults, reply) = (arena.endpoint()?, arena.reply()?);
        let reads = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&reads);
        let options = Options { vspace: space, ..Options::faults_to(faults) };
        let turn = faults.cptr();
        let worker = arena.spawn(options, move |_| {
            loop {
                machine::read(PROBE);
                count.fetch_add(1, Ordering::Relaxed);
                raw::call(turn, raw::info(0x77, 0), [0; 4]);
            }
        })?;
        Ok(Self { faults, reply, reads, worker })
    }

    /// Lets it read; tells whether that faulted.
    fn faults(&self) -> Result<bool, Failure> {
        let message = raw::recv(self.faults.cptr(), self.reply.cptr());
        match message.info.label() {
            0x77 => {
                raw::send(self.reply.cptr(), raw::info(0, 0), [0; 4]);
                Ok(false)
            }
            label if label == FaultLabel::VmFault as u64 => {
                check_eq!(message.words[1], PROBE, "the address at fault");
                Ok(true)
            }
            label => Err(Failure::new(alloc::format!("a message with label {label}"))),
        }
    }
}

/// Maps a frame at PROBE in `space`; the frame and its table.
fn map_probe(
    arena: &mut Arena,
    space: VSpace,
) -> Result<(libd3os::cap::Frame, PageTable), Failure> {
    let frame = arena.frame(FrameSize::Small)?;
    arena.make_table(space, PROBE, 39)?;
    arena.make_table(space, PROBE, 30)?;
    let table = PageTable::new(arena.make(ObjectType::PageTable, 0)?);
    table.map(space, PROBE, VmAttributes::WriteBack)?;
    frame.map(space, PROBE, CapRights::READ_WRITE, VmAttributes::WriteBack)?;
    Ok((frame, table))
}

/// A prober for which `end` takes the mapping away after its first read.
fn check_ends(
    arena: &mut Arena,
    end: impl FnOnce(VSpace, libd3os::cap::Frame, PageTable) -> Result<(), Error>,
) -> Outcome {
    let space = arena.twin_address_space()?;
    let (frame, table) = map_probe(arena, space)?;
    let prober = Prober::new(arena, space)?;
    check!(!prober.faults()?, "the mapping does not work");
    end(space, frame, table)?;
    // The read that follows the first answer faults, or the one after that if it had begun.
    let faulted = prober.faults()? || prober.faults()?;
    check!(faulted, "it is still read after {} reads", prober.reads.load(Ordering::Relaxed));
    check!(!prober.worker.is_done(), "the thread ran on");
    Ok(())
}

fn an_unmapped_frame_faults(arena: &mut Arena) -> Outcome {
    check_ends(arena, |_, frame, _| frame.unmap())
}

fn an_unmapped_table_faults(arena: &mut Arena) -> Outcome {
    check_ends(arena, |_, _, table| table.unmap())
}

fn a_deleted_table_faults(arena: &mut Arena) -> Outcome {
    check_ends(arena, |_, _, table| slot_of(table.cptr()).delete())
}

fn rights_can_be_taken_away(arena: &mut Arena) -> Outcome {
    check_ends(arena, |space, frame, _| {
        frame.map(space, PROBE, CapRights::NONE, VmAttributes::WriteBack)
    })
}

fn a_deleted_address_space_stops_its_threads(arena: &mut Arena) -> Outcome {
    let space = arena.twin_address_space()?;
    let (faults, reply) = (arena.endpoint()?, arena.reply()?);
    let options = Options { vspace: space, ..Options::faults_to(faults) };
    let turn = faults.cptr();
    arena.spawn(options, move |_| {
        loop {
            raw::call(turn, raw::info(0x77, 0), [0; 4]);
        }
    })?;
    check_eq!(raw::recv(faults.cptr(), reply.cptr()).info.label(), 0x77);
    slot_of(space.cptr()).revoke()?;
    slot_of(space.cptr()).delete()?;
    // It is in no address space any more, or in one without an identifier, so it cannot fetch.
    raw::send(reply.cptr(), raw::info(0, 0), [0; 4]);
    let message = raw::recv(faults.cptr(), reply.cptr());
    check_eq!(message.info.label(), FaultLabel::VmFault as u64);
    check_eq!(message.words[2], 1, "an instruction fetch");
    Ok(())
}

fn another_table_takes_the_place(arena: &mut Arena) -> Outcome {
    let (frame, table) = map_probe(arena, VSPACE)?;
    machine::write(PROBE, 9);
    slot_of(table.cptr()).delete()?;
    arena.make_table(VSPACE, PROBE, 21)?;
    // The frame's capability still records the place, and may be mapped there again.
    frame.map(VSPACE, PROBE, CapRights::READ_WRITE, VmAttributes::WriteBack)?;
    check_eq!(machine::read(PROBE), 9);
    Ok(())
}
