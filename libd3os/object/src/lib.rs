//! Persistent objects: data that outlives programs and losses of power, used where it lies.
//!
//! [`medium`] is the only way by which this library writes persistent memory. `sim` (feature
//! `sim`) is a medium for tests, which knows every content that a loss of power can leave.
#![cfg_attr(not(any(test, feature = "sim")), no_std)]

extern crate alloc;
// So that what the derive writes is also right in here.
extern crate self as libd3os_object;

mod checksum;
#[cfg(test)]
#[expect(unsafe_code, reason = "promises what the medium within promises")]
mod clumsy;
pub mod collections;
pub mod control;
#[expect(unsafe_code, reason = "makes references to a transaction's own copies")]
pub mod editor;
pub mod fot;
#[cfg(test)]
mod fot_tests;
#[expect(unsafe_code, reason = "makes references into an object under its lock")]
pub mod guard;
pub mod heap;
pub mod id;
#[cfg(test)]
mod interleaving_tests;
pub mod layout;
pub mod log;
pub mod map;
#[expect(unsafe_code, reason = "takes memory for what its caller promises it to be")]
pub mod mapping;
#[expect(unsafe_code, reason = "says what an implementation promises")]
pub mod medium;
pub mod object;
pub mod operators;
#[cfg(test)]
mod operators_tests;
#[expect(unsafe_code, reason = "says what an implementation promises")]
pub mod persist;
#[expect(unsafe_code, reason = "reads lines as words")]
mod place;
#[expect(unsafe_code, reason = "promises that a pointer is a number")]
pub mod pointer;
#[expect(unsafe_code, reason = "says what taking somebody's locks away asks for")]
pub mod recovery;
#[cfg(test)]
mod recovery_tests;
#[expect(unsafe_code, reason = "says what a session's slot has to be")]
pub mod session;
#[expect(unsafe_code, reason = "keeps copies of lines in memory of its own")]
mod shadow;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[expect(unsafe_code, reason = "promises what the medium within promises")]
pub mod snapshot;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
#[expect(unsafe_code, reason = "maps objects that only tests use")]
mod testing;
pub mod tx;
#[cfg(test)]
mod tx_tests;
#[expect(unsafe_code, reason = "makes references of what a view locates")]
pub mod view;
#[expect(unsafe_code, reason = "keeps what its objects lead to by address")]
pub mod web;

pub use editor::Editor;
pub use guard::{Guard, Still};
pub use id::ObjectId;
pub use mapping::Mapping;
pub use object::Object;
pub use persist::Persist;
pub use pointer::{PPtr, PointerError};
pub use session::Session;
pub use snapshot::Snapshot;
pub use tx::{Tx, TxError};
pub use view::View;
