//! The end: what is printed when the kernel cannot go on, and how the machine is left.

use crate::core_local::Core;
use crate::instructions::stop;
use crate::layout;
use crate::serial::Serial;
use crate::trap::KernelFault;
use core::arch::asm;
use core::fmt::{self, Write};
use core::ops::Range;
use core::panic::PanicInfo;
use kernel_core::Machine as _;
use kernel_core::objects::Context;
use x86_64::structures::idt::ExceptionVector;

/// Frames of a backtrace that are printed at most.
const MAX_FRAMES: usize = 32;
/// Entries of the table of functions.
const SYMBOLS: usize = 512;

/// A function of the kernel: where it begins, and its name, filled up with zeroes.
#[repr(C)]
struct Symbol {
    address: u64,
    name: [u8; 120],
}

unsafe extern "C" {
    /// The linker script keeps the place, which the build fills: ascending by address; what is left of
    /// it lies at the end of all addresses.
    static symbol_table: [Symbol; SYMBOLS];
}

/// Prints a line, or gives up silently: there is nobody to tell.
macro_rules! line {
    ($($argument:tt)*) => {
        writeln!(Serial, $($argument)*).unwrap_or_default()
    };
}

/// The machine cannot be started: prints why, and ends.
pub(crate) fn cannot_start(reason: &dyn fmt::Display) -> ! {
    line!("D3OS cannot start: {reason}");
    stop()
}

/// Prints a line of the boot.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    line!("{line}");
}

/// This core cannot be used: prints why, and ends it. The others go on.
pub(crate) fn core_cannot_start(core: u32, reason: &dyn fmt::Display) -> ! {
    line!("D3OS cannot start core {core}: {reason}");
    stop()
}

/// A broken promise inside the kernel: prints where, and ends.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    let frame_pointer: u64;
    // SAFETY: RBP is only read; the build keeps frame pointers.
    unsafe { asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack)) };
    line!("\nD3OS kernel panic: {info}");
    print_thread();
    print_backtrace(None, frame_pointer);
    stop()
}

/// A fault of the kernel's own code: prints the registers, and ends.
pub(crate) fn kernel_fault(fault: &KernelFault, fault_address: u64) -> ! {
    let what = if fault.hit_guard() { "stack overflow" } else { "fault" };
    line!("\nD3OS kernel panic: {what} in the kernel");
    if let Ok(exception) = ExceptionVector::try_from(fault.vector.to_le_bytes()[0]) {
        line!("{exception:?} exception");
    }
    let KernelFault { vector, error_code, rip, cs, rflags, rsp, ss, .. } = fault;
    line!("vector {vector} error {error_code:#x} cr2 {fault_address:#018x} cs {cs:#x} ss {ss:#x}");
    line!("rip {rip:#018x} rsp {rsp:#018x} rflags {rflags:#x}");
    for (name, value) in KernelFault::NAMES.iter().zip(&fault.general) {
        line!("{name:>3} {value:#018x}");
    }
    print_thread();
    print_backtrace(Some(fault.rip), fault.frame_pointer());
    stop()
}

fn current_core() -> Option<&'static Core> {
    // SAFETY: null before the core is set up, else its structure. The world has ended: nobody
    // writes it any more, and what was half written is only printed.
    unsafe { Core::current().as_ref() }
}

/// The stack of the core that this runs on.
pub(crate) fn current_stack() -> Range<u64> {
    current_core().map_or_else(layout::stack, Core::stack_range)
}

fn print_thread() {
    let Some(core) = current_core().filter(|core| core.running) else { return };
    // SAFETY: `running` says that the instance is there.
    let kernel = unsafe { core.kernel.assume_init_ref() };
    let Some(thread) = kernel.current_thread() else { return };
    let name = kernel.thread_name(thread).escape_ascii();
    let Context { rip, rsp, rdx, rdi, rsi, .. } = kernel.machine.object(thread).context;
    line!("thread {thread:?} \"{name}\" on core {}: rip {rip:#x} rsp {rsp:#x}", core.number);
    line!("rdx {rdx:#x} rdi {rdi:#x} rsi {rsi:#x}");
}

fn print_backtrace(first: Option<u64>, frame_pointer: u64) {
    line!("backtrace:");
    // A call that does not return may be the last of its function: what lies before is looked up.
    let callers = return_addresses(frame_pointer).map(|address| (address, address - 1));
    for (address, inside) in first.map(|rip| (rip, rip)).into_iter().chain(callers).take(MAX_FRAMES)
    {
        match function(inside) {
            Some((name, start)) => line!("  {address:#018x} {name}+{:#x}", address - start),
            None => line!("  {address:#018x}"),
        }
    }
}

/// The function that `address` is in, and where it begins; none without a table.
fn function(address: u64) -> Option<(&'static str, u64)> {
    // SAFETY: a constant of this shape, any of whose bytes make one.
    let symbols = unsafe { &symbol_table };
    let next = symbols.partition_point(|symbol| symbol.address <= address);
    let symbol = symbols[..next].last()?;
    let name = core::str::from_utf8(&symbol.name).ok()?.trim_end_matches('\0');
    (!name.is_empty()).then_some((name, symbol.address))
}

/// Return addresses, by following frame pointers within the kernel's stack.
fn return_addresses(frame_pointer: u64) -> impl Iterator<Item = u64> {
    let stack = current_stack();
    let frame_at = move |place: u64| {
        let inside = place.is_multiple_of(8) && place >= stack.start && place <= stack.end - 16;
        // SAFETY: aligned, and both words lie in the kernel's stack.
        inside.then(|| (place, unsafe { (place as *const [u64; 2]).read() }))
    };
    let first = frame_at(frame_pointer);
    // Callers' frames lie above: so the walk ends.
    let caller = move |(place, [caller, _]): &(u64, [u64; 2])| {
        Some(*caller).filter(|caller| caller > place).and_then(&frame_at)
    };
    let addresses = core::iter::successors(first, caller).map(|(_, [_, address])| address);
    addresses.take_while(|address| layout::text().contains(address))
}
