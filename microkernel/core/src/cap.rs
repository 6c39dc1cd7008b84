//! Capabilities: what they are, and how one is packed into two words.
//!
//! First word: type in bits 0..5, twelve bits of small fields from bit 5, the object's physical
//! address (halved: objects are at least 16-byte aligned) from bit 17. Second word: by type.

use crate::memory::{PhysAddr, Ref};
use crate::objects::{AsidPool, Endpoint, Notification, PageTable, Reply, SchedContext, Tcb};
use crate::slot::Slot;
use d3os_abi::{CapRights, FrameSize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An address-space identifier: pool in the high three bits, entry in the low nine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asid(pub u16);

/// What a frame capability allows to the mappings made with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRights {
    /// May be mapped readable.
    pub read: bool,
    /// May be mapped writable.
    pub write: bool,
}

/// Where a frame or paging structure is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Address space.
    pub asid: Asid,
    /// First address (page-aligned for the structure's level).
    pub vaddr: u64,
}

/// Paging structures below the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableLevel {
    /// Its entries map 4 KiB pages.
    PageTable,
    /// Its entries hold page tables or map 2 MiB pages.
    PageDirectory,
    /// Its entries hold page directories or map 1 GiB pages.
    Pdpt,
}

/// What a zombie was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZombieKind {
    /// A CNode of this radix.
    CNode(u8),
    /// A thread.
    Tcb,
}

/// A capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are described on the object each names")]
pub enum Cap {
    /// Nothing.
    Null,
    /// Memory to make objects from; `free` is the offset in bytes of what was not yet used.
    Untyped { base: PhysAddr, size_bits: u8, device: bool, free: u64 },
    /// Synchronous message passing.
    Endpoint { object: Ref<Endpoint>, badge: u64, rights: CapRights },
    /// Signals.
    Notification { object: Ref<Notification>, badge: u64, rights: CapRights },
    /// The way back to a caller.
    Reply { object: Ref<Reply>, can_grant: bool },
    /// A table of 2^radix slots; `guard` holds `guard_size` bits.
    CNode { object: Ref<Slot>, radix: u8, guard_size: u8, guard: u64 },
    /// A thread.
    Thread { object: Ref<Tcb> },
    /// Time on a core; `size_bits` bounds its refills.
    SchedContext { object: Ref<SchedContext>, size_bits: u8 },
    /// The right to configure scheduling contexts for a core.
    SchedControl { core: u32 },
    /// Memory that can be mapped.
    Frame { base: PhysAddr, size: FrameSize, rights: FrameRights, device: bool, mapping: Option<Mapping> },
    /// A paging structure below the root.
    Table { object: Ref<PageTable>, level: TableLevel, mapping: Option<Mapping> },
    /// A page-table root (PML4).
    VSpace { root: Ref<PageTable>, asid: Option<Asid> },
    /// The right to make ASID pools.
    AsidControl,
    /// A pool of address-space identifiers; `base` is its first.
    AsidPool { object: Ref<AsidPool>, base: Asid },
    /// The right to issue interrupt handlers.
    IrqControl,
    /// One interrupt vector.
    IrqHandler { vector: u8 },
    /// The right to issue port ranges.
    IoPortControl,
    /// Ports `first` to `last`, inclusive.
    IoPort { first: u16, last: u16 },
    /// The right to put threads into domains.
    Domain,
    /// What remains of a CNode or thread whose deletion was preempted: `remaining` slots from the
    /// first are still to be emptied; `next` is the zombie to go on with afterwards.
    Zombie { object: Ref<Slot>, kind: ZombieKind, remaining: u64, next: Option<Ref<Slot>> },
}

/// A capability as stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RawCap {
    head: u64,
    data: u64,
}

impl RawCap {
    pub(crate) fn is_null(self) -> bool {
        self.head & 0x1f == 0
    }

    pub(crate) fn unpack(self) -> Cap {
        Cap::Null
    }
}
