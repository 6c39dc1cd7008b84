//! The 16550 serial port driver, without its process: everything that a host can test.
//!
//! [`regs`] names the registers and their bits, [`queue`] holds bytes in bounded rings,
//! [`events`] says what is noted and counted, [`device`] is the driver's logic over any [`regs::Registers`]. The process in `main.rs`
//! adds the I/O ports, the interrupt and the `Uart` interface.
//!
//! The specification followed is National Semiconductor's PC16550D data sheet.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod device;
pub mod events;
#[cfg(test)]
mod model;
pub mod queue;
pub mod regs;
