//! What a D3OS program links: capabilities, typed calls, memory, the runtime.
//!
//! The README beside this crate maps the modules and shows how to write a program and how to
//! declare a service. Everything but the SYSCALL instruction and the entry point also works on a
//! host, so that programs are tested there.
#![cfg_attr(target_os = "none", feature(thread_local))]
#![no_std]

extern crate alloc;
// So that the service attribute's paths (`::libd3os::…`) also hold inside this crate.
extern crate self as libd3os;

pub mod abi;
pub mod call;
pub mod cap;
#[expect(unsafe_code, reason = "executes an instruction that not every processor has")]
pub mod checksum;
pub mod connection;
pub mod control;
#[expect(unsafe_code, reason = "makes registers and memory of what init has mapped")]
pub mod device;
#[expect(unsafe_code, reason = "takes memory that devices reach as atomic words")]
pub mod dma;
pub mod ends;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "hands memory to the allocator")]
mod heap;
pub mod image;
pub mod ipc;
pub mod logging;
mod macros;
#[expect(unsafe_code, reason = "executes a no-operation that an emulator recognises")]
pub mod mark;
pub mod memory;
#[expect(unsafe_code, reason = "reads and writes device memory")]
pub mod mmio;
pub mod net;
pub mod nic;
pub mod object;
pub mod observe;
#[expect(unsafe_code, reason = "makes memory of what init has mapped")]
pub mod persistent;
pub mod port;
pub mod program;
pub mod region;
pub mod ring;
pub mod rt;
pub mod server;
pub mod service;
pub mod share;
#[expect(unsafe_code, reason = "reads and writes memory that others write, too")]
pub mod shared;
pub mod start;
pub mod stdio;
#[expect(unsafe_code, reason = "makes objects of what the server lends")]
pub mod store;
pub mod sys;
pub mod task;
pub mod time;
pub mod trace;

/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
/// # pub enum CounterError { Overflow }
/// # impl core::fmt::Display for CounterError {
/// #     fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { f.write_str("overflow") }
/// # }
/// /// Keeps one number.
/// #[libd3os::service(name = "counter", version = 1)]
/// pub trait Counter {
///     /// Adds to the number and tells the sum.
///     fn add(amount: u32) -> Result<u32, CounterError>;
///
///     /// The number.
///     #[retryable]
///     fn value() -> Result<u32, CounterError>;
///
///     /// Waits until the number is at least `limit`.
///     #[deferred]
///     fn reached(limit: u32) -> Result<(), CounterError>;
/// }
/// ```
pub use libd3os_macros::service;
