//! Registers that would hurt a careless kernel, by every way into a thread: written by another thread,
//! rewritten by the answer to a fault, or set by the thread itself. Each ends as the thread's own fault,
//! or as something harmless in its place.
//!
//! The subject executes a few bytes that a test writes to a page. The walk through the kernel's entry
//! code (`cargo xtask test kernel registers::entry`) steps through all of it beneath these tests, which
//! use every way into the kernel.

use libd3os::abi::{
    CapRights, FaultLabel, FrameSize, Syscall, UserRegisters, VmAttributes, fault_length,
};
use libd3os::cap::{Bandwidth, Capability, Endpoint, Error, Reply};
use libd3os::sys;

use super::tests;
use crate::arena::{Arena, VSPACE, slot_of};
use crate::check::{Outcome, check, check_eq};
use crate::machine::{self, FpuValues, write};
use crate::raw;
use crate::worker::{Options, Worker};

tests![
    an_idle_core_wakes,
    instruction_pointers_that_are_none,
    nothing_is_mapped_at_the_end_of_user_space,
    stack_pointers_that_are_none,
    bases_that_are_none,
    flags_that_others_set,
    flags_that_a_thread_sets_itself,
    single_steps_over_a_system_call,
    interrupts_by_instruction,
    reserved_bits_of_the_fpu,
    the_kernels_half_is_out_of_reach,
    no_translation_outlives_its_space,
];

const PAGE: u64 = 4096;
const BREAKPOINT: u64 = 3;
const OVERFLOW: u64 = 4;
const DEBUG: u64 = 1;
const UNDEFINED: u64 = 6;
const PROTECTION: u64 = 13;
/// A system call that does not exist.
const NO_SYSCALL: u64 = 77;

/// Where user space ends.
const END: u64 = 1 << 47;
/// Addresses that are not canonical: RIP, RSP and bases cannot hold them.
const NOT_CANONICAL: [u64; 5] = [END, END + PAGE, 1 << 63, 0x0123_4567_89ab_cdef, !END];
/// Canonical addresses of the kernel's half.
const KERNELS: [u64; 4] =
    [0xffff_8000_0000_0000, 0xffff_8000_0010_0000, 0xffff_ffff_8010_0000, 0xffff_ffff_c000_0000];

// Instructions.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
const UD2: [u8; 2] = [0x0f, 0x0b];
const CLI: u8 = 0xfa;
const NOP: u8 = 0x90;
const PUSHFQ_POP_RAX: [u8; 2] = [0x9c, 0x58];
const PUSH_RBX_POPFQ: [u8; 2] = [0x53, 0x9d];
const READ_RBX: [u8; 3] = [0x48, 0x8b, 0x03];
const WRITE_RBX: [u8; 3] = [0x48, 0x89, 0x03];
const JUMP_RBX: [u8; 2] = [0xff, 0xe3];
/// RAX from FS:0 and from GS:0.
const READ_FS: [u8; 9] = [0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0];
const READ_GS: [u8; 9] = [0x65, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0];

/// What a subject stopped at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// An exception: number, error code, and the instruction's offset in the code.
    Exception(u64, u64, u64),
    /// A page fault: address, error code.
    Page(u64, u64),
    /// A system call that does not exist.
    Syscall,
    Other(u64),
}

/// A thread that executes what a test gives it.
struct Subject {
    worker: Worker,
    faults: Endpoint,
    reply: Reply,
    /// Its pages of code and stack.
    code: u64,
    stack: u64,
}

impl Subject {
    fn new(arena: &mut Arena) -> Result<Self, Error> {
        let (faults, reply) = (arena.endpoint()?, arena.reply()?);
        let options = Options { start: false, ..Options::faults_to(faults) };
        let worker = arena.spawn(options, |_| ())?;
        let mut page = || {
            let frame = arena.frame(FrameSize::Small)?;
            arena.map(frame, FrameSize::Small)
        };
        Ok(Self { worker, faults, reply, code: page()?, stack: page()? })
    }

