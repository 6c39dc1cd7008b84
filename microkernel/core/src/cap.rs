//! Capabilities: what they are, what a copy of one may hold, and how one is packed in two words.
//!
//! The first word of every packed capability:
//!
//! | bits | holds |
//! |---|---|
//! | 0..5 | type; 0 is the null capability, so zeroed memory is empty slots |
//! | 5..20 | small fields (rights, sizes, flags), by type |
//! | 20..63 | the object's physical address without its low four bits (objects are 16-byte aligned) |
//!
//! The second word, by type: the badge of an endpoint or notification, the guard of a CNode, the
//! mapping of a frame or table (page-aligned address, ASID in the low twelve bits), the free offset
//! of an untyped, the next slot of a zombie's worklist.
//!
//! What is done often looks at single fields of the packed form, [`RawCap`], and changes them in
//! place; [`Cap`] is the form to read and to write down.

use crate::objects::{AsidPool, Endpoint, Notification, PageTable, Reply, SchedContext, Tcb};
use crate::slot::TCB_SLOTS;
use crate::{PhysAddr, Ref, Slot};
use d3os_abi::{
    CNodeCapData, CapRights, FrameSize, MIN_UNTYPED_BITS, ObjectType, SLOT_SIZE_BITS, size_bits,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An address-space identifier: pool in the high three bits, entry in the low nine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asid(pub u16);

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

impl ZombieKind {
    /// Slots of such an object; they lie at its start.
    #[must_use]
    pub const fn slots(self) -> u64 {
        match self {
            Self::CNode(radix) => 1 << radix,
            Self::Tcb => TCB_SLOTS,
        }
    }

    /// log2 of the object's size; it is aligned to its size.
    #[must_use]
    pub const fn size_bits(self) -> u8 {
        match self {
            Self::CNode(radix) => radix + SLOT_SIZE_BITS,
            Self::Tcb => size_bits::TCB,
        }
    }

    /// The object that `slot` is one of the slots of.
    pub(crate) const fn object_of(self, slot: Ref<Slot>) -> PhysAddr {
        PhysAddr(slot.address().0 >> self.size_bits() << self.size_bits())
    }
}

/// How far the deletion of a zombie's object has come (see the module `delete`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZombieState {
    /// Its turn: the slots of the object up to and including `cursor` are still to be emptied.
    Active {
        /// The last slot of the object that may hold something.
        cursor: Ref<Slot>,
    },
    /// It waits in the worklist of another zombie, in the last slot of its own object that is not
    /// yet emptied.
    Waiting {
        /// The zombie before it in the worklist.
        previous: Ref<Slot>,
    },
}

/// What remains of a CNode or thread while it is deleted; keeps its memory from being reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zombie {
    /// What it was.
    pub kind: ZombieKind,
    /// How far its deletion has come.
    pub state: ZombieState,
    /// The zombie to go on with afterwards; it is a waiting one.
    pub next: Option<Ref<Slot>>,
}

/// A capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are described on the object each names")]
pub enum Cap {
    /// Nothing.
    Null,
    /// Memory to make objects from; `free` is the offset in bytes of what was not yet used. What
    /// memory holds does not matter: objects are cleared when they are made.
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
    /// Memory that can be mapped, with the rights to read and to write; none to write only.
    Frame {
        base: PhysAddr,
        size: FrameSize,
        rights: CapRights,
        device: bool,
        mapping: Option<Mapping>,
    },
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
    /// The sending end of a core's signal line.
    Signal { core: u32, line: u8 },
    /// The right to stop and start the other cores.
    CoreControl,
    /// What remains of a CNode or thread while it is deleted.
    Zombie(Zombie),
}

impl Zombie {
    /// A zombie in `slot`: the object it keeps.
    pub(crate) const fn object(self, slot: Ref<Slot>) -> PhysAddr {
        match self.state {
            ZombieState::Active { cursor } => self.kind.object_of(cursor),
            ZombieState::Waiting { .. } => self.kind.object_of(slot),
        }
    }
}

