//! The RDMA server without its process: what a host can test.
//!
//! [`core`] is queue pairs: packets and time in; packets, memory operations and completions out.
//! [`cm`] agrees on connections, [`wire`] reads and writes packets, [`regions`] says who may reach which memory with which key,
//! [`entries`] is how work and completions lie in shared rings, [`events`] what is told besides and
//! counted. There is no process yet.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod cm;
pub mod core;
pub mod entries;
pub mod events;
pub mod regions;
mod table;
pub mod wire;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod sim;
