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
    pub fn words(self) -> ([u64; 4], usize) {
        let tell = |kind: Kind, [a, b, c]: [u64; 3], count| ([kind.number(), a, b, c], count);
        match self {
            Self::InvalidRoot => tell(Kind::InvalidRoot, [0; 3], 1),
            Self::MissingCapability { bits_left } => {
                tell(Kind::MissingCapability, [bits_left.into(), 0, 0], 2)
            }
            Self::DepthMismatch { bits_found, bits_left } => {
                tell(Kind::DepthMismatch, [bits_left.into(), bits_found.into(), 0], 3)
            }
            Self::GuardMismatch { guard, guard_size, bits_left } => {
                tell(Kind::GuardMismatch, [bits_left.into(), guard, guard_size.into()], 4)
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
    /// There is nothing in the slot that an address of `depth` bits names.
    #[must_use]
    pub(crate) fn missing(depth: u64, source: bool) -> Self {
        let bits_left = u8::try_from(depth).unwrap_or(u8::MAX);
        Self::FailedLookup { source, failure: LookupFailure::MissingCapability { bits_left } }
    }

    /// The reply: its label, and its words with details of the error, of which so many count.
    pub fn message(self) -> (Error, [u64; 5], usize) {
        let plain = |label| (label, [0; 5], 0);
        let one = |label, word| (label, [word, 0, 0, 0, 0], 1);
        match self {
            Self::InvalidArgument(index) => one(Error::InvalidArgument, index),
            Self::InvalidCapability(index) => one(Error::InvalidCapability, index),
            Self::IllegalOperation => plain(Error::IllegalOperation),
            Self::Range { min, max } => (Error::RangeError, [min, max, 0, 0, 0], 2),
            Self::Alignment => plain(Error::AlignmentError),
            Self::FailedLookup { source, failure } => {
                let ([kind, a, b, c], count) = failure.words();
                (Error::FailedLookup, [source.into(), kind, a, b, c], count + 1)
            }
            Self::TruncatedMessage => plain(Error::TruncatedMessage),
            Self::DeleteFirst => plain(Error::DeleteFirst),
            Self::RevokeFirst => plain(Error::RevokeFirst),
            Self::NotEnoughMemory(bytes) => one(Error::NotEnoughMemory, bytes),
        }
    }
}