/// A word of `bits` ones, at most 64.
pub(crate) const fn low_bits(bits: u8) -> u64 {
    if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// A capability as stored.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct RawCap {
    head: u64,
    data: u64,
}

/// Type numbers in bits 0..5 of the first word: first what messages are sent through, last what names
/// no object in memory.
pub(crate) mod tag {
    pub(crate) const NULL: u64 = 0;
    pub(crate) const ENDPOINT: u64 = 1;
    pub(crate) const NOTIFICATION: u64 = 2;
    pub(crate) const REPLY: u64 = 3;
    pub(crate) const LAST_SENT_THROUGH: u64 = REPLY;
    pub(crate) const CNODE: u64 = 4;
    pub(crate) const UNTYPED: u64 = 5;
    pub(crate) const FRAME: u64 = 6;
    pub(crate) const TABLE: u64 = 7;
    pub(crate) const VSPACE: u64 = 8;
    pub(crate) const THREAD: u64 = 9;
    pub(crate) const SCHED_CONTEXT: u64 = 10;
    pub(crate) const ASID_POOL: u64 = 11;
    pub(crate) const ZOMBIE: u64 = 12;
    pub(crate) const SCHED_CONTROL: u64 = 13;
    pub(crate) const ASID_CONTROL: u64 = 14;
    pub(crate) const IRQ_CONTROL: u64 = 15;
    pub(crate) const IRQ_HANDLER: u64 = 16;
    pub(crate) const IO_PORT_CONTROL: u64 = 17;
    pub(crate) const IO_PORT: u64 = 18;
    pub(crate) const DOMAIN: u64 = 19;
    pub(crate) const SIGNAL: u64 = 20;
    pub(crate) const CORE_CONTROL: u64 = 21;
}

const TAG_MASK: u64 = 0x1f;
const SMALL_SHIFT: u32 = 5;
const ADDRESS_SHIFT: u32 = 16;
const ADDRESS_MASK: u64 = u64::MAX << (ADDRESS_SHIFT + 4);
const PAGE_MASK: u64 = 0xfff;
/// A zombie that waits, in its small fields above the radix.
const WAITING: u64 = 1 << 6;
/// Of a frame, table or page-table root, in its small fields: the second word holds a mapping (of a
/// root the identifier only).
const MAPPED: u64 = 1 << 5;
/// A frame's small fields: rights to write and read as in [`CapRights`], size in bits 2..4.
const FRAME_RIGHTS: u64 = CapRights::READ_WRITE.word();
const FRAME_SIZE_SHIFT: u32 = 2;
const FRAME_DEVICE: u64 = 1 << 4;
/// A CNode's small fields: radix in bits 0..6, guard size in bits 6..12; together they are a word's.
const CNODE_WHOLE: u64 = 1 << 12;
/// An untyped's small fields: size in bits 0..6.
const UNTYPED_DEVICE: u64 = 1 << 6;
/// The cleared part of an untyped, in granules: 8 bits from here in the first word, 20 bits from
/// `CLEARED_LOW_SHIFT` in the second.
const CLEARED_HIGH_SHIFT: u32 = 12;
const CLEARED_LOW_SHIFT: u32 = 44;
const CLEARED_LOW_BITS: u32 = 20;
const CLEARED_HIGH_MASK: u64 = 0xff << CLEARED_HIGH_SHIFT;
const CLEARED_LOW_MASK: u64 = u64::MAX << CLEARED_LOW_SHIFT;

impl RawCap {
    /// Nothing.
    pub(crate) const NULL: Self = Self { head: tag::NULL, data: 0 };

    const fn new(tag: u64, small: u64, address: PhysAddr, data: u64) -> Self {
        Self { head: tag | small << SMALL_SHIFT | address.0 << ADDRESS_SHIFT, data }
    }

