//! The PS/2 keyboard driver, without its process: everything that a host can test.
//!
//! [`regs`] names the controller's ports, bits and commands, [`device`] sets controller and
//! keyboard up and fetches scan codes, over any [`regs::Registers`]; [`keys`] makes of them what a
//! terminal sends; [`events`] is what the driver notes and counts. The process in `main.rs` adds
//! the ports, the interrupt and the `Keyboard` interface.
//!
//! The specifications followed are IBM's "PS/2 Hardware Interface Technical Reference, Keyboard and
//! Auxiliary Device Controller" (1988, the Intel 8042 as that machine programs it) and, for the
//! bytes of keys, ECMA-48 and xterm's control sequences.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod device;
pub mod events;
pub mod keys;
#[cfg(test)]
mod model;
pub mod regs;
