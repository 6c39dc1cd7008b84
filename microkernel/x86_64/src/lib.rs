//! The kernel's hardware part: boot, traps, paging, interrupt controllers.
#![cfg_attr(not(test), no_std)]

pub mod acpi;
pub mod boot_info;
pub mod bytes;
pub mod calibration;
pub mod command_line;
pub mod irq_lines;
pub mod memory_map;
pub mod multiboot2;
pub mod pvh;
pub mod symbols;
