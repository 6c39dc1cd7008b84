//! The runtime: what happens before `main` and after it.
//!
//! `init` starts a program with the addresses of its start information, heap and IPC buffer in
//! the registers of a function's first five arguments, so the entry point is one call. A root
//! task starts as the kernel's ABI says: BootInfo in the first argument's register and no stack;
//! it brings stack and heap along in its image. Both then set up the heap, thread-local storage
//! and the IPC buffer, in this order, and run the program.

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "takes over what the creator of the program prepared")]
mod entry;
#[expect(unsafe_code, reason = "hands out memory of the image once, and reads stack frames")]
mod memory;
#[cfg(target_os = "none")]
mod panic;
mod termination;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "lays out thread-local storage from linker symbols")]
mod tls;

#[cfg(target_os = "none")]
pub use entry::{start_program, start_root, start_thread};
pub use memory::BootMemory;
pub use termination::Termination;

/// Exit code of a program that panicked.
pub const PANIC_EXIT_CODE: i32 = 101;
