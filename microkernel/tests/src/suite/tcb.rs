//! Threads: registers, start and stop, priorities, what they name things in.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use libd3os::abi::{CNodeCapData, CapRights, FrameSize, Label, ObjectType, UserRegisters};
use libd3os::cap::{Capability, CopyParts, Error, Notification, Space, Tcb, invoke};
use libd3os::sys::Cptr;

use super::tests;
use crate::arena::{Arena, CNODE, TCB, VSPACE, slot_of};
use crate::check::{Outcome, check, check_eq};
use crate::worker::Options;
use crate::{machine, raw};

tests![
    registers_are_written_and_read,
    registers_are_copied,
    only_as_many_registers_as_told,
    a_suspended_thread_stands_still,
    the_thread_itself_cannot_be_read,
    priorities_are_bounded_by_the_authority,
    higher_priorities_run_first,
    a_thread_names_things_in_its_own_space,
    ipc_buffers_are_checked,
    roots_are_checked,
    the_thread_pointer_is_kept,
    flags_are_set_and_cleared,
    a_deleted_thread_is_gone,
];

/// A thread that never ran.
fn blank(arena: &mut Arena) -> Result<Tcb, Error> {
    Ok(Tcb::new(arena.make(ObjectType::Tcb, 0)?))
}

fn sample() -> UserRegisters {
    let words: [u64; 20] = core::array::from_fn(|n| 0x1_0001 * (n as u64 + 1));
    UserRegisters { rflags: 0x202, ..UserRegisters::from_words(words) }
}

fn registers_are_written_and_read(arena: &mut Arena) -> Outcome {
    let thread = blank(arena)?;
    thread.write_registers(&sample(), false)?;
    check_eq!(thread.read_registers(false)?, sample());
    // User code may not switch interrupts off or raise its I/O privilege level.
    let bold = UserRegisters { rflags: !0x100, ..sample() };
    thread.write_registers(&bold, false)?;
    let flags = thread.read_registers(false)?.rflags;
    check_eq!(flags & 0x3000, 0, "the I/O privilege level in {flags:#x}");
    check_eq!(flags & 0x200, 0x200, "the interrupt flag in {flags:#x}");
    Ok(())
}

fn registers_are_copied(arena: &mut Arena) -> Outcome {
    let (source, target) = (blank(arena)?, blank(arena)?);
    source.write_registers(&sample(), false)?;
    let parts = CopyParts { frame: true, integer: false };
    target.copy_registers(source, false, false, parts)?;
    let copied = target.read_registers(false)?;
    let [words, expected] = [copied.to_words(), sample().to_words()];
    check_eq!(&words[..18], &expected[..18]);
    check_eq!(&words[18..], &[0, 0]);
    target.copy_registers(source, false, false, CopyParts { frame: false, integer: true })?;
    check_eq!(target.read_registers(false)?, sample());
    Ok(())
}

fn only_as_many_registers_as_told(arena: &mut Arena) -> Outcome {
    let thread = blank(arena)?;
    thread.write_registers(&sample(), false)?;
    invoke(thread.cptr(), Label::TcbWriteRegisters, &[0, 2, 0x40_0000, 0x50_0000], &[])?;
    let now = thread.read_registers(false)?;
    check_eq!((now.rip, now.rsp, now.rax), (0x40_0000, 0x50_0000, sample().rax));
    let short = invoke(thread.cptr(), Label::TcbWriteRegisters, &[0, 3, 0, 0], &[]);
    check_eq!(short, Err(Error::TruncatedMessage));
    let none = invoke(thread.cptr(), Label::TcbReadRegisters, &[0, 0], &[]);
    check!(matches!(none, Err(Error::Range { .. })), "{none:?}");
    let many = invoke(thread.cptr(), Label::TcbReadRegisters, &[0, 21], &[]);
    check!(matches!(many, Err(Error::Range { .. })), "{many:?}");
    Ok(())
}

