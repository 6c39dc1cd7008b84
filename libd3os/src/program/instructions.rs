//! The two instructions that a program's end needs.

use core::arch::asm;

/// Ends the program by an illegal instruction, which its supervisor sees as a fault.
pub fn abort() -> ! {
    // SAFETY: the instruction does nothing but raise an exception.
    unsafe { asm!("ud2", options(noreturn, nostack)) }
}

/// The caller's frame pointer (programs are compiled with frame pointers).
#[inline(always)]
pub(crate) fn frame_pointer() -> u64 {
    let frame;
    // SAFETY: the instruction copies a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    frame
}
