//! Persistent objects: data that outlives programs and losses of power, used where it lies.
//!
//! [`medium`] is the only way by which this library writes persistent memory. `sim` (feature
//! `sim`) is a medium for tests, which knows every content that a loss of power can leave.
#![cfg_attr(not(any(test, feature = "sim")), no_std)]

extern crate alloc;

pub mod medium;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
