//! The SYSCALL instruction.

use core::arch::asm;

use super::Registers;

/// Makes system call `number`.
///
/// The kernel's contract: RDX holds the number; RCX and R11 are lost to the instruction; the
/// stub keeps RSP in RBX across it and takes it back; every register not named in [`Registers`]
/// survives. RBX itself belongs to the compiler, so it is kept in R14.
#[inline]
pub(super) fn trap(number: i64, registers: Registers) -> Registers {
    let Registers { mut rdi, mut rsi, words: [mut mr0, mut mr1, mut mr2, mut mr3], r12, r13 } =
        registers;
    // SAFETY: the operands name every register that the kernel may change, and RBX and RSP are
    // put back. The kernel writes to no memory but the IPC buffer, which the compiler must
    // assume changed, as no `nomem` option is given. Whatever the call does to the program's own
    // mappings and threads is limited by its capabilities and is its author's affair.
    unsafe {
        asm!(
            "mov r14, rbx",
            "mov rbx, rsp",
            "syscall",
            "mov rsp, rbx",
            "mov rbx, r14",
            in("rdx") number,
            inout("rdi") rdi,
            inout("rsi") rsi,
            inout("r10") mr0,
            inout("r8") mr1,
            inout("r9") mr2,
            inout("r15") mr3,
            inout("r12") r12 => _,
            inout("r13") r13 => _,
            out("r14") _,
            out("rcx") _,
            out("r11") _,
            out("rax") _,
        );
    }
    Registers { rdi, rsi, words: [mr0, mr1, mr2, mr3], r12, r13 }
}
