//! A second root task that repeats some of the bench's operations between marks, so that the bench's
//! figures do not hang on how it was written: it knows the kernel's interface as numbers and nothing
//! else, and makes system calls by stubs of its own. `cargo xtask bench kernel` compares both.
//!
//! In this order: `Call` + `ReplyRecv` without words (a passive server in an address space of its
//! own), `Signal` + `Wait` by one thread, `Yield` alone, copy + delete of a capability.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "is nothing but system calls, and where a thread begins")]
mod witness;

/// There is no kernel of ours to call on a host.
#[cfg(not(target_os = "none"))]
fn main() {}
