//! Address spaces: entries of paging structures, walks through them, and what undoes a mapping
//! (manual, chapter 7; Intel SDM volume 3A, chapter 4.5).
//!
//! A capability only *records* where its frame or table was mapped. The tables above may be gone by
//! the time it is unmapped, or hold something else, so every unmapping looks first whether the entry
//! still is the recorded one.

use crate::cap::RawCap;
use crate::objects::PageTable;
use crate::{
    Asid, Decoded, Invocation, Kernel, LookupFailure, Machine, Mapping, PhysAddr, Ref, Slot,
    SyscallError, TableLevel, ensure,
};
use d3os_abi::{ASID_POOL_ENTRIES, CapRights, FrameSize, USER_TOP};

/// log2 of what one entry of a page-table root covers.
const ROOT_SHIFT: u8 = 39;
/// What entries above the last level cover, from the root down.
const TABLE_SHIFTS: [u8; 3] = [ROOT_SHIFT, 30, 21];

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
/// Where the rights to write and to read go.
const RIGHTS_SHIFT: u32 = 1;
const _: () = assert!(CapRights::WRITE.word() << RIGHTS_SHIFT == WRITE);
const _: () = assert!(CapRights::READ.word() << RIGHTS_SHIFT == USER);
/// Where bits 0 and 1 of the attributes go: write-through (PWT), cache disabled (PCD).
const LOW_ATTRIBUTES_SHIFT: u32 = 3;
/// In entries above the last level: maps a page instead of pointing at a table.
const LARGE: u64 = 1 << 7;
/// Bit 2 of the attributes in an entry for a 4 KiB page (PAT).
const SMALL_PAT: u64 = 1 << 7;
/// Bit 2 of the attributes in an entry for a larger page (PAT).
const LARGE_PAT: u64 = 1 << 12;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// An identifier's pool is gone.
pub(crate) const POOL_GONE: SyscallError =
    SyscallError::FailedLookup { source: false, failure: LookupFailure::InvalidRoot };

impl TableLevel {
    /// log2 of what one table of this level covers.
    #[must_use]
    pub(crate) const fn coverage_bits(self) -> u8 {
        match self {
            Self::PageTable => 21,
            Self::PageDirectory => 30,
            Self::Pdpt => 39,
        }
    }
}

/// The caching of a mapping: three bits that select an entry of the processor's attribute table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes(u64);

impl Attributes {
    /// From an argument word; bits above the third are ignored.
    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word & 7)
    }

    const fn low_bits(self) -> u64 {
        (self.0 & 3) << LOW_ATTRIBUTES_SHIFT
    }

    const fn page_bits(self, size: FrameSize) -> u64 {
        let pat = match size {
            FrameSize::Small => SMALL_PAT,
            FrameSize::Large | FrameSize::Huge => LARGE_PAT,
        };
        self.low_bits() | (if self.0 & 4 == 0 { 0 } else { pat })
    }
}

/// An entry of a paging structure, in the processor's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(pub(crate) u64);

impl Entry {
    /// Maps nothing.
    pub(crate) const EMPTY: Self = Self(0);

    /// Maps a page. Without the right to read it is there for the kernel only, as on seL4.
    pub(crate) const fn page(
        base: PhysAddr,
        size: FrameSize,
        rights: CapRights,
        attributes: Attributes,
    ) -> Self {
        let large = if matches!(size, FrameSize::Small) { 0 } else { LARGE };
        let rights = rights.and(CapRights::READ_WRITE).word() << RIGHTS_SHIFT;
        Self(base.0 | PRESENT | rights | large | attributes.page_bits(size))
    }

    /// Points at a table.
    pub(crate) const fn table(table: Ref<PageTable>, attributes: Attributes) -> Self {
        Self(table.address().0 | PRESENT | WRITE | USER | attributes.low_bits())
    }

    /// Whether anything is mapped by it.
    pub(crate) const fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    /// The table that it points at; only for entries above the last level.
    pub(crate) const fn target(self) -> Option<Ref<PageTable>> {
        if self.0 & (PRESENT | LARGE) == PRESENT {
            Some(Ref::at(PhysAddr(self.0 & ADDRESS)))
        } else {
            None
        }
    }

    /// Whether it maps the frame at `base`.
    pub(crate) const fn maps(self, base: PhysAddr, size: FrameSize) -> bool {
        let is_page = matches!(size, FrameSize::Small) || self.0 & LARGE != 0;
        self.is_present() && is_page && self.0 & ADDRESS & !(size.bytes() - 1) == base.0
    }
}

/// Where an entry lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryPlace {
    table: Ref<PageTable>,
    index: usize,
}

