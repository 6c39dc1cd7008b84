//! Opcodes and the headers that each brings along (specification, 9.2.1, table "OpCode field").

use super::extended::{half, word};
use super::{Aeth, AtomicEth, Deth, Reth, WireError, put};

/// The transport service of a packet: the opcode's upper bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Reliable connection.
    Rc,
    /// Unreliable connection.
    Uc,
    /// Unreliable datagram.
    Ud,
}

impl Service {
    const fn base(self) -> u8 {
        match self {
            Self::Rc => 0x00,
            Self::Uc => 0x20,
            Self::Ud => 0x60,
        }
    }
}

/// What a packet is, with its extended headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// The first of a message's packets.
    SendFirst,
    /// Neither the first nor the last.
    SendMiddle,
    /// The last, with the immediate data if there is any.
    SendLast(Option<u32>),
    /// A message of one packet, with the immediate data if there is any.
    SendOnly(Option<u32>),
    /// The first of a write's packets.
    WriteFirst(Reth),
    /// Neither the first nor the last.
    WriteMiddle,
    /// The last, with the immediate data if there is any.
    WriteLast(Option<u32>),
    /// A write of one packet, with the immediate data if there is any.
    WriteOnly(Reth, Option<u32>),
    /// Asks for bytes.
    ReadRequest(Reth),
    /// The first packet of the answer.
    ReadResponseFirst(Aeth),
    /// Neither the first nor the last.
    ReadResponseMiddle,
    /// The last.
    ReadResponseLast(Aeth),
    /// An answer of one packet.
    ReadResponseOnly(Aeth),
    /// A request is done, or refused.
    Acknowledge(Aeth),
    /// An atomic operation is done; what was there before.
    AtomicAcknowledge(Aeth, u64),
    /// Stores a word if another one is there.
    CompareSwap(AtomicEth),
    /// Adds to a word.
    FetchAdd(AtomicEth),
    /// A datagram, with the immediate data if there is any.
    Datagram(Deth, Option<u32>),
    /// The other side's packets met congestion (Annex A17.9.3); its payload is reserved.
    CongestionNotification,
}

/// The opcode of a congestion notification, which belongs to no service.
const CNP: u8 = 0x81;
/// Reserved bytes that a congestion notification carries.
pub(super) const CNP_RESERVED: usize = 16;

impl Body {
    /// The opcode. Services have the same ones behind their own upper bits, as far as they have them.
    pub(super) const fn opcode(&self, service: Service) -> u8 {
        let operation = match self {
            Self::SendFirst => 0x00,
            Self::SendMiddle => 0x01,
            Self::SendLast(None) => 0x02,
            Self::SendLast(Some(_)) => 0x03,
            Self::SendOnly(None) | Self::Datagram(_, None) => 0x04,
            Self::SendOnly(Some(_)) | Self::Datagram(_, Some(_)) => 0x05,
            Self::WriteFirst(_) => 0x06,
            Self::WriteMiddle => 0x07,
            Self::WriteLast(None) => 0x08,
            Self::WriteLast(Some(_)) => 0x09,
            Self::WriteOnly(_, None) => 0x0a,
            Self::WriteOnly(_, Some(_)) => 0x0b,
            Self::ReadRequest(_) => 0x0c,
            Self::ReadResponseFirst(_) => 0x0d,
            Self::ReadResponseMiddle => 0x0e,
            Self::ReadResponseLast(_) => 0x0f,
            Self::ReadResponseOnly(_) => 0x10,
            Self::Acknowledge(_) => 0x11,
            Self::AtomicAcknowledge(..) => 0x12,
            Self::CompareSwap(_) => 0x13,
            Self::FetchAdd(_) => 0x14,
            Self::CongestionNotification => return CNP,
        };
        service.base() | operation
    }

    /// Reads the headers behind an opcode. A congestion notification counts as a reliable connection's.
    pub(super) fn parse(opcode: u8, rest: &mut &[u8]) -> Result<(Service, Self), WireError> {
        let (service, operation) = match opcode {
            CNP => return Ok((Service::Rc, Self::CongestionNotification)),
            0x00..=0x14 => (Service::Rc, opcode),
            0x20..=0x2b => (Service::Uc, opcode & 0x1f),
            0x64 | 0x65 => return Ok((Service::Ud, Self::datagram(opcode, rest)?)),
            _ => return Err(WireError::Opcode(opcode)),
        };
        Ok((service, Self::connected(operation, rest)?))
    }

    fn datagram(opcode: u8, rest: &mut &[u8]) -> Result<Self, WireError> {
        let deth = Deth::parse(rest)?;
        let immediate = if opcode & 1 == 1 { Some(half(rest)?) } else { None };
        Ok(Self::Datagram(deth, immediate))
    }

