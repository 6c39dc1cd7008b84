//! Frames between a network card's driver and the programs that it has frames for.
//!
//! The driver owns the card's rings. A *consumer* (`net`; later `rdma`) gets frames by the index
//! of the buffer that they lie in and gives indexes back; no frame is copied from program to
//! program. The driver's end is a [`Port`] for each consumer, the consumer's end is a [`Link`].
//!
//! # Memory
//!
//! Two regions, both cut into *buffers* of [`BUFFER_BYTES`] bytes. A frame begins
//! [`FRAME_OFFSET`] bytes into its buffer and has up to [`FRAME_BYTES`] bytes; what lies before
//! it is the driver's (a virtio device puts its header there).
//!
//! The driver's *receive region* (`virtio-net-rx`), which all its consumers may read, is buffers
//! from its first byte on, [`RECEIVE_MOST`] at most. Each consumer's region (`virtio-net-tx` for
//! `net`), which it and the driver may write:
//!
//! | byte | what | written by |
//! |---|---|---|
//! | 0 | the *ticket*, see below | the consumer |
//! | 512 | ring to the driver, 504 lines ([`crate::ring`]) | both |
//! | 32,768 | ring to the consumer, 512 lines | both |
//! | 65,536 | transmit buffers, [`TRANSMIT_MOST`] at most | whoever owns the buffer |
//!
//! # Messages
//!
//! A message of a ring is one cache line, up to [`WORDS_PER_LINE`] words of 32 bits and ones behind
//! the last; an end collects words and sends them when the line is full, or when it is flushed. The tag is the
//! attachment's [`Epoch`], so that nothing of an earlier attachment is taken for one of this.
//!
//! | bits | to the consumer | to the driver |
//! |---|---|---|
//! | 0..14 | index of a buffer | index of a buffer |
//! | 14..27 | bytes of a received frame; 0 | bytes of a frame to send; 0 |
//! | 27 | 0 received, 1 sent | 0 given back, 1 to send |
//! | 28 | the card found the IPv4 header's checksum right | the card makes UDP's checksum |
//! | 29 | the card found the TCP or UDP checksum right | the card makes TCP's checksum |
//! | 30..32 | 0 | 0 |
//!
//! A card makes checksums only of frames over IPv4 without options, and only where the attachment says
//! that it does ([`Attachment::sums`]): [`Sum`] tells what stands in the frame meanwhile.
//!
//! # Who owns a buffer
//!
//! Always one side, and each side keeps its own table of it; there are no generations, because an
//! index that is not in the table is refused.
//!
//! - A receive buffer is the driver's, the consumer's from "received" to "given back". A consumer
//!   has [`Attachment::quota`] of them at most; what comes in beyond that is dropped and counted.
//! - A transmit buffer is the consumer's, the driver's from "to send" to "sent".
//!
//! So in each direction there are never more words under way than a ring has lines to spare, and
//! an honest peer never finds its ring full.
//!
//! # Attaching
//!
//! 1. The consumer writes a number of its own to its region's ticket ([`Memory::ticket`]) and
//!    calls [`attach`](crate::service::nic::Nic::attach) with it: only who can write the region
//!    can attach. It has dropped its earlier [`Link`], and with it every frame.
//! 2. The driver compares the ticket and erases it, takes back all buffers that the consumer had,
//!    makes the rings afresh, and answers with an [`Attachment`] of a new epoch.
//! 3. The consumer makes its [`Link`].
//!
//! A driver that (re)starts signals `nic-up`; a consumer that gets it, or finds the link
//! [broken](Link::fault), attaches anew. No receive buffer is the card's before a consumer has
//! attached.
//!
//! # Waking
//!
//! A side that goes to sleep arms its ring; only then does the other's flush signal it. "Sent"
//! alone wakes nobody, unless the consumer has no transmit buffer left.
//!
//! # Trust
//!
//! The peer may write anything at any time. An index out of range, one that is not the peer's to
//! give, a length that no frame has, a word with bits that mean nothing: each is refused, counted
//! ([`Refusals`]) and changes nothing. What breaks the ring itself ends the link with a [`Fault`].
//! What a hostile side can do is write its region's buffers while the other reads them, so that
//! the *content* of a frame may change; a frame is foreign bytes in any case.

mod channel;
mod descriptor;
mod layout;
#[expect(unsafe_code, reason = "hands out the bytes of buffers that are this side's")]
mod link;
#[expect(unsafe_code, reason = "takes shared memory as buffers of frames")]
mod memory;
mod ownership;
mod port;
mod steering;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

pub use channel::{Fault, Wake};
pub use descriptor::{Checks, RxIndex, Sum, TxIndex, WORDS_PER_LINE};
pub use layout::{
    BUFFER_BYTES, CONTROL_BYTES, FRAME_BYTES, FRAME_LEAST, FRAME_OFFSET, RECEIVE_MOST,
    TRANSMIT_MOST, buffers_in,
};
pub use link::{Frame, Link, LinkError, Outgoing};
pub use memory::{Buffers, HEAD_BYTES, Memory};
pub use ownership::Refusals;
pub use port::{Limits, NotGiven, Port, Request};
pub use steering::{ROCE_PORT, steer};

pub use crate::service::nic::{Attachment, Consumer, Epoch};
