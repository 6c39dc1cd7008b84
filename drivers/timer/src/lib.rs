//! The timer driver, without its process: everything that a host can test.
//!
//! [`queue`] holds the deadlines, [`device`] is the driver's logic over any [`alarm::Alarm`]: a piece
//! of hardware that interrupts once, some time from now. [`hpet`] and [`pit`] are the two that there
//! are, over the registers that [`regs`] names; [`events`] says what is noted and counted. The
//! process in `main.rs` adds registers, interrupt and the `Timer` interface.
//!
//! What time it is says the time stamp counter alone; the alarm's own clock may run a little
//! faster or slower. Where it runs faster, the driver finds nothing due and sets it once more.
//!
//! The specifications followed are the IA-PC HPET specification, revision 1.0a, and Intel's data
//! sheet of the 8254 programmable interval timer (order number 231164).
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod alarm;
pub mod device;
pub mod events;
pub mod hpet;
#[cfg(test)]
mod model;
pub mod pit;
pub mod queue;
pub mod regs;
