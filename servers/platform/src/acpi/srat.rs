//! SRAT: which processors and which memory belong together (ACPI 6.5, section 5.2.16).

use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::record::{Prefix, Record, records};
use super::table::{self, HEADER_BYTES, TableError};

/// What belongs to which proximity domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Srat {
    /// Local APIC ids of processors, and their domains.
    pub processors: Vec<(u32, u32)>,
    /// Ranges of memory.
    pub memory: Vec<MemoryRange>,
}

/// A range of memory of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// The domain.
    pub domain: u32,
    /// First address.
    pub start: u64,
    /// Bytes.
    pub bytes: u64,
    /// Whether memory may be plugged in here.
    pub hot_pluggable: bool,
    /// Whether it keeps its contents without power.
    pub non_volatile: bool,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ProcessorRecord {
    prefix: [u8; 2],
    domain_low: u8,
    apic_id: u8,
    flags: U32,
    sapic: u8,
    domain_high: [u8; 3],
    clock: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct X2ApicRecord {
    prefix: [u8; 2],
    reserved: [u8; 2],
    domain: U32,
    apic_id: U32,
    flags: U32,
    clock: U32,
    reserved_end: [u8; 4],
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MemoryRecord {
    prefix: [u8; 2],
    domain: U32,
    reserved: U16,
    start: U64,
    bytes: U64,
    reserved_middle: U32,
    flags: U32,
    reserved_end: U64,
}

const ENABLED: u32 = 1;
const HOT_PLUGGABLE: u32 = 2;
const NON_VOLATILE: u32 = 4;

impl Srat {
    /// Which table this is.
    pub const SIGNATURE: [u8; 4] = *b"SRAT";

    /// Reads it.
    ///
    /// # Errors
    /// [`TableError`]; also where two domains claim the same memory.
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let (_, list) = table::body::<[u8; 12]>(bytes, &Self::SIGNATURE)?;
        let mut srat = Self::default();
        for record in records(list, HEADER_BYTES + 12, Prefix::Bytes) {
            srat.add(record?)?;
        }
        Ok(srat)
    }

    /// The domain of a processor.
    #[must_use]
    pub fn domain_of(&self, apic_id: u32) -> Option<u32> {
        self.processors.iter().find(|(id, _)| *id == apic_id).map(|(_, domain)| *domain)
    }

    fn add(&mut self, record: Record<'_>) -> Result<(), TableError> {
        match record.kind {
            0 => {
                let entry: &ProcessorRecord = record.read()?;
                if entry.flags.get() & ENABLED != 0 {
                    let [b, c, d] = entry.domain_high;
                    let domain = u32::from_le_bytes([entry.domain_low, b, c, d]);
                    self.processors.push((u32::from(entry.apic_id), domain));
                }
            }
            1 => self.add_memory(&record)?,
            2 => {
                let X2ApicRecord { domain, apic_id, flags, .. } = record.read()?;
                if flags.get() & ENABLED != 0 {
                    self.processors.push((apic_id.get(), domain.get()));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add_memory(&mut self, record: &Record<'_>) -> Result<(), TableError> {
        let MemoryRecord { domain, start, bytes, flags, .. } = record.read()?;
        let (start, bytes, flags) = (start.get(), bytes.get(), flags.get());
        if flags & ENABLED == 0 || bytes == 0 {
            return Ok(());
        }
        let end = start.checked_add(bytes).ok_or(record.nonsense())?;
        let taken = |other: &MemoryRange| start < other.start + other.bytes && other.start < end;
        // Within a domain they do overlap: memory that is plugged in lies in the room for it.
        if self.memory.iter().any(|other| taken(other) && other.domain != domain.get()) {
            return Err(record.nonsense());
        }
        self.memory.push(MemoryRange {
            domain: domain.get(),
            start,
            bytes,
            hot_pluggable: flags & HOT_PLUGGABLE != 0,
            non_volatile: flags & NON_VOLATILE != 0,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Machine, mutated, sealed};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_real_one_is_read() {
        let srat = Srat::parse(&Machine::q35().table(b"SRAT")).expect("sound");
        assert_eq!(srat.processors, [(0, 0), (1, 0), (2, 1), (3, 1)]);
        let range = |domain, start, bytes| MemoryRange {
            domain,
            start,
            bytes,
            hot_pluggable: false,
            non_volatile: false,
        };
        let nvdimm = MemoryRange { non_volatile: true, ..range(1, 1 << 32, 64 << 20) };
        assert_eq!(
            srat.memory,
            [
                range(0, 0, 640 << 10),
                range(0, 1 << 20, 255 << 20),
                range(1, 256 << 20, 256 << 20),
                nvdimm,
                MemoryRange { hot_pluggable: true, ..range(1, 1 << 32, 0x1_6000_0000) },
            ]
        );
    }

    fn memory(domain: u8, start: u8, bytes: u8, flags: u8) -> Vec<u8> {
        let mut record = vec![1, 40, domain, 0, 0, 0, 0, 0];
        record.extend([0, 0, start, 0, 0, 0, 0, 0]);
        record.extend([0, 0, bytes, 0, 0, 0, 0, 0]);
        record.extend([0, 0, 0, 0, flags, 0, 0, 0]);
        record.resize(40, 0);
        record
    }

    fn parse(records: &[Vec<u8>]) -> Result<Srat, TableError> {
        Srat::parse(&sealed(b"SRAT", &[vec![0; 12], records.concat()].concat()))
    }

    #[test]
    fn disabled_entries_do_not_exist_and_overlaps_are_refused() {
        let off = parse(&[memory(0, 0, 4, 0), memory(0, 0, 0, 1)]).expect("sound");
        assert!(off.memory.is_empty());
        let both = [memory(0, 0, 4, 1), memory(1, 3, 4, 1)];
        assert_eq!(parse(&both), Err(TableError::Value(88)));
        let beside = [memory(0, 0, 4, 1), memory(1, 4, 4, 1)];
        assert_eq!(parse(&beside).map(|srat| srat.memory.len()), Ok(2));
    }

    #[test]
    fn large_ids_have_records_of_their_own() {
        let mut record = vec![2, 24, 0, 0, 3, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0];
        record.resize(24, 0);
        let srat = parse(&[record]).expect("sound");
        assert_eq!((srat.domain_of(256), srat.domain_of(0)), (Some(3), None));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(table in mutated(Machine::q35().table(b"SRAT"))) {
            for range in Srat::parse(&table).unwrap_or_default().memory {
                prop_assert!(range.start.checked_add(range.bytes).is_some());
            }
        }
    }
}
