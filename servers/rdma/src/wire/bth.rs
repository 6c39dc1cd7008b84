//! The base transport header (specification, 9.2), which every packet has.

use super::{Psn, WireError, three};

/// Bytes of the header.
pub(super) const BYTES: usize = 12;
/// Where the byte lies that the invariant CRC leaves out: FECN, BECN and reserved bits.
pub(super) const VARIANT: usize = 4;

const SOLICITED: u8 = 1 << 7;
const MIGRATED: u8 = 1 << 6;
const FECN: u8 = 1 << 7;
const BECN: u8 = 1 << 6;
const ACK_REQUEST: u8 = 1 << 7;

/// What a base transport header says, besides opcode and pad count: those follow from the rest of
/// the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bth {
    /// SE: the responder is to raise a completion event.
    pub solicited: bool,
    /// M: automatic path migration has migrated. It is absent here; the bit is read and not used.
    pub migrated: bool,
    /// The partition key.
    pub partition: u16,
    /// Forward explicit congestion notification.
    pub fecn: bool,
    /// Backward explicit congestion notification.
    pub becn: bool,
    /// The queue pair that the packet is for, 24 bits.
    pub destination: u32,
    /// A: the responder is to acknowledge.
    pub ack_request: bool,
    /// The packet's number.
    pub psn: Psn,
}

/// A header with what belongs to the packet around it.
pub(super) struct Parsed {
    pub(super) bth: Bth,
    pub(super) opcode: u8,
    pub(super) pad: usize,
}

impl Bth {
    pub(super) fn parse(bytes: &[u8; BYTES]) -> Result<Parsed, WireError> {
        let &[opcode, flags, p0, p1, congestion, d0, d1, d2, ack, s0, s1, s2] = bytes;
        if flags & 0x0f != 0 {
            return Err(WireError::Version(flags & 0x0f));
        }
        let bth = Self {
            solicited: flags & SOLICITED != 0,
            migrated: flags & MIGRATED != 0,
            partition: u16::from_be_bytes([p0, p1]),
            fecn: congestion & FECN != 0,
            becn: congestion & BECN != 0,
            destination: u32::from_be_bytes([0, d0, d1, d2]),
            ack_request: ack & ACK_REQUEST != 0,
            psn: Psn::from_bytes([s0, s1, s2]),
        };
        Ok(Parsed { bth, opcode, pad: usize::from(flags >> 4 & 3) })
    }

    pub(super) fn to_bytes(self, opcode: u8, pad: u8) -> [u8; BYTES] {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = bit(self.solicited, SOLICITED) | bit(self.migrated, MIGRATED) | pad << 4;
        let congestion = bit(self.fecn, FECN) | bit(self.becn, BECN);
        let [p0, p1] = self.partition.to_be_bytes();
        let [d0, d1, d2] = three(self.destination);
        let [s0, s1, s2] = self.psn.to_bytes();
        let ack = bit(self.ack_request, ACK_REQUEST);
        [opcode, flags, p0, p1, congestion, d0, d1, d2, ack, s0, s1, s2]
    }
}
