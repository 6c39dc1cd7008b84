//! What drivers of network cards share. A library: the drivers are programs of their own.
//!
//! [`card`] is what a driver has to write: a card that takes and gives frames by the index of
//! their buffer. [`engine`] moves frames between a card and its consumers ([`libd3os::nic`]):
//! it steers, counts, and decides when anybody is woken; [`journal`] is what it tells of that.
//! [`process`] is the rest of the program: grants, the `nic` interface, the loop.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod card;
pub mod engine;
pub mod journal;
pub mod process;
