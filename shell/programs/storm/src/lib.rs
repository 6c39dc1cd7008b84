//! A storm of calls between all cores: what the system's tests run to see that none is lost.
//!
//! Four servers (`echo-0` to `echo-3`) and four clients (`storm-0` to `storm-3`), a server and a
//! client to a core where there are four cores. Every client calls all servers in turn, over rings
//! or by an endpoint as they lie, and checks each answer: that it is this request's, and that the
//! server has counted every call of this client once and in order, for as long as it has lived. A
//! call may fail only when the server ended; that is counted, and the call made again.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod client;
mod course;
mod echo;
mod server;

pub use client::{StormError, run};
pub use course::{Course, Flaw, Progress};
pub use echo::{Echo, EchoClient, EchoError, Echoed, Ledger};
pub use server::serve;

/// The servers' services.
pub const SERVERS: [&str; 4] = ["echo-0", "echo-1", "echo-2", "echo-3"];
