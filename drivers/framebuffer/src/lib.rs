//! The screen driver, without its process: everything that a host can test.
//!
//! [`format`] makes the device's pixels of ours, [`surface`] copies what changed from the shared
//! region to the device's memory; [`bochs`] is the mode setting of QEMU's standard VGA, over the
//! registers that [`regs`] names, [`gpu`] the 2D commands of a virtio GPU, which fetches the pixels
//! by itself; [`events`] is what the driver notes and counts. The process in
//! `main.rs` adds the device, the region and the `Framebuffer` interface.
//!
//! The specifications followed are the Multiboot2 specification's framebuffer tag (how a boot
//! loader's linear framebuffer is described) and QEMU's `docs/specs/standard-vga.rst` with the
//! Bochs VBE extensions that it names; Virtual I/O Device (VIRTIO) Version 1.2, section 5.7.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod bochs;
pub mod events;
pub mod format;
pub mod gpu;
#[cfg(test)]
mod model;
pub mod regs;
pub mod surface;
