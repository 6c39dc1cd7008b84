//! Configuration space: by memory (ECAM) where the firmware offers it, else by two I/O ports.

use alloc::vec::Vec;

use libd3os::service::platform::PciAddress;

use crate::acpi::mcfg::{BUS_BYTES, Region};
use crate::memory::DeviceMemory;

/// Bytes of a function's configuration space that both methods reach.
pub const CONVENTIONAL_BYTES: u16 = 256;
/// Bytes of a function's configuration space with ECAM.
pub const EXPRESS_BYTES: u16 = 4096;
/// What the bus answers where there is nothing.
pub const NOTHING: u32 = u32::MAX;

/// Whether four bytes of configuration space can be at this offset.
#[must_use]
pub const fn is_register(offset: u16) -> bool {
    offset < EXPRESS_BYTES && offset.is_multiple_of(4)
}

/// Access to the configuration space of every function.
///
/// Offsets are multiples of four. What nobody answers reads as all ones, and a write to it does
/// nothing: so the hardware has it, and so must every implementation.
pub trait ConfigSpace {
    /// Reads four bytes.
    fn read(&mut self, address: PciAddress, offset: u16) -> u32;

    /// Writes four bytes.
    fn write(&mut self, address: PciAddress, offset: u16, value: u32);

    /// Reads the first four bytes of a function that may not be there, in the way that costs least
    /// if it is not.
    fn probe(&mut self, address: PciAddress) -> u32 {
        self.read(address, 0)
    }
}

impl<S: ConfigSpace + ?Sized> ConfigSpace for &mut S {
    fn read(&mut self, address: PciAddress, offset: u16) -> u32 {
        (**self).read(address, offset)
    }

    fn write(&mut self, address: PciAddress, offset: u16, value: u32) {
        (**self).write(address, offset, value);
    }

    fn probe(&mut self, address: PciAddress) -> u32 {
        (**self).probe(address)
    }
}

/// Configuration space as this machine has it: in memory where it is, else by ports.
#[derive(Debug)]
pub struct Configuration<M, P> {
    ecam: Ecam<M>,
    ports: Option<Ports<P>>,
}

impl<M: DeviceMemory, P: PortPair> Configuration<M, P> {
    /// The regions of memory that the firmware tells of, and the ports, if they can be had.
    pub fn new(ecam: Ecam<M>, ports: Option<P>) -> Self {
        Self { ecam, ports: ports.map(Ports) }
    }

    /// Segments with the buses that can be reached: first and last.
    #[must_use]
    pub fn segments(&self) -> Vec<(u16, u8, u8)> {
        let regions = self.ecam.regions.iter();
        let mut segments: Vec<_> =
            regions.map(|region| (region.segment, region.first_bus, region.last_bus)).collect();
        if self.ports.is_some() && segments.iter().all(|(segment, ..)| *segment != 0) {
            segments.push((0, 0, u8::MAX));
        }
        segments.sort_unstable();
        segments
    }
}

impl<M: DeviceMemory, P: PortPair> ConfigSpace for Configuration<M, P> {
    fn read(&mut self, address: PciAddress, offset: u16) -> u32 {
        match &mut self.ports {
            Some(ports) if !self.ecam.covers(address) => ports.read(address, offset),
            _ => self.ecam.read(address, offset),
        }
    }

    fn write(&mut self, address: PciAddress, offset: u16, value: u32) {
        match &mut self.ports {
            Some(ports) if !self.ecam.covers(address) => ports.write(address, offset, value),
            _ => self.ecam.write(address, offset, value),
        }
    }

    /// Two accesses to ports cost less than mapping a page with nothing in it.
    fn probe(&mut self, address: PciAddress) -> u32 {
        match &mut self.ports {
            Some(ports) if address.segment == 0 => ports.read(address, 0),
            _ => self.ecam.read(address, 0),
        }
    }
}

/// Configuration space in memory (PCI Express Base 5.0, section 7.2.2).
#[derive(Debug)]
pub struct Ecam<M> {
    regions: Vec<Region>,
    memory: M,
}

impl<M: DeviceMemory> Ecam<M> {
    /// Configuration space in these regions of memory.
    pub fn new(regions: Vec<Region>, memory: M) -> Self {
        Self { regions, memory }
    }

    fn covers(&self, address: PciAddress) -> bool {
        self.region(address).is_some()
    }

    fn region(&self, address: PciAddress) -> Option<&Region> {
        self.regions.iter().find(|region| {
            region.segment == address.segment
                && (region.first_bus..=region.last_bus).contains(&address.bus)
        })
    }

