//! Address spaces: which paging structures exist, and making those that are missing.

use alloc::collections::BTreeSet;

use crate::abi::{CapRights, FrameSize, ObjectType, VmAttributes};

use super::{Kernel, MemoryError};
use crate::cap::{Frame, VSpace};

/// A paging structure and the first address of the region that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the processor manual's own name")]
pub enum Table {
    /// 512 GiB.
    Pdpt { base: u64 },
    /// 1 GiB.
    PageDirectory { base: u64 },
    /// 2 MiB.
    PageTable { base: u64 },
}

impl Table {
    /// The kernel object that it is.
    #[must_use]
    pub const fn object_type(self) -> ObjectType {
        match self {
            Self::Pdpt { .. } => ObjectType::Pdpt,
            Self::PageDirectory { .. } => ObjectType::PageDirectory,
            Self::PageTable { .. } => ObjectType::PageTable,
        }
    }

    /// The structures that a frame of this size at `address` hangs from, the topmost first.
    pub fn above(address: u64, size: FrameSize) -> impl Iterator<Item = Self> {
        let base = |bits: u8| address >> bits << bits;
        let depth = match size {
            FrameSize::Huge => 1,
            FrameSize::Large => 2,
            FrameSize::Small => 3,
        };
        [
            Self::Pdpt { base: base(39) },
            Self::PageDirectory { base: base(30) },
            Self::PageTable { base: base(21) },
        ]
        .into_iter()
        .take(depth)
    }
}

/// An address space that is being filled.
#[derive(Clone, Debug)]
pub struct AddressSpace {
    vspace: VSpace,
    tables: BTreeSet<Table>,
}

impl AddressSpace {
    /// An address space in which nothing is mapped yet. It must have an ASID.
    #[must_use]
    pub const fn new(vspace: VSpace) -> Self {
        Self { vspace, tables: BTreeSet::new() }
    }

    /// Its capability.
    #[must_use]
    pub const fn vspace(&self) -> VSpace {
        self.vspace
    }

    /// Says that a paging structure is there already: for the root task's own space.
    pub fn assume(&mut self, table: Table) {
        self.tables.insert(table);
    }

    /// The paging structures that a frame at `address` still lacks, the topmost first.
    pub fn missing(&self, address: u64, size: FrameSize) -> impl Iterator<Item = Table> {
        Table::above(address, size).filter(|table| !self.tables.contains(table))
    }

    /// Puts in what a frame at `address` hangs from; `make` makes paging structures and tells
    /// their slots.
    ///
    /// # Errors
    /// [`MemoryError`]; paging structures that were put in before the failure stay, and are known.
    pub fn prepare<K: Kernel>(
        &mut self,
        kernel: &mut K,
        mut make: impl FnMut(&mut K, ObjectType) -> Result<u64, MemoryError>,
        address: u64,
        size: FrameSize,
    ) -> Result<(), MemoryError> {
        for table in Table::above(address, size) {
            if self.tables.contains(&table) {
                continue;
            }
            let slot = make(kernel, table.object_type())?;
            kernel.map_table(slot, table, self.vspace)?;
            self.tables.insert(table);
        }
        Ok(())
    }

    /// Maps a frame, and whatever it hangs from, as [`Self::prepare`] does.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn map<K: Kernel>(
        &mut self,
        kernel: &mut K,
        make: impl FnMut(&mut K, ObjectType) -> Result<u64, MemoryError>,
        frame: (Frame, FrameSize),
        address: u64,
        rights: CapRights,
    ) -> Result<(), MemoryError> {
        let (frame, size) = frame;
        self.prepare(kernel, make, address, size)?;
        kernel.map_frame(frame, self.vspace, address, rights, VmAttributes::WriteBack)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::untyped::model::ModelKernel;
    use super::super::{Objects, SlotPool};
    use super::*;
    use crate::sys::Cptr;
    use proptest::prelude::*;

    const SIZES: [FrameSize; 3] = [FrameSize::Small, FrameSize::Large, FrameSize::Huge];

    proptest! {
        #[test]
        fn every_frame_has_its_structures_once_and_in_order(
            pages in prop::collection::vec((0u64..1 << 47, 0usize..3), 1..30),
        ) {
            let mut kernel = ModelKernel::with_untyped(1, 0, 24);
            let mut objects = Objects::new(SlotPool::new(100..5000));
            objects.add_untyped(1, 24);
            let mut space = AddressSpace::new(VSpace::new(Cptr::new(3)));
            let mut expected = BTreeSet::new();
            for (address, size) in pages {
                let size = SIZES[size];
                let address = address & !(size.bytes() - 1);
                let make = |kernel: &mut ModelKernel, kind| {
                    objects.make(kernel, kind, 0).map(|object| object.slot())
                };
                let frame = (Frame::new(Cptr::new(9)), size);
                space.map(&mut kernel, make, frame, address, CapRights::READ).expect("has memory");
                prop_assert_eq!(kernel.frames.last(), Some(&address));
                expected.extend(Table::above(address, size));
                prop_assert_eq!(space.missing(address, size).count(), 0);
            }
            let made: BTreeSet<Table> = kernel.tables.iter().copied().collect();
            prop_assert_eq!(made.len(), kernel.tables.len(), "none twice");
            prop_assert_eq!(made, expected);
        }
    }

    #[test]
    fn a_failure_leaves_what_is_known_true() {
        let mut kernel = ModelKernel::with_untyped(1, 0, 12);
        let mut objects = Objects::new(SlotPool::new(100..200));
        objects.add_untyped(1, 12);
        let mut space = AddressSpace::new(VSpace::new(Cptr::new(3)));
        let make = |kernel: &mut ModelKernel, kind| {
            objects.make(kernel, kind, 0).map(|object| object.slot())
        };
        let frame = (Frame::new(Cptr::new(9)), FrameSize::Small);
        let result = space.map(&mut kernel, make, frame, 0x40_0000, CapRights::READ);
        assert_eq!(result, Err(MemoryError::OutOfMemory { bits: 12 }));
        assert_eq!(kernel.tables, [Table::Pdpt { base: 0 }]);
        let missing: alloc::vec::Vec<Table> = space.missing(0x40_0000, FrameSize::Small).collect();
        assert_eq!(
            missing,
            [Table::PageDirectory { base: 0 }, Table::PageTable { base: 0x40_0000 }]
        );
    }
}