    const fn plain(tag: u64, data: u64) -> Self {
        Self::new(tag, 0, PhysAddr(0), data)
    }

    /// Its type.
    #[inline]
    pub(crate) const fn tag(self) -> u64 {
        self.head & TAG_MASK
    }

    #[inline]
    pub(crate) const fn is_null(self) -> bool {
        self.tag() == tag::NULL
    }

    /// The capability that is stored.
    #[inline]
    pub(crate) fn unpack(self) -> Cap {
        let data = self.data;
        match self.tag() {
            tag::UNTYPED => Cap::Untyped {
                base: self.address(),
                size_bits: self.size_bits(),
                device: self.is_device(),
                free: self.free(),
            },
            tag::ENDPOINT => {
                Cap::Endpoint { object: self.object(), badge: data, rights: self.rights() }
            }
            tag::NOTIFICATION => {
                Cap::Notification { object: self.object(), badge: data, rights: self.rights() }
            }
            tag::REPLY => Cap::Reply { object: self.object(), can_grant: self.has(1) },
            tag::CNODE => Cap::CNode {
                object: self.object(),
                radix: self.field(0, 6),
                guard_size: self.field(6, 6),
                guard: data,
            },
            tag::THREAD => Cap::Thread { object: self.object() },
            tag::SCHED_CONTEXT => {
                Cap::SchedContext { object: self.object(), size_bits: self.field(0, 6) }
            }
            tag::SCHED_CONTROL => Cap::SchedControl { core: low_u32(data) },
            tag::FRAME => Cap::Frame {
                base: self.address(),
                size: self.frame_size(),
                rights: self.frame_rights(),
                device: self.has(FRAME_DEVICE),
                mapping: self.mapping(),
            },
            tag::TABLE => Cap::Table {
                object: self.object(),
                level: self.table_level(),
                mapping: self.mapping(),
            },
            tag::VSPACE => {
                Cap::VSpace { root: self.object(), asid: self.mapping().map(|at| at.asid) }
            }
            tag::ASID_CONTROL => Cap::AsidControl,
            tag::ASID_POOL => Cap::AsidPool { object: self.object(), base: asid(data) },
            tag::IRQ_CONTROL => Cap::IrqControl,
            tag::IRQ_HANDLER => Cap::IrqHandler { vector: low_u8(data) },
            tag::IO_PORT_CONTROL => Cap::IoPortControl,
            tag::IO_PORT => Cap::IoPort { first: low_u16(data), last: low_u16(data >> 16) },
            tag::DOMAIN => Cap::Domain,
            tag::SIGNAL => Cap::Signal { core: low_u32(data), line: low_u8(data >> 32) },
            tag::CORE_CONTROL => Cap::CoreControl,
            tag::ZOMBIE => Cap::Zombie(self.unpack_zombie()),
            _ => Cap::Null,
        }
    }

    pub(crate) fn unpack_zombie(self) -> Zombie {
        let kind = match self.field(0, 6) {
            0 => ZombieKind::Tcb,
            radix => ZombieKind::CNode(radix),
        };
        let slot = self.object();
        let state = if self.has(WAITING) {
            ZombieState::Waiting { previous: slot }
        } else {
            ZombieState::Active { cursor: slot }
        };
        let next = (self.data != 0).then_some(Ref::at(PhysAddr(self.data)));
        Zombie { kind, state, next }
    }

    /// The slot that a whole word names below a CNode that resolves all its bits at once; `None` for
    /// everything else, where resolving takes longer or fails.
    #[inline(always)]
    pub(crate) const fn slot_of_word(self, word: u64) -> Option<Ref<Slot>> {
        const WHOLE_CNODE: u64 = tag::CNODE | CNODE_WHOLE << SMALL_SHIFT;
        let radix = self.head >> SMALL_SHIFT & 0x3f;
        let index = word ^ self.data << radix;
        if self.head & (TAG_MASK | WHOLE_CNODE) == WHOLE_CNODE && index >> radix == 0 {
            Some(self.object::<Slot>().index(index))
        } else {
            None
        }
    }

