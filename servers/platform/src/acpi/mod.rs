//! ACPI's static tables: found, checked, and read into types.
//!
//! [`directory`] follows the pointers from the root and checks every table; the other modules
//! read one kind of table each. All of it is foreign input: a table that is damaged is an error of
//! its own, and the others are not the worse for it. The specification followed is ACPI 6.5, its
//! sections are named where the structures are.

pub mod directory;
pub mod fadt;
pub mod hpet;
pub mod madt;
pub mod mcfg;
pub mod nfit;
pub mod record;
pub mod slit;
pub mod spcr;
pub mod srat;
pub mod table;

#[cfg(test)]
pub(crate) mod samples;

pub use directory::{Directory, Table};
pub use table::{Header, TableError};
