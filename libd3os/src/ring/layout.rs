//! Where things lie in a ring's memory.
//!
//! ```text
//! line 0   lines that the receiver has taken, in all      written by the receiver
//! line 2   whether the receiver sleeps                    written by the receiver
//! line 4   whether the sender sleeps                      written by the sender
//! line 8…  the messages                                   written by the sender
//! ```
//!
//! The control words are two lines apart because processors fetch lines in pairs: a word that is
//! written often must not drag along one that is only read.

use core::ops::Deref;

use super::error::RingError;
use super::line::{Line, PAYLOAD_BYTES};
use super::sync::AtomicU64;

/// Lines of a ring's memory that do not carry messages.
pub const CONTROL_LINES: usize = 8;

/// Fewest lines of a ring's memory.
pub const MIN_LINES: usize = CONTROL_LINES + 2;

const ACKNOWLEDGED: usize = 0;
const RECEIVER_STATE: usize = 2;
const SENDER_STATE: usize = 4;

/// A ring's memory. Its size is what this side knows of it, and never read from the memory.
#[derive(Debug)]
pub(super) struct Ring<M> {
    memory: M,
    capacity: usize,
}

impl<M: Deref<Target = [Line]>> Ring<M> {
    pub(super) fn new(memory: M) -> Result<Self, RingError> {
        if memory.len() < MIN_LINES {
            return Err(RingError::TooSmall);
        }
        let capacity = memory.len() - CONTROL_LINES;
        Ok(Self { memory, capacity })
    }

    /// Lines that carry messages.
    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Lines that the longest message takes: half of the ring, see [`Self::batch`].
    pub(super) const fn longest(&self) -> usize {
        self.capacity / 2
    }

    /// Bytes of the longest message: what its lines hold and a header can say.
    pub(super) fn longest_bytes(&self) -> usize {
        (self.longest() * PAYLOAD_BYTES).min(usize::from(u16::MAX))
    }

    /// Lines that the receiver takes before it says so. A quarter of the ring: rare enough that
    /// the word seldom moves between the cores, and so few that a sender who is not told of them
    /// still has room for the longest message once the ring is empty.
    pub(super) const fn batch(&self) -> usize {
        if self.capacity < 8 { 1 } else { self.capacity / 4 }
    }

    #[inline]
    pub(super) fn line(&self, cursor: Cursor) -> &Line {
        &self.memory[CONTROL_LINES + cursor.index]
    }

    #[inline]
    pub(super) fn next(&self, cursor: Cursor) -> Cursor {
        let index = cursor.index + 1;
        if index < self.capacity {
            Cursor { index, lap: cursor.lap }
        } else {
            Cursor { index: 0, lap: cursor.lap.wrapping_add(1) }
        }
    }

    pub(super) fn acknowledged(&self) -> &AtomicU64 {
        &self.memory[ACKNOWLEDGED].header
    }

    pub(super) fn receiver_state(&self) -> &AtomicU64 {
        &self.memory[RECEIVER_STATE].header
    }

    pub(super) fn sender_state(&self) -> &AtomicU64 {
        &self.memory[SENDER_STATE].header
    }
}

/// A place in the stream of lines: which line, in which round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) index: usize,
    pub(super) lap: u32,
}

impl Cursor {
    /// Where the first message begins. The first round is number 1, so that the zeros of fresh
    /// memory are "written one round ago", which means "nothing here yet".
    pub(super) const START: Self = Self { index: 0, lap: 1 };
}

/// Lines that a message of this many bytes takes.
#[inline]
pub(super) const fn lines_for(bytes: usize) -> usize {
    if bytes <= PAYLOAD_BYTES { 1 } else { bytes.div_ceil(PAYLOAD_BYTES) }
}
