//! The network server, without its process: everything that a host can test.
//!
//! [`core`] decides what happens when; [`interface`] is one card with its addresses, [`device`] the
//! card itself under the stack (`smoltcp`), [`link`] a driver's rings as a card, [`inspect`] what
//! is looked at before the stack sees it ([`checksum`]), [`ways`] what datagrams need that go past the stack. [`names`] asks name servers, [`echoes`] pings. [`region`] and [`place`] are what programs
//! share with the server; [`options`] reads its arguments,
//! [`random`] draws ports, [`service`] is the `Net` interface, [`streams`] serves sockets. The process in `main.rs` adds the
//! drivers, the timer and programs' ends.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod checksum;
pub mod core;
pub mod device;
pub mod echoes;
pub mod inspect;
pub mod interface;
pub mod link;
pub mod names;
pub mod options;
pub mod place;
pub mod random;
pub mod region;
pub mod service;
pub mod streams;
#[cfg(test)]
mod tests;
pub mod ways;
