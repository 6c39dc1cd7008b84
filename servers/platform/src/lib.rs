//! The platform server, without its process: everything that a host can test.
//!
//! [`acpi`] reads the firmware's tables through [`memory`], [`pci`] the buses through a
//! configuration space. The process does not exist yet; `README.md` says what it will be.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod acpi;
pub mod claim;
pub mod core;
pub mod firmware;
pub mod iommu;
pub mod memory;
pub mod nodes;
pub mod pages;
pub mod pci;
