//! The entropy driver, without its process: everything that a host can test.
//!
//! [`source`] is where random words come from, [`health`] watches what a source gives, [`generator`]
//! mixes it and makes bytes of it; [`rng`] is a virtio device that gives some; [`device`] puts them
//! together, [`events`] says what is noted and
//! counted. The process in `main.rs` adds the processor's instructions, the device and the `Entropy`
//! interface.
//!
//! The specifications followed: Intel's "Digital Random Number Generator (DRNG) Software
//! Implementation Guide", revision 2.1 (retries, and how much of RDRAND is worth a seed); NIST
//! SP 800-90B, section 4.4 (health tests), with limits for words of 64 bits; VIRTIO 1.2, section 5.4.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod device;
pub mod events;
pub mod generator;
pub mod health;
#[expect(unsafe_code, reason = "executes RDSEED and RDRAND")]
pub mod instructions;
#[cfg(test)]
mod model;
pub mod rng;
pub mod source;
