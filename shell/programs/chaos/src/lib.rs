//! What `chaos` decides, without its process: whom it kills and when, and whether all is as it was.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod course;
mod options;
mod roster;
mod stock;

pub use course::{Course, Kill, MOST_EVENTS};
pub use options::{Options, Usage};
pub use roster::{Roster, Stranger};
pub use stock::{Stock, Table};
