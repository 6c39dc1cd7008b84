//! Paging structures: page-table roots and the three levels below (manual, chapter 7).

use crate::memory::KernelObject;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A paging structure of any level: 512 entries in the processor's format.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(4096))]
pub struct PageTable {
    /// The entries.
    pub entries: [u64; 512],
}

impl KernelObject for PageTable {}