    /// An endpoint, its badge and rights.
    #[inline]
    pub(crate) fn as_endpoint(self) -> Option<(Ref<Endpoint>, u64, CapRights)> {
        (self.tag() == tag::ENDPOINT).then(|| (self.object(), self.data, self.rights()))
    }

    /// A notification, its badge and rights.
    #[inline]
    pub(crate) fn as_notification(self) -> Option<(Ref<Notification>, u64, CapRights)> {
        (self.tag() == tag::NOTIFICATION).then(|| (self.object(), self.data, self.rights()))
    }

    /// A reply object, and whether answers through it may carry capabilities.
    #[inline]
    pub(crate) fn as_reply(self) -> Option<(Ref<Reply>, bool)> {
        (self.tag() == tag::REPLY).then(|| (self.object(), self.has(1)))
    }

    /// A page-table root that has an identifier.
    #[inline]
    pub(crate) fn as_vspace(self) -> Option<(Ref<PageTable>, Asid)> {
        let mapping = self.mapping().filter(|_| self.tag() == tag::VSPACE)?;
        Some((self.object(), mapping.asid))
    }

    /// A CNode's slots, radix, guard size and guard, without unpacking the rest: what a look-up needs.
    #[inline]
    pub(crate) fn as_cnode(self) -> Option<(Ref<Slot>, u8, u8, u64)> {
        (self.tag() == tag::CNODE)
            .then(|| (self.object(), self.field(0, 6), self.field(6, 6), self.data))
    }

    /// Of an untyped: the offset in bytes of what was not yet used.
    pub(crate) const fn free(self) -> u64 {
        (self.data & !CLEARED_LOW_MASK) << MIN_UNTYPED_BITS
    }

    /// Of an untyped: how many granules of its memory, from its start, hold zeroes above the free
    /// offset. Not part of the capability: progress of a retype that was preempted.
    pub(crate) const fn cleared(self) -> u64 {
        (self.head & CLEARED_HIGH_MASK) >> CLEARED_HIGH_SHIFT << CLEARED_LOW_BITS
            | self.data >> CLEARED_LOW_SHIFT
    }

    /// This untyped with another free offset, from which on nothing is known to be zero.
    pub(crate) const fn with_free(self, offset: u64) -> Self {
        Self { head: self.head & !CLEARED_HIGH_MASK, data: offset >> MIN_UNTYPED_BITS }
    }

    /// This untyped with other progress.
    pub(crate) const fn with_cleared(self, granules: u64) -> Self {
        let high = granules >> CLEARED_LOW_BITS << CLEARED_HIGH_SHIFT & CLEARED_HIGH_MASK;
        Self {
            head: self.head & !CLEARED_HIGH_MASK | high,
            data: self.data & !CLEARED_LOW_MASK | granules << CLEARED_LOW_SHIFT,
        }
    }

    /// Of an untyped: whether the memory is a device's.
    pub(crate) const fn is_device(self) -> bool {
        self.has(UNTYPED_DEVICE)
    }

    /// Of an untyped or scheduling context: log2 of its bytes. Of a CNode: of its slots.
    pub(crate) const fn size_bits(self) -> u8 {
        self.field(0, 6)
    }

    /// Where the object begins.
    pub(crate) const fn address(self) -> PhysAddr {
        PhysAddr(self.head >> ADDRESS_SHIFT & !0xf)
    }

    /// The object.
    pub(crate) const fn object<T>(self) -> Ref<T> {
        Ref::at(self.address())
    }

    /// Of a frame: its size.
    pub(crate) const fn frame_size(self) -> FrameSize {
        const SIZES: [FrameSize; 4] =
            [FrameSize::Small, FrameSize::Large, FrameSize::Huge, FrameSize::Huge];
        SIZES[self.field(FRAME_SIZE_SHIFT, 2) as usize]
    }

