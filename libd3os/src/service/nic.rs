//! A network card. Served by each of its drivers under the driver's own name (`virtio-net`,
//! `e1000e`); frames go over the rings of [`crate::nic`].

use core::fmt;

use serde::{Deserialize, Serialize};

/// A network card.
///
/// After a restart of the driver nothing of an attachment is left: frames that it had accepted and
/// not yet sent are lost. It signals `nic-up` when it can be attached to again.
#[crate::service(name = "nic", version = 1)]
pub trait Nic {
    /// Attaches a consumer, in place of the one that was attached as this. `ticket` is what the
    /// caller has just written to its region ([`crate::nic::Memory::ticket`]), not 0.
    ///
    /// The driver makes the rings in the consumer's region afresh and takes all buffers back; the
    /// caller has dropped its earlier link with all its frames.
    fn attach(consumer: Consumer, ticket: u64) -> Result<Attachment, NicError>;

    /// The card's address and the state of its line.
    #[retryable]
    fn link() -> Result<CardState, NicError>;
}

/// Who can attach to a card; the driver steers each received frame to one of them
/// ([`crate::nic::steer`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Consumer {
    /// The IP stack: all frames that are nobody else's.
    Net,
    /// RoCEv2.
    Rdma,
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Net => "net",
            Self::Rdma => "rdma",
        })
    }
}

/// Tells attachments apart: the tag of each message that belongs to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u16);

impl Epoch {
    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// What a consumer is told when it attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which attachment it is.
    pub epoch: Epoch,
    /// Receive buffers that there are.
    pub receive: u16,
    /// Receive buffers that the consumer may have at once.
    pub quota: u16,
    /// Transmit buffers of the consumer.
    pub transmit: u16,
    /// Whether the card makes the checksums of frames to send, where it is told to.
    pub sums: bool,
    /// The card's address and state.
    pub card: CardState,
}

/// A card's address and the state of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardState {
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Bytes of the longest frame behind its Ethernet header: an IP packet's. Frames of this
    /// size are sent; a frame that comes in may have up to [`crate::nic::FRAME_BYTES`] bytes.
    pub mtu: u16,
    /// The line.
    pub line: Line,
}

/// The state of a card's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// Nobody is at its other end.
    Down,
    /// Frames can go, at so many million bits a second; 0 where the card does not say.
    Up(u32),
}

/// Why a card's driver refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NicError {
    /// The ticket is not what stands in the consumer's region.
    Ticket,
    /// The image has no region for this consumer at this card.
    NoRegion,
    /// The card does not respond.
    NotResponding,
}

impl fmt::Display for NicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ticket => "the ticket is not the one in the consumer's region",
            Self::NoRegion => "the image has no region for this consumer",
            Self::NotResponding => "the network card does not respond",
        })
    }
}

impl core::error::Error for NicError {}
