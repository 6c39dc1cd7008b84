//! A capability slot: 32 bytes, a capability and its place in the derivation order.

use crate::cap::{Cap, RawCap};
use crate::memory::{KernelObject, Link};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One slot of a CNode, of a TCB, or of the kernel's interrupt table.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Slot {
    /// The capability, packed.
    pub(crate) raw: RawCap,
    /// The slot before this one in the derivation list.
    pub(crate) prev: Link<Slot>,
    /// The slot after this one, and flags in the low bits (slots are 32-byte aligned).
    pub(crate) next_and_flags: u64,
}

impl KernelObject for Slot {}

const _: () = assert!(size_of::<Slot>() == 1 << d3os_abi::SLOT_SIZE_BITS);

impl Slot {
    /// The capability.
    #[must_use]
    pub fn cap(&self) -> Cap {
        self.raw.unpack()
    }

    /// Whether the slot holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.is_null()
    }
}
