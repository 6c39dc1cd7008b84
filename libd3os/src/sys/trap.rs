//! The SYSCALL instruction.

use core::arch::asm;

use super::Registers;

/// The instruction. The message's first words go along in their registers and come back there
/// (`inout`), or only come (`out`).
macro_rules! syscall {
    ($number:ident, $rdi:ident, $rsi:ident, $r12:ident, $r13:ident,
     $words:ident $mr0:ident $mr1:ident $mr2:ident $mr3:ident) => {
        // SAFETY: the operands name every register that the kernel may change. The kernel writes to
        // no memory but the IPC buffer, which the compiler must assume changed, as no `nomem` option
        // is given. Whatever the call does to the program's own mappings and threads is limited by
        // its capabilities and is its author's affair.
        unsafe {
            asm!(
                "syscall",
                in("rdx") $number,
                inout("rdi") $rdi,
                inout("rsi") $rsi,
                $words("r10") $mr0,
                $words("r8") $mr1,
                $words("r9") $mr2,
                $words("r15") $mr3,
                in("r12") $r12,
                in("r13") $r13,
                out("rax") _,
                out("rcx") _,
                out("r11") _,
                options(nostack),
            );
        }
    };
}

/// Makes system call `number`.
///
/// The kernel's contract: RDX holds the number; RCX and R11 are lost to the instruction; every
/// register not named in [`Registers`] survives, RSP included; RAX is left to the fault handler
/// that may answer an unknown number.
#[inline]
pub(super) fn trap(number: i64, registers: Registers) -> Registers {
    let Registers { mut rdi, mut rsi, words: [mut mr0, mut mr1, mut mr2, mut mr3], r12, r13 } =
        registers;
    syscall!(number, rdi, rsi, r12, r13, inout mr0 mr1 mr2 mr3);
    Registers { rdi, rsi, words: [mr0, mr1, mr2, mr3], r12, r13 }
}

/// As [`trap`], for a call whose message has no words: nothing is put into their registers.
#[inline]
pub(super) fn trap_without_words(number: i64, registers: Registers) -> Registers {
    let Registers { mut rdi, mut rsi, r12, r13, .. } = registers;
    let (mr0, mr1, mr2, mr3);
    syscall!(number, rdi, rsi, r12, r13, out mr0 mr1 mr2 mr3);
    Registers { rdi, rsi, words: [mr0, mr1, mr2, mr3], r12, r13 }
}
