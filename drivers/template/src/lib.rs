//! A driver to copy: a PC's parallel port, which hands bytes to a printer. Everything but its process.
//!
//! [`interface`] is what it offers (a driver of the system has its own in `libd3os/src/service/`),
//! [`regs`] names the registers and their bits, [`device`] is the logic over any
//! [`regs::Registers`], [`events`] says what is noted and counted; the model of the port and a
//! printer is for tests. The process in `main.rs` adds ports and interrupt.
//!
//! The specification followed is IBM's PC/AT Technical Reference, section "Serial/Parallel Adapter";
//! the timing is that of IEEE 1284's compatibility mode.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod device;
pub mod events;
pub mod interface;
#[cfg(test)]
mod model;
pub mod regs;
