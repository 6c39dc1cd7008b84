//! The console server, without its process: everything that a host can test.
//!
//! [`options`] reads its arguments, [`core`] decides who gets input, what the interrupt key means
//! and what the terminal shows, [`ends`] which readers are gone; [`output`] turns what programs write into what a terminal wants;
//! [`record`] shows log records. The process in `main.rs` adds the serial line, the log and the
//! `Console` interface.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod cell;
pub mod core;
pub mod ends;
pub mod grid;
pub mod options;
pub mod output;
pub mod record;
pub mod scrollback;
pub mod sgr;
pub mod terminal;
