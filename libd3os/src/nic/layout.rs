//! Where things lie in the regions of a network card; the table is in the module above.

use crate::ring::{LINE_BYTES, Line, RingError};

/// Bytes of a buffer, receive and transmit alike.
pub const BUFFER_BYTES: usize = 4608;

/// Where a frame begins in its buffer: at a cache line.
pub const FRAME_OFFSET: usize = 64;

/// Bytes of the longest frame, from the destination address on, without the checksum at its end.
pub const FRAME_BYTES: usize = BUFFER_BYTES - FRAME_OFFSET;

/// Bytes of the shortest frame that is handed on: an Ethernet header.
pub const FRAME_LEAST: usize = 14;

/// Most buffers of a receive region.
pub const RECEIVE_MOST: u16 = 224;

/// Most transmit buffers of a consumer.
pub const TRANSMIT_MOST: u16 = 128;

/// Bytes of a consumer's region before its first transmit buffer.
pub const CONTROL_BYTES: usize = 64 << 10;

const TO_DRIVER: usize = 8;
const TO_CONSUMER: usize = 512;
const END: usize = CONTROL_BYTES / LINE_BYTES;

// Every buffer's word may lie in a line of its own, and a quarter of the lines may be read and not
// yet given back to the sender.
const _: () = {
    let under_way = (RECEIVE_MOST + TRANSMIT_MOST) as usize;
    let lines = TO_CONSUMER - TO_DRIVER - crate::ring::CONTROL_LINES;
    assert!(under_way <= lines - lines / 4);
};

/// Buffers that fit in so many bytes, `most` at most.
#[must_use]
pub fn buffers_in(bytes: usize, most: u16) -> u16 {
    u16::try_from(bytes / BUFFER_BYTES).map_or(most, |count| count.min(most))
}

/// The first part of a consumer's region.
#[derive(Clone, Copy, Debug)]
pub(super) struct Control<'m> {
    lines: &'m [Line],
}

impl<'m> Control<'m> {
    /// The region that begins with these lines.
    pub(super) fn new(lines: &'m [Line]) -> Result<Self, RingError> {
        lines.get(..END).map(|lines| Self { lines }).ok_or(RingError::TooSmall)
    }

    pub(super) fn to_driver(self) -> &'m [Line] {
        &self.lines[TO_DRIVER..TO_CONSUMER]
    }

    pub(super) fn to_consumer(self) -> &'m [Line] {
        &self.lines[TO_CONSUMER..]
    }

    pub(super) fn ticket(self) -> u64 {
        self.lines[0].word()
    }

    pub(super) fn set_ticket(self, ticket: u64) {
        self.lines[0].set_word(ticket);
    }

    /// Makes the rings fresh. Neither may have an end that is still used.
    pub(super) fn clear(self) {
        self.lines.iter().for_each(Line::clear);
    }
}
