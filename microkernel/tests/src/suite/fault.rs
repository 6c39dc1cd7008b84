//! Faults: what handlers are told, and what their answers do.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use libd3os::abi::{
    CapRights, FaultLabel, FrameSize, LookupFailureKind, VmAttributes, fault_length,
};
use libd3os::cap::{Capability, Endpoint, Reply};
use libd3os::sys::{self, Cptr};

use super::tests;
use crate::arena::{Arena, VSPACE};
use crate::check::{Outcome, check, check_eq};
use crate::machine::{self, AfterSyscall};
use crate::raw;
use crate::worker::{Options, Worker};

tests![
    reading_nothing,
    writing_what_is_read_only,
    executing_nothing,
    a_handler_maps_the_page_and_goes_on,
    exceptions_tell_their_number,
    a_handler_skips_the_instruction,
    an_unknown_system_call_tells_all_registers,
    a_handler_rewrites_registers,
    an_empty_slot_is_an_error,
    receiving_from_nothing_is_a_fault,
    a_failed_look_up_is_described,
    a_fault_endpoint_has_a_badge,
    an_answer_with_a_label_leaves_it_stopped,
    kernel_addresses_are_out_of_reach,
    flags_of_a_user_stay_outside;
    noisy: without_a_handler_the_thread_stops
];

const NOWHERE: u64 = 0x1111_2222_3000;

/// A worker that dies in `body`, and the fault that it dies of.
struct Dying {
    worker: Worker,
    faults: Endpoint,
    reply: Reply,
}

impl Dying {
    fn new(arena: &mut Arena, body: impl Fn() + 'static) -> Result<Self, libd3os::cap::Error> {
        let (faults, reply) = (arena.endpoint()?, arena.reply()?);
        let worker = arena.spawn(Options::faults_to(faults), move |_| body())?;
        Ok(Self { worker, faults, reply })
    }

    /// Waits for a fault; tells its kind. Its words are in the IPC buffer.
    fn fault(&self) -> Option<FaultLabel> {
        FaultLabel::from_number(self.faults.recv(self.reply).info.label())
    }

    /// Lets the thread go on, with the first `length` words of the IPC buffer as the answer.
    fn go_on(&self, length: usize) {
        self.reply.send(raw::info(0, length));
    }
}

/// Words of the fault that has just been received.
fn words<const N: usize>() -> [u64; N] {
    core::array::from_fn(sys::word)
}

fn check_page_fault(
    arena: &mut Arena,
    body: impl Fn() + 'static,
    address: u64,
    fetch: u64,
    code: u64,
) -> Outcome {
    let dying = Dying::new(arena, body)?;
    check_eq!(dying.fault(), Some(FaultLabel::VmFault));
    let [ip, told, told_fetch, told_code] = words();
    check_eq!((told, told_fetch), (address, fetch));
    check_eq!(told_code & 0b111, code, "the processor's error code");
    let registers = dying.worker.tcb.read_registers(false)?;
    check_eq!(registers.rip, ip, "the instruction at fault");
    if fetch == 1 {
        check_eq!(ip, address);
    }
    Ok(())
}

fn reading_nothing(arena: &mut Arena) -> Outcome {
    check_page_fault(arena, || machine::touch(NOWHERE), NOWHERE, 0, 0b100)?;
    check_page_fault(arena, || machine::touch(0), 0, 0, 0b100)
}

fn writing_what_is_read_only(arena: &mut Arena) -> Outcome {
    let page = arena.frame(FrameSize::Small)?;
    let address = arena.map(page, FrameSize::Small)?;
    page.map(VSPACE, address, CapRights::READ, VmAttributes::WriteBack)?;
    check_page_fault(arena, move || machine::write(address, 1), address, 0, 0b111)?;
    check_eq!(machine::read(address), 0);
    // A capability without the right to write gives a mapping without it.
    let weak = arena.mint(page.cptr(), CapRights::READ, 0)?;
    let other = arena.map(libd3os::cap::Frame::new(weak), FrameSize::Small)?;
    check_page_fault(arena, move || machine::write(other, 1), other, 0, 0b111)
}

fn executing_nothing(arena: &mut Arena) -> Outcome {
    check_page_fault(arena, || machine::execute(NOWHERE), NOWHERE, 1, 0b100)
}

fn kernel_addresses_are_out_of_reach(arena: &mut Arena) -> Outcome {
    for address in [0xffff_8000_0010_0000, 0xffff_ffff_8010_0000u64] {
        let dying = Dying::new(arena, move || machine::touch(address))?;
        check_eq!(dying.fault(), Some(FaultLabel::VmFault));
        check_eq!(sys::word(1), address);
        let dying = Dying::new(arena, move || machine::write(address, 0))?;
        check_eq!(dying.fault(), Some(FaultLabel::VmFault));
        let dying = Dying::new(arena, move || machine::execute(address))?;
        check_eq!(dying.fault(), Some(FaultLabel::VmFault));
    }
    Ok(())
}

