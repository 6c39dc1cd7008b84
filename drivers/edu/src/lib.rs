//! QEMU's educational device: DMA on command, to any address.
//!
//! It is in no image but that of a test, which has it aim where it must not. [`regs`] are its
//! registers, [`device`] what is done with them.
#![cfg_attr(not(test), no_std)]

pub mod device;
pub mod regs;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the model's memory is small")]
mod model;
