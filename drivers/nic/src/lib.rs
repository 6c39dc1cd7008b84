//! What drivers of network cards share. A library: the drivers are programs of their own.
//!
//! [`card`] is what a driver has to write: a card that takes and gives frames by the index of
//! their buffer. [`engine`] moves frames between a card and its consumers ([`libd3os::nic`]):
//! it steers, counts, and decides when anybody is woken; [`journal`] is what it tells of that.
//! [`process`] is the rest of the program: grants, the `nic` interface, the loop.
//! # Priorities, and what a frame costs
//!
//! A driver has less priority than its consumer. The consumer then deals with a frame as soon as it
//! is handed over, and what it sends is there when the driver looks before it sleeps: neither a
//! signal nor a switch is needed for it. Executed instructions from a program's request (ARP, 42
//! bytes) to the answer of QEMU's user network in its hands, kernel included, the answer coming
//! while the driver looks, the same in each of the last thousands of rounds:
//!
//! | | virtio-net | e1000e |
//! |---|---|---|
//! | driver above its consumer, words of a line moved one by one | 4,053 | 3,967 |
//! | driver below its consumer, whole lines | 3,372 | 3,274 |
//!
//! Of the 3,372 about 1,500 are the driver's, 1,100 the kernel's and 780 the consumer's. In the
//! driver it is no single place but many small ones in [`engine::Engine::run`], which makes two
//! passes for such a round.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod card;
pub mod engine;
pub mod journal;
pub mod process;
