//! Nodes: processors and memory that belong together, from SRAT, SLIT and MADT; and the persistent
//! memory of the NFIT.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use libd3os::device::{NvdimmRange, PersistenceDomain};
use libd3os::service::platform::{MemoryInfo, MemoryKind, NodeInfo, PersistentRange};
use libd3os::start::layout::PERSISTENT_BYTES;

use crate::acpi::nfit::{Nfit, Range};
use crate::acpi::srat::MemoryRange;
use crate::firmware::Firmware;

/// The nodes by number. A machine that does not tell has one, with the processors that it lists.
#[must_use]
pub fn nodes(firmware: &Firmware) -> Vec<NodeInfo> {
    let mut nodes = BTreeMap::new();
    match firmware.srat.sound() {
        Some(srat) => {
            for &(processor, domain) in &srat.processors {
                node(&mut nodes, domain).0.push(processor);
            }
            for range in &srat.memory {
                node(&mut nodes, range.domain).1.push(memory(range));
            }
        }
        None => {
            let listed = firmware.madt.sound().map(|madt| madt.processors.as_slice());
            let processors = listed.unwrap_or_default().iter().filter(|p| p.enabled);
            node(&mut nodes, 0).0.extend(processors.map(|processor| processor.apic_id));
        }
    }
    let numbers: Vec<u32> = nodes.keys().copied().collect();
    let describe = |(number, (processors, memory))| NodeInfo {
        node: number,
        processors: ranges(processors),
        memory,
        distances: distances(firmware, number, &numbers),
    };
    nodes.into_iter().map(describe).collect()
}

type Parts = (Vec<u32>, Vec<MemoryInfo>);

fn node(nodes: &mut BTreeMap<u32, Parts>, number: u32) -> &mut Parts {
    nodes.entry(number).or_default()
}

fn memory(range: &MemoryRange) -> MemoryInfo {
    let kind = match (range.non_volatile, range.hot_pluggable) {
        (true, _) => MemoryKind::Persistent,
        (false, true) => MemoryKind::Room,
        (false, false) => MemoryKind::Ram,
    };
    MemoryInfo { start: range.start, bytes: range.bytes, kind }
}

/// Numbers as ranges.
fn ranges(mut numbers: Vec<u32>) -> Vec<(u32, u32)> {
    numbers.sort_unstable();
    numbers.dedup();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

fn distances(firmware: &Firmware, from: u32, to: &[u32]) -> Vec<(u32, u8)> {
    let Some(slit) = firmware.slit.sound() else { return Vec::new() };
    to.iter().filter_map(|&to| Some((to, slit.distance(from, to)?))).collect()
}

/// The ranges of persistent memory.
#[must_use]
pub fn persistent(firmware: &Firmware) -> Vec<PersistentRange> {
    let Some(nfit) = firmware.nfit.sound() else { return Vec::new() };
    let describe = |range: &Range| PersistentRange {
        index: range.index,
        start: range.start,
        bytes: range.bytes,
        node: range.domain,
        unarmed: nfit.is_unarmed(range),
        domain: domain(nfit),
    };
    nfit.persistent().map(describe).collect()
}

/// A range as its driver is told of it.
#[must_use]
pub fn for_driver(nfit: &Nfit, range: &Range) -> NvdimmRange {
    let mapping = nfit.mappings.iter().find(|mapping| mapping.range == range.index);
    NvdimmRange {
        index: range.index,
        handle: mapping.map_or(0, |mapping| mapping.handle),
        bytes: range.bytes - range.bytes % PERSISTENT_BYTES,
        node: range.domain,
        unarmed: nfit.is_unarmed(range),
    }
}

/// What is safe when power fails.
#[must_use]
pub fn domain(nfit: &Nfit) -> Option<PersistenceDomain> {
    nfit.capabilities.map(|capabilities| {
        match (capabilities.flushes_caches, capabilities.flushes_controllers) {
            (true, _) => PersistenceDomain::Caches,
            (false, true) => PersistenceDomain::MemoryControllers,
            (false, false) => PersistenceDomain::Medium,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acpi::samples::Machine;
    use proptest::prelude::*;

    fn firmware(machine: &Machine) -> Firmware {
        Firmware::read(&machine.root, &machine.memory()[..])
    }

    #[test]
    fn two_nodes_with_an_nvdimm_are_told_apart() {
        let firmware = firmware(&Machine::q35());
        let nodes = nodes(&firmware);
        let processors: Vec<_> = nodes.iter().map(|n| (n.node, n.processors.clone())).collect();
        assert_eq!(processors, [(0, vec![(0, 1)]), (1, vec![(2, 3)])]);
        let kinds = |node: &NodeInfo| node.memory.iter().map(|m| m.kind).collect::<Vec<_>>();
        assert_eq!(kinds(&nodes[0]), [MemoryKind::Ram, MemoryKind::Ram]);
        let second = [MemoryKind::Ram, MemoryKind::Persistent, MemoryKind::Room];
        assert_eq!(kinds(&nodes[1]), second);
        let distances: Vec<_> = nodes.iter().map(|node| node.distances.clone()).collect();
        assert_eq!((distances[0][0], distances[1][1]), ((0, 10), (1, 10)));
        assert!(distances[0][1].1 > 10);
        let range = PersistentRange {
            index: 2,
            start: 1 << 32,
            bytes: 64 << 20,
            node: Some(1),
            unarmed: false,
            domain: Some(PersistenceDomain::MemoryControllers),
        };
        assert_eq!(persistent(&firmware), [range]);
    }

    #[test]
    fn a_machine_that_does_not_tell_has_one_node() {
        let mut machine = Machine::pc();
        let srat = machine.find(b"SRAT");
        machine.tables[srat + 40] ^= 1;
        let nodes = nodes(&firmware(&machine));
        assert_eq!(nodes.len(), 1);
        assert_eq!((nodes[0].processors.as_slice(), nodes[0].memory.len()), (&[(0, 3)][..], 0));
    }

    proptest! {
        #[test]
        fn ranges_hold_each_number_once(numbers in prop::collection::vec(0u32..40, 0..40)) {
            let ranges = ranges(numbers.clone());
            let listed: Vec<u32> = ranges.iter().flat_map(|&(first, last)| first..=last).collect();
            let mut expected = numbers;
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(listed, expected);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
    }
}
