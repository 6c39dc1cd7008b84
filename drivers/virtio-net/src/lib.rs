//! The driver of virtio network cards, without its process: everything that a host can test.
//!
//! [`regs`] names features and configuration, [`device`] is the card for the engine of [`nic`],
//! over the queues of [`virtio`] (whose `queue.rs` stands in for one here). The process in
//! `main.rs` adds device, memory and interrupt.
//!
//! The specification followed is VIRTIO 1.2, section 5.1. One pair of queues, no control queue.
//! Not negotiated: merged receive buffers (a buffer holds the longest frame), checksum and
//! segmentation offloads (QEMU's user network, the one that is measured, has none), so that a
//! frame's header is always the same twelve zeros and is written once.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod device;
#[cfg(test)]
mod model;
pub mod regs;
