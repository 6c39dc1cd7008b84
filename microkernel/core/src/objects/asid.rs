//! Address-space identifiers: the control object and pools (manual, chapter 7.1.2).

use crate::memory::{KernelObject, Link};
use crate::objects::PageTable;
use d3os_abi::ASID_POOL_ENTRIES;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A pool of address-space identifiers: the page-table root that each one names.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(4096))]
pub struct AsidPool {
    pub(crate) roots: [Link<PageTable>; ASID_POOL_ENTRIES],
}

impl KernelObject for AsidPool {}
