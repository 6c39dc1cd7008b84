//! Configuration space: by memory (ECAM) where the firmware offers it, else by two I/O ports.

use alloc::vec::Vec;

use libd3os::service::platform::PciAddress;

use crate::acpi::mcfg::{BUS_BYTES, Region};

/// Bytes of a function's configuration space that both methods reach.
pub const CONVENTIONAL_BYTES: u16 = 256;
/// Bytes of a function's configuration space with ECAM.
pub const EXPRESS_BYTES: u16 = 4096;
/// What the bus answers where there is nothing.
pub const NOTHING: u32 = u32::MAX;

/// Access to the configuration space of every function.
///
/// Offsets are multiples of four. What nobody answers reads as all ones, and a write to it does
/// nothing: so the hardware has it, and so must every implementation.
pub trait ConfigSpace {
    /// Reads four bytes.
    fn read(&mut self, address: PciAddress, offset: u16) -> u32;

    /// Writes four bytes.
    fn write(&mut self, address: PciAddress, offset: u16, value: u32);

    /// How much of a function's space is reached.
    fn bytes(&self, address: PciAddress) -> u16;
}

/// Four bytes at a time of a range of memory.
pub trait Window {
    /// Reads at `offset`, a multiple of four within the range.
    fn read(&self, offset: usize) -> u32;

    /// Writes at `offset`.
    fn write(&mut self, offset: usize, value: u32);
}

/// Configuration space in memory (PCI Express Base 5.0, section 7.2.2).
#[derive(Debug, Default)]
pub struct Ecam<W>(Vec<(Region, W)>);

impl<W: Window> Ecam<W> {
    /// Adds a region that is mapped: `window` has [`Region::bytes`] bytes.
    pub fn add(&mut self, region: Region, window: W) {
        self.0.push((region, window));
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&mut self, address: PciAddress, offset: u16) -> Option<(&mut W, usize)> {
        let covers = |region: &Region| {
            region.segment == address.segment
                && (region.first_bus..=region.last_bus).contains(&address.bus)
        };
        let (region, window) = self.0.iter_mut().find(|(region, _)| covers(region))?;
        let bus = u64::from(address.bus - region.first_bus) * BUS_BYTES;
        let function = u64::from(address.device & 31) << 3 | u64::from(address.function & 7);
        let offset = u64::from(offset).checked_rem(u64::from(EXPRESS_BYTES))?;
        Some((window, usize::try_from(bus | function << 12 | offset).ok()?))
    }
}

impl<W: Window> ConfigSpace for Ecam<W> {
    fn read(&mut self, address: PciAddress, offset: u16) -> u32 {
        self.find(address, offset).map_or(NOTHING, |(window, at)| window.read(at))
    }

    fn write(&mut self, address: PciAddress, offset: u16, value: u32) {
        if let Some((window, at)) = self.find(address, offset) {
            window.write(at, value);
        }
    }

    fn bytes(&self, _: PciAddress) -> u16 {
        EXPRESS_BYTES
    }
}

/// The two ports of the older method.
pub trait PortPair {
    /// Says which register is meant (port 0xcf8).
    fn select(&mut self, register: u32);

    /// Reads it (port 0xcfc).
    fn input(&mut self) -> u32;

    /// Writes it.
    fn output(&mut self, value: u32);
}

/// Configuration space by ports: segment 0, and the first [`CONVENTIONAL_BYTES`] of each function
/// (PCI Local Bus 3.0, section 3.2.2.3.2).
#[derive(Debug)]
pub struct Ports<P>(pub P);

/// Says that the data port means configuration space.
const SELECT: u32 = 1 << 31;

impl<P: PortPair> Ports<P> {
    fn select(&mut self, address: PciAddress, offset: u16) -> bool {
        let reachable = address.segment == 0 && offset < CONVENTIONAL_BYTES;
        if reachable {
            let function = u32::from(address.device & 31) << 3 | u32::from(address.function & 7);
            let register = u32::from(address.bus) << 16 | function << 8 | u32::from(offset & !3);
            self.0.select(SELECT | register);
        }
        reachable
    }
}