    /// Gives it code, at an offset.
    fn load(&self, offset: u64, pieces: &[&[u8]]) {
        let bytes = pieces.iter().copied().flatten().chain(&UD2).copied();
        let mut words = [0; 64];
        for (place, byte) in words.iter_mut().zip(bytes) {
            *place = byte;
        }
        let (words, _) = words.as_chunks();
        for (place, word) in (self.code + offset..).step_by(8).zip(words) {
            write(place, u64::from_le_bytes(*word));
        }
    }

    fn registers(&self) -> UserRegisters {
        UserRegisters {
            rip: self.code,
            rsp: self.stack + PAGE,
            rdx: NO_SYSCALL,
            rflags: 0x202,
            ..UserRegisters::default()
        }
    }

    /// Starts it with these registers, and waits until it stops.
    fn run(&self, registers: &UserRegisters) -> Result<End, Error> {
        self.worker.tcb.suspend()?;
        self.worker.tcb.write_registers(registers, true)?;
        Ok(self.wait())
    }

    fn wait(&self) -> End {
        let label = self.faults.recv(self.reply).info.label();
        let word = sys::word;
        match FaultLabel::from_number(label) {
            Some(FaultLabel::UserException) => {
                End::Exception(word(3), word(4), word(0).wrapping_sub(self.code))
            }
            Some(FaultLabel::VmFault) => End::Page(word(1), word(3)),
            Some(FaultLabel::UnknownSyscall) => End::Syscall,
            _ => End::Other(label),
        }
    }

    /// Answers an exception: instruction, stack, flags.
    fn answer(&self, words: [u64; 3]) -> End {
        for (index, word) in words.into_iter().enumerate() {
            sys::set_word(index, word);
        }
        self.reply.send(raw::info(0, fault_length::USER_EXCEPTION_REPLY));
        self.wait()
    }

    /// Answers a fault without a change: the instruction is tried again.
    fn repeat(&self) -> End {
        self.reply.send(raw::info(0, 0));
        self.wait()
    }

    /// Answers a system call that does not exist, which left its message in the IPC buffer: goes on
    /// behind it, with these stack and flags.
    fn answer_syscall(&self, ip: u64, rsp: u64, flags: u64) -> End {
        for (index, word) in [(15, ip), (16, rsp), (17, flags)] {
            sys::set_word(index, word);
        }
        self.reply.send(raw::info(0, fault_length::UNKNOWN_SYSCALL_REPLY));
        self.wait()
    }

    fn now(&self) -> Result<UserRegisters, Error> {
        self.worker.tcb.read_registers(false)
    }
}

fn canonical(address: u64) -> u64 {
    if NOT_CANONICAL.contains(&address) { 0 } else { address }
}

/// Everything is out of budget for most of the time.
fn an_idle_core_wakes(arena: &mut Arena) -> Outcome {
    let short = Bandwidth { budget_us: 100, period_us: 1000, ..Bandwidth::default() };
    let turns = alloc::sync::Arc::new(core::sync::atomic::AtomicU64::new(0));
    let count = alloc::sync::Arc::clone(&turns);
    let options = Options { bandwidth: Some(short), ..Options::priority(100) };
    arena
        .spawn(options, move |_| {
            // A Yield gives up what is left of the budget: nobody can run until the next period.
            for _ in 0..50 {
                raw::yield_now();
                count.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
            }
        })?
        .join();
    check_eq!(turns.load(core::sync::atomic::Ordering::Relaxed), 50);
    Ok(())
}

/// Whether a fault is that of fetching from such an address, or from zero in its place.
fn is_bad_fetch(end: End, address: u64) -> bool {
    match end {
        End::Exception(number, ..) => number == PROTECTION,
        End::Page(at, _) => at == canonical(address),
        _ => false,
    }
}

