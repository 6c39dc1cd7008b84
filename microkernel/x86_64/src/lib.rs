//! The kernel's hardware part: boot, traps, paging, interrupt controllers.
//!
//! Two halves. What interprets foreign bytes or decides something is safe, pure and tested on the
//! host. What touches the processor or devices is compiled for the kernel's target only, unsafe,
//! and as small as it can be.
//!
//! | to find | look in |
//! |---|---|
//! | the first instruction, and the way to the first thread | `entry`, `start` |
//! | the other cores' | `trampoline`, `others`, `instance` |
//! | what boot loaders tell | [`boot_info`], [`pvh`], [`multiboot2`], [`command_line`], [`memory_map`] |
//! | what firmware tells | [`acpi`], [`affinity`] |
//! | which cores have an instance, and which memory | [`partition`] |
//! | into the kernel and out of it | `trap`, `segments` |
//! | one core's state, the machine as the kernel core sees it | `core_local`, `hardware` |
//! | the kernel's half of every address space | `address_space`, [`window`], `layout` |
//! | interrupts | [`irq_lines`], `local_apic`, `io_apic` |
//! | time | [`calibration`], `local_apic`, `legacy` |
//! | panics | `report`, `serial` |
#![cfg_attr(not(test), no_std)]
// Nobody's registers are to be kept where the kernel is entered: the entry code has stored them.
#![cfg_attr(target_os = "none", feature(rust_preserve_none_cc))]

pub mod acpi;
pub mod affinity;
pub mod boot_info;
pub mod bytes;
pub mod calibration;
pub mod command_line;
pub mod irq_lines;
pub mod memory_map;
pub mod multiboot2;
pub mod partition;
pub mod pvh;
pub mod window;

/// Declares the modules that touch hardware: unsafe, and for the kernel's target only.
macro_rules! hardware_modules {
    ($($module:ident: $reason:literal,)*) => {
        $(
            #[cfg(target_os = "none")]
            #[expect(unsafe_code, reason = $reason)]
            mod $module;
        )*
    };
}

hardware_modules! {
    address_space: "builds page tables and reads physical memory",
    core_local: "keeps the core's state where entry code finds it",
    entry: "the first instructions are assembly",
    hardware: "reaches kernel objects by their physical addresses",
    instance: "makes cores enter by what their address space shows",
    instructions: "wraps single instructions",
    io_apic: "reads and writes device registers",
    layout: "names the linker script's symbols",
    local_apic: "reads and writes device registers",
    others: "runs on cores that have just begun",
    processor: "writes control registers",
    segments: "loads descriptor tables",
    start: "hands the machine from the boot loader to the kernel",
    trampoline: "the first instructions are assembly",
    trap: "entry and exit are assembly",
}

#[cfg(target_os = "none")]
mod legacy;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "walks the stack")]
mod report;
#[cfg(target_os = "none")]
mod serial;

#[cfg(target_os = "none")]
pub use report::panic;
