//! A server to copy: it keeps a number that its clients share. Everything but its process.
//!
//! [`interface`] is what it offers (a server of the system has its own in
//! `libd3os/src/service/`), [`core`] decides, [`events`] says what is noted and counted. The process
//! in `main.rs` carries out what the core decides.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod core;
pub mod events;
pub mod interface;
