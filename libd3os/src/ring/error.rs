//! What can go wrong with a ring.

use core::fmt;

/// The memory cannot hold a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// It has fewer lines than the ring or its messages need.
    TooSmall,
    /// It does not begin at a line.
    Misaligned,
    /// The region may not be read and written.
    Denied,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooSmall => "the memory is too small for the ring",
            Self::Misaligned => "the memory does not begin at a cache line",
            Self::Denied => "the region may not be read and written",
        })
    }
}

impl core::error::Error for RingError {}

/// The message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The receiver has not yet taken enough. Try again later.
    Full,
    /// The ring never carries messages of this length.
    TooLong,
    /// The receiver says that it took what was never sent. It is broken or hostile; give up the
    /// ring.
    Corrupt,
    /// The receiver is gone.
    Closed,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the ring is full",
            Self::TooLong => "the message is too long for the ring",
            Self::Corrupt => "the receiver broke the ring's protocol",
            Self::Closed => "the receiver is gone",
        })
    }
}

impl core::error::Error for SendError {}

/// No message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// The message is longer than the buffer; it stays in the ring.
    TooLong {
        /// Bytes of the message.
        length: usize,
    },
    /// What lies in the ring was not written by its protocol. The sender is broken or hostile;
    /// give up the ring.
    Corrupt,
    /// The sender is gone, and all that it sent has been received.
    Closed,
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { length } => write!(f, "the message has {length} bytes, too many"),
            Self::Corrupt => f.write_str("the sender broke the ring's protocol"),
            Self::Closed => f.write_str("the sender is gone"),
        }
    }
}

impl core::error::Error for ReceiveError {}