fn a_suspended_thread_stands_still(arena: &mut Arena) -> Outcome {
    let (turn, turned) = (arena.notification()?, arena.notification()?);
    let steps = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&steps);
    let (wait, tell) = (turn.cptr(), turned.cptr());
    let tell_badged = arena.mint(tell, CapRights::ALL, 1)?;
    let worker = arena.worker(100, move |_| {
        loop {
            raw::wait(wait);
            count.fetch_add(1, Ordering::Relaxed);
            raw::signal(tell_badged);
        }
    })?;
    let go = arena.mint(turn.cptr(), CapRights::ALL, 1)?;
    raw::signal(go);
    let _ = turned.wait();
    check_eq!(steps.load(Ordering::Relaxed), 1);
    worker.tcb.suspend()?;
    raw::signal(go);
    let low = arena.worker(50, |_| ())?;
    low.join();
    check_eq!(steps.load(Ordering::Relaxed), 1, "a suspended thread ran");
    // Resuming restarts the wait that the suspension cut short.
    worker.tcb.resume()?;
    let _ = turned.wait();
    check_eq!(steps.load(Ordering::Relaxed), 2);
    worker.tcb.suspend()?;
    worker.tcb.suspend()?;
    Ok(())
}

fn the_thread_itself_cannot_be_read(_: &mut Arena) -> Outcome {
    check_eq!(TCB.read_registers(false).err(), Some(Error::IllegalOperation));
    check_eq!(TCB.write_registers(&sample(), false), Err(Error::IllegalOperation));
    Ok(())
}

fn priorities_are_bounded_by_the_authority(arena: &mut Arena) -> Outcome {
    let (authority, thread) = (blank(arena)?, blank(arena)?);
    authority.set_mc_priority(TCB, 100)?;
    thread.set_priority(authority, 100)?;
    let over = Err(Error::Range { least: 0, greatest: 100 });
    check_eq!(thread.set_priority(authority, 101), over);
    check_eq!(thread.set_mc_priority(authority, 101), over);
    thread.set_mc_priority(authority, 7)?;
    check_eq!(authority.set_priority(thread, 8), Err(Error::Range { least: 0, greatest: 7 }));
    let page = arena.frame(FrameSize::Small)?;
    let wrong = thread.set_priority(Tcb::new(page.cptr()), 1);
    check_eq!(wrong, Err(Error::InvalidCapability { index: 1 }));
    Ok(())
}

fn higher_priorities_run_first(arena: &mut Arena) -> Outcome {
    let order = Arc::new(AtomicU64::new(0));
    let mut workers = alloc::vec::Vec::new();
    for priority in [10u8, 200, 30, 150] {
        let order = Arc::clone(&order);
        let digit = u64::from(priority / 10);
        workers.push(arena.worker(priority, move |_| {
            order.store(order.load(Ordering::Relaxed) * 100 + digit, Ordering::Relaxed);
        })?);
    }
    check_eq!(order.load(Ordering::Relaxed), 0, "one ran before the test waited");
    workers.into_iter().for_each(crate::worker::Worker::join);
    check_eq!(order.load(Ordering::Relaxed), 20_15_03_01);
    Ok(())
}

/// A capability space of 16 slots: the thread's slot 5 is another object than the test's.
fn a_thread_names_things_in_its_own_space(arena: &mut Arena) -> Outcome {
    let node = arena.cnode(4)?;
    let (told, never) = (arena.notification()?, arena.notification()?);
    let slot = |index| node.slot(index, 4);
    slot(5).mint_from(slot_of(told.cptr()), CapRights::ALL, 0x50)?;
    slot(6).copy_from(slot_of(never.cptr()), CapRights::ALL)?;
    let options =
        Options { cspace: node, cspace_data: CNodeCapData::new(0, 60).0, ..Options::default() };
    arena.spawn(options, |_| {
        raw::signal(Cptr::new(5));
        raw::wait(Cptr::new(6));
    })?;
    check_eq!(told.wait(), 0x50);
    Ok(())
}

fn ipc_buffers_are_checked(arena: &mut Arena) -> Outcome {
    let thread = blank(arena)?;
    let page = arena.frame(FrameSize::Small)?;
    check_eq!(thread.set_ipc_buffer(0x1200, page), Err(Error::Alignment));
    let no_frame = libd3os::cap::Frame::new(arena.endpoint()?.cptr());
    check_eq!(thread.set_ipc_buffer(0x1000, no_frame), Err(Error::IllegalOperation));
    thread.set_ipc_buffer(0x1400, page)?;
    thread.set_ipc_buffer(0, libd3os::cap::Frame::new(Cptr::NULL))?;
    Ok(())
}