impl<P: PortPair> ConfigSpace for Ports<P> {
    fn read(&mut self, address: PciAddress, offset: u16) -> u32 {
        if self.select(address, offset) { self.0.input() } else { NOTHING }
    }

    fn write(&mut self, address: PciAddress, offset: u16, value: u32) {
        if self.select(address, offset) {
            self.0.output(value);
        }
    }

    fn bytes(&self, _: PciAddress) -> u16 {
        CONVENTIONAL_BYTES
    }
}

/// Reads a byte out of the four that hold it.
pub fn read8(space: &mut impl ConfigSpace, address: PciAddress, offset: u16) -> u8 {
    space.read(address, offset & !3).to_le_bytes()[usize::from(offset & 3)]
}

/// Reads two bytes, at an even offset.
pub fn read16(space: &mut impl ConfigSpace, address: PciAddress, offset: u16) -> u16 {
    let [a, b, c, d] = space.read(address, offset & !3).to_le_bytes();
    u16::from_le_bytes(if offset & 2 == 0 { [a, b] } else { [c, d] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Default)]
    struct Memory(BTreeMap<usize, u32>);

    impl Window for Memory {
        fn read(&self, offset: usize) -> u32 {
            self.0.get(&offset).copied().unwrap_or(0)
        }

        fn write(&mut self, offset: usize, value: u32) {
            self.0.insert(offset, value);
        }
    }

    #[derive(Debug, Default)]
    struct Registers {
        selected: u32,
        values: BTreeMap<u32, u32>,
    }

    impl PortPair for Registers {
        fn select(&mut self, register: u32) {
            self.selected = register;
        }

        fn input(&mut self) -> u32 {
            self.values.get(&self.selected).copied().unwrap_or(NOTHING)
        }

        fn output(&mut self, value: u32) {
            self.values.insert(self.selected, value);
        }
    }

    fn at(segment: u16, bus: u8) -> PciAddress {
        PciAddress { segment, bus, device: 3, function: 5 }
    }

    #[test]
    fn memory_is_laid_out_by_bus_device_and_function() {
        let mut ecam = Ecam::default();
        let region = Region { segment: 1, first_bus: 0x40, last_bus: 0x41, start: 0 };
        ecam.add(region, Memory::default());
        ecam.write(at(1, 0x41), 0x104, 7);
        assert_eq!(ecam.0[0].1.0, BTreeMap::from([((1 << 20) + (0x1d << 12) + 0x104, 7)]));
        assert_eq!(ecam.read(at(1, 0x41), 0x104), 7);
        for outside in [at(1, 0x42), at(1, 0x3f), at(0, 0x41)] {
            ecam.write(outside, 0, 9);
            assert_eq!(ecam.read(outside, 0), NOTHING);
        }
        assert_eq!(ecam.0[0].1.0.len(), 1);
    }

    #[test]
    fn ports_select_and_transfer() {
        let mut ports = Ports(Registers::default());
        ports.write(at(0, 2), 0x3c, 11);
        assert_eq!(ports.0.values, BTreeMap::from([(0x8002_1d3c, 11)]));
        assert_eq!(ports.read(at(0, 2), 0x3c), 11);
        ports.write(at(1, 2), 0x3c, 12);
        ports.write(at(0, 2), 0x100, 12);
        assert_eq!(ports.read(at(0, 2), 0x100), NOTHING);
        assert_eq!(ports.0.values.len(), 1);
    }

    #[test]
    fn narrow_reads_take_their_part() {
        let mut ports = Ports(Registers::default());
        ports.write(at(0, 0), 0x10, 0x4433_2211);
        let bytes = [0, 1, 2, 3].map(|byte| read8(&mut ports, at(0, 0), 0x10 + byte));
        assert_eq!(bytes, [0x11, 0x22, 0x33, 0x44]);
        assert_eq!(read16(&mut ports, at(0, 0), 0x10), 0x2211);
        assert_eq!(read16(&mut ports, at(0, 0), 0x12), 0x4433);
    }
}
