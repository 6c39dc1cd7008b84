//! Memory from the kernel: untyped blocks, capability slots, objects and address spaces.
//!
//! ```text
//!            AddressSpace    which paging structures exist, which are missing
//!                 |
//!             Objects        one kernel object each: a block, a slot, a retype
//!             /     \
//!      UntypedPool  SlotPool   which block to split, which slot to use
//!             \     /
//!             Kernel         the invocations, as a trait
//! ```
//!
//! What is decided here needs no kernel: [`Kernel`] is all that reaches it, and tests put a model
//! in its place. All slots are addresses in one CNode, the caller's own.

mod kernel;
mod objects;
mod slots;
mod untyped;
mod vspace;

pub use kernel::{Kernel, RootCNode};
pub use objects::{Object, Objects};
pub use slots::SlotPool;
pub use untyped::{Block, UntypedPool};
pub use vspace::{AddressSpace, Table};

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::cap;

/// Why there is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryError {
    /// No untyped block of 2 to the power of `bits` bytes is left.
    OutOfMemory {
        /// log2 of the bytes that were wanted.
        bits: u8,
    },
    /// No capability slots are left.
    OutOfSlots,
    /// The kernel refused.
    Kernel(cap::Error),
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory { bits } => write!(f, "no untyped memory of 2^{bits} bytes is left"),
            Self::OutOfSlots => f.write_str("no capability slots are left"),
            Self::Kernel(error) => write!(f, "the kernel refused: {error}"),
        }
    }
}

impl core::error::Error for MemoryError {}

impl From<cap::Error> for MemoryError {
    fn from(error: cap::Error) -> Self {
        Self::Kernel(error)
    }
}
