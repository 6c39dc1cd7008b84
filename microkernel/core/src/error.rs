//! Why a system call was refused.

use d3os_abi::{Error, LookupFailureKind as Kind};

/// Why an address in a capability space led nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupFailure {
    /// The root is not a CNode.
    InvalidRoot,
    /// The slot is empty; bits of the address that were left.
    MissingCapability {
        /// Bits of the address that were left.
        bits_left: u8,
    },
    /// More or fewer bits than the path takes.
    DepthMismatch {
        /// Bits the CNode resolves.
        bits_found: u8,
        /// Bits of the address that were left.
        bits_left: u8,
    },
    /// A CNode's guard differs from the address.
    GuardMismatch {
        /// The guard.
        guard: u64,
        /// Its bits.
        guard_size: u8,
        /// Bits of the address that were left.
        bits_left: u8,
    },
}

impl LookupFailure {
    /// Its description as message words (sel4-abi, section 6): kind first. Returns words and how many count.
    #[must_use]
    pub fn words(self) -> ([u64; 4], usize) {
        match self {
            Self::InvalidRoot => ([Kind::InvalidRoot.number(), 0, 0, 0], 1),
            Self::MissingCapability { bits_left } => {
                ([Kind::MissingCapability.number(), bits_left.into(), 0, 0], 2)
            }
            Self::DepthMismatch { bits_found, bits_left } => {
                ([Kind::DepthMismatch.number(), bits_left.into(), bits_found.into(), 0], 3)
            }
            Self::GuardMismatch { guard, guard_size, bits_left } => {
                ([Kind::GuardMismatch.number(), bits_left.into(), guard, guard_size.into()], 4)
            }
        }
    }
}

/// What decoding an invocation finds, or why the invocation is refused.
pub(crate) type Decoded<T> = Result<T, SyscallError>;

/// A condition of an invocation, and what it is refused with where that does not hold.
pub(crate) fn ensure(condition: bool, refusal: SyscallError) -> Decoded<()> {
    if condition { Ok(()) } else { Err(refusal) }
}

/// Checks that a number is from `min` to `max`, inclusive.
pub(crate) fn ensure_range(value: u64, min: u64, max: u64) -> Decoded<()> {
    ensure((min..=max).contains(&value), SyscallError::Range { min, max })
}

/// An [`Error`] with what its message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyscallError {
    /// Index of the argument at fault.
    InvalidArgument(u64),
    /// Index of the capability at fault; 0 is the invoked one.
    InvalidCapability(u64),
    /// Not on this object, or not now.
    IllegalOperation,
    /// Least and greatest value allowed.
    Range {
        /// Least value allowed.
        min: u64,
        /// Greatest value allowed.
        max: u64,
    },
    /// Not aligned.
    Alignment,
    /// A slot was not found; `source` where the look-up was of the source.
    FailedLookup {
        /// Whether the source's look-up failed (else the destination's or the only one).
        source: bool,
        /// Why.
        failure: LookupFailure,
    },
    /// The message is too short.
    TruncatedMessage,
    /// The destination is occupied.
    DeleteFirst,
    /// The object has children.
    RevokeFirst,
    /// Bytes that remain.
    NotEnoughMemory(u64),
}

impl SyscallError {
    /// The reply's label.
    #[must_use]
    pub fn label(self) -> Error {
        match self {
            Self::InvalidArgument(_) => Error::InvalidArgument,
            Self::InvalidCapability(_) => Error::InvalidCapability,
            Self::IllegalOperation => Error::IllegalOperation,
            Self::Range { .. } => Error::RangeError,
            Self::Alignment => Error::AlignmentError,
            Self::FailedLookup { .. } => Error::FailedLookup,
            Self::TruncatedMessage => Error::TruncatedMessage,
            Self::DeleteFirst => Error::DeleteFirst,
            Self::RevokeFirst => Error::RevokeFirst,
            Self::NotEnoughMemory(_) => Error::NotEnoughMemory,
        }
    }

    /// The reply's words: details of the error, and how many.
    #[must_use]
    pub fn words(self) -> ([u64; 5], usize) {
        match self {
            Self::InvalidArgument(word)
            | Self::InvalidCapability(word)
            | Self::NotEnoughMemory(word) => ([word, 0, 0, 0, 0], 1),
            Self::Range { min, max } => ([min, max, 0, 0, 0], 2),
            Self::FailedLookup { source, failure } => {
                let (words, count) = failure.words();
                ([source.into(), words[0], words[1], words[2], words[3]], count + 1)
            }
            _ => ([0; 5], 0),
        }
    }
}
