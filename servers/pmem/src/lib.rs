//! The pool of the object server: persistent memory divided among objects, whole after every loss of
//! power.
//!
//! The part that knows no kernel, tested on the host with power lost at every instant. What the pool
//! knows about itself lies in an object like any other, the *system object*, in the library's own maps,
//! and is changed by its transactions: an object is there or not, and each page is an object's or free.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod capabilities;
mod check;
pub mod core;
mod directory;
mod errors;
pub mod events;
mod fresh;
#[expect(unsafe_code, reason = "maps objects, as only the pool changes the table of them")]
mod map;
mod name;
mod names;
mod owners;
mod pool;
mod repair;
mod rights;
mod sealed;
mod snapshots;
mod space;
pub mod store;
mod superblock;
mod system;
pub mod tiers;
mod words;

pub use capabilities::{Capabilities, Capability, CapabilityError, Loss};
pub use check::{Damage, MapName};
pub use name::{MAX_DEPTH, MAX_NAME, Name, NameError};
pub use names::{Found, Place, Unlinked, Use};
pub use owners::Principal;
pub use pool::{New, Opened, Pool, PoolError};
pub use rights::Rights;
pub use superblock::{Ground, Layout, SuperblockError};
pub use system::{Entry, Extent, Kind};

#[cfg(test)]
mod tests;
