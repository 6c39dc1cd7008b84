//! Work and completion entries in their fixed layout, as they lie in rings that a program and the server
//! share.
//!
//! Fields, opcodes, flags and statuses have the names and the numbers of libibverbs. Every bit pattern is
//! an entry; what it asks for is checked when it is posted. A send takes two cache lines, a receive
//! one, a completion half of one.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Scatter/gather elements of a send.
pub const SEND_SGES: usize = 4;
/// Scatter/gather elements of a receive.
pub const RECEIVE_SGES: usize = 3;
/// Most bytes that a send carries in its own entry, where its elements lie otherwise.
pub const MAX_INLINE: usize = size_of::<[Sge; SEND_SGES]>();

/// A scatter/gather element: a range of a memory region.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Sge {
    /// Where it begins, as the region's owner addresses it.
    pub addr: u64,
    /// Bytes.
    pub length: u32,
    /// The region's key.
    pub lkey: u32,
}

/// A send work request.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SendEntry {
    /// The program's own number, which comes back in the completion.
    pub wr_id: u64,
    /// A [`WrOpcode`].
    pub opcode: u8,
    /// [`SendFlags`].
    pub flags: u8,
    /// How many elements of `sg_list` count.
    pub num_sge: u8,
    /// With [`SendFlags::INLINE`]: how many bytes lie where the elements would.
    pub inline_bytes: u8,
    /// Immediate data, for operations with it.
    pub imm_data: u32,
    /// Where an RDMA or atomic operation goes.
    pub remote_addr: u64,
    /// The key of the region there.
    pub rkey: u32,
    /// To which queue pair a datagram goes.
    pub remote_qpn: u32,
    /// The key of that queue pair.
    pub remote_qkey: u32,
    /// The address handle of a datagram's destination.
    pub ah: u32,
    /// What is added, or compared with.
    pub compare_add: u64,
    /// What is stored if the comparison holds.
    pub swap: u64,
    /// Zero.
    pub reserved: u64,
    /// Where the bytes come from, or go to.
    pub sg_list: [Sge; SEND_SGES],
}

impl SendEntry {
    /// The bytes that an entry carries itself.
    #[must_use]
    pub fn inline_data(&self) -> &[u8] {
        let bytes = self.sg_list.as_bytes();
        &bytes[..usize::from(self.inline_bytes).min(MAX_INLINE)]
    }

    /// Puts bytes into the entry itself; `false`, and nothing changed, if there are too many.
    pub fn set_inline_data(&mut self, data: &[u8]) -> bool {
        let Ok(bytes) = u8::try_from(data.len()) else { return false };
        let Some(room) = self.sg_list.as_mut_bytes().get_mut(..data.len()) else { return false };
        room.copy_from_slice(data);
        self.inline_bytes = bytes;
        self.flags |= SendFlags::INLINE.bits();
        true
    }

    /// Its flags; bits without a meaning are left out.
    #[must_use]
    pub const fn send_flags(&self) -> SendFlags {
        SendFlags::from_bits_truncate(self.flags)
    }

    /// The elements that count.
    #[must_use]
    pub fn sges(&self) -> &[Sge] {
        &self.sg_list[..usize::from(self.num_sge).min(SEND_SGES)]
    }
}

/// A receive work request.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct ReceiveEntry {
    /// The program's own number, which comes back in the completion.
    pub wr_id: u64,
    /// How many elements of `sg_list` count.
    pub num_sge: u32,
    /// Zero.
    pub reserved: u32,
    /// Where the bytes go.
    pub sg_list: [Sge; RECEIVE_SGES],
}

impl ReceiveEntry {
    /// The elements that count.
    #[must_use]
    pub fn sges(&self) -> &[Sge] {
        let count = usize::try_from(self.num_sge).unwrap_or(usize::MAX);
        &self.sg_list[..count.min(RECEIVE_SGES)]
    }
}

/// A work completion.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Completion {
    /// The number of the request.
    pub wr_id: u64,
    /// A [`WcStatus`].
    pub status: u8,
    /// A [`WcOpcode`]; only if the status is success.
    pub opcode: u8,
    /// [`WcFlags`].
    pub wc_flags: u8,
    /// Zero.
    pub reserved: u8,
    /// Bytes that were received or read.
    pub byte_len: u32,
    /// Immediate data, if the flags say so.
    pub imm_data: u32,
    /// The queue pair.
    pub qp_num: u32,
    /// The queue pair that sent a datagram.
    pub src_qp: u32,
    /// The partition key's index.
    pub pkey_index: u32,
}

const _: () = assert!(size_of::<SendEntry>() == 128);
const _: () = assert!(size_of::<ReceiveEntry>() == 64);
const _: () = assert!(size_of::<Completion>() == 32);

/// What a send work request does (`IBV_WR_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WrOpcode {
    /// Writes into the peer's region.
    RdmaWrite = 0,
    /// Writes, and takes a receive to tell so.
    RdmaWriteWithImm = 1,
    /// Sends into a receive.
    Send = 2,
    /// Sends, with four bytes more for the completion.
    SendWithImm = 3,
    /// Reads from the peer's region.
    RdmaRead = 4,
    /// Compares and swaps eight bytes in the peer's region.
    AtomicCmpAndSwp = 5,
    /// Adds to eight bytes in the peer's region.
    AtomicFetchAndAdd = 6,
}

impl WrOpcode {
    const ALL: [Self; 7] = [
        Self::RdmaWrite,
        Self::RdmaWriteWithImm,
        Self::Send,
        Self::SendWithImm,
        Self::RdmaRead,
        Self::AtomicCmpAndSwp,
        Self::AtomicFetchAndAdd,
    ];

