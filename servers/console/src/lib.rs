//! The console server, without its process: everything that a host can test.
//!
//! [`options`] reads its arguments, [`core`] decides who gets input, what the interrupt key means
//! and what the terminal shows; [`events`] says what is noted and
//! counted, [`output`] turns what programs write into what a terminal wants; [`record`] shows log
//! records. The process in `main.rs` adds the serial line, the log and the `Console` interface.
//!
//! A terminal on the screen is emulated: [`terminal`] takes the bytes (colours by [`sgr`]) and
//! keeps [`cell`]s in a [`grid`] and in its [`scrollback`]; [`render`] draws those that changed,
//! with the glyphs of [`font`] and the colours of [`palette`], above the [`status`] line, when
//! [`pace`] says so; a [`graph`] or a [`mosaic`] may lie over some of them. [`terminals`] are the serial line and the consoles that share the screen.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod cell;
pub mod core;
pub mod events;
pub mod font;
pub mod graph;
pub mod grid;
pub mod mosaic;
pub mod options;
pub mod output;
pub mod pace;
pub mod palette;
pub mod record;
pub mod render;
pub mod scrollback;
pub mod sgr;
pub mod status;
pub mod terminal;
pub mod terminals;
