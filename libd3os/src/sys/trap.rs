//! The SYSCALL instruction.

use core::arch::asm;

use super::Registers;

/// Makes system call `number`.
///
/// The kernel's contract: RDX holds the number; RCX and R11 are lost to the instruction; every
/// register not named in [`Registers`] survives, RSP included; RAX is left to the fault handler
/// that may answer an unknown number.
#[inline]
pub(super) fn trap(number: i64, registers: Registers) -> Registers {
    let Registers { mut rdi, mut rsi, words: [mut mr0, mut mr1, mut mr2, mut mr3], r12, r13 } =
        registers;
    // SAFETY: the operands name every register that the kernel may change. The kernel writes to no
    // memory but the IPC buffer, which the compiler must assume changed, as no `nomem` option is
    // given. Whatever the call does to the program's own mappings and threads is limited by its
    // capabilities and is its author's affair.
    unsafe {
        asm!(
            "syscall",
            in("rdx") number,
            inout("rdi") rdi,
            inout("rsi") rsi,
            inout("r10") mr0,
            inout("r8") mr1,
            inout("r9") mr2,
            inout("r15") mr3,
            in("r12") r12,
            in("r13") r13,
            out("rax") _,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    Registers { rdi, rsi, words: [mr0, mr1, mr2, mr3], r12, r13 }
}

/// As [`trap`], for a call whose message has no words: nothing is put into their registers.
#[inline]
pub(super) fn trap_without_words(number: i64, registers: Registers) -> Registers {
    let Registers { mut rdi, mut rsi, r12, r13, .. } = registers;
    let (mr0, mr1, mr2, mr3);
    // SAFETY: as in `trap`.
    unsafe {
        asm!(
            "syscall",
            in("rdx") number,
            inout("rdi") rdi,
            inout("rsi") rsi,
            out("r10") mr0,
            out("r8") mr1,
            out("r9") mr2,
            out("r15") mr3,
            in("r12") r12,
            in("r13") r13,
            out("rax") _,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    Registers { rdi, rsi, words: [mr0, mr1, mr2, mr3], r12, r13 }
}
