//! What the firmware's bytecode (AML) says: where PCI interrupt pins lead, how to switch off.
//!
//! [`evaluate`] asks for it, by the interpreter of the crate `acpi`; [`machine`] is what the bytecode
//! can see of the machine, [`resource`] and [`routes`] read its answers. The interpreter panics where it does not
//! know on, and has no bound on loops: so all of this is a program of its own, without a device.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod evaluate;
#[expect(unsafe_code, reason = "the interpreter's traits are unsafe to implement and to set up")]
pub mod machine;
pub mod resource;
pub mod routes;

#[cfg(test)]
mod samples;
