//! Paging structures: page-table roots and the three levels below (manual, chapter 7).

use crate::cap::RawCap;
use crate::vspace::{Attributes, Entry, check_user_range};
use crate::{
    Answer, Decoded, Invocation, Kernel, Machine, Mapping, Ref, SyscallError, TableLevel, ensure,
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

impl<M: Machine> Kernel<M> {
    /// Fills the kernel's part of a zeroed page-table root.
    pub(crate) fn init_vspace_root(&mut self, root: Ref<PageTable>) {
        self.machine.init_address_space(root.address());
    }

    /// Maps a paging structure below the root, or takes it out with all that it maps.
    pub(crate) fn invoke_table(&mut self, inv: &Invocation) -> Decoded<Answer> {
        match (self.invoked(inv).table_level(), inv.label()?) {
            (TableLevel::PageTable, Label::PageTableMap)
            | (TableLevel::PageDirectory, Label::PageDirectoryMap)
            | (TableLevel::Pdpt, Label::PdptMap) => self.map_table(inv),
            (TableLevel::PageTable, Label::PageTableUnmap)
            | (TableLevel::PageDirectory, Label::PageDirectoryUnmap)
            | (TableLevel::Pdpt, Label::PdptUnmap) => self.unmap_table(inv),
            _ => Err(SyscallError::IllegalOperation),
        }
    }

    fn map_table(&mut self, inv: &Invocation) -> Decoded<Answer> {
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
        self.set_entry(place, Entry::table(table.object(), Attributes::from_word(attributes)));
        self.set_mapping(inv.slot, Some(Mapping { asid: space.asid, vaddr }));
        Ok(Answer::Empty)
    }

    /// A copy of the capability would go on recording the mapping, so there must be none.
    fn unmap_table(&mut self, inv: &Invocation) -> Decoded<Answer> {
        ensure(self.is_final(inv.slot), SyscallError::RevokeFirst)?;
        let table = self.invoked(inv);
        if table.mapping().is_some() {
            self.finalise_table(table);
            // It may be mapped elsewhere next, where its old entries must not show up.
            self.get_mut(table.object::<PageTable>()).entries = [0; 512];
        }
        self.set_mapping(inv.slot, None);
        Ok(Answer::Empty)
    }

    /// The last capability to a paging structure goes away: nothing may point at its memory.
    pub(crate) fn finalise_table(&mut self, cap: RawCap) {
        let Some(mapping) = cap.mapping() else { return };
        let (table, shift) = (cap.object(), cap.table_level().coverage_bits());
        if let Some(root) = self.unmap(mapping, shift, |entry| entry.target() == Some(table)) {
            self.machine.flush_address_space(root);
        }
    }
}