fn instruction_pointers_that_are_none(arena: &mut Arena) -> Outcome {
    let subject = Subject::new(arena)?;
    subject.load(0, &[&SYSCALL]);
    let good = subject.registers();
    for bad in NOT_CANONICAL.into_iter().chain(KERNELS).chain([END - 1, u64::MAX]) {
        let end = subject.run(&UserRegisters { rip: bad, ..good })?;
        check!(is_bad_fetch(end, bad), "written, {bad:#x}: {end:x?}");
        // By the answer to an exception, and back.
        check_eq!(
            subject.run(&UserRegisters { rip: good.rip + 2, ..good })?,
            End::Exception(UNDEFINED, 0, 2)
        );
        let end = subject.answer([bad, good.rsp, good.rflags]);
        check!(is_bad_fetch(end, bad), "answered, {bad:#x}: {end:x?}");
        if matches!(end, End::Exception(..)) {
            let end = subject.answer([good.rip + 2, good.rsp, good.rflags]);
            check_eq!(end, End::Exception(UNDEFINED, 0, 2));
        }
        // By the answer to a system call.
        check_eq!(subject.run(&good)?, End::Syscall);
        let end = subject.answer_syscall(bad, good.rsp, good.rflags);
        check!(is_bad_fetch(end, bad), "answered to a call, {bad:#x}: {end:x?}");
    }
    Ok(())
}

/// Else a SYSCALL there would have a return address that SYSRET faults at, in the kernel.
fn nothing_is_mapped_at_the_end_of_user_space(arena: &mut Arena) -> Outcome {
    let frame = arena.frame(FrameSize::Small)?;
    let refused = arena.map_at(VSPACE, frame, END - PAGE, CapRights::READ_WRITE);
    check_eq!(refused, Err(Error::InvalidArgument { index: 0 }));
    arena.map_at(VSPACE, frame, END - 2 * PAGE, CapRights::READ_WRITE)?;
    let subject = Subject::new(arena)?;
    for (place, bytes) in [(END - PAGE - 8, [0x90; 8]), (END - PAGE - 2, [0x0f; 8])] {
        // The last two bytes of the last page are a SYSCALL.
        write(place & !7, u64::from_le_bytes(bytes));
    }
    write(END - PAGE - 8, u64::from_le_bytes([NOP, NOP, NOP, NOP, NOP, NOP, 0x0f, 0x05]));
    let end = subject.run(&UserRegisters { rip: END - PAGE - 2, ..subject.registers() })?;
    check_eq!(end, End::Syscall);
    let end = subject.answer_syscall(END - PAGE, subject.stack + PAGE, 0x202);
    check!(matches!(end, End::Page(at, _) if at == END - PAGE), "{end:x?}");
    Ok(())
}

fn stack_pointers_that_are_none(arena: &mut Arena) -> Outcome {
    let subject = Subject::new(arena)?;
    subject.load(0, &[&SYSCALL]);
    let good = subject.registers();
    for bad in NOT_CANONICAL.into_iter().chain(KERNELS).chain([0, 1, END - 1]) {
        let expected = canonical(bad);
        // In by SYSCALL and out by IRETQ, in by an exception and out by IRETQ.
        check_eq!(subject.run(&UserRegisters { rsp: bad, ..good })?, End::Syscall);
        check_eq!(sys::word(16), expected);
        let end = subject.answer_syscall(good.rip + 2, bad, good.rflags);
        check_eq!(end, End::Exception(UNDEFINED, 0, 2), "answered with {bad:#x}");
        check_eq!(subject.now()?.rsp, expected);
        let end = subject.answer([good.rip + 2, bad, good.rflags]);
        check_eq!(end, End::Exception(UNDEFINED, 0, 2));
        // In and out by SYSCALL and SYSRET.
        let yields =
            UserRegisters { rsp: bad, rdx: Syscall::Yield.number().cast_unsigned(), ..good };
        check_eq!(subject.run(&yields)?, End::Exception(UNDEFINED, 0, 2));
        check_eq!(subject.now()?.rsp, expected);
    }
    Ok(())
}

