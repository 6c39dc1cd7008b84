//! NFIT: persistent memory (ACPI 6.5, section 5.2.25).

use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::record::{Prefix, Record, records};
use super::table::{self, HEADER_BYTES, TableError};

/// Persistent memory and what stands behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nfit {
    /// Ranges of memory.
    pub ranges: Vec<Range>,
    /// Which module backs which range.
    pub mappings: Vec<Mapping>,
    /// Addresses to write so that a module's queued stores are safe.
    pub flush_hints: u32,
    /// What the platform does when power fails; `None` where it does not say.
    pub capabilities: Option<Capabilities>,
}

/// A range of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Its number in this table.
    pub index: u16,
    /// What it is.
    pub kind: RangeKind,
    /// Its proximity domain, where told.
    pub domain: Option<u32>,
    /// First address.
    pub start: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeKind {
    /// Persistent memory.
    Persistent,
    /// Registers, or memory of another kind.
    Other,
}

/// A module's part of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Number of the range.
    pub range: u16,
    /// The module's handle.
    pub handle: u32,
    /// Why its contents may be lost, as bits.
    pub flags: u16,
}

impl Mapping {
    /// The module has failed to save, restore or flush, or is not armed: what is written now may
    /// not outlive a loss of power (bits 0 to 3).
    #[must_use]
    pub const fn is_unarmed(&self) -> bool {
        self.flags & 0xf != 0
    }
}

