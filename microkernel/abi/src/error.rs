//! Errors of invocations and descriptions of failed look-ups.

use crate::numbered::numbered;

numbered! {
    /// Why an invocation was refused: the label of its reply. Zero is success.
    pub enum Error: u64 {
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
}

impl Error {
    /// The error that a reply label tells: `Ok` for 0, `Err(None)` for an unknown number.
    ///
    /// # Errors
    /// The error itself, or `None` where the label is above the table.
    pub const fn check(label: u64) -> Result<(), Option<Self>> {
        if label == 0 { Ok(()) } else { Err(Self::from_number(label)) }
    }
}

numbered! {
    /// Kinds of look-up failure, as they stand in messages.
    #[expect(missing_docs, reason = "each is the manual's own name")]
    pub enum LookupFailureKind: u64 {
        None = 0,
        InvalidRoot = 1,
        MissingCapability = 2,
        DepthMismatch = 3,
        GuardMismatch = 4,
    }
}