    /// Of a frame: whether it may be read and written.
    pub(crate) const fn frame_rights(self) -> CapRights {
        self.rights().and(CapRights::READ_WRITE)
    }

    /// Where a frame or table is mapped; of a page-table root, its identifier at address 0.
    pub(crate) const fn mapping(self) -> Option<Mapping> {
        if self.has(MAPPED) {
            Some(Mapping { asid: asid(self.data & PAGE_MASK), vaddr: self.data & !PAGE_MASK })
        } else {
            None
        }
    }

    /// This capability to a frame, table or page-table root, mapped elsewhere or nowhere.
    pub(crate) const fn with_mapping(self, to: Option<Mapping>) -> Self {
        let (mapped, data) = match to {
            Some(Mapping { asid, vaddr }) => (MAPPED, vaddr & !PAGE_MASK | asid.0 as u64),
            None => (0, 0),
        };
        Self { head: self.head & !(MAPPED << SMALL_SHIFT) | mapped << SMALL_SHIFT, data }
    }

    /// The first capability to the object that retyping memory `at` made.
    pub(crate) const fn first(kind: ObjectType, user_size: u8, device: bool, at: PhysAddr) -> Self {
        const FRAME: u64 = CapRights::READ_WRITE.word();
        let size = user_size as u64;
        let (tag, small) = match kind {
            ObjectType::Untyped => (tag::UNTYPED, size),
            ObjectType::Tcb => (tag::THREAD, 0),
            ObjectType::Endpoint => (tag::ENDPOINT, CapRights::ALL.word()),
            ObjectType::Notification => (tag::NOTIFICATION, CapRights::READ_WRITE.word()),
            ObjectType::CNode => (tag::CNODE, size),
            ObjectType::SchedContext => (tag::SCHED_CONTEXT, size),
            ObjectType::Reply => (tag::REPLY, 1),
            ObjectType::Pml4 => (tag::VSPACE, 0),
            ObjectType::Pdpt => (tag::TABLE, TableLevel::Pdpt as u64),
            ObjectType::PageDirectory => (tag::TABLE, TableLevel::PageDirectory as u64),
            ObjectType::PageTable => (tag::TABLE, TableLevel::PageTable as u64),
            ObjectType::SmallPage => (tag::FRAME, FRAME | frame_size(FrameSize::Small)),
            ObjectType::LargePage => (tag::FRAME, FRAME | frame_size(FrameSize::Large)),
            ObjectType::HugePage => (tag::FRAME, FRAME | frame_size(FrameSize::Huge)),
        };
        let small = match tag {
            tag::UNTYPED if device => small | UNTYPED_DEVICE,
            tag::FRAME if device => small | FRAME_DEVICE,
            _ => small,
        };
        Self::new(tag, small, at, 0)
    }

    /// A capability like this one, to the object that lies `bytes` behind this one's.
    pub(crate) const fn further(self, bytes: u64) -> Self {
        Self { head: self.head + (bytes << ADDRESS_SHIFT), data: self.data }
    }

    fn cnode(object: Ref<Slot>, radix: u8, guard_size: u8, guard: u64) -> Self {
        let whole = if radix + guard_size == 64 { CNODE_WHOLE } else { 0 };
        let small = u64::from(radix) | u64::from(guard_size) << 6 | whole;
        Self::new(tag::CNODE, small, object.address(), guard)
    }