fn a_handler_maps_the_page_and_goes_on(arena: &mut Arena) -> Outcome {
    let address = arena.addresses(FrameSize::Small);
    let seen = Arc::new(AtomicU64::new(0));
    let tell = Arc::clone(&seen);
    let dying = Dying::new(arena, move || {
        machine::write(address, 41);
        tell.store(machine::read(address) + 1, Ordering::Relaxed);
    })?;
    check_eq!(dying.fault(), Some(FaultLabel::VmFault));
    let page = arena.frame(FrameSize::Small)?;
    arena.map_at(VSPACE, page, address, CapRights::READ_WRITE)?;
    dying.go_on(0);
    dying.worker.join();
    check_eq!(seen.load(Ordering::Relaxed), 42);
    Ok(())
}

fn exceptions_tell_their_number(arena: &mut Arena) -> Outcome {
    let cases: [(fn(), u64); 6] = [
        (machine::divide_by_zero, 0),
        (machine::breakpoint, 3),
        (machine::undefined_instruction, 6),
        (machine::privileged_instruction, 13),
        (machine::port_instruction, 13),
        (machine::non_canonical_read, 13),
    ];
    for (body, number) in cases {
        let dying = Dying::new(arena, body)?;
        check_eq!(dying.fault(), Some(FaultLabel::UserException), "exception {number}");
        let [ip, sp, flags, told, code] = words();
        check_eq!((told, code), (number, 0));
        let registers = dying.worker.tcb.read_registers(false)?;
        check_eq!((registers.rip, registers.rsp), (ip, sp));
        check!(flags & 0x200 != 0, "interrupts are off in {flags:#x}");
    }
    Ok(())
}

fn a_handler_skips_the_instruction(arena: &mut Arena) -> Outcome {
    let dying = Dying::new(arena, || {
        machine::undefined_instruction();
        machine::divide_by_zero();
    })?;
    for number in [6, 0] {
        check_eq!(dying.fault(), Some(FaultLabel::UserException));
        let [ip, sp, flags, told, _] = words();
        check_eq!(told, number);
        // Both instructions take two bytes.
        sys::set_word(0, ip + 2);
        sys::set_word(1, sp);
        sys::set_word(2, flags);
        dying.go_on(fault_length::USER_EXCEPTION_REPLY);
    }
    dying.worker.join();
    Ok(())
}

fn an_unknown_system_call_tells_all_registers(arena: &mut Arena) -> Outcome {
    for number in [1, 0, -100, i64::MIN, i64::MAX] {
        let dying = Dying::new(arena, move || {
            machine::unknown_syscall(number);
        })?;
        check_eq!(dying.fault(), Some(FaultLabel::UnknownSyscall));
        let told: [u64; fault_length::UNKNOWN_SYSCALL] = words();
        check_eq!(told[18].cast_signed(), number, "the number");
        check_eq!((told[0], told[5], told[13]), (0x1111, 0x2222, 0x3333), "RAX, RDI, R14");
        check_eq!(told[3].cast_signed(), number, "RDX");
        let registers = dying.worker.tcb.read_registers(false)?;
        check_eq!(told[16], registers.rsp, "SP");
        check_eq!(told[15], registers.rip, "FaultIP");
    }
    Ok(())
}

fn a_handler_rewrites_registers(arena: &mut Arena) -> Outcome {
    let seen = Arc::new([AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)]);
    let tell = Arc::clone(&seen);
    let dying = Dying::new(arena, move || {
        let AfterSyscall { rax, rdi, r14 } = machine::unknown_syscall(77);
        for (place, value) in tell.iter().zip([rax, rdi, r14]) {
            place.store(value, Ordering::Relaxed);
        }
    })?;
    check_eq!(dying.fault(), Some(FaultLabel::UnknownSyscall));
    sys::set_word(0, 0xaaaa);
    sys::set_word(5, 0xbbbb);
    sys::set_word(13, 0xcccc);
    // The instruction is executed again unless the handler moves past it.
    sys::set_word(15, sys::word(15) + 2);
    dying.go_on(fault_length::UNKNOWN_SYSCALL_REPLY);
    dying.worker.join();
    let got = [&seen[0], &seen[1], &seen[2]].map(|place| place.load(Ordering::Relaxed));
    check_eq!(got, [0xaaaa, 0xbbbb, 0xcccc]);
    Ok(())
}

