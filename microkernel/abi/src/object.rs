//! Object types and their sizes.

use crate::numbered::numbered;

/// Size of a capability slot: 32 bytes.
pub const SLOT_SIZE_BITS: u8 = 5;
/// Smallest untyped: 16 bytes.
pub const MIN_UNTYPED_BITS: u8 = 4;
/// Largest untyped: 2^47 bytes.
pub const MAX_UNTYPED_BITS: u8 = 47;
/// Smallest scheduling context: 128 bytes; each further refill takes 16.
pub const MIN_SCHED_CONTEXT_BITS: u8 = 7;
/// Entries of one ASID pool.
pub const ASID_POOL_ENTRIES: usize = 512;
/// ASID pools that can exist.
pub const ASID_POOL_COUNT: usize = 8;
/// Objects that one retype can make at most.
pub const RETYPE_FAN_OUT: u64 = 256;

/// Sizes of the objects whose size is fixed, as log2 of bytes.
pub mod size_bits {
    /// Thread control block.
    pub const TCB: u8 = 11;
    /// Endpoint.
    pub const ENDPOINT: u8 = 4;
    /// Notification.
    pub const NOTIFICATION: u8 = 6;
    /// Reply object.
    pub const REPLY: u8 = 5;
    /// Every paging structure.
    pub const PAGING: u8 = 12;
    /// ASID pool.
    pub const ASID_POOL: u8 = 12;
}

numbered! {
    /// What `Untyped_Retype` can make.
    #[expect(missing_docs, reason = "each is the manual's own name")]
    pub enum ObjectType: u64 {
        Untyped = 0,
        Tcb = 1,
        Endpoint = 2,
        Notification = 3,
        CNode = 4,
        SchedContext = 5,
        Reply = 6,
        Pdpt = 7,
        Pml4 = 8,
        HugePage = 9,
        SmallPage = 10,
        LargePage = 11,
        PageTable = 12,
        PageDirectory = 13,
    }
}

impl ObjectType {
    /// Size of such an object as log2 of bytes; `user_size` is the `size_bits` argument of
    /// the retype, which only untyped, CNode (slots) and scheduling context (bytes) look at.
    pub const fn size_bits(self, user_size: u8) -> u8 {
        match self {
            Self::Untyped | Self::SchedContext => user_size,
            Self::CNode => user_size + SLOT_SIZE_BITS,
            Self::Tcb => size_bits::TCB,
            Self::Endpoint => size_bits::ENDPOINT,
            Self::Notification => size_bits::NOTIFICATION,
            Self::Reply => size_bits::REPLY,
            Self::Pdpt | Self::Pml4 | Self::PageTable | Self::PageDirectory => size_bits::PAGING,
            Self::SmallPage => FrameSize::Small.bits(),
            Self::LargePage => FrameSize::Large.bits(),
            Self::HugePage => FrameSize::Huge.bits(),
        }
    }
}

/// The three page sizes of x86_64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameSize {
    /// 4 KiB
    Small,
    /// 2 MiB
    Large,
    /// 1 GiB
    Huge,
}

impl FrameSize {
    /// log2 of bytes.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Small => 12,
            Self::Large => 21,
            Self::Huge => 30,
        }
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.bits()
    }

    /// The object type of a frame of this size.
    pub const fn object_type(self) -> ObjectType {
        match self {
            Self::Small => ObjectType::SmallPage,
            Self::Large => ObjectType::LargePage,
            Self::Huge => ObjectType::HugePage,
        }
    }
}
