//! The RDMA server without its process: what a host can test.
//!
//! [`wire`] reads and writes packets, [`regions`] says who may reach which memory with which key,
//! [`entries`] is how work and completions lie in shared rings. There is no process yet.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod entries;
pub mod regions;
pub mod wire;

#[cfg(test)]
mod fuzz;
