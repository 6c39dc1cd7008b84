//! Windows of persistent memory. Served by `init`.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::region::Rights;

/// Persistent memory, mapped. Init serves it to the programs whose manifest entry calls it: who may
/// call it may have all ranges of the device `nvdimm` mapped, and nobody else any.
///
/// A range may be larger than what one wants paging structures and capabilities for, so it is
/// mapped a window at a time: a program has [`crate::start::layout::PERSISTENT_PLACES`] places of
/// [`crate::start::layout::PERSISTENT_BYTES`] bytes, of which each shows any such piece of a range.
/// The same piece may be shown to several programs. Which ranges there are, and whether what is
/// written to them is safe, the driver `nvdimm` tells ([`super::nvdimm`]).
#[crate::service(name = "persistent", version = 1)]
pub trait Persistent {
    /// Shows the piece that begins at `offset`, a multiple of a window's bytes, of a range at place
    /// `place` of the caller's window, instead of what was there, and tells what the caller may do
    /// with it: a range whose module is not armed can only be read. When this fails, nothing is there.
    /// When the caller ends, its places are empty again.
    #[retryable]
    fn show(place: u16, range: u16, offset: u64) -> Result<Rights, PersistentError>;

    /// Empties a place.
    #[retryable]
    fn hide(place: u16) -> Result<(), PersistentError>;
}

/// Why init refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PersistentError {
    /// The window has no such place.
    NoSuchPlace(u16),
    /// There is no range of this number, or no persistent memory at all.
    NoSuchRange(u16),
    /// Pieces of ranges begin at multiples of a window's bytes.
    Misaligned(u64),
    /// The range has no whole piece there.
    Outside(u64),
    /// Init has no memory for it, or the kernel refused; the log tells more.
    Refused,
}

impl fmt::Display for PersistentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchPlace(place) => write!(f, "the persistent window has no place {place}"),
            Self::NoSuchRange(range) => write!(f, "there is no range {range} of persistent memory"),
            Self::Misaligned(offset) => write!(f, "no window can begin at {offset:#x}"),
            Self::Outside(offset) => write!(f, "the range ends before {offset:#x}, or soon after"),
            Self::Refused => f.write_str("init has no memory for it, or the kernel refused"),
        }
    }
}

impl core::error::Error for PersistentError {}
