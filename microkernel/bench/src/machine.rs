//! What takes instructions or addresses of its own.

use core::arch::{asm, global_asm};

use libd3os::abi::IpcBuffer;

/// Reads a word where nothing is mapped: the thread faults, again whenever it is answered.
pub(crate) fn fault() {
    // SAFETY: assembly, so that the compiler assumes nothing about the address.
    unsafe { asm!("mov {0}, [{0}]", inout(reg) 0x1000u64 => _, options(nostack, readonly)) };
}

/// Makes the running thread one that can use the library.
pub(crate) fn attach(buffer: u64) {
    // SAFETY: the buffer was mapped for this thread alone, and it has just begun.
    unsafe { libd3os::rt::start_thread(buffer as *mut IpcBuffer) };
}

// What a thread of a crowd executes: the system call that its registers are set for, and then one
// with RBX and R13, for ever.
global_asm!(
    ".text",
    "crowd_begin:",
    "syscall",
    "2: mov rdx, r13",
    "mov rdi, rbx",
    "xor esi, esi",
    "syscall",
    "jmp 2b",
);

unsafe extern "C" {
    safe fn crowd_begin() -> !;
}

/// The first instruction of a thread of a crowd.
pub(crate) fn crowd_entry() -> u64 {
    (crowd_begin as extern "C" fn() -> !) as usize as u64
}
