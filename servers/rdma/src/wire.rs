//! RoCEv2 on the wire: headers read and written, the invariant CRC, packets in IP datagrams.
//!
//! Headers are those of the InfiniBand Architecture Specification, volume 1, chapter 9, in the datagrams of
//! its Annex A17. What comes from the wire is checked once, by [`Received::parse`]: whoever holds a
//! [`Received`] holds a packet whose CRC is right and whose headers belong to its opcode. The
//! layer below IP is the caller's.

mod body;
mod bth;
#[expect(unsafe_code, reason = "executes PCLMULQDQ where the processor has it")]
mod carryless;
mod datagram;
mod extended;
mod icrc;
mod psn;
#[cfg(test)]
mod tests;

pub use body::{Body, Service};
pub use bth::Bth;
pub use datagram::{EmitError, Received, Route, UDP_PORT, emit, global_route};
pub use extended::{Aeth, AtomicEth, Deth, NakCode, Reth, Syndrome};
pub use psn::Psn;

/// Bytes of a global route header, which is what lies before a datagram's payload in a receive.
pub const GRH_BYTES: usize = 40;
/// Most bytes that a packet has besides its payload: an IPv6 header, UDP, BTH, the longest of
/// the extended headers, padding, and the CRC.
pub const MOST_HEADERS: usize = 40 + 8 + 12 + 28 + 3 + 4;

/// Why a datagram is no packet of ours. Each is counted and the datagram dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WireError {
    /// It ends before its headers do, or is shorter than it says.
    #[error("truncated")]
    Truncated,
    /// Neither IPv4 without options nor IPv6 with UDP next, to RoCE's port, or a fragment.
    #[error("not RoCEv2 over UDP and IP")]
    NotRoce,
    /// The IPv4 header's sum is wrong.
    #[error("the IPv4 header's checksum is wrong")]
    Checksum,
    /// The lengths of IP and UDP contradict each other.
    #[error("lengths contradict each other")]
    Length,
    /// The invariant CRC is wrong.
    #[error("the invariant CRC is wrong")]
    Icrc,
    /// A transport version other than 0.
    #[error("transport version {0}")]
    Version(u8),
    /// An opcode that this transport does not have, or that is not implemented.
    #[error("opcode {0:#04x}")]
    Opcode(u8),
    /// The pad count is more than there is payload, or the packet is no multiple of four bytes.
    #[error("the pad count does not fit")]
    Pad,
    /// A syndrome that the specification reserves.
    #[error("syndrome {0:#04x}")]
    Syndrome(u8),
    /// A payload on an opcode that has none.
    #[error("a payload where none belongs")]
    Payload,
}

/// Takes the first bytes off.
fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], WireError> {
    let (first, rest) = bytes.split_first_chunk().ok_or(WireError::Truncated)?;
    *bytes = rest;
    Ok(first)
}

/// Puts bytes where they belong and moves on. The caller has made sure that there is room.
fn put<const N: usize>(room: &mut &mut [u8], bytes: [u8; N]) {
    let (first, rest) = core::mem::take(room).split_at_mut(N);
    first.copy_from_slice(&bytes);
    *room = rest;
}

/// The upper three bytes of a word, as fields of 24 bits lie.
const fn three(word: u32) -> [u8; 3] {
    let [_, a, b, c] = word.to_be_bytes();
    [a, b, c]
}
