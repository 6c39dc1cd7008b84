//! The driver of Intel 82574L network cards, without its process: everything that a host can test.
//!
//! [`regs`] names the registers and their bits, [`queue`] is the two rings of descriptors,
//! [`device`] is the card for the engine of [`nic`]. The process in `main.rs` adds device, memory
//! and interrupt.
//!
//! The specification followed is Intel's 82574 GbE Controller Family data sheet, 316080, revision
//! 3.4; sections are named where they apply. Used are one receive and one transmit queue with
//! legacy descriptors (7.1.4.1, 7.2.2: sixteen bytes, with all that is needed), MSI-X with one
//! vector or else the single interrupt (7.4), receive checksums (7.1.10), and long frames.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod device;
#[cfg(test)]
mod model;
pub mod queue;
pub mod regs;
