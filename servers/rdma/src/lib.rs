//! The RDMA server without its process: what a host can test.
//!
//! [`wire`] reads and writes packets. There is no process yet.
#![cfg_attr(not(test), no_std)]

pub mod wire;

#[cfg(test)]
mod fuzz;
