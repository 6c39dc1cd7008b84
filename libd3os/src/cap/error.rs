//! Why the kernel refused an invocation, with the details that its answer carries.

use core::fmt;

use d3os_abi::{Error as Number, LookupFailureKind};
use serde::{Deserialize, Serialize};

use crate::sys;

/// Why the kernel refused an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Error {
    /// This argument is no such thing.
    InvalidArgument {
        /// Which argument, from 0.
        index: u64,
    },
    /// This capability is not of the right type, or not in the right state.
    InvalidCapability {
        /// Which capability; 0 is the invoked one.
        index: u64,
    },
    /// The object does not do this, or not now.
    IllegalOperation,
    /// An argument is out of range.
    Range {
        /// Least value allowed.
        least: u64,
        /// Greatest value allowed.
        greatest: u64,
    },
    /// An address or size is not aligned.
    Alignment,
    /// A capability address leads nowhere.
    FailedLookup {
        /// Whether it was the source's address.
        source: bool,
        /// How the look-up failed.
        failure: LookupFailure,
    },
    /// The message has fewer words or capabilities than the invocation takes.
    TruncatedMessage,
    /// The destination slot is not empty.
    DeleteFirst,
    /// The object has children.
    RevokeFirst,
    /// The untyped memory does not suffice.
    NotEnoughMemory {
        /// Bytes that it has left.
        available: u64,
    },
    /// The kernel answered with a number that its interface does not have.
    Unknown {
        /// That number.
        label: u64,
    },
}

/// How the look-up of a capability failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LookupFailure {
    /// There is no CNode to begin at.
    InvalidRoot,
    /// The slot is empty.
    MissingCapability {
        /// Bits of the address that were not yet resolved.
        bits_left: u64,
    },
    /// The address has fewer or more bits than the CNodes on the way resolve.
    DepthMismatch {
        /// Bits of the address that were not yet resolved.
        bits_left: u64,
        /// Bits that the CNode would have resolved.
        bits_found: u64,
    },
    /// The address does not have the bits that a CNode's guard wants.
    GuardMismatch {
        /// Bits of the address that were not yet resolved.
        bits_left: u64,
        /// The guard.
        guard: u64,
        /// Its bits.
        guard_bits: u64,
    },
    /// The kernel gave no description that its interface has.
    Undescribed,
}

impl LookupFailure {
    /// Reads a description: its kind and the words that follow, as in error answers and in fault
    /// messages.
    #[must_use]
    pub fn from_words(kind: u64, details: [u64; 3]) -> Self {
        const INVALID_ROOT: u64 = LookupFailureKind::InvalidRoot as u64;
        const MISSING: u64 = LookupFailureKind::MissingCapability as u64;
        const DEPTH: u64 = LookupFailureKind::DepthMismatch as u64;
        const GUARD: u64 = LookupFailureKind::GuardMismatch as u64;
        let [bits_left, second, third] = details;
        match kind {
            INVALID_ROOT => Self::InvalidRoot,
            MISSING => Self::MissingCapability { bits_left },
            DEPTH => Self::DepthMismatch { bits_left, bits_found: second },
            GUARD => Self::GuardMismatch { bits_left, guard: second, guard_bits: third },
            _ => Self::Undescribed,
        }
    }
}

impl Error {
    /// Reads the answer that was just received.
    ///
    /// # Errors
    /// What the answer's label and words tell; `Ok` for label 0.
    #[cold]
    pub(super) fn check(label: u64) -> Result<(), Self> {
        match Number::check(label) {
            Ok(()) => Ok(()),
            Err(Some(number)) => Err(Self::with_details(number)),
            Err(None) => Err(Self::Unknown { label }),
        }
    }

    fn with_details(number: Number) -> Self {
        let [first, second, third, fourth, fifth] = core::array::from_fn(sys::word);
        match number {
            Number::InvalidArgument => Self::InvalidArgument { index: first },
            Number::InvalidCapability => Self::InvalidCapability { index: first },
            Number::IllegalOperation => Self::IllegalOperation,
            Number::RangeError => Self::Range { least: first, greatest: second },
            Number::AlignmentError => Self::Alignment,
            Number::FailedLookup => Self::FailedLookup {
                source: first != 0,
                failure: LookupFailure::from_words(second, [third, fourth, fifth]),
            },
            Number::TruncatedMessage => Self::TruncatedMessage,
            Number::DeleteFirst => Self::DeleteFirst,
            Number::RevokeFirst => Self::RevokeFirst,
            Number::NotEnoughMemory => Self::NotEnoughMemory { available: first },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidArgument { index } => write!(f, "argument {index} is invalid"),
            Self::InvalidCapability { index } => write!(f, "capability {index} is invalid"),
            Self::IllegalOperation => f.write_str("illegal operation"),
            Self::Range { least, greatest } => write!(f, "not in the range {least} to {greatest}"),
            Self::Alignment => f.write_str("not aligned"),
            Self::FailedLookup { source, failure } => {
                let which = if *source { "source" } else { "destination" };
                write!(f, "look-up of the {which} failed: {failure}")
            }
            Self::TruncatedMessage => f.write_str("too few arguments"),
            Self::DeleteFirst => f.write_str("the destination is occupied"),
            Self::RevokeFirst => f.write_str("the object has children"),
            Self::NotEnoughMemory { available } => write!(f, "only {available} bytes are left"),
            Self::Unknown { label } => write!(f, "unknown kernel error {label}"),
        }
    }
}

impl core::error::Error for Error {}

impl fmt::Display for LookupFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRoot => f.write_str("no capability space"),
            Self::MissingCapability { bits_left } => {
                write!(f, "empty slot with {bits_left} bits left")
            }
            Self::DepthMismatch { bits_left, bits_found } => {
                write!(f, "{bits_left} bits left where {bits_found} were resolved")
            }
            Self::GuardMismatch { bits_left, guard, guard_bits } => {
                write!(f, "{bits_left} bits left, guard {guard:#x} of {guard_bits} bits")
            }
            Self::Undescribed => f.write_str("no reason given"),
        }
    }
}
