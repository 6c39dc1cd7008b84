//! Untyped memory, frames, paging structures and ASIDs.

use crate::abi::{CapRights, Label, ObjectType, VmAttributes};

use super::slot::{Slot, SlotRun};
use super::{Capability, Error, capabilities, invoke};
use crate::sys;

capabilities! {
    /// Memory that is nothing yet.
    Untyped;
    /// An address space: the page map of level 4.
    VSpace;
    /// A page-directory-pointer table: 512 GiB.
    Pdpt;
    /// A page directory: 1 GiB.
    PageDirectory;
    /// A page table: 2 MiB.
    PageTable;
    /// A page of memory, of 4 KiB, 2 MiB or 1 GiB.
    Frame;
    /// The authority to make ASID pools.
    AsidControl;
    /// Address space identifiers; an address space needs one before anything is mapped in it.
    AsidPool;
}

impl Untyped {
    /// Makes `count` objects and puts their capabilities into `run`. `size_bits` is the log2 of
    /// bytes for untyped and scheduling contexts, of slots for CNodes; the others ignore it.
    ///
    /// # Errors
    /// [`Error::NotEnoughMemory`], [`Error::DeleteFirst`] where a slot is taken, and the rest of
    /// the kernel's.
    pub fn retype(
        self,
        kind: ObjectType,
        size_bits: u8,
        run: SlotRun,
        count: u64,
    ) -> Result<(), Error> {
        let words =
            [kind as u64, u64::from(size_bits), run.index, u64::from(run.depth), run.offset, count];
        invoke(self.cptr(), Label::UntypedRetype, &words, &[run.root.cptr()])
    }
}

macro_rules! paging_structure {
    ($name:ident, $map:ident, $unmap:ident) => {
        impl $name {
            /// Puts this structure into `vspace`, over the region that contains `address`.
            ///
            /// # Errors
            /// [`Error::FailedLookup`] where the structure above is missing,
            /// [`Error::DeleteFirst`] where the region has one already, and the rest of the
            /// kernel's.
            pub fn map(
                self,
                vspace: VSpace,
                address: u64,
                attributes: VmAttributes,
            ) -> Result<(), Error> {
                let words = [address, attributes as u64];
                invoke(self.cptr(), Label::$map, &words, &[vspace.cptr()])
            }

            /// Takes it out of its address space.
            ///
            /// # Errors
            /// The kernel's.
            pub fn unmap(self) -> Result<(), Error> {
                invoke(self.cptr(), Label::$unmap, &[], &[])
            }
        }
    };
}

paging_structure!(Pdpt, PdptMap, PdptUnmap);
paging_structure!(PageDirectory, PageDirectoryMap, PageDirectoryUnmap);
paging_structure!(PageTable, PageTableMap, PageTableUnmap);

impl Frame {
    /// Maps the frame at `address`, or changes the rights of its mapping there. A frame
    /// capability has one mapping; a copy can have another.
    ///
    /// # Errors
    /// [`Error::FailedLookup`] where a paging structure is missing, [`Error::DeleteFirst`] where
    /// something else is mapped there, and the rest of the kernel's.
    pub fn map(
        self,
        vspace: VSpace,
        address: u64,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> Result<(), Error> {
        let words = [address, rights.word(), attributes as u64];
        invoke(self.cptr(), Label::PageMap, &words, &[vspace.cptr()])
    }

    /// Unmaps the frame; without a mapping, does nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unmap(self) -> Result<(), Error> {
        invoke(self.cptr(), Label::PageUnmap, &[], &[])
    }

    /// Its physical address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn address(self) -> Result<u64, Error> {
        invoke(self.cptr(), Label::PageGetAddress, &[], &[])?;
        Ok(sys::word(0))
    }
}

impl AsidControl {
    /// Makes an ASID pool from 4 KiB of untyped memory.
    ///
    /// # Errors
    /// [`Error::DeleteFirst`] where all pools are made or the slot is taken, and the rest of the
    /// kernel's.
    pub fn make_pool(self, untyped: Untyped, destination: Slot) -> Result<(), Error> {
        let words = [destination.index, u64::from(destination.depth)];
        let caps = [untyped.cptr(), destination.root.cptr()];
        invoke(self.cptr(), Label::AsidControlMakePool, &words, &caps)
    }
}

impl AsidPool {
    /// Gives an address space an identifier.
    ///
    /// # Errors
    /// [`Error::DeleteFirst`] where the pool is used up, and the rest of the kernel's.
    pub fn assign(self, vspace: VSpace) -> Result<(), Error> {
        invoke(self.cptr(), Label::AsidPoolAssign, &[], &[vspace.cptr()])
    }
}