/// What the platform does when power fails (section 5.2.25.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// It flushes the processors' caches.
    pub flushes_caches: bool,
    /// It flushes what the memory controllers hold.
    pub flushes_controllers: bool,
    /// It mirrors memory.
    pub mirrors: bool,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RangeRecord {
    prefix: [U16; 2],
    index: U16,
    flags: U16,
    reserved: U32,
    domain: U32,
    kind: [u8; 16],
    start: U64,
    bytes: U64,
    attributes: U64,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MappingRecord {
    prefix: [U16; 2],
    handle: U32,
    module: U16,
    region: U16,
    range: U16,
    control: U16,
    bytes: U64,
    offset: U64,
    module_offset: U64,
    interleave: U16,
    ways: U16,
    flags: U16,
    reserved: U16,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FlushRecord {
    prefix: [U16; 2],
    handle: U32,
    hints: U16,
    reserved: [u8; 6],
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct CapabilitiesRecord {
    prefix: [U16; 2],
    highest: u8,
    reserved: [u8; 3],
    bits: U32,
}

/// 66f0d379-b4f3-4074-ac43-0d3318b78cdb: byte-addressable persistent memory.
const PERSISTENT: [u8; 16] = [
    0x79, 0xd3, 0xf0, 0x66, 0xf3, 0xb4, 0x74, 0x40, 0xac, 0x43, 0x0d, 0x33, 0x18, 0xb7, 0x8c, 0xdb,
];
/// The range's domain is told.
const DOMAIN_VALID: u16 = 2;

impl Nfit {
    /// Which table this is.
    pub const SIGNATURE: [u8; 4] = *b"NFIT";

    /// Reads it.
    ///
    /// # Errors
    /// [`TableError`]; also where two persistent ranges overlap, for then nobody knows whose bytes
    /// are whose.
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let (_, list) = table::body::<[u8; 4]>(bytes, &Self::SIGNATURE)?;
        let mut nfit = Self::default();
        for record in records(list, HEADER_BYTES + 4, Prefix::Words) {
            nfit.add(record?)?;
        }
        Ok(nfit)
    }

    /// Ranges of persistent memory.
    pub fn persistent(&self) -> impl Iterator<Item = &Range> {
        self.ranges.iter().filter(|range| range.kind == RangeKind::Persistent)
    }

    /// Whether a module behind a range would not save its contents.
    #[must_use]
    pub fn is_unarmed(&self, range: &Range) -> bool {
        self.mappings.iter().any(|mapping| mapping.range == range.index && mapping.is_unarmed())
    }

    fn add(&mut self, record: Record<'_>) -> Result<(), TableError> {
        match record.kind {
            0 => self.add_range(&record)?,
            1 => {
                let MappingRecord { range, handle, flags, .. } = record.read()?;
                let (range, handle, flags) = (range.get(), handle.get(), flags.get());
                self.mappings.push(Mapping { range, handle, flags });
            }
            6 => self.flush_hints += u32::from(record.read::<FlushRecord>()?.hints.get()),
            7 => self.capabilities = Some(capabilities(record.read()?)),
            // Interleaving, SMBIOS numbers, control regions: for managing modules.
            _ => {}
        }
        Ok(())
    }

    fn add_range(&mut self, record: &Record<'_>) -> Result<(), TableError> {
        let RangeRecord { index, flags, domain, kind, start, bytes, .. } = record.read()?;
        let (start, bytes) = (start.get(), bytes.get());
        let is_persistent = *kind == PERSISTENT;
        let end = start.checked_add(bytes).ok_or(record.nonsense())?;
        let overlaps = |other: &Range| start < other.start + other.bytes && other.start < end;
        let is_wrong = bytes == 0 || index.get() == 0 || self.persistent().any(overlaps);
        if is_persistent && is_wrong {
            return Err(record.nonsense());
        }
        self.ranges.push(Range {
            index: index.get(),
            kind: if is_persistent { RangeKind::Persistent } else { RangeKind::Other },
            domain: (flags.get() & DOMAIN_VALID != 0).then_some(domain.get()),
            start,
            bytes,
        });
        Ok(())
    }
}

/// Bits above the highest valid one mean nothing.
fn capabilities(record: &CapabilitiesRecord) -> Capabilities {
    let valid = 2u64 << (record.highest & 0x1f);
    let bits = u64::from(record.bits.get()) & (valid - 1);
    Capabilities {
        flushes_caches: bits & 1 != 0,
        flushes_controllers: bits & 2 != 0,
        mirrors: bits & 4 != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Machine, mutated};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_real_one_is_read() {
        let nfit = Nfit::parse(&Machine::q35().table(b"NFIT")).expect("sound");
        let range = Range {
            index: 2,
            kind: RangeKind::Persistent,
            domain: Some(1),
            start: 1 << 32,
            bytes: 64 << 20,
        };
        assert_eq!(nfit.ranges, [range]);
        assert_eq!(nfit.mappings, [Mapping { range: 2, handle: 1, flags: 0 }]);
        let controllers =
            Capabilities { flushes_caches: false, flushes_controllers: true, mirrors: false };
        assert_eq!((nfit.capabilities, nfit.flush_hints), (Some(controllers), 0));
        assert!(!nfit.is_unarmed(&range));
    }

    #[test]
    fn an_unarmed_module_is_known() {
        let mut table = Machine::q35().table(b"NFIT");
        // The mapping is the second structure; its flags are four bytes before its end.
        table[40 + 56 + 44] = 8;
        let nfit = Nfit::parse(&table).expect("nobody checks the sum here");
        assert!(nfit.is_unarmed(&nfit.ranges[0]));
    }

    #[test]
    fn capabilities_above_the_highest_valid_one_mean_nothing() {
        let mut table = Machine::q35().table(b"NFIT");
        let at = table.len() - 12;
        (table[at], table[at + 4]) = (0, 7);
        let found = Nfit::parse(&table).expect("sound").capabilities.expect("there");
        assert!(found.flushes_caches && !found.flushes_controllers && !found.mirrors);
    }

    #[test]
    fn ranges_that_overlap_are_refused() {
        let mut table = Machine::q35().table(b"NFIT");
        let range = table[40..96].to_vec();
        table.extend(range);
        assert_eq!(Nfit::parse(&table), Err(TableError::Value(240)));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(table in mutated(Machine::q35().table(b"NFIT"))) {
            let nfit = Nfit::parse(&table).unwrap_or_default();
            for range in nfit.persistent() {
                prop_assert!(range.bytes > 0 && range.start.checked_add(range.bytes).is_some());
                let _ = nfit.is_unarmed(range);
            }
        }
    }
}