fn bases_that_are_none(arena: &mut Arena) -> Outcome {
    let subject = Subject::new(arena)?;
    let good = subject.registers();
    let touches = |end: End, bad: u64| match end {
        End::Page(at, _) => at == canonical(bad) || at == canonical(bad) & (END - 1),
        End::Exception(number, ..) => number == PROTECTION,
        _ => false,
    };
    for bad in NOT_CANONICAL.into_iter().chain(KERNELS) {
        for (code, registers) in [
            (READ_FS, UserRegisters { fs_base: bad, ..good }),
            (READ_GS, UserRegisters { gs_base: bad, ..good }),
        ] {
            subject.load(0, &[&code]);
            let end = subject.run(&registers)?;
            check!(touches(end, bad), "written, {bad:#x}: {end:x?}");
        }
        subject.load(0, &[&SYSCALL, &READ_FS]);
        let rdx = Syscall::SetTLSBase.number().cast_unsigned();
        let end = subject.run(&UserRegisters { rdx, rdi: bad, ..good })?;
        check!(touches(end, bad), "set by itself, {bad:#x}: {end:x?}");
        subject.load(0, &[&READ_FS]);
        subject.worker.tcb.suspend()?;
        subject.worker.tcb.write_registers(&good, false)?;
        subject.worker.tcb.set_tls_base(bad)?;
        subject.worker.tcb.resume()?;
        let end = subject.wait();
        check!(touches(end, bad), "set by another, {bad:#x}: {end:x?}");
    }
    Ok(())
}

/// I/O privilege, nested task, resume, virtual 8086 mode, virtual interrupts, and all that have no name.
const FORBIDDEN: u64 = !0x24_4fd7;
/// Nested task, alignment check, direction, identification: a thread may set them itself.
const OWN: [u64; 4] = [1 << 14, 1 << 18, 1 << 10, 1 << 21];
const TRAP: u64 = 1 << 8;
const INTERRUPTS: u64 = 1 << 9;

/// Checks the flags that a subject has read before it came to a CLI: interrupts are on, and it may not
/// switch them off.
fn check_flags(subject: &Subject, end: End, offset: u64, asked: u64) -> Outcome {
    check_eq!(end, End::Exception(PROTECTION, 0, offset), "with {asked:#x}");
    let flags = subject.now()?.rax;
    check_eq!(flags & FORBIDDEN, 0, "{asked:#x} gave {flags:#x}");
    check_eq!(flags & INTERRUPTS, INTERRUPTS, "{asked:#x} gave {flags:#x}");
    Ok(())
}

fn flags_that_others_set(arena: &mut Arena) -> Outcome {
    let subject = Subject::new(arena)?;
    subject.load(0, &[&SYSCALL, &PUSHFQ_POP_RAX, &[CLI]]);
    let good = subject.registers();
    let behind = good.rip + 2;
    for asked in (0..64).map(|bit| 1 << bit).chain([0, u64::MAX]) {
        let end = subject.run(&UserRegisters { rip: behind, rflags: asked, ..good })?;
        check_flags(&subject, end, 4, asked)?;
        let end = subject.answer([behind, good.rsp, asked]);
        check_flags(&subject, end, 4, asked)?;
        check_eq!(subject.run(&good)?, End::Syscall);
        let end = subject.answer_syscall(behind, good.rsp, asked);
        check_flags(&subject, end, 4, asked)?;
    }
    Ok(())
}

/// Into the kernel with them by a system call, an exception and a page fault, and out again.
fn flags_that_a_thread_sets_itself(arena: &mut Arena) -> Outcome {
    let subject = Subject::new(arena)?;
    let good = subject.registers();
    let yields = Syscall::Yield.number().cast_unsigned();
    for asked in OWN.into_iter().chain([OWN.iter().sum(), 3 << 12, !TRAP]) {
        let registers = UserRegisters { rbx: asked, rdx: yields, ..good };
        subject.load(0, &[&PUSH_RBX_POPFQ, &SYSCALL, &PUSHFQ_POP_RAX, &[CLI]]);
        let end = subject.run(&registers)?;
        check_flags(&subject, end, 6, asked)?;
        let kept = subject.now()?.rax & OWN.iter().sum::<u64>();
        check_eq!(kept, asked & OWN.iter().sum::<u64>(), "its own flags, after a system call");
        subject.load(0, &[&PUSH_RBX_POPFQ, &READ_RBX, &PUSHFQ_POP_RAX, &[CLI]]);
        let end = subject.run(&registers)?;
        check!(matches!(end, End::Page(..) | End::Exception(PROTECTION, ..)), "{end:x?}");
        subject.load(0, &[&PUSH_RBX_POPFQ]);
        check_eq!(subject.run(&registers)?, End::Exception(UNDEFINED, 0, 2));
        subject.load(0, &[&PUSH_RBX_POPFQ, &[NOP, NOP], &PUSHFQ_POP_RAX, &[CLI]]);
        let end = subject.repeat();
        check_flags(&subject, end, 6, asked)?;
        let kept = subject.now()?.rax & OWN.iter().sum::<u64>();
        check_eq!(kept, asked & OWN.iter().sum::<u64>(), "its own flags, after an exception");
        check_life_goes_on(arena)?;
    }
    Ok(())
}

