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
#[crate::service(name = "persistent", version = 4)]
pub trait Persistent {
    /// Shows the piece that begins at `offset`, a multiple of a window's bytes, of a range at place
    /// `place` of the caller's window, instead of what was there, and tells what the caller may do
    /// with it: a range whose module is not armed can only be read. When this fails, nothing is there.
    /// When the caller ends, its places are empty again.
    #[retryable]
    fn show(place: u32, range: u16, offset: u64) -> Result<Rights, PersistentError>;

    /// Shows a whole GiB, from `offset` on, a multiple of a GiB, at [`crate::start::layout::HUGE_PLACES`] places
    /// from `place` on, a multiple of that but 0, which are empty: at the cost of one piece, until a part of it
    /// is lent, and then of all its pieces. [`PersistentError::TooLarge`] where the processor has no such frames,
    /// or the range does not begin so that they fit.
    #[retryable]
    fn show_huge(place: u32, range: u16, offset: u64) -> Result<Rights, PersistentError>;

    /// Empties a place.
    #[retryable]
    fn hide(place: u32) -> Result<(), PersistentError>;

    /// Lends `pages` pages of 4 KiB of a range, from `offset` on, to another program of this core, by
    /// its number ([`crate::call::Caller::program`]), with these rights at most, and tells its
    /// address there: the same in every program ([`crate::start::layout::LENT_WINDOW`]). Nothing else
    /// of the range can be reached through them. Pages that are lent to that program already are
    /// refused, and parts of a piece that was lent as a whole. When this fails, nothing more is lent than before.
    ///
    /// They are lent until they are withdrawn, or either program ends. A program that reaches for
    /// pages that were withdrawn faults.
    fn lend(
        program: u16,
        range: u16,
        offset: u64,
        pages: u32,
        rights: Rights,
    ) -> Result<u64, PersistentError>;

    /// Withdraws what the caller has lent to a program of these pages; when this is answered, the
    /// program cannot reach them any more.
    #[retryable]
    fn withdraw(program: u16, range: u16, offset: u64, pages: u32) -> Result<(), PersistentError>;

    /// Tells how many bytes of RAM are set aside to be shown and lent like a range of persistent memory, as
    /// [`crate::start::layout::VOLATILE_RANGE`]. Where there are none and `make` says so, they are set aside
    /// before; how many depends on what is free then. They are zeros at first, and outlive their users, but not
    /// a loss of power.
    #[retryable]
    fn volatile(make: bool) -> Result<u64, PersistentError>;
}

/// Why init refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PersistentError {
    /// The window has no such place.
    NoSuchPlace(u32),
    /// There is no range of this number, or no persistent memory at all.
    NoSuchRange(u16),
    /// Pieces of ranges begin at multiples of a window's bytes, pages of a page's, and no pages
    /// cannot be lent.
    Misaligned(u64),
    /// The range has no whole piece there.
    Outside(u64),
    /// A GiB cannot be shown as a whole there.
    TooLarge(u64),
    /// No such program runs on this core.
    NoSuchProgram(u16),
    /// A page from there on is lent to the program already, or its piece to any as a whole.
    Lent(u64),
    /// Init has no memory for it, or the kernel refused; the log tells more.
    Refused,
}

impl fmt::Display for PersistentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchPlace(place) => write!(f, "the persistent window has no place {place}"),
            Self::NoSuchRange(range) => write!(f, "there is no range {range} of persistent memory"),
            Self::Misaligned(offset) => write!(f, "no window and no page can begin at {offset:#x}"),
            Self::Outside(offset) => write!(f, "the range ends before {offset:#x}, or soon after"),
            Self::TooLarge(offset) => write!(f, "no GiB at {offset:#x} can be shown as a whole"),
            Self::NoSuchProgram(number) => write!(f, "no program {number} runs on this core"),
            Self::Lent(offset) => write!(f, "the page at {offset:#x} is lent already"),
            Self::Refused => f.write_str("init has no memory for it, or the kernel refused"),
        }
    }
}

impl core::error::Error for PersistentError {}