impl EntryPlace {
    /// The entry for `vaddr` in a table whose entries cover 2^`shift` bytes.
    pub(crate) fn new(table: Ref<PageTable>, vaddr: u64, shift: u8) -> Self {
        let [low, high, ..] = (vaddr >> shift).to_le_bytes();
        Self { table, index: usize::from(u16::from_le_bytes([low, high & 1])) }
    }
}

/// The address space that an invocation names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressSpace {
    pub(crate) root: Ref<PageTable>,
    pub(crate) asid: Asid,
}

/// Checks that `bytes` from `vaddr` lie in user space; `argument` names the argument that told it.
pub(crate) fn check_user_range(vaddr: u64, bytes: u64, argument: u64) -> Decoded<()> {
    let inside = vaddr.checked_add(bytes).is_some_and(|end| end <= USER_TOP);
    ensure(inside, SyscallError::InvalidArgument(argument))
}

impl<M: Machine> Kernel<M> {
    /// The page-table root that holds `asid`.
    pub(crate) fn asid_root(&self, asid: Asid) -> Option<Ref<PageTable>> {
        let pool = self.asid_pools.get(usize::from(asid.0) / ASID_POOL_ENTRIES)?.get()?;
        self.get(pool).roots[usize::from(asid.0) % ASID_POOL_ENTRIES].get()
    }

    /// The page-table root that a thread with this VSpace capability runs in; `None` where the
    /// capability is none, was not assigned an ASID, or lost it with its pool.
    #[inline]
    pub(crate) fn vspace_root(&self, cap: impl Into<RawCap>) -> Option<Ref<PageTable>> {
        let (root, asid) = cap.into().as_vspace()?;
        self.asid_root(asid).filter(|&held| held == root)
    }

    /// The address space named by the first extra capability.
    ///
    /// # Errors
    /// `InvalidCapability(1)` for anything but a VSpace with an ASID, or one whose ASID names
    /// another by now; `FailedLookup` where the ASID's pool is gone.
    pub(crate) fn address_space_argument(&self, inv: &Invocation) -> Decoded<AddressSpace> {
        let named = self.extra_raw(inv, 0)?.as_vspace();
        let (root, asid) = named.ok_or(SyscallError::InvalidCapability(1))?;
        let held = self.asid_root(asid).ok_or(POOL_GONE)?;
        ensure(held == root, SyscallError::InvalidCapability(1))?;
        Ok(AddressSpace { root, asid })
    }

    /// Finds the entry for `vaddr` that covers 2^`shift` bytes (12, 21, 30 or 39).
    ///
    /// # Errors
    /// `FailedLookup` with the bits that were left to resolve where a table is missing.
    pub(crate) fn find_entry(
        &self,
        root: Ref<PageTable>,
        vaddr: u64,
        shift: u8,
    ) -> Decoded<EntryPlace> {
        let mut table = root;
        for above in TABLE_SHIFTS.into_iter().take_while(|&above| above > shift) {
            let entry = self.entry(EntryPlace::new(table, vaddr, above));
            table = entry.target().ok_or(SyscallError::FailedLookup {
                source: false,
                failure: LookupFailure::MissingCapability { bits_left: above },
            })?;
        }
        Ok(EntryPlace::new(table, vaddr, shift))
    }

    /// The entry at `place`.
    pub(crate) fn entry(&self, place: EntryPlace) -> Entry {
        Entry(self.get(place.table).entries[place.index])
    }

    /// Records where the frame or table of the capability in `slot` is mapped.
    pub(crate) fn set_mapping(&mut self, slot: Ref<Slot>, mapping: Option<Mapping>) {
        let raw = &mut self.get_mut(slot).raw;
        *raw = raw.with_mapping(mapping);
    }

    /// Changes the entry at `place`; the caller flushes what was cached of it.
    pub(crate) fn set_entry(&mut self, place: EntryPlace, entry: Entry) {
        self.get_mut(place.table).entries[place.index] = entry.0;
    }

    /// Ends a mapping, of which an entry that covers 2^`shift` bytes is a part, if that entry still is
    /// the one that `is_it` knows. Then the address space's root, of which the processor may still hold
    /// what was mapped.
    pub(crate) fn unmap(
        &mut self,
        mapping: Mapping,
        shift: u8,
        is_it: impl FnOnce(Entry) -> bool,
    ) -> Option<PhysAddr> {
        let root = self.asid_root(mapping.asid)?;
        let place = self.find_entry(root, mapping.vaddr, shift).ok()?;
        is_it(self.entry(place)).then(|| {
            self.set_entry(place, Entry::EMPTY);
            root.address()
        })
    }
}