fn single_steps_over_a_system_call(arena: &mut Arena) -> Outcome {
    let subject = Subject::new(arena)?;
    let good = UserRegisters { rbx: TRAP | INTERRUPTS, ..subject.registers() };
    // After the instruction that follows the one that loads the flag.
    subject.load(0, &[&PUSH_RBX_POPFQ, &[NOP, NOP]]);
    check_eq!(subject.run(&good)?, End::Exception(DEBUG, 0, 3));
    check_eq!(sys::word(2) & TRAP, TRAP);
    let end = subject.answer([good.rip + 3, good.rsp, good.rbx]);
    check_eq!(end, End::Exception(UNDEFINED, 0, 4), "another's answer steps on");
    // The kernel is not stepped through; its caller is, when it has returned.
    subject.load(0, &[&PUSH_RBX_POPFQ, &SYSCALL, &[NOP, NOP]]);
    let yields = Syscall::Yield.number().cast_unsigned();
    let end = subject.run(&UserRegisters { rdx: yields, ..good })?;
    check!(matches!(end, End::Exception(DEBUG, 0, 4 | 5)), "{end:x?}");
    check_eq!(subject.run(&good)?, End::Syscall);
    check_life_goes_on(arena)
}

/// INT n reaches no gates but the breakpoint's and the overflow's: not those of interrupts, nor of the machine's own
/// exceptions, whose frames would be false.
fn interrupts_by_instruction(arena: &mut Arena) -> Outcome {
    let subject = Subject::new(arena)?;
    for vector in 0..=u8::MAX {
        let offset = u64::from(vector) * 8;
        subject.load(offset, &[&[0xcd, vector]]);
        let registers = UserRegisters { rip: subject.code + offset, ..subject.registers() };
        let end = subject.run(&registers)?;
        if [BREAKPOINT, OVERFLOW].contains(&vector.into()) {
            check_eq!(end, End::Exception(vector.into(), 0, offset + 2));
            continue;
        }
        // The gate's selector: eight times the vector; twice that in QEMU before version 9.
        let codes = [8, 16].map(|size| u64::from(vector) * size + 2);
        let expected = codes.map(|code| End::Exception(PROTECTION, code, offset));
        check!(expected.contains(&end), "int {vector}: {end:x?}");
    }
    Ok(())
}

/// User space cannot give the kernel an image of the FPU's registers, only load the registers itself: a
/// reserved bit of MXCSR ends there. (QEMU's emulation takes such bits; then they must do no harm.)
fn reserved_bits_of_the_fpu(arena: &mut Arena) -> Outcome {
    let subject = Subject::new(arena)?;
    for bit in 16..32 {
        write(subject.stack + 24, 1 << bit);
        let good = UserRegisters { rax: subject.stack + 24, ..subject.registers() };
        for (code, rax) in [
            (&[0x0f, 0xae, 0x10][..], subject.stack + 24),
            (&[0x48, 0x0f, 0xae, 0x08], subject.stack),
        ] {
            subject.load(0, &[code]);
            let end = subject.run(&UserRegisters { rax, ..good })?;
            let refused = End::Exception(PROTECTION, 0, 0);
            let taken = End::Exception(UNDEFINED, 0, code.len() as u64);
            check!(end == refused || end == taken, "bit {bit}: {end:x?}");
        }
        // Another thread's registers are loaded, and the subject's stored.
        let kept = FpuValues::new(bit, !bit, 0x1f80);
        let same = alloc::sync::Arc::new(core::sync::atomic::AtomicU64::new(0));
        let tell = alloc::sync::Arc::clone(&same);
        arena
            .worker(100, move |_| {
                let same = u64::from(machine::fpu_over_yield(kept) == kept);
                tell.store(same, core::sync::atomic::Ordering::Relaxed);
            })?
            .join();
        check_eq!(same.load(core::sync::atomic::Ordering::Relaxed), 1);
    }
    Ok(())
}

