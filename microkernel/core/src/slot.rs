//! A capability slot: 32 bytes, a capability and its place in the derivation order.

use crate::cap::RawCap;
use crate::{Cap, Link, PhysAddr, Ref};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Capability slots at the start of a TCB.
pub(crate) const TCB_SLOTS: u64 = 5;

/// May have children: revoking it deletes what was derived from it.
const ORIGINAL: u64 = 1;
/// The first of a run of capabilities with one badge: what stands before it is not its parent
/// even if it has the same badge.
const STARTS_GROUP: u64 = 2;
const FLAGS: u64 = ORIGINAL | STARTS_GROUP;

/// One slot of a CNode, of a TCB, or of the kernel's interrupt table.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Slot {
    /// The capability, packed.
    pub(crate) raw: RawCap,
    /// The slot before this one in the derivation list.
    pub(crate) prev: Link<Slot>,
    /// The slot after this one, and flags in the low bits (slots are 32-byte aligned).
    next_and_flags: u64,
}

const _: () = assert!(size_of::<Slot>() == 1 << d3os_abi::SLOT_SIZE_BITS);

impl Slot {
    /// The capability.
    #[must_use]
    #[inline]
    pub fn cap(&self) -> Cap {
        self.raw.unpack()
    }

    /// Whether the slot holds nothing.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.raw.is_null()
    }

    /// A slot that is an original of its own group, linked nowhere.
    pub(crate) const fn original(raw: RawCap) -> Self {
        Self { raw, prev: Link::NONE, next_and_flags: FLAGS }
    }

    /// A slot that is a mere copy, linked nowhere.
    pub(crate) const fn copy(raw: RawCap) -> Self {
        Self { raw, prev: Link::NONE, next_and_flags: 0 }
    }

    /// The slot after this one in the derivation list.
    pub(crate) const fn next(&self) -> Option<Ref<Self>> {
        let address = self.next_and_flags & !FLAGS;
        if address == 0 { None } else { Some(Ref::at(PhysAddr(address))) }
    }

    pub(crate) fn set_next(&mut self, next: Option<Ref<Self>>) {
        let address = next.map_or(0, |next| next.address().0);
        self.next_and_flags = address | self.next_and_flags & FLAGS;
    }

    pub(crate) const fn is_original(&self) -> bool {
        self.next_and_flags & ORIGINAL != 0
    }

    pub(crate) const fn starts_group(&self) -> bool {
        self.next_and_flags & STARTS_GROUP != 0
    }

    pub(crate) const fn set_starts_group(&mut self) {
        self.next_and_flags |= STARTS_GROUP;
    }
}
