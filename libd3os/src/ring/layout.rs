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
    longest_bytes: usize,
    batch: u64,
}

impl<M: Deref<Target = [Line]>> Ring<M> {
    pub(super) fn new(memory: M) -> Result<Self, RingError> {
        if memory.len() < MIN_LINES {
            return Err(RingError::TooSmall);
        }
        let capacity = memory.len() - CONTROL_LINES;
        let longest_bytes = (capacity / 2 * PAYLOAD_BYTES).min(u16::MAX.into());
        let batch = (capacity as u64 / 4).max(1);
        Ok(Self { memory, capacity, longest_bytes, batch })
    }

    /// Lines that carry messages.
    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes of the longest message: what half of the lines hold and a header can say. Only half,
    /// see [`Self::batch`].
    pub(super) const fn longest_bytes(&self) -> usize {
        self.longest_bytes
    }

    /// Lines that the receiver takes before it says so. A quarter of the ring: rare enough that
    /// the word seldom moves between the cores, and so few that a sender who is not told of them
    /// still has room for the longest message once the ring is empty.
    pub(super) const fn batch(&self) -> u64 {
        self.batch
    }

    #[inline]
    pub(super) fn line(&self, cursor: Cursor) -> &Line {
        &self.memory[CONTROL_LINES + cursor.index]
    }

    #[inline]
    pub(super) fn next(&self, cursor: Cursor) -> Cursor {
        self.ahead(cursor, 1)
    }

    /// The message lines from this place to the end of the memory: those that follow on each other
    /// within one round.
    #[inline]
    pub(super) fn run(&self, cursor: Cursor) -> &[Line] {
        self.memory.get(CONTROL_LINES + cursor.index..).unwrap_or(&[])
    }

    /// The place so many lines, fewer than the capacity, after this one.
    #[inline]
    pub(super) fn ahead(&self, cursor: Cursor, lines: usize) -> Cursor {
        let index = cursor.index + lines;
        match index.checked_sub(self.capacity) {
            None => Cursor { index, ..cursor },
            Some(index) => Cursor { index, lap: cursor.lap.wrapping_add(1) },
        }
    }

    pub(super) fn acknowledged(&self) -> &AtomicU64 {
        &self.memory[ACKNOWLEDGED].header
    }

    pub(super) fn receiver_state(&self) -> &AtomicU64 {
        receiver_state(&self.memory)
    }

    pub(super) fn sender_state(&self) -> &AtomicU64 {
        sender_state(&self.memory)
    }
}

/// Whether the receiver sleeps, in a ring's memory.
pub(super) fn receiver_state(memory: &[Line]) -> &AtomicU64 {
    &memory[RECEIVER_STATE].header
}

/// Whether the sender sleeps, in a ring's memory.
pub(super) fn sender_state(memory: &[Line]) -> &AtomicU64 {
    &memory[SENDER_STATE].header
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
