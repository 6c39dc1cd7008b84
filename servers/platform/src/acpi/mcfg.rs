//! MCFG: where PCI Express configuration space is in memory (PCI Firmware 3.3, section 4.1.2).

use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::table::{self, HEADER_BYTES, TableError};

/// Bytes of one bus's configuration space: 32 devices, 8 functions, 4 KiB each.
pub const BUS_BYTES: u64 = 1 << 20;

/// Where the configuration spaces are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mcfg {
    /// One for each part of a segment.
    pub regions: Vec<Region>,
}

/// The configuration spaces of some buses of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Segment.
    pub segment: u16,
    /// First bus.
    pub first_bus: u8,
    /// Last bus.
    pub last_bus: u8,
    /// Address of what belongs to `first_bus`.
    pub start: u64,
}

impl Region {
    /// Bytes of it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (u64::from(self.last_bus) - u64::from(self.first_bus) + 1) * BUS_BYTES
    }

    fn overlaps(&self, other: &Self) -> bool {
        let same_buses = self.segment == other.segment
            && self.first_bus <= other.last_bus
            && other.first_bus <= self.last_bus;
        let same_memory =
            self.start < other.start + other.bytes() && other.start < self.start + self.bytes();
        same_buses || same_memory
    }
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    /// Address of bus 0, whether or not it is among these.
    base: U64,
    segment: U16,
    first_bus: u8,
    last_bus: u8,
    reserved: [u8; 4],
}

impl Mcfg {
    /// Which table this is.
    pub const SIGNATURE: [u8; 4] = *b"MCFG";

    /// Reads it.
    ///
    /// # Errors
    /// [`TableError`]; also where two entries claim the same buses or the same memory.
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let (_, list) = table::body::<[u8; 8]>(bytes, &Self::SIGNATURE)?;
        let mut mcfg = Self::default();
        for (number, entry) in list.chunks(size_of::<Entry>()).enumerate() {
            let at = HEADER_BYTES + 8 + number * size_of::<Entry>();
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            let entry = Entry::ref_from_bytes(entry).map_err(|_| TableError::Record(at))?;
            let region = region(entry).ok_or(TableError::Value(at))?;
            if mcfg.regions.iter().any(|other| other.overlaps(&region)) {
                return Err(TableError::Value(at));
            }
            mcfg.regions.push(region);
        }
        Ok(mcfg)
    }
}

fn region(entry: &Entry) -> Option<Region> {
    let Entry { segment, first_bus, last_bus, .. } = *entry;
    let base = entry.base.get();
    let sound = first_bus <= last_bus && base.is_multiple_of(BUS_BYTES) && base != 0;
    let start = base.checked_add(u64::from(first_bus) * BUS_BYTES).filter(|_| sound)?;
    let region = Region { segment: segment.get(), first_bus, last_bus, start };
    start.checked_add(region.bytes()).map(|_| region)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Machine, mutated, sealed};
    use super::*;
    use proptest::prelude::*;

    fn entry(base: u64, segment: u16, first: u8, last: u8) -> Vec<u8> {
        let mut bytes = base.to_le_bytes().to_vec();
        bytes.extend(segment.to_le_bytes());
        bytes.extend([first, last, 0, 0, 0, 0]);
        bytes
    }

    fn parse(entries: &[Vec<u8>]) -> Result<Mcfg, TableError> {
        Mcfg::parse(&sealed(b"MCFG", &[vec![0; 8], entries.concat()].concat()))
    }

    #[test]
    fn a_real_one_is_read() {
        let mcfg = Mcfg::parse(&Machine::q35().table(b"MCFG")).expect("sound");
        let all = Region { segment: 0, first_bus: 0, last_bus: 255, start: 0xb000_0000 };
        assert_eq!((mcfg.regions, all.bytes()), (vec![all], 256 << 20));
    }

    #[test]
    fn addresses_count_from_bus_zero() {
        let mcfg = parse(&[entry(0xc000_0000, 1, 0x40, 0x7f)]).expect("sound");
        let region = Region { segment: 1, first_bus: 0x40, last_bus: 0x7f, start: 0xc400_0000 };
        assert_eq!(mcfg.regions, [region]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let sound = entry(0xb000_0000, 0, 0, 0xff);
        for bad in [
            entry(0xe000_0000, 1, 9, 8),
            entry(0xe000_1000, 1, 0, 1),
            entry(0, 1, 0, 1),
            entry(u64::MAX << 20, 1, 0, 1),
            entry(0xe000_0000, 0, 0xff, 0xff),
            entry(0xb000_0000, 1, 0x80, 0x80),
        ] {
            assert_eq!(parse(&[sound.clone(), bad.clone()]), Err(TableError::Value(60)), "{bad:?}");
        }
        assert_eq!(parse(&[sound, vec![0; 3]]), Err(TableError::Record(60)));
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(table in mutated(Machine::q35().table(b"MCFG"))) {
            for region in Mcfg::parse(&table).unwrap_or_default().regions {
                prop_assert!(region.start.checked_add(region.bytes()).is_some());
            }
        }
    }
}