    fn connected(operation: u8, rest: &mut &[u8]) -> Result<Self, WireError> {
        Ok(match operation {
            0x00 => Self::SendFirst,
            0x01 => Self::SendMiddle,
            0x02 => Self::SendLast(None),
            0x03 => Self::SendLast(Some(half(rest)?)),
            0x04 => Self::SendOnly(None),
            0x05 => Self::SendOnly(Some(half(rest)?)),
            0x06 => Self::WriteFirst(Reth::parse(rest)?),
            0x07 => Self::WriteMiddle,
            0x08 => Self::WriteLast(None),
            0x09 => Self::WriteLast(Some(half(rest)?)),
            0x0a => Self::WriteOnly(Reth::parse(rest)?, None),
            0x0b => Self::WriteOnly(Reth::parse(rest)?, Some(half(rest)?)),
            0x0c => Self::ReadRequest(Reth::parse(rest)?),
            0x0d => Self::ReadResponseFirst(Aeth::parse(rest)?),
            0x0e => Self::ReadResponseMiddle,
            0x0f => Self::ReadResponseLast(Aeth::parse(rest)?),
            0x10 => Self::ReadResponseOnly(Aeth::parse(rest)?),
            0x11 => Self::Acknowledge(Aeth::parse(rest)?),
            0x12 => Self::AtomicAcknowledge(Aeth::parse(rest)?, word(rest)?),
            0x13 => Self::CompareSwap(AtomicEth::parse(rest)?),
            0x14 => Self::FetchAdd(AtomicEth::parse(rest)?),
            other => return Err(WireError::Opcode(other)),
        })
    }

    /// Bytes of the extended headers.
    pub(super) const fn bytes(&self) -> usize {
        const fn immediate(data: Option<u32>) -> usize {
            if data.is_some() { 4 } else { 0 }
        }
        match self {
            Self::SendFirst
            | Self::SendMiddle
            | Self::WriteMiddle
            | Self::ReadResponseMiddle
            | Self::CongestionNotification => 0,
            Self::SendLast(data) | Self::SendOnly(data) | Self::WriteLast(data) => immediate(*data),
            Self::WriteFirst(_) | Self::ReadRequest(_) => 16,
            Self::WriteOnly(_, data) => 16 + immediate(*data),
            Self::ReadResponseFirst(_)
            | Self::ReadResponseLast(_)
            | Self::ReadResponseOnly(_)
            | Self::Acknowledge(_) => 4,
            Self::AtomicAcknowledge(..) => 12,
            Self::CompareSwap(_) | Self::FetchAdd(_) => 28,
            Self::Datagram(_, data) => 8 + immediate(*data),
        }
    }

    /// Writes the extended headers.
    pub(super) fn put(&self, room: &mut &mut [u8]) {
        match *self {
            Self::WriteFirst(reth) | Self::ReadRequest(reth) | Self::WriteOnly(reth, _) => {
                reth.put(room);
            }
            Self::ReadResponseFirst(aeth)
            | Self::ReadResponseLast(aeth)
            | Self::ReadResponseOnly(aeth)
            | Self::Acknowledge(aeth) => aeth.put(room),
            Self::AtomicAcknowledge(aeth, before) => {
                aeth.put(room);
                put(room, before.to_be_bytes());
            }
            Self::CompareSwap(atomic) | Self::FetchAdd(atomic) => atomic.put(room),
            Self::Datagram(deth, _) => deth.put(room),
            Self::SendFirst
            | Self::SendMiddle
            | Self::SendLast(_)
            | Self::SendOnly(_)
            | Self::WriteMiddle
            | Self::WriteLast(_)
            | Self::ReadResponseMiddle
            | Self::CongestionNotification => {}
        }
        if let Some(data) = self.immediate() {
            put(room, data.to_be_bytes());
        }
    }

    /// The immediate data, if there is any.
    #[must_use]
    pub const fn immediate(&self) -> Option<u32> {
        match *self {
            Self::SendLast(data)
            | Self::SendOnly(data)
            | Self::WriteLast(data)
            | Self::WriteOnly(_, data)
            | Self::Datagram(_, data) => data,
            _ => None,
        }
    }

    /// Whether a packet of this kind has no payload.
    pub(super) const fn is_bare(&self) -> bool {
        matches!(
            self,
            Self::ReadRequest(_)
                | Self::Acknowledge(_)
                | Self::AtomicAcknowledge(..)
                | Self::CompareSwap(_)
                | Self::FetchAdd(_)
        )
    }
}
