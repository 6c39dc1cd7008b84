//! The invocations that memory management needs.

use crate::abi::{CapRights, ObjectType, VmAttributes};

use super::Table;
use crate::cap::{
    CNode, Capability, Error, Frame, PageDirectory, PageTable, Pdpt, SlotRun, Untyped, VSpace,
};
use crate::sys::Cptr;

/// What memory management asks of the kernel. Slots are those of one CNode.
pub trait Kernel {
    /// Makes `count` objects from an untyped, in the slots from `first` on.
    ///
    /// # Errors
    /// The kernel's.
    fn retype(
        &mut self,
        untyped: u64,
        kind: ObjectType,
        size_bits: u8,
        first: u64,
        count: u64,
    ) -> Result<(), Error>;

    /// Deletes everything that was derived from the capability in a slot.
    ///
    /// # Errors
    /// The kernel's.
    fn revoke(&mut self, slot: u64) -> Result<(), Error>;

    /// Puts a paging structure into an address space.
    ///
    /// # Errors
    /// The kernel's.
    fn map_table(&mut self, slot: u64, table: Table, vspace: VSpace) -> Result<(), Error>;

    /// Maps a frame.
    ///
    /// # Errors
    /// The kernel's.
    fn map_frame(
        &mut self,
        frame: Frame,
        vspace: VSpace,
        address: u64,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> Result<(), Error>;
}

/// The real kernel, through the caller's root CNode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootCNode {
    root: CNode,
    depth: u8,
}

impl RootCNode {
    /// Slots of `root`, whose addresses have `depth` bits.
    #[must_use]
    pub const fn new(root: CNode, depth: u8) -> Self {
        Self { root, depth }
    }
}

impl Kernel for RootCNode {
    fn retype(
        &mut self,
        untyped: u64,
        kind: ObjectType,
        size_bits: u8,
        first: u64,
        count: u64,
    ) -> Result<(), Error> {
        let run = SlotRun::within(self.root, first);
        Untyped::new(Cptr::new(untyped)).retype(kind, size_bits, run, count)
    }

    fn revoke(&mut self, slot: u64) -> Result<(), Error> {
        self.root.slot(slot, self.depth).revoke()
    }

    fn map_table(&mut self, slot: u64, table: Table, vspace: VSpace) -> Result<(), Error> {
        let (cptr, attributes) = (Cptr::new(slot), VmAttributes::WriteBack);
        match table {
            Table::Pdpt { base } => Pdpt::from_cptr(cptr).map(vspace, base, attributes),
            Table::PageDirectory { base } => {
                PageDirectory::from_cptr(cptr).map(vspace, base, attributes)
            }
            Table::PageTable { base } => PageTable::from_cptr(cptr).map(vspace, base, attributes),
        }
    }

    fn map_frame(
        &mut self,
        frame: Frame,
        vspace: VSpace,
        address: u64,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> Result<(), Error> {
        frame.map(vspace, address, rights, attributes)
    }
}
