//! What no program may do, as single instructions, so that the compiler cannot see through it.
//!
//! Each is a function of its own in the program file too: reports name it.

use core::arch::asm;

/// What [`write_constant`] tries to change.
static CONSTANT: u64 = 0xd305;

/// Reads from address 0.
#[inline(never)]
pub(crate) fn read_null() {
    // SAFETY: nothing is mapped there: the processor raises a page fault and the program ends.
    unsafe { asm!("mov {0}, qword ptr [{0}]", inout(reg) 0_u64 => _, options(readonly, nostack)) }
}

/// Divides by zero.
#[inline(never)]
pub(crate) fn divide_by_zero() {
    // SAFETY: the processor raises a divide error and the program ends.
    unsafe {
        asm!("div {0}", in(reg) 0_u64, inout("rax") 1_u64 => _, inout("rdx") 0_u64 => _, options(nostack));
    }
}

/// Executes an instruction that does not exist.
#[inline(never)]
pub(crate) fn execute_nonsense() {
    // SAFETY: the processor raises an invalid-opcode exception and the program ends.
    unsafe { asm!("ud2", options(nostack)) }
}

/// Writes to read-only memory.
#[inline(never)]
pub(crate) fn write_constant() {
    let address = &raw const CONSTANT;
    // SAFETY: the page is mapped read-only: the processor raises a page fault, the program ends,
    // and the constant keeps its value.
    unsafe { asm!("mov qword ptr [{0}], 0", in(reg) address, options(nostack)) }
}