    /// This capability with only those of its rights that `mask` has too; there is no writing to
    /// frames without reading. Types without rights stay as they are.
    pub(crate) const fn mask_rights(self, mask: CapRights) -> Self {
        let lost = CapRights::ALL.word() & !mask.word();
        let small = match self.tag() {
            tag::ENDPOINT | tag::NOTIFICATION => lost,
            tag::FRAME if lost & CapRights::READ.word() != 0 => FRAME_RIGHTS,
            tag::FRAME => lost & FRAME_RIGHTS,
            tag::REPLY => (lost & CapRights::GRANT.word() != 0) as u64,
            _ => 0,
        };
        Self { head: self.head & !(small << SMALL_SHIFT), data: self.data }
    }

    /// This capability with `data` as its badge (endpoints and notifications whose badge is still
    /// zero) or as its guard (CNodes); other types do not look at it. `None` where the badge was
    /// already set, or where guard and radix exceed 64 bits.
    pub(crate) fn with_data(self, data: u64) -> Option<Self> {
        match self.tag() {
            tag::ENDPOINT | tag::NOTIFICATION if self.data == 0 => Some(Self { data, ..self }),
            _ => self.moved_with_data(data),
        }
    }

    /// As [`RawCap::with_data`], for a capability that is moved: its badge cannot change, since what
    /// was derived from it would no longer be its child.
    pub(crate) fn moved_with_data(self, data: u64) -> Option<Self> {
        match self.tag() {
            tag::ENDPOINT | tag::NOTIFICATION => None,
            tag::CNODE => {
                let (radix, data) = (self.size_bits(), CNodeCapData(data));
                let (size, guard) = (data.guard_size(), data.guard());
                let fits = size + radix <= 64;
                fits.then(|| Self::cnode(self.object(), radix, size, guard & low_bits(size)))
            }
            _ => Some(self),
        }
    }

    /// The badge, or zero.
    pub(crate) const fn badge(self) -> u64 {
        if matches!(self.tag(), tag::ENDPOINT | tag::NOTIFICATION) { self.data } else { 0 }
    }

    /// Whether both name the same object, whatever their badges, rights and mappings.
    #[inline]
    pub(crate) const fn same_object(self, other: Self) -> bool {
        if (self.head ^ other.head) & (TAG_MASK | ADDRESS_MASK) != 0 {
            return false;
        }
        match self.tag() {
            tag::NULL | tag::ZOMBIE => false,
            // Memory made of the whole of other memory begins where that does.
            tag::UNTYPED => self.size_bits() == other.size_bits(),
            tag::SCHED_CONTROL.. => self.data == other.data,
            _ => true,
        }
    }

    /// Whether the object of `other`, which lies in `slot` behind this untyped in the derivation list,
    /// was made of this one's memory.
    pub(crate) const fn covers(self, other: Self, slot: Ref<Slot>) -> bool {
        let place = match other.tag() {
            tag::NULL | tag::SCHED_CONTROL.. => return false,
            // It lies in its own object; an active one tells a slot of it.
            tag::ZOMBIE if other.has(WAITING) => slot.address(),
            _ => other.address(),
        };
        (self.address().0 ^ place.0) >> self.size_bits() == 0
    }

    const fn field(self, first: u32, bits: u8) -> u8 {
        low_u8(self.head >> (SMALL_SHIFT + first) & low_bits(bits))
    }

    const fn has(self, small_bit: u64) -> bool {
        self.head & small_bit << SMALL_SHIFT != 0
    }

    const fn rights(self) -> CapRights {
        CapRights::from_word(self.head >> SMALL_SHIFT)
    }

    pub(crate) const fn table_level(self) -> TableLevel {
        const LEVELS: [TableLevel; 4] =
            [TableLevel::PageTable, TableLevel::PageDirectory, TableLevel::Pdpt, TableLevel::Pdpt];
        LEVELS[self.field(0, 2) as usize]
    }
}

impl From<Zombie> for RawCap {
    fn from(zombie: Zombie) -> Self {
        let radix = match zombie.kind {
            ZombieKind::CNode(radix) => u64::from(radix),
            ZombieKind::Tcb => 0,
        };
        let (waiting, slot) = match zombie.state {
            ZombieState::Active { cursor } => (0, cursor),
            ZombieState::Waiting { previous } => (WAITING, previous),
        };
        let next = zombie.next.map_or(0, |next| next.address().0);
        Self::new(tag::ZOMBIE, radix | waiting, slot.address(), next)
    }
}