fn roots_are_checked(arena: &mut Arena) -> Outcome {
    let thread = blank(arena)?;
    let endpoint = arena.endpoint()?;
    let unassigned = libd3os::cap::VSpace::new(arena.make(ObjectType::Pml4, 0)?);
    let good = Space { cspace: CNODE, cspace_data: 0, vspace: VSPACE };
    thread.set_space(Cptr::NULL, good)?;
    thread.set_space(endpoint.cptr(), good)?;
    for bad in [
        Space { cspace: libd3os::cap::CNode::new(endpoint.cptr()), ..good },
        Space { vspace: unassigned, ..good },
        Space { vspace: libd3os::cap::VSpace::new(endpoint.cptr()), ..good },
    ] {
        check!(thread.set_space(Cptr::NULL, bad).is_err(), "{bad:?}");
    }
    let weak = arena.mint(endpoint.cptr(), CapRights::READ, 0)?;
    check!(thread.set_space(weak, good).is_err(), "a fault endpoint without the right to send");
    Ok(())
}

fn the_thread_pointer_is_kept(arena: &mut Arena) -> Outcome {
    let (page, second) = (arena.frame(FrameSize::Small)?, arena.frame(FrameSize::Small)?);
    let address = arena.map(page, FrameSize::Small)?;
    let other = arena.map(second, FrameSize::Small)?;
    machine::write(address, 0x1111);
    machine::write(other, 0x2222);
    let seen = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let tell = Arc::clone(&seen);
    let options = Options { start: false, ..Options::default() };
    let worker = arena.spawn(options, move |_| {
        raw::yield_now();
        tell[0].store(machine::read_fs(), Ordering::Relaxed);
        raw::set_tls_base(other);
        raw::yield_now();
        tell[1].store(machine::read_fs(), Ordering::Relaxed);
    })?;
    worker.tcb.set_tls_base(address)?;
    worker.tcb.resume()?;
    worker.join();
    check_eq!(seen[0].load(Ordering::Relaxed), 0x1111, "set from outside");
    check_eq!(seen[1].load(Ordering::Relaxed), 0x2222, "set by itself");
    check_eq!(worker.tcb.read_registers(false)?.fs_base, other);
    // What the processor could not load is refused or made harmless.
    let _ = worker.tcb.set_tls_base(0x8000_0000_0000_0000);
    let base = worker.tcb.read_registers(false)?.fs_base.cast_signed();
    check_eq!(base, base << 16 >> 16, "a thread pointer that is no address");
    Ok(())
}

fn flags_are_set_and_cleared(arena: &mut Arena) -> Outcome {
    let thread = blank(arena)?;
    check_eq!(thread.set_flags(0, 1)?, 1);
    check_eq!(thread.set_flags(0, 0)?, 1);
    check_eq!(thread.set_flags(1, 0)?, 0);
    check_eq!(thread.set_flags(0, u64::MAX)? & !1, 0, "flags that do not exist");
    Ok(())
}

fn a_deleted_thread_is_gone(arena: &mut Arena) -> Outcome {
    let endpoint = arena.endpoint()?;
    let waits = endpoint.cptr();
    let worker = arena.worker(100, move |_| {
        raw::call(waits, raw::info(7, 0), [0; 4]);
    })?;
    let low = arena.worker(50, |_| ())?;
    low.join();
    slot_of(worker.tcb.cptr()).revoke()?;
    slot_of(worker.tcb.cptr()).delete()?;
    let reply = arena.reply()?;
    let received = raw::nb_recv(waits, reply.cptr());
    check_eq!(received.info.label(), 0, "its message was left behind");
    check!(worker.context.consumed().is_ok(), "its time went with it");
    let bind = worker.context.bind(Notification::new(waits).cptr());
    check!(bind.is_err(), "bound to an endpoint");
    Ok(())
}
