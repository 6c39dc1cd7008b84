//! Errors of invocations and descriptions of failed look-ups.

/// Why an invocation was refused: the label of its reply. Zero is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Error {
    /// MR0: index of the argument at fault.
    InvalidArgument = 1,
    /// MR0: index of the capability at fault (0 is the invoked one).
    InvalidCapability = 2,
    /// The object does not do this, or not now.
    IllegalOperation = 3,
    /// MR0, MR1: least and greatest value allowed.
    RangeError = 4,
    /// An address or size is not aligned.
    AlignmentError = 5,
    /// MR0: 1 if the look-up of the source failed, 0 otherwise; MR1..: description.
    FailedLookup = 6,
    /// Fewer words or capabilities than the invocation takes.
    TruncatedMessage = 7,
    /// The destination is occupied.
    DeleteFirst = 8,
    /// The object has children.
    RevokeFirst = 9,
    /// MR0: bytes that remain in the untyped.
    NotEnoughMemory = 10,
}

impl Error {
    /// The error that a reply label tells: `Ok` for 0, `Err(None)` for an unknown number.
    ///
    /// # Errors
    /// The error itself, or `None` where the label is above the table.
    pub const fn check(label: u64) -> Result<(), Option<Self>> {
        match label {
            0 => Ok(()),
            1 => Err(Some(Self::InvalidArgument)),
            2 => Err(Some(Self::InvalidCapability)),
            3 => Err(Some(Self::IllegalOperation)),
            4 => Err(Some(Self::RangeError)),
            5 => Err(Some(Self::AlignmentError)),
            6 => Err(Some(Self::FailedLookup)),
            7 => Err(Some(Self::TruncatedMessage)),
            8 => Err(Some(Self::DeleteFirst)),
            9 => Err(Some(Self::RevokeFirst)),
            10 => Err(Some(Self::NotEnoughMemory)),
            _ => Err(None),
        }
    }
}

/// Kinds of look-up failure, as they stand in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
#[expect(missing_docs, reason = "each is the manual's own name")]
pub enum LookupFailureKind {
    None = 0,
    InvalidRoot = 1,
    MissingCapability = 2,
    DepthMismatch = 3,
    GuardMismatch = 4,
}