impl From<Cap> for RawCap {
    /// The stored form of `cap`.
    fn from(cap: Cap) -> Self {
        match cap {
            Cap::Null => Self::NULL,
            Cap::Untyped { base, size_bits, device, free } => {
                let small = u64::from(size_bits) | if device { UNTYPED_DEVICE } else { 0 };
                Self::new(tag::UNTYPED, small, base, free >> MIN_UNTYPED_BITS)
            }
            Cap::Endpoint { object, badge, rights } => {
                Self::new(tag::ENDPOINT, rights.word(), object.address(), badge)
            }
            Cap::Notification { object, badge, rights } => {
                Self::new(tag::NOTIFICATION, rights.word(), object.address(), badge)
            }
            Cap::Reply { object, can_grant } => {
                Self::new(tag::REPLY, can_grant.into(), object.address(), 0)
            }
            Cap::CNode { object, radix, guard_size, guard } => {
                Self::cnode(object, radix, guard_size, guard)
            }
            Cap::Thread { object } => Self::new(tag::THREAD, 0, object.address(), 0),
            Cap::SchedContext { object, size_bits } => {
                Self::new(tag::SCHED_CONTEXT, size_bits.into(), object.address(), 0)
            }
            Cap::SchedControl { core } => Self::plain(tag::SCHED_CONTROL, core.into()),
            Cap::Frame { base, size, rights, device, mapping } => {
                let device = if device { FRAME_DEVICE } else { 0 };
                let small = rights.word() | frame_size(size) | device;
                Self::new(tag::FRAME, small, base, 0).with_mapping(mapping)
            }
            Cap::Table { object, level, mapping } => {
                Self::new(tag::TABLE, level as u64, object.address(), 0).with_mapping(mapping)
            }
            Cap::VSpace { root, asid } => {
                let mapping = asid.map(|asid| Mapping { asid, vaddr: 0 });
                Self::new(tag::VSPACE, 0, root.address(), 0).with_mapping(mapping)
            }
            Cap::AsidControl => Self::plain(tag::ASID_CONTROL, 0),
            Cap::AsidPool { object, base } => {
                Self::new(tag::ASID_POOL, 0, object.address(), base.0.into())
            }
            Cap::IrqControl => Self::plain(tag::IRQ_CONTROL, 0),
            Cap::IrqHandler { vector } => Self::plain(tag::IRQ_HANDLER, vector.into()),
            Cap::IoPortControl => Self::plain(tag::IO_PORT_CONTROL, 0),
            Cap::IoPort { first, last } => {
                Self::plain(tag::IO_PORT, u64::from(first) | u64::from(last) << 16)
            }
            Cap::Domain => Self::plain(tag::DOMAIN, 0),
            Cap::Signal { core, line } => {
                Self::plain(tag::SIGNAL, u64::from(core) | u64::from(line) << 32)
            }
            Cap::CoreControl => Self::plain(tag::CORE_CONTROL, 0),
            Cap::Zombie(zombie) => zombie.into(),
        }
    }
}

/// The size among a frame's small fields.
const fn frame_size(size: FrameSize) -> u64 {
    (size as u64) << FRAME_SIZE_SHIFT
}

const fn asid(word: u64) -> Asid {
    Asid(low_u16(word))
}

#[expect(clippy::cast_possible_truncation, reason = "the low byte is what is asked for")]
const fn low_u8(word: u64) -> u8 {
    word as u8
}

#[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are what is asked for")]
const fn low_u16(word: u64) -> u16 {
    word as u16
}

#[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are what is asked for")]
const fn low_u32(word: u64) -> u32 {
    word as u32
}
