//! A directory that the host shares with an emulated machine: 9P2000.L over virtio.
//!
//! [`wire`] is the protocol's bytes, requests out and answers in; [`path`] cuts paths into names;
//! [`session`] does with them what the interface offers, as futures that ask the host one thing
//! after another; [`device`] is the virtio device that carries one request at a time; [`engine`]
//! has the operations that wait and lets them work; [`regs`] names what the device tells, [`events`]
//! is what is observed.
//!
//! The device is number 9 of VIRTIO 1.2 (section 5), which gives it no section of its own: its
//! queue and its configuration are as QEMU has them (`docs/devel/virtio-9p`). 9P is described by the
//! Plan 9 manual, section 5, and its variant 9P2000.L by diod's `protocol.md`.
//!
//! The wire format is our own: of the crates that have it, `p9`, `rust-9p` and `nine` need the standard
//! library, and `ninep-proto`, which does not, is under the AGPL.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod device;
pub mod engine;
pub mod events;
#[cfg(test)]
mod model;
pub mod path;
pub mod regs;
pub mod session;
#[cfg(test)]
mod tests;
pub mod wire;
