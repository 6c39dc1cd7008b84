//! Tests only: a tree of PCI functions as the specification describes their registers.

use std::collections::BTreeMap;

use libd3os::service::platform::PciAddress;
use proptest::prelude::*;

use super::config::{ConfigSpace, NOTHING};
use super::reset::Method;
use crate::memory::{DeviceMemory, Unreadable};

/// A function's registers, and which of their bits can be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    words: BTreeMap<u16, u32>,
    writable: BTreeMap<u16, u32>,
    pub(crate) behaviour: Behaviour,
}

/// How a function takes being reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Behaviour {
    /// What resets it: the capability's place.
    pub(crate) method: Option<Method>,
    /// Where transactions are reported as pending, which bit, and for how many reads.
    pub(crate) pending: Option<(u16, u32, u32)>,
    /// How many times its identity is not told after a reset.
    pub(crate) slow: u32,
    silent: u32,
    /// Resets so far.
    pub(crate) resets: u32,
}

/// The command register can be written.
const COMMAND: u16 = 4;

impl Node {
    pub(crate) fn with(mut self, offset: u16, value: u32) -> Self {
        self.set(offset, value);
        self
    }

    pub(crate) fn several(self) -> Self {
        let layout = self.read(0x0c);
        self.with(0x0c, layout | 0x80_0000)
    }

    /// A base address register of so many bytes, whose low bits of `value` say what it is.
    pub(crate) fn bar(mut self, index: u16, value: u64, size: u64) -> Self {
        let mask = !(size - 1);
        let low = |value: u64| u32::try_from(value & 0xffff_ffff).expect("masked");
        let kind = if value & 1 != 0 { 0b11 } else { 0b1111 };
        self.writable.insert(0x10 + index * 4, low(mask) & !kind);
        let mut node = self.with(0x10 + index * 4, low(value));
        if value & 0b111 == 0b100 {
            node.writable.insert(0x14 + index * 4, low(mask >> 32));
            node = node.with(0x14 + index * 4, low(value >> 32));
        }
        node
    }

    /// A list of capabilities: each its place, id and further words.
    pub(crate) fn capabilities(mut self, list: &[(u16, u8, &[u32])]) -> Self {
        self = self.with(0x04, 0x0010_0000);
        let mut pointer = 0x34;
        let mut shift = 0;
        for &(at, id, words) in list {
            let before = self.read(pointer);
            self = self.with(pointer, before | u32::from(at) << shift);
            (pointer, shift) = (at, 8);
            let first = words.first().copied().unwrap_or(0);
            self = self.with(at, first & 0xffff_0000 | u32::from(id));
            for (number, &word) in (1..).zip(words.iter().skip(1)) {
                self = self.with(at + 4 * number, word);
            }
        }
        self
    }

    fn read(&self, offset: u16) -> u32 {
        self.words.get(&offset).copied().unwrap_or(0)
    }

    /// Zeros are not kept, so that equal functions compare equal.
    fn set(&mut self, offset: u16, value: u32) {
        match value {
            0 => self.words.remove(&offset),
            value => self.words.insert(offset, value),
        };
    }

    /// Lets these bits be written; a reset clears them.
    pub(crate) fn writable(mut self, offset: u16, bits: u32) -> Self {
        *self.writable.entry(offset).or_default() |= bits;
        self
    }

    /// Lets it be reset like this.
    pub(crate) fn reset_by(mut self, method: Method) -> Self {
        self.behaviour.method = Some(method);
        let (offset, bits) = match method {
            Method::Express(at) => (at + 8, 0xffff),
            Method::Advanced(at) => (at + 4, 0),
            Method::Power(at) => (at + 4, 0b11),
            Method::None => return self,
        };
        self.writable(offset, bits)
    }

    fn look(&mut self, offset: u16) -> u32 {
        if offset == 0 && self.behaviour.silent > 0 {
            self.behaviour.silent -= 1;
            return if self.behaviour.silent.is_multiple_of(2) { NOTHING } else { 0xffff_0001 };
        }
        let value = self.read(offset);
        match &mut self.behaviour.pending {
            Some((at, bit, count)) if *at == offset && *count > 0 => {
                *count -= 1;
                value | 1 << *bit
            }
            _ => value,
        }
    }

    fn reset(&mut self) {
        let written: Vec<_> = self.writable.iter().map(|(at, bits)| (*at, *bits)).collect();
        for (offset, bits) in written {
            self.set(offset, self.read(offset) & !bits);
        }
        self.set(COMMAND, self.read(COMMAND) & !0xffff);
        self.behaviour.silent = self.behaviour.slow;
        self.behaviour.resets += 1;
    }

    fn write(&mut self, offset: u16, value: u32) {
        let before = self.read(offset);
        self.store(offset, value);
        let resets = match self.behaviour.method {
            Some(Method::Express(at)) => offset == at + 8 && value & 1 << 15 != 0,
            Some(Method::Advanced(at)) => offset == at + 4 && value & 1 != 0,
            Some(Method::Power(at)) => offset == at + 4 && before & 3 == 3 && value & 3 == 0,
            _ => false,
        };
        if resets {
            self.reset();
        }
    }

    fn store(&mut self, offset: u16, value: u32) {
        let writable = self.writable.get(&offset).copied().unwrap_or(0);
        let writable = writable | if offset == COMMAND { 0xffff } else { 0 };
        self.set(offset, self.read(offset) & !writable | value & writable);
    }

    fn buses(&self) -> Option<(u8, u8)> {
        let [.., layout, _] = self.read(0x0c).to_le_bytes();
        let [_, secondary, subordinate, _] = self.read(0x18).to_le_bytes();
        (layout & 0x7f == 1).then_some((secondary, subordinate))
    }
}

