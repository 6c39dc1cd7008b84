//! Paging structures: page-table roots and the three levels below (manual, chapter 7).

use crate::cap::RawCap;
use crate::vspace::{Attributes, Entry, EntryPlace, check_user_range};
use crate::{
    Answer, Decoded, Invocation, Kernel, Machine, Mapping, Outcome, Ref, SyscallError, TableLevel,
    ensure,
};
use d3os_abi::Label;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A paging structure of any level: 512 entries in the processor's format.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(4096))]
pub struct PageTable {
    /// The entries.
    pub entries: [u64; 512],
}

/// What a paging structure was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableRequest {
    /// Enter it into the structure above.
    Map {
        /// The entry to write.
        place: EntryPlace,
        /// Its new contents.
        entry: Entry,
        /// What the capability records.
        mapping: Mapping,
    },
    /// Take it out, with everything that it maps.
    Unmap,
}

impl<M: Machine> Kernel<M> {
    /// Fills the kernel's part of a zeroed page-table root.
    pub(crate) fn init_vspace_root(&mut self, root: Ref<PageTable>) {
        self.machine.init_address_space(root.address());
    }

    /// Checks an invocation of a paging structure below the root.
    pub(crate) fn decode_table(&self, inv: &Invocation) -> Decoded<TableRequest> {
        match (self.invoked(inv).table_level(), inv.label()?) {
            (TableLevel::PageTable, Label::PageTableMap)
            | (TableLevel::PageDirectory, Label::PageDirectoryMap)
            | (TableLevel::Pdpt, Label::PdptMap) => self.decode_table_map(inv),
            (TableLevel::PageTable, Label::PageTableUnmap)
            | (TableLevel::PageDirectory, Label::PageDirectoryUnmap)
            | (TableLevel::Pdpt, Label::PdptUnmap) => self.decode_table_unmap(inv),
            _ => Err(SyscallError::IllegalOperation),
        }
    }

    fn decode_table_map(&self, inv: &Invocation) -> Decoded<TableRequest> {
        let table = self.invoked(inv);
        ensure(table.mapping().is_none(), SyscallError::InvalidCapability(0))?;
        let coverage = table.table_level().coverage_bits();
        let [vaddr, attributes] = self.arguments(inv, 0)?;
        // Any address that the table will cover names its place.
        let vaddr = vaddr >> coverage << coverage;
        let space = self.address_space_argument(inv)?;
        check_user_range(vaddr, 1, 0)?;
        let place = self.find_entry(space.root, vaddr, coverage)?;
        ensure(!self.entry(place).is_present(), SyscallError::DeleteFirst)?;
        Ok(TableRequest::Map {
            place,
            entry: Entry::table(table.object(), Attributes::from_word(attributes)),
            mapping: Mapping { asid: space.asid, vaddr },
        })
    }

    /// A copy of the capability would go on recording the mapping, so there must be none.
    fn decode_table_unmap(&self, inv: &Invocation) -> Decoded<TableRequest> {
        ensure(self.is_final(inv.slot), SyscallError::RevokeFirst)?;
        Ok(TableRequest::Unmap)
    }

    /// Carries out what was asked of a paging structure.
    pub(crate) fn perform_table(&mut self, inv: &Invocation, request: TableRequest) -> Outcome {
        let table = self.invoked(inv);
        let mapping = match request {
            TableRequest::Map { place, entry, mapping } => {
                self.set_entry(place, entry);
                Some(mapping)
            }
            TableRequest::Unmap => {
                self.finalise_table(table);
                if table.mapping().is_some() {
                    // It may be mapped elsewhere next, where its old entries must not show up.
                    self.get_mut(table.object::<PageTable>()).entries = [0; 512];
                }
                None
            }
        };
        self.set_mapping(inv.slot, mapping);
        Ok(Answer::Empty)
    }

    /// The last capability to a paging structure goes away: nothing may point at its memory.
    pub(crate) fn finalise_table(&mut self, cap: RawCap) {
        if let Some(mapping) = cap.mapping() {
            self.unmap_table(cap.object(), cap.table_level(), mapping);
        }
    }
}