/// With a page table of the kernel's own, none of these is mapped while user space runs; else their
/// entries say that they are the kernel's.
fn the_kernels_half_is_out_of_reach(arena: &mut Arena) -> Outcome {
    let hidden = crate::option(arena.boot(), "mitigations=") == Some("on");
    let subject = Subject::new(arena)?;
    for address in KERNELS {
        let registers = UserRegisters { rbx: address, ..subject.registers() };
        for (code, kind) in [(&READ_RBX[..], 0b100), (&WRITE_RBX, 0b110)] {
            subject.load(0, &[code]);
            let end = subject.run(&registers)?;
            let End::Page(at, told) = end else {
                return Err(crate::check::Failure::new(alloc::format!("{end:x?}")));
            };
            check_eq!((at, told & 0b110), (address, kind));
            if hidden {
                check_eq!(told & 1, 0, "{address:#x} is mapped");
            } else if address == KERNELS[1] {
                check_eq!(told & 1, 1, "all RAM is mapped, for the kernel");
            }
        }
        subject.load(0, &[&JUMP_RBX]);
        let end = subject.run(&registers)?;
        check!(matches!(end, End::Page(at, _) if at == address), "{address:#x}: {end:x?}");
    }
    Ok(())
}

/// An address space that takes the identifier, and the memory, of one that is gone.
fn no_translation_outlives_its_space(arena: &mut Arena) -> Outcome {
    const PLACE: u64 = 0x3000_0000_0000;
    for value in 1..=8 {
        let space = arena.twin_address_space()?;
        let page = arena.frame(FrameSize::Small)?;
        let here = arena.map(page, FrameSize::Small)?;
        write(here, value);
        let copy = libd3os::cap::Frame::new(arena.copy(page.cptr())?);
        arena.map_at(space, copy, PLACE, CapRights::READ)?;
        let (results, reply) = (arena.endpoint()?, arena.reply()?);
        let to = results.cptr();
        let options = Options { vspace: space, ..Options::faults_to(results) };
        arena.spawn(options, move |_| {
            let seen = machine::read(PLACE);
            raw::call(to, raw::info(0x77, 1), [seen, 0, 0, 0]);
        })?;
        let told = raw::recv(to, reply.cptr());
        check_eq!((told.info.label(), told.words[0]), (0x77, value));
        // Its own mapping goes, then the space; what was there is not to be seen by the next one.
        copy.unmap()?;
        slot_of(space.cptr()).revoke()?;
        arena.reset()?;
    }
    let empty = arena.twin_address_space()?;
    let subject = Options { vspace: empty, start: true, ..Options::default() };
    let faults = arena.endpoint()?;
    let reply = arena.reply()?;
    let options = Options { fault_endpoint: faults.cptr(), ..subject };
    arena.spawn(options, move |_| machine::touch(PLACE))?;
    let told = raw::recv(faults.cptr(), reply.cptr());
    check_eq!(told.info.label(), FaultLabel::VmFault as u64);
    check_eq!(told.words[1], PLACE);
    Ok(())
}

fn check_life_goes_on(arena: &mut Arena) -> Outcome {
    // The kernel clears a large frame and copies: with a user's direction flag that would go wrong.
    let frame = arena.frame(FrameSize::Small)?;
    let page = arena.map(frame, FrameSize::Small)?;
    check_eq!(machine::read(page), 0);
    frame.map(VSPACE, page, CapRights::READ, VmAttributes::WriteBack)?;
    Ok(())
}
