//! The interactive shell: everything but its entry point, tested on the host.
//!
//! [`parser`] turns a line into commands, [`command`] declares and runs them, [`editor`] is where
//! lines are typed. Nothing here knows how services are reached: that is behind
//! [`system::System`].
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod chart;
pub mod command;
pub mod completion;
pub mod editor;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fake_objects;
pub mod interactive;
pub mod live;
pub mod objects;
pub mod page;
pub mod parser;
pub mod runner;
pub mod sample;
pub mod script;
pub mod session;
pub mod style;
pub mod suggest;
pub mod system;
pub mod table;
pub mod task;
#[cfg(test)]
mod tests;
pub mod units;
#[cfg(test)]
mod wire_tests;
