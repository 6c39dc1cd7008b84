//! The root task's decisions, without its process: everything that a host can test.
//!
//! `init` reads the boot archive, sets memory aside for every program of the manifest, makes
//! programs, hands out exactly the capabilities that the manifest lists, receives faults and
//! restarts what is to be restarted. Here is what it decides; the process in `main.rs` and
//! `process/` carries it out with kernel calls and decides nothing.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod acpi;
pub mod badge;
pub mod board;
pub mod cores;
pub mod device_memory;
pub mod devices;
pub mod elf;
pub mod fault;
pub mod grants;
pub mod lending;
pub mod log;
pub mod machine;
pub mod memory;
pub mod message;
pub mod own;
pub mod pulse;
pub mod regions;
pub mod rings;
pub mod service;
pub mod supervise;
