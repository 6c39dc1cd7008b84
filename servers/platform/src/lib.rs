//! The platform server, without its process: everything that a host can test.
//!
//! [`acpi`] reads the firmware's tables through [`memory`], [`pci`] the buses through a
//! configuration space; [`firmware`] is what the tables tell together, [`nodes`] what belongs together,
//! [`describe`] all of it in words. [`claim`] decides which device is the one that the manifest wants,
//! and [`core`] does what has to be done in which order.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod acpi;
pub mod claim;
pub mod core;
pub mod describe;
pub mod firmware;
#[cfg(test)]
mod fuzz;
pub mod iommu;
pub mod journal;
pub mod memory;
pub mod nodes;
pub mod pages;
pub mod pci;