    /// Where four bytes are in physical memory.
    fn place(&self, address: PciAddress, offset: u16) -> Option<u64> {
        let region = self.region(address)?;
        let bus = u64::from(address.bus - region.first_bus) * BUS_BYTES;
        let function = u64::from(address.device & 31) << 3 | u64::from(address.function & 7);
        let offset = Some(offset).filter(|offset| *offset < EXPRESS_BYTES)?;
        Some(region.start + (bus | function << 12 | u64::from(offset & !3)))
    }
}

impl<M: DeviceMemory> ConfigSpace for Ecam<M> {
    fn read(&mut self, address: PciAddress, offset: u16) -> u32 {
        let place = self.place(address, offset);
        place.and_then(|at| self.memory.read(at).ok()).unwrap_or(NOTHING)
    }

    fn write(&mut self, address: PciAddress, offset: u16, value: u32) {
        if let Some(at) = self.place(address, offset) {
            // What cannot be reached is as if nobody were there.
            let _ = self.memory.write(at, value);
        }
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
}

/// Writes two bytes, at an even offset, and zeros to the two beside them: for the lower half of the
/// command register, whose upper half is a status that ones clear.
pub fn write16_alone(space: &mut impl ConfigSpace, address: PciAddress, offset: u16, value: u16) {
    let value = u32::from(value) << if offset & 2 == 0 { 0 } else { 16 };
    space.write(address, offset & !3, value);
}

/// Changes two bytes, at an even offset, and writes the two beside them as they are.
pub fn write16(space: &mut impl ConfigSpace, address: PciAddress, offset: u16, value: u16) {
    let shift = if offset & 2 == 0 { 0 } else { 16 };
    let others = space.read(address, offset & !3) & !(0xffff << shift);
    space.write(address, offset & !3, others | u32::from(value) << shift);
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
    use crate::memory::Unreadable;
    use std::collections::BTreeMap;

    #[derive(Debug, Default)]
    struct Memory(BTreeMap<u64, u32>);

    impl DeviceMemory for Memory {
        fn read(&mut self, address: u64) -> Result<u32, Unreadable> {
            Ok(self.0.get(&address).copied().unwrap_or(0))
        }

        fn write(&mut self, address: u64, value: u32) -> Result<(), Unreadable> {
            self.0.insert(address, value);
            Ok(())
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

    fn ecam() -> Ecam<Memory> {
        let region = Region { segment: 1, first_bus: 0x40, last_bus: 0x41, start: 0xc000_0000 };
        Ecam::new(vec![region], Memory::default())
    }

    #[test]
    fn memory_is_laid_out_by_bus_device_and_function() {
        let mut ecam = ecam();
        ecam.write(at(1, 0x41), 0x104, 7);
        let place = 0xc000_0000 + (1 << 20) + (0x1d << 12) + 0x104;
        assert_eq!(ecam.memory.0, BTreeMap::from([(place, 7)]));
        assert_eq!(ecam.read(at(1, 0x41), 0x104), 7);
        for outside in [at(1, 0x42), at(1, 0x3f), at(0, 0x41)] {
            ecam.write(outside, 0, 9);
            assert_eq!(ecam.read(outside, 0), NOTHING);
        }
        ecam.write(at(1, 0x41), EXPRESS_BYTES, 9);
        assert_eq!(ecam.memory.0.len(), 1);
    }

    #[test]
    fn ports_help_out_where_there_is_no_memory() {
        let mut both = Configuration::new(ecam(), Some(Registers::default()));
        assert_eq!(both.segments(), [(0, 0, 255), (1, 0x40, 0x41)]);
        both.write(at(1, 0x40), 0, 1);
        both.write(at(0, 3), 0, 2);
        assert_eq!((both.read(at(1, 0x40), 0), both.read(at(0, 3), 0)), (1, 2));
        assert_eq!((both.probe(at(1, 0x40)), both.probe(at(0, 3))), (1, 2));
        assert_eq!((both.read(at(1, 2), 0), both.probe(at(1, 2))), (NOTHING, NOTHING));
        let alone = Configuration::new(ecam(), None::<Registers>);
        assert_eq!(alone.segments(), [(1, 0x40, 0x41)]);
    }

    #[test]
    fn halves_of_a_word_are_written_alone_or_with_the_other_as_it_is() {
        let mut ports = Ports(Registers::default());
        ports.write(at(0, 0), 4, 0x1111_2222);
        write16(&mut ports, at(0, 0), 6, 0x3333);
        assert_eq!(ports.read(at(0, 0), 4), 0x3333_2222);
        write16(&mut ports, at(0, 0), 4, 0x4444);
        assert_eq!(ports.read(at(0, 0), 4), 0x3333_4444);
        write16_alone(&mut ports, at(0, 0), 4, 0x5555);
        assert_eq!(ports.read(at(0, 0), 4), 0x5555);
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
