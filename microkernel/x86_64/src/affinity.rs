//! Which memory is near which processor: ACPI's SRAT (ACPI 6.5, section 5.2.16).

use crate::bytes::{array_at, u8_at, u32_at, u64_at};
use core::ops::Range;
use d3os_abi::MAX_CORES;

/// Ranges of memory that are kept track of.
const MAX_MEMORIES: usize = 64;
/// Bytes before the first entry.
const HEADER: usize = 48;
const ENABLED: u32 = 1;

/// A group of processors and the memory near them.
pub type Domain = u32;

/// What the table tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    memories: [Option<Memory>; MAX_MEMORIES],
    processors: [Option<Processor>; MAX_CORES],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    start: u64,
    end: u64,
    domain: Domain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Processor {
    apic: u32,
    domain: Domain,
}

impl Default for Affinity {
    fn default() -> Self {
        Self { memories: [None; MAX_MEMORIES], processors: [None; MAX_CORES] }
    }
}

impl Affinity {
    /// Reads a table, header included, whose length and checksum are right. Entries that make no
    /// sense, and more of them than there is room for, are left out.
    #[must_use]
    pub fn read(table: &[u8]) -> Self {
        let mut affinity = Self::default();
        let mut rest = table.get(HEADER..).unwrap_or_default();
        while let [kind, length, ..] = *rest {
            let Some(entry) = rest.get(..usize::from(length.max(2))) else { break };
            affinity.read_entry(kind, entry);
            rest = &rest[entry.len()..];
        }
        affinity
    }

    /// The domain of the processor with this local APIC.
    #[must_use]
    pub fn domain(&self, apic: u32) -> Option<Domain> {
        self.processors.iter().flatten().find(|one| one.apic == apic).map(|one| one.domain)
    }

    /// The memory of a domain.
    pub fn memory(&self, domain: Domain) -> impl Iterator<Item = Range<u64>> + '_ {
        let near = move |memory: &&Memory| memory.domain == domain;
        self.memories.iter().flatten().filter(near).map(|memory| memory.start..memory.end)
    }

    fn read_entry(&mut self, kind: u8, entry: &[u8]) -> Option<()> {
        match kind {
            0 if is_enabled(entry, 4) => {
                let [second, third, fourth] = array_at(entry, 9)?;
                let domain = Domain::from_le_bytes([u8_at(entry, 2)?, second, third, fourth]);
                let apic = u8_at(entry, 3)?.into();
                keep(&mut self.processors, Processor { apic, domain });
            }
            1 if is_enabled(entry, 28) => {
                let (start, length) = (u64_at(entry, 8)?, u64_at(entry, 16)?);
                let (end, domain) = (start.saturating_add(length), u32_at(entry, 2)?);
                keep(&mut self.memories, Memory { start, end, domain });
            }
            2 if is_enabled(entry, 12) => {
                let (apic, domain) = (u32_at(entry, 8)?, u32_at(entry, 4)?);
                keep(&mut self.processors, Processor { apic, domain });
            }
            _ => {}
        }
        Some(())
    }
}

/// Puts `value` into the first free place, if there is one.
fn keep<T>(places: &mut [Option<T>], value: T) {
    if let Some(place) = places.iter_mut().find(|place| place.is_none()) {
        *place = Some(value);
    }
}

fn is_enabled(entry: &[u8], flags: usize) -> bool {
    u32_at(entry, flags).is_some_and(|flags| flags & ENABLED != 0)
}

/// Tables for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::Affinity;

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
        let memory: Vec<_> = affinity.memory(0).collect();
        assert_eq!(memory, [0..0xa_0000, 0x10_0000..0x20_0000]);
        assert_eq!(affinity.memory(1).count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let affinity = Affinity::read(&bytes);
            for processor in affinity.processors.iter().flatten() {
                let _ = affinity.memory(processor.domain).count();
            }
        }
    }
}