/// A slot that exists but is empty is an error to whoever invokes it, not a fault.
fn an_empty_slot_is_an_error(arena: &mut Arena) -> Outcome {
    let empty = arena.empty_slot();
    let seen = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let tell = Arc::clone(&seen);
    let dying = Dying::new(arena, move || {
        let answer = raw::call(empty, raw::info(1, 0), [0; 4]);
        tell[0].store(answer.info.label(), Ordering::Relaxed);
        tell[1].store(answer.words[0], Ordering::Relaxed);
        raw::send(empty, raw::info(1, 0), [0; 4]);
        raw::nb_send(empty, raw::info(1, 0), [0; 4]);
    })?;
    dying.worker.join();
    let got = [&seen[0], &seen[1]].map(|word| word.load(Ordering::Relaxed));
    check_eq!(got, [libd3os::abi::Error::InvalidCapability as u64, 0]);
    Ok(())
}

fn receiving_from_nothing_is_a_fault(arena: &mut Arena) -> Outcome {
    let (empty, reply) = (arena.empty_slot(), arena.reply()?.cptr());
    let dying = Dying::new(arena, move || {
        raw::recv(empty, reply);
    })?;
    check_eq!(dying.fault(), Some(FaultLabel::Cap));
    let [_, address, receiving] = words();
    check_eq!((address, receiving), (empty.address(), 1));
    let endpoint = arena.endpoint()?;
    let weak = arena.mint(endpoint.cptr(), CapRights::WRITE, 0)?;
    let dying = Dying::new(arena, move || {
        raw::recv(weak, reply);
    })?;
    check_eq!(dying.fault(), Some(FaultLabel::Cap), "without the right to receive");
    check_eq!(sys::word(1), weak.address());
    Ok(())
}

fn a_failed_look_up_is_described(arena: &mut Arena) -> Outcome {
    // Beyond the CNode's 13 bits the guard wants zeros.
    let wild = Cptr::new(1 << 13 | 5);
    let dying = Dying::new(arena, move || {
        raw::call(wild, raw::info(1, 0), [0; 4]);
    })?;
    check_eq!(dying.fault(), Some(FaultLabel::Cap));
    let [_, address, receiving, kind, bits_left, guard, guard_bits] = words();
    check_eq!((address, receiving), (wild.address(), 0));
    check_eq!(kind, LookupFailureKind::GuardMismatch as u64);
    check_eq!((bits_left, guard, guard_bits), (64, 0, 51));
    // Nothing has changed, so the call that is made again fails again.
    dying.go_on(0);
    check_eq!(dying.fault(), Some(FaultLabel::Cap));
    // A message that nobody waits for is dropped instead.
    let dropped = Dying::new(arena, move || raw::nb_send(wild, raw::info(1, 0), [0; 4]))?;
    dropped.worker.join();
    Ok(())
}

fn a_fault_endpoint_has_a_badge(arena: &mut Arena) -> Outcome {
    let (faults, reply) = (arena.endpoint()?, arena.reply()?);
    let badged = arena.mint(faults.cptr(), CapRights::ALL, 0x99)?;
    let options = Options { fault_endpoint: badged, ..Options::default() };
    arena.spawn(options, |_| machine::breakpoint())?;
    check_eq!(faults.recv(reply).badge, 0x99);
    Ok(())
}

fn without_a_handler_the_thread_stops(arena: &mut Arena) -> Outcome {
    let dead = arena.worker(100, |_| machine::undefined_instruction())?;
    arena.worker(50, |_| ())?.join();
    check!(!dead.is_done(), "it went on");
    let registers = dead.tcb.read_registers(false)?;
    check!(registers.rip != 0, "its registers are lost");
    Ok(())
}

fn an_answer_with_a_label_leaves_it_stopped(arena: &mut Arena) -> Outcome {
    let dying = Dying::new(arena, machine::undefined_instruction)?;
    check_eq!(dying.fault(), Some(FaultLabel::UserException));
    let [ip, sp, flags] = words();
    for (index, word) in [ip + 2, sp, flags].into_iter().enumerate() {
        sys::set_word(index, word);
    }
    dying.reply.send(raw::info(1, fault_length::USER_EXCEPTION_REPLY));
    arena.worker(50, |_| ())?.join();
    check!(!dying.worker.is_done(), "it went on");
    dying.worker.tcb.resume()?;
    dying.worker.join();
    Ok(())
}

/// A thread that copies backwards does not make the kernel do so.
fn flags_of_a_user_stay_outside(arena: &mut Arena) -> Outcome {
    let dying = Dying::new(arena, machine::fault_with_flags)?;
    check_eq!(dying.fault(), Some(FaultLabel::UserException));
    let flags = sys::word(2);
    check_eq!(flags & 0x4_0400, 0x4_0400, "direction and alignment check in {flags:#x}");
    // The kernel clears and copies memory in all that it does now.
    let page = arena.frame(FrameSize::Large)?;
    arena.map(page, FrameSize::Large)?;
    arena.worker(50, |_| ())?.join();
    Ok(())
}
