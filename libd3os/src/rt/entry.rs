//! From the first instruction to `main`, and from its end to the program's end.

use core::sync::atomic::{AtomicU64, Ordering};

use d3os_abi::{BootInfo, IpcBuffer, slot};

use super::tls;
use crate::cap::{Capability, Tcb};
use crate::program;
use crate::start::{StartInfo, layout};
use crate::sys::{self, Cptr};
use crate::{heap, logging};

/// One past the highest byte of the stack; 0 before the runtime has started.
static STACK_TOP: AtomicU64 = AtomicU64::new(0);

pub(super) fn stack_top() -> u64 {
    STACK_TOP.load(Ordering::Relaxed)
}

/// Runs a program: what `program!` makes the entry point call with its registers.
///
/// # Safety
/// To be called once, first of all, with what `init` put into the registers: start information
/// and IPC buffer stay mapped, the heap's memory is the program's own.
pub unsafe fn start_program(
    start: *const u8,
    start_bytes: usize,
    heap_base: *mut u8,
    heap_bytes: usize,
    ipc_buffer: *mut IpcBuffer,
    main: fn(&'static StartInfo) -> i32,
) -> ! {
    STACK_TOP.store(layout::STACK_TOP, Ordering::Relaxed);
    // SAFETY: init mapped the heap for this program alone, and this is the first use.
    unsafe { heap::add(heap_base, heap_bytes) };
    // SAFETY: the heap works, and nothing has run that uses thread-local variables.
    unsafe { tls::set_up() };
    // SAFETY: init mapped the buffer for this thread, for as long as it runs.
    unsafe { sys::set_ipc_buffer(ipc_buffer) };
    // SAFETY: init mapped the start information read-only and told its length.
    let bytes = unsafe { core::slice::from_raw_parts(start, start_bytes) };
    let info = StartInfo::decode(bytes).expect("init wrote the start information");
    let info = program::set_start_info(info);
    logging::start();
    program::exit(main(info))
}

/// Runs a root task: what `root!` makes the entry point call.
///
/// # Safety
/// To be called once, first of all, with the kernel's BootInfo; the heap's memory is the
/// program's own and `stack_top` is that of the stack in use.
pub unsafe fn start_root(
    boot_info: *const BootInfo,
    heap_base: *mut u8,
    heap_bytes: usize,
    stack_top: u64,
    main: fn(&'static BootInfo) -> i32,
) -> ! {
    STACK_TOP.store(stack_top, Ordering::Relaxed);
    // SAFETY: the heap lies in the image, and this is the first use.
    unsafe { heap::add(heap_base, heap_bytes) };
    // SAFETY: the heap works, and nothing has run that uses thread-local variables.
    unsafe { tls::set_up() };
    // SAFETY: the kernel maps BootInfo for good and the root task never writes to it.
    let boot_info = unsafe { &*boot_info };
    // SAFETY: the kernel mapped the buffer for this thread, for as long as it runs.
    unsafe { sys::set_ipc_buffer(boot_info.ipc_buffer as *mut IpcBuffer) };
    logging::start();
    let code = main(boot_info);
    log::info!("the root task ended with code {code}");
    stop_root()
}

/// Makes a thread that a program or root task has started itself one that can use the library: it
/// gets thread-local storage of its own, from the heap.
///
/// # Safety
/// To be called once, first of all, by that thread, whose IPC buffer stays mapped at `ipc_buffer` in
/// its address space; the program's heap is there too.
pub unsafe fn start_thread(ipc_buffer: *mut IpcBuffer) {
    // SAFETY: the program has set up the heap; this thread has used no thread-local variable.
    unsafe { tls::set_up() };
    // SAFETY: the caller's promise.
    unsafe { sys::set_ipc_buffer(ipc_buffer) };
}

/// Stops the root task's thread for good.
pub(super) fn stop_root() -> ! {
    loop {
        let _ = Tcb::from_cptr(Cptr::new(slot::TCB)).suspend();
        sys::yield_now();
    }
}
