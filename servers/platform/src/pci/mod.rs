//! PCI and PCI Express: configuration space, the tree of buses, what a function offers.
//!
//! [`config`] reaches configuration space by either method, [`scan`] finds the functions behind
//! all bridges, [`bar`] and [`capability`] read what one function has, [`route`] follows its
//! interrupt pin, [`class`] says in words what it is. [`window`] is what a driver may touch of it,
//! [`wire`] makes it interrupt and lets it reach memory, [`reset`] takes it back. Devices are foreign input as tables are: every
//! walk has a bound, and what contradicts the specification becomes a [`Problem`].
//!
//! Followed: PCI Local Bus 3.0, PCI-to-PCI Bridge 1.2, PCI Express Base 5.0.

pub mod bar;
pub mod capability;
pub mod class;
pub mod config;
pub mod function;
pub mod problem;
pub mod reset;
pub mod route;
pub mod scan;
pub mod window;
pub mod wire;

#[cfg(test)]
pub(crate) mod model;

pub use config::ConfigSpace;
pub use function::{Function, Kind};
pub use problem::{Problem, Wrong};
