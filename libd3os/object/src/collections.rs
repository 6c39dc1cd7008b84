//! Collections that live in an object.
//!
//! Each is a small header, which is a field of something else, and blocks of the object's heap. What they
//! do is done by methods on pointers to the header: with a [`View`](crate::View) to read, with an
//! [`Editor`](crate::Editor) to change. All zeros is an empty collection.
//!
//! What lies in an object may have been written by somebody else, so every length and pointer that is
//! found there is checked when it is used: damaged collections give errors or wrong contents, but
//! nothing outside of their object.

mod arena;
mod boxed;
mod hash_map;
mod node;
mod ordered_map;
mod string;
mod vec;

#[cfg(test)]
mod tests;

pub use arena::PArena;
pub use boxed::PBox;
pub use hash_map::PHashMap;
pub use ordered_map::POrderedMap;
pub use string::{PString, TextError};
pub use vec::PVec;
