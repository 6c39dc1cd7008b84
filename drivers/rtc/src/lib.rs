//! The wall clock driver, without its process: everything that a host can test.
//!
//! [`regs`] names the chip's registers and their bits, [`device`] reads the clock over any
//! [`regs::Registers`]; [`events`] says what is noted and counted. The process in `main.rs` adds the I/O ports and the `Rtc` interface.
//!
//! The specification followed is Motorola's data sheet of the MC146818; the register of the
//! century is not in it: the ACPI tables tell where it is, and it is the same on all PCs that have one.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod device;
pub mod events;
#[cfg(test)]
mod model;
pub mod regs;
