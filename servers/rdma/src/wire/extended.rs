//! The extended transport headers (specification, 9.3): what follows the base header by opcode.

use super::{WireError, put, take, three};

/// RETH: where an RDMA operation reads or writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reth {
    /// Where in the region, as its owner addresses it.
    pub address: u64,
    /// The region's key.
    pub key: u32,
    /// Bytes of the whole operation.
    pub length: u32,
}

impl Reth {
    pub(super) fn parse(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let (address, key, length) = (word(bytes)?, half(bytes)?, half(bytes)?);
        Ok(Self { address, key, length })
    }

    pub(super) fn put(self, room: &mut &mut [u8]) {
        put(room, self.address.to_be_bytes());
        put(room, self.key.to_be_bytes());
        put(room, self.length.to_be_bytes());
    }
}

/// AtomicETH: what an atomic operation works on and with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AtomicEth {
    /// Where in the region; a multiple of eight.
    pub address: u64,
    /// The region's key.
    pub key: u32,
    /// What is stored by a compare and swap, or added by a fetch and add.
    pub swap_or_add: u64,
    /// What a compare and swap compares with.
    pub compare: u64,
}

impl AtomicEth {
    pub(super) fn parse(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let (address, key) = (word(bytes)?, half(bytes)?);
        let (swap_or_add, compare) = (word(bytes)?, word(bytes)?);
        Ok(Self { address, key, swap_or_add, compare })
    }

    pub(super) fn put(self, room: &mut &mut [u8]) {
        put(room, self.address.to_be_bytes());
        put(room, self.key.to_be_bytes());
        put(room, self.swap_or_add.to_be_bytes());
        put(room, self.compare.to_be_bytes());
    }
}

/// DETH: what a datagram carries besides its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Deth {
    /// The key that the receiving queue pair must have.
    pub queue_key: u32,
    /// The queue pair that has sent it, 24 bits.
    pub source: u32,
}

impl Deth {
    pub(super) fn parse(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let (queue_key, source) = (half(bytes)?, half(bytes)? & 0x00ff_ffff);
        Ok(Self { queue_key, source })
    }

    pub(super) fn put(self, room: &mut &mut [u8]) {
        let [a, b, c] = three(self.source);
        put(room, self.queue_key.to_be_bytes());
        put(room, [0, a, b, c]);
    }
}

/// Why a responder refuses (specification, 9.7.5.2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NakCode {
    /// A packet is missing before this one.
    PsnSequenceError,
    /// The request is not one that this queue pair carries out.
    InvalidRequest,
    /// The key, the range or the right is wrong.
    RemoteAccessError,
    /// The responder failed by itself.
    RemoteOperationalError,
}

/// What an AETH says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Syndrome {
    /// Everything up to here is done. The credit code is 31 where flow is not controlled by credits.
    Ack {
        /// Encoded number of receives that the responder has, below 32.
        credits: u8,
    },
    /// There is no receive: again after the time that this code stands for, below 32.
    ReceiverNotReady {
        /// Encoded time.
        timer: u8,
    },
    /// Refused.
    Nak(NakCode),
}

impl Syndrome {
    /// An acknowledgement that says nothing about receives.
    pub const ACK: Self = Self::Ack { credits: 31 };

    fn parse(byte: u8) -> Result<Self, WireError> {
        let value = byte & 0x1f;
        let code = match (byte >> 5, value) {
            (0, credits) => return Ok(Self::Ack { credits }),
            (1, timer) => return Ok(Self::ReceiverNotReady { timer }),
            (3, 0) => NakCode::PsnSequenceError,
            (3, 1) => NakCode::InvalidRequest,
            (3, 2) => NakCode::RemoteAccessError,
            (3, 3) => NakCode::RemoteOperationalError,
            _ => return Err(WireError::Syndrome(byte)),
        };
        Ok(Self::Nak(code))
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Ack { credits } => credits & 0x1f,
            Self::ReceiverNotReady { timer } => 0x20 | timer & 0x1f,
            Self::Nak(NakCode::PsnSequenceError) => 0x60,
            Self::Nak(NakCode::InvalidRequest) => 0x61,
            Self::Nak(NakCode::RemoteAccessError) => 0x62,
            Self::Nak(NakCode::RemoteOperationalError) => 0x63,
        }
    }
}

/// AETH: how a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aeth {
    /// How it went.
    pub syndrome: Syndrome,
    /// The message sequence number: messages that the responder has completed, modulo 2²⁴.
    pub msn: u32,
}

impl Aeth {
    pub(super) fn parse(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let [syndrome, a, b, c] = *take(bytes)?;
        let syndrome = Syndrome::parse(syndrome)?;
        Ok(Self { syndrome, msn: u32::from_be_bytes([0, a, b, c]) })
    }

    pub(super) fn put(self, room: &mut &mut [u8]) {
        let [a, b, c] = three(self.msn);
        put(room, [self.syndrome.byte(), a, b, c]);
    }
}

pub(super) fn word(bytes: &mut &[u8]) -> Result<u64, WireError> {
    take(bytes).map(|bytes| u64::from_be_bytes(*bytes))
}

pub(super) fn half(bytes: &mut &[u8]) -> Result<u32, WireError> {
    take(bytes).map(|bytes| u32::from_be_bytes(*bytes))
}
