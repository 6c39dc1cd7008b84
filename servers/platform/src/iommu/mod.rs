//! The IOMMU: Intel's remapping units (Virtualization Technology for Directed I/O, revisions 3 and
//! 4, which number their chapters differently from 10 on), in legacy mode.
//!
//! [`dmar`] reads which units there are, [`mod@unit`] drives one: [`tables`] say what devices reach,
//! [`remapping`] how they interrupt, [`invalidation`] makes the unit forget, [`faults`] tells what
//! it refused. [`units`] are all of them together, as a [`guard`].
//! Registers and the tables' memory are behind traits; `model` is a unit for tests.

pub mod dmar;
pub mod faults;
pub mod guard;
pub mod invalidation;
pub mod registers;
pub mod remapping;
pub mod tables;
pub mod unit;
pub mod units;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "hardware takes the bits that it has")]
pub(crate) mod model;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "numbers of a test's devices")]
mod tests;

pub use dmar::Dmar;
pub use guard::Guard;
pub use units::{Device, Iommu, Protection};
