//! What a D3OS program links: capabilities, typed calls, memory, the runtime.
#![cfg_attr(target_os = "none", feature(thread_local))]
#![no_std]

extern crate alloc;
// So that the service attribute's paths (`::libd3os::…`) also hold inside this crate.
extern crate self as libd3os;

pub mod call;
pub mod cap;
pub mod image;
pub mod ipc;
pub mod program;
pub mod service;
pub mod start;
pub mod sys;

pub use d3os_abi as abi;
pub use libd3os_macros::service;
