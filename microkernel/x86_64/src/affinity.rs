//! Which memory is near which processor: ACPI's SRAT (ACPI 6.5, section 5.2.16).

use crate::acpi::entries;
use crate::bytes::{u8_at, u32_at, u64_at};
use core::ops::Range;
use d3os_abi::MAX_CORES;
use heapless::Vec;

/// Ranges of memory that are kept track of.
const MAX_MEMORIES: usize = 64;
/// Bytes before the first entry.
const HEADER: usize = 48;
const ENABLED: u32 = 1;

/// A group of processors and the memory near them.
pub type Domain = u32;

/// What the table tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    memories: Vec<(Range<u64>, Domain), MAX_MEMORIES>,
    /// By their local APICs.
    processors: Vec<(u32, Domain), MAX_CORES>,
}

impl Affinity {
    /// Reads a table, header included, whose length and checksum are right. Entries that make no
    /// sense, and more of them than there is room for, are left out.
    pub fn read(table: &[u8]) -> Self {
        let mut affinity = Self::default();
        for (kind, entry) in entries(table.get(HEADER..).unwrap_or_default()) {
            affinity.read_entry(kind, entry);
        }
        affinity
    }

    /// The domain of the processor with this local APIC.
    pub fn domain(&self, apic: u32) -> Option<Domain> {
        self.processors.iter().find(|(one, _)| *one == apic).map(|(_, domain)| *domain)
    }

    /// The memory of a domain.
    pub fn memory(&self, domain: Domain) -> impl Iterator<Item = &Range<u64>> {
        self.memories.iter().filter(move |(_, one)| *one == domain).map(|(range, _)| range)
    }

    fn read_entry(&mut self, kind: u8, entry: &[u8]) -> Option<()> {
        let is_enabled = |offset| u32_at(entry, offset).is_some_and(|flags| flags & ENABLED != 0);
        match kind {
            0 if is_enabled(4) => {
                // The domain's lowest byte stands apart from the others.
                let domain = u32_at(entry, 8)? & !0xff | u32::from(u8_at(entry, 2)?);
                self.processors.push((u8_at(entry, 3)?.into(), domain)).ok()
            }
            1 if is_enabled(28) => {
                let (start, length) = (u64_at(entry, 8)?, u64_at(entry, 16)?);
                let range = start..start.saturating_add(length);
                self.memories.push((range, u32_at(entry, 2)?)).ok()
            }
            2 if is_enabled(12) => {
                self.processors.push((u32_at(entry, 8)?, u32_at(entry, 4)?)).ok()
            }
            _ => None,
        }
    }
}

/// Tables for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::Affinity;
    use std::vec::Vec;

    /// What a table with these processors and memories (domain last) reads as.
    pub(crate) fn affinity(processors: &[(u8, u8)], memories: &[(u64, u64, u8)]) -> Affinity {
        Affinity::read(&table(processors, memories))
    }

    pub(crate) fn table(processors: &[(u8, u8)], memories: &[(u64, u64, u8)]) -> Vec<u8> {
        let mut bytes = vec![0; super::HEADER];
        for (apic, domain) in processors {
            bytes.extend([0, 16, *domain, *apic, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        for (start, end, domain) in memories {
            let mut entry = vec![0; 40];
            entry[..3].copy_from_slice(&[1, 40, *domain]);
            entry[8..16].copy_from_slice(&start.to_le_bytes());
            entry[16..24].copy_from_slice(&(end - start).to_le_bytes());
            entry[28] = 1;
            bytes.extend(entry);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn processors_and_memory_meet_in_their_domain() {
        let mut table =
            testing::table(&[(0, 0), (4, 1)], &[(0, 0xa_0000, 0), (0x10_0000, 0x20_0000, 0)]);
        let mut x2apic = vec![2, 24, 0, 0, 1, 0, 0, 0];
        x2apic.extend(300u32.to_le_bytes());
        x2apic.extend([1, 0, 0, 0]);
        x2apic.resize(24, 0);
        table.extend(x2apic);
        // Disabled entries count for nothing.
        table.extend([0, 16, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let affinity = Affinity::read(&table);
        assert_eq!(
            [0, 4, 300, 9].map(|apic| affinity.domain(apic)),
            [Some(0), Some(1), Some(1), None]
        );
        let memory: Vec<_> = affinity.memory(0).cloned().collect();
        assert_eq!(memory, [0..0xa_0000, 0x10_0000..0x20_0000]);
        assert_eq!(affinity.memory(1).count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let affinity = Affinity::read(&bytes);
            for (_, domain) in &affinity.processors {
                let _ = affinity.memory(*domain).count();
            }
        }
    }
}