pub(crate) fn device(vendor: u16, device: u16) -> Node {
    Node::default().with(0, u32::from(device) << 16 | u32::from(vendor))
}

pub(crate) fn bridge(secondary: u8, subordinate: u8) -> Node {
    device(0x1b36, 0x000c)
        .with(0x08, 0x0604_0000)
        .with(0x0c, 0x0001_0000)
        .with(0x18, u32::from(subordinate) << 16 | u32::from(secondary) << 8)
}

/// Buses with functions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) nodes: BTreeMap<PciAddress, Node>,
    /// Writes so far, those that nobody answered included.
    pub(crate) writes: usize,
    /// The same by function.
    written: BTreeMap<PciAddress, usize>,
}

impl Model {
    pub(crate) fn put(&mut self, bus: u8, device: u8, function: u8, node: Node) {
        self.nodes.insert(PciAddress { segment: 0, bus, device, function }, node);
    }

    pub(crate) fn writes_to(&self, address: PciAddress) -> usize {
        self.written.get(&address).copied().unwrap_or(0)
    }

    /// Adds functions at these places, each on one of the buses that there are by then; those
    /// with the flag are bridges. Buses are numbered as firmware does it, depth first, in the end.
    pub(crate) fn grow(&mut self, places: &[(prop::sample::Index, u8, u8, bool)]) {
        // Per bus: its functions, each with the bus behind it.
        let mut buses: Vec<BTreeMap<(u8, u8), Option<usize>>> = vec![BTreeMap::new()];
        for (bus, device, function, is_bridge) in places {
            let bus = bus.index(buses.len());
            let behind = (*is_bridge && buses.len() < 40).then_some(buses.len());
            if buses[bus].contains_key(&(*device, *function)) {
                continue;
            }
            // Without function 0 nobody would look at the others.
            buses[bus].entry((*device, 0)).or_insert(None);
            buses[bus].insert((*device, *function), behind);
            if behind.is_some() {
                buses.push(BTreeMap::new());
            }
        }
        self.number(&buses, 0, 0);
    }

    /// Puts the functions of a bus; the last number that was used behind it.
    fn number(
        &mut self,
        buses: &[BTreeMap<(u8, u8), Option<usize>>],
        bus: usize,
        number: u8,
    ) -> u8 {
        let mut last = number;
        for (&(slot, function), behind) in &buses[bus] {
            let node = match behind {
                Some(behind) => {
                    let secondary = last + 1;
                    last = self.number(buses, *behind, secondary);
                    bridge(secondary, last)
                }
                None => device(0x8086, 0x100),
            };
            let node =
                if function == 0 && has_more(&buses[bus], slot) { node.several() } else { node };
            self.put(number, slot, function, node);
        }
        last
    }

    /// The functions that the specification lets software find, by the model's own links.
    pub(crate) fn reachable(&self) -> Vec<PciAddress> {
        let mut found = Vec::new();
        let mut buses = vec![0];
        while let Some(bus) = buses.pop() {
            let on_bus = self.nodes.iter().filter(|(address, _)| address.bus == bus);
            for (address, node) in on_bus {
                found.push(*address);
                buses.extend(node.buses().map(|(secondary, _)| secondary));
            }
        }
        found
    }
}

fn has_more(bus: &BTreeMap<(u8, u8), Option<usize>>, slot: u8) -> bool {
    bus.keys().any(|&(other, function)| other == slot && function != 0)
}

impl ConfigSpace for Model {
    fn read(&mut self, address: PciAddress, offset: u16) -> u32 {
        self.nodes.get_mut(&address).map_or(NOTHING, |node| node.look(offset))
    }

    fn write(&mut self, address: PciAddress, offset: u16, value: u32) {
        self.writes += 1;
        *self.written.entry(address).or_default() += 1;
        if let Some(node) = self.nodes.get_mut(&address) {
            node.write(offset, value);
        }
    }
}

/// The memory behind the functions' base address registers: below 4 GiB.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(pub(crate) BTreeMap<u64, u32>);

impl DeviceMemory for Memory {
    fn read(&mut self, address: u64) -> Result<u32, Unreadable> {
        self.check(address).map(|()| self.0.get(&address).copied().unwrap_or(0))
    }

    fn write(&mut self, address: u64, value: u32) -> Result<(), Unreadable> {
        self.check(address)?;
        self.0.insert(address, value);
        Ok(())
    }
}

impl Memory {
    fn check(&self, address: u64) -> Result<(), Unreadable> {
        if address < 1 << 32 { Ok(()) } else { Err(Unreadable) }
    }
}

/// A bus on which the same function answers at every address.
pub(crate) struct Everywhere(pub(crate) Node);

impl ConfigSpace for Everywhere {
    fn read(&mut self, _: PciAddress, offset: u16) -> u32 {
        self.0.read(offset)
    }

    fn write(&mut self, _: PciAddress, offset: u16, value: u32) {
        self.0.write(offset, value);
    }
}

/// A function with anything in its registers, lists that are circles among it.
pub(crate) fn any_node() -> impl Strategy<Value = Node> {
    let interesting = prop_oneof![
        any::<u32>(),
        Just(u32::MAX),
        Just(0x0010_0000),
        (0u32..8).prop_map(|bus| bus << 16 | bus << 8),
        any::<u8>().prop_map(|at| u32::from(at & 0xfc) << 8 | 0x11),
        Just(0x0001_0000),
    ];
    let words =
        prop::collection::btree_map((0u16..64).prop_map(|word| word * 4), interesting, 0..40);
    let writable =
        prop::collection::btree_map((4u16..10).prop_map(|word| word * 4), any::<u32>(), 0..6);
    (words, writable).prop_map(|(mut words, writable)| {
        words.retain(|_, value| *value != 0);
        Node { words, writable, ..Node::default() }
    })
}
