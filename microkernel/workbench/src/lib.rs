//! The ground that the kernel's tests and its benchmark stand on: root tasks that deal with the
//! kernel alone, without a manifest and without servers.
//!
//! [`Workbench`] has memory, slots and addresses that are taken back after each test or operation,
//! and makes objects of them; the constants are the capabilities that every root task is given.
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

mod bench;
mod initial;
#[expect(unsafe_code, reason = "a thread begins with nothing but an address in a register")]
mod thread;

pub use bench::{Workbench, nth};
pub use initial::{
    ASID_CONTROL, ASID_POOL, CNODE, DEPTH, DOMAIN, IMAGE_BASE, IO_PORT_CONTROL, IRQ_CONTROL, TCB,
    VSPACE, slot_of, smallest_ram, untypeds,
};
