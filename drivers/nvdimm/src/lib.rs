//! The persistent memory driver, without its process: everything that a host can test.
//!
//! [`medium`] is memory that outlives a loss of power once it was written back, [`device`] the ranges
//! of it, their state and what may be done to them, [`instructions`] writes cache lines back;
//! [`events`] says what is noted and counted. The process in `main.rs` adds a window into the ranges
//! and the `Nvdimm` interface.
//!
//! The specifications followed are ACPI 6.5, section 5.2.25 (NFIT, read by `platform`), and Intel's
//! manual on CLFLUSH, CLFLUSHOPT and CLWB (Software Developer's Manual, volume 2A).
//!
//! Reads and writes here are copies through messages: for tools, tests and headers. What works on
//! persistent memory itself has it mapped ([`libd3os::persistent`]); the README says how the two
//! belong together.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod device;
pub mod events;
#[expect(unsafe_code, reason = "executes the instructions that write cache lines back")]
pub mod instructions;
pub mod medium;
#[cfg(test)]
mod model;