    /// The opcode with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether it works on eight bytes of the peer's at once.
    #[must_use]
    pub const fn is_atomic(self) -> bool {
        matches!(self, Self::AtomicCmpAndSwp | Self::AtomicFetchAndAdd)
    }

    /// Whether it is done only when an answer with data is here.
    #[must_use]
    pub const fn awaits_response(self) -> bool {
        self.is_atomic() || matches!(self, Self::RdmaRead)
    }

    /// Whether it goes into a receive.
    #[must_use]
    pub const fn is_send(self) -> bool {
        matches!(self, Self::Send | Self::SendWithImm)
    }

    /// Whether it brings immediate data.
    #[must_use]
    pub const fn has_immediate(self) -> bool {
        matches!(self, Self::SendWithImm | Self::RdmaWriteWithImm)
    }

    /// What its completion says.
    #[must_use]
    pub const fn completed(self) -> WcOpcode {
        match self {
            Self::RdmaWrite | Self::RdmaWriteWithImm => WcOpcode::RdmaWrite,
            Self::Send | Self::SendWithImm => WcOpcode::Send,
            Self::RdmaRead => WcOpcode::RdmaRead,
            Self::AtomicCmpAndSwp => WcOpcode::CompSwap,
            Self::AtomicFetchAndAdd => WcOpcode::FetchAdd,
        }
    }
}

bitflags::bitflags! {
    /// How a send is to be done (`IBV_SEND_…`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SendFlags: u8 {
        /// Begins only when all earlier reads and atomics are done.
        const FENCE = 1;
        /// Has a completion also if it succeeds.
        const SIGNALED = 1 << 1;
        /// Raises an event at the peer that asked for solicited ones.
        const SOLICITED = 1 << 2;
        /// The bytes lie in the entry.
        const INLINE = 1 << 3;
    }

    /// What a completion has (`IBV_WC_…`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct WcFlags: u8 {
        /// Forty bytes of a global route header lie before the payload.
        const GRH = 1;
        /// There is immediate data.
        const WITH_IMM = 1 << 1;
        /// The sender asked for an event.
        const SOLICITED = 1 << 7;
    }
}

/// What was completed (`IBV_WC_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WcOpcode {
    /// A send.
    Send = 0,
    /// A write.
    RdmaWrite = 1,
    /// A read.
    RdmaRead = 2,
    /// A compare and swap.
    CompSwap = 3,
    /// A fetch and add.
    FetchAdd = 4,
    /// A receive.
    Recv = 128,
    /// A receive that a write with immediate data took.
    RecvRdmaWithImm = 129,
}

/// How a request ended (`IBV_WC_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WcStatus {
    /// Done.
    Success = 0,
    /// A receive was too short for the message, or a send is too long for its queue pair.
    LocLenErr = 1,
    /// The queue pair could not do it.
    LocQpOpErr = 2,
    /// A local key, range or right is wrong.
    LocProtErr = 4,
    /// The queue pair was in error before it was begun or done.
    WrFlushErr = 5,
    /// The peer's answer made no sense.
    BadRespErr = 7,
    /// A peer's write with immediate data met a wrong region.
    LocAccessErr = 8,
    /// The peer found the request invalid.
    RemInvReqErr = 9,
    /// A remote key, range or right is wrong.
    RemAccessErr = 10,
    /// The peer failed by itself.
    RemOpErr = 11,
    /// The peer has not answered as often as the queue pair tries.
    RetryExcErr = 12,
    /// The peer had no receive as often as the queue pair tries.
    RnrRetryExcErr = 13,
}

impl WcStatus {
    const ALL: [Self; 12] = [
        Self::Success,
        Self::LocLenErr,
        Self::LocQpOpErr,
        Self::LocProtErr,
        Self::WrFlushErr,
        Self::BadRespErr,
        Self::LocAccessErr,
        Self::RemInvReqErr,
        Self::RemAccessErr,
        Self::RemOpErr,
        Self::RetryExcErr,
        Self::RnrRetryExcErr,
    ];

    /// The status with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| *status as u8 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_libibverbs() {
        assert_eq!(WrOpcode::from_number(6), Some(WrOpcode::AtomicFetchAndAdd));
        assert_eq!(WrOpcode::from_number(7), None);
        assert!(WrOpcode::ALL.iter().enumerate().all(|(at, opcode)| at == *opcode as usize));
        assert_eq!(WcStatus::from_number(12), Some(WcStatus::RetryExcErr));
        assert_eq!(WcStatus::from_number(3), None);
    }

    #[test]
    fn fields_lie_where_a_program_expects_them() {
        let mut entry = SendEntry { wr_id: 0x0102_0304_0506_0708, ..SendEntry::default() };
        entry.opcode = WrOpcode::Send as u8;
        entry.compare_add = 9;
        assert!(entry.set_inline_data(b"abc"));
        let bytes = entry.as_bytes();
        assert_eq!(bytes[..8], entry.wr_id.to_le_bytes());
        assert_eq!(bytes[8..12], [2, SendFlags::INLINE.bits(), 0, 3]);
        assert_eq!((bytes[40], &bytes[64..67]), (9, &b"abc"[..]));
        assert_eq!(entry.inline_data(), b"abc");
        assert!(!entry.set_inline_data(&[0; MAX_INLINE + 1]));
        assert!(entry.set_inline_data(&[1; MAX_INLINE]));
        assert_eq!(entry.inline_data(), [1; MAX_INLINE]);
    }
}
