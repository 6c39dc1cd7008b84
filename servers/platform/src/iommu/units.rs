//! All units of the machine: which of them a device belongs to, and what it gets there.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use libd3os::service::platform::{IommuUnit, PciAddress};

use super::dmar::{Dmar, Scope, ScopeKind, UnitRecord};
use super::faults::Fault;
use super::registers::Registers;
use super::remapping::{Message, Target};
use super::tables::{Range, TableMemory};
use super::unit::{Attachment, Setup, Unit, UnitError, Usage};
use crate::pci::{Function, Kind};

/// A device that a driver has, and what it is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Which device.
    pub address: PciAddress,
    /// What it reaches: its driver's memory for that.
    pub ranges: Vec<Range>,
    /// A number that is this device's alone and the same after a restart, and the message by which
    /// it would interrupt.
    pub interrupt: Option<(u16, Message)>,
}

/// What keeps a device from other memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// A unit does; the device has to interrupt by this message, if it is another one.
    Translated(Option<Message>),
    /// Nothing: its driver is trusted.
    Trusted,
}

/// The units, and the memory for their tables.
#[derive(Debug)]
pub struct Iommu<R, M> {
    members: Vec<Member<R>>,
    memory: M,
    bridges: Vec<Function>,
}

/// A unit with what is known of it.
#[derive(Debug)]
struct Member<R> {
    record: UnitRecord,
    unit: Result<Unit<R>, UnitError>,
    faults: u64,
    lost: u64,
}

/// What is told of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where its registers are.
    pub registers: u64,
    /// Its tables, or why it is not used.
    pub state: Result<State, UnitError>,
    /// Accesses that it refused.
    pub faults: u64,
    /// How often it refused some of which nothing is known.
    pub lost: u64,
}

/// What a unit does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Bits of the addresses that it translates.
    pub address_bits: u8,
    /// Whether it remaps interrupts.
    pub remaps_interrupts: bool,
    /// What its tables hold.
    pub usage: Usage,
    /// Who has a translation, and of how many pages.
    pub devices: Vec<(PciAddress, usize)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the IOMMU at {:#x} ", self.registers)?;
        match &self.state {
            Ok(State { address_bits, remaps_interrupts, .. }) => {
                write!(f, "translates devices' addresses of {address_bits} bits")?;
                f.write_str(if *remaps_interrupts { " and their interrupts" } else { "" })
            }
            Err(error) => {
                write!(f, "cannot be used ({error}): drivers of its devices are trusted with DMA")
            }
        }
    }
}

impl From<Report> for IommuUnit {
    fn from(report: Report) -> Self {
        let Report { registers, state, faults, lost } = report;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let unit = Self { registers, faults, lost, ..Self::default() };
        match state {
            Ok(State { address_bits, remaps_interrupts, usage, devices }) => Self {
                address_bits,
                remaps_interrupts,
                table_pages: number(usage.table_pages),
                interrupts: number(usage.interrupts),
                devices: devices
                    .into_iter()
                    .map(|(device, pages)| (device, number(pages)))
                    .collect(),
                ..unit
            },
            Err(error) => Self { problem: Some(error.to_string()), ..unit },
        }
    }
}

impl<R: Registers, M: TableMemory> Iommu<R, M> {
    /// Takes over all units. `open` gives access to the registers at an address; `held` is what
    /// drivers have already, at a restart. A unit that cannot be used costs its own devices only.
    pub fn start(
        dmar: &Dmar,
        functions: &[Function],
        held: &[Device],
        mut open: impl FnMut(u64) -> Option<R>,
        mut memory: M,
    ) -> Self {
        let bridges: Vec<Function> = functions.iter().filter(is_bridge).cloned().collect();
        let pages = memory.pages() / dmar.units.len().max(1);
        let mut members = Vec::new();
        for (number, record) in dmar.units.iter().enumerate() {
            let is_own =
                |device: &PciAddress| owner(&dmar.units, &bridges, *device) == Some(number);
            let reserved = reserved(dmar, functions, &bridges, is_own);
            let held = held.iter().filter(|device| is_own(&device.address));
            let held: Vec<Attachment> = held.filter_map(|device| device.attachment()).collect();
            let interrupts = dmar.interrupt_remapping;
            let first_page = number * pages;
            let setup = Setup { first_page, pages, interrupts, reserved: &reserved, held: &held };
            let registers = open(record.registers).ok_or(UnitError::Unknown);
            let unit = registers.and_then(|unit| Unit::take_over(unit, setup, &mut memory));
            members.push(Member { record: record.clone(), unit, faults: 0, lost: 0 });
        }
        Self { members, memory, bridges }
    }

    /// Lets a device reach what its driver's memory for that is. It must not be at work yet.
    ///
    /// # Errors
    /// [`UnitError`]: the device reaches nothing.
    pub fn attach(&mut self, device: &Device) -> Result<Protection, UnitError> {
        let attachment = device.attachment().ok_or(UnitError::Message)?;
        match self.find(device.address) {
            Some((unit, memory)) => unit.attach(&attachment, memory).map(Protection::Translated),
            None => Ok(Protection::Trusted),
        }
    }

    /// Takes it all away. The device has been reset.
    ///
    /// # Errors
    /// [`UnitError::Unresponsive`]: nobody may get the device.
    pub fn detach(&mut self, device: PciAddress) -> Result<(), UnitError> {
        self.find(device).map_or(Ok(()), |(unit, memory)| unit.detach(source(device), memory))
    }

    /// Fetches what devices were kept from since the last time.
    pub fn faults(&mut self) -> Vec<Fault> {
        let mut all = Vec::new();
        for member in &mut self.members {
            let Ok(unit) = &mut member.unit else { continue };
            let found = unit.faults(member.record.segment);
            member.faults += found.faults.len() as u64;
            member.lost += u64::from(found.lost);
            all.extend(found.faults);
        }
        all
    }

    /// How the units are.
    pub fn report(&self) -> impl Iterator<Item = Report> {
        self.members.iter().map(|member| Report {
            registers: member.record.registers,
            state: member
                .unit
                .as_ref()
                .map(|unit| state(unit, member.record.segment))
                .map_err(|e| *e),
            faults: member.faults,
            lost: member.lost,
        })
    }

    /// What all tables hold together.
    pub fn usage(&self) -> Usage {
        let used =
            self.members.iter().filter_map(|member| Some(member.unit.as_ref().ok()?.usage()));
        used.fold(Usage::default(), |sum, usage| Usage {
            domains: sum.domains + usage.domains,
            mappings: sum.mappings + usage.mappings,
            table_pages: sum.table_pages + usage.table_pages,
            interrupts: sum.interrupts + usage.interrupts,
        })
    }

    fn find(&mut self, device: PciAddress) -> Option<(&mut Unit<R>, &mut M)> {
        let records = self.members.iter().map(|member| &member.record);
        let number = owner(records, &self.bridges, device)?;
        let unit = self.members.get_mut(number)?.unit.as_mut().ok()?;
        Some((unit, &mut self.memory))
    }
}

impl Device {
    /// As a unit has it; `None` if its message is of a kind that no device is given.
    fn attachment(&self) -> Option<Attachment> {
        let interrupt = match self.interrupt {
            Some((number, message)) => Some((number, Target::of(message)?)),
            None => None,
        };
        Some(Attachment { source: source(self.address), ranges: self.ranges.clone(), interrupt })
    }
}

fn state<R: Registers>(unit: &Unit<R>, segment: u16) -> State {
    let domains = unit.tables().domains();
    State {
        address_bits: unit.capabilities().width.bits(),
        remaps_interrupts: unit.remaps_interrupts(),
        usage: unit.usage(),
        devices: domains
            .map(|(source, domain)| (address(segment, source), domain.entries()))
            .collect(),
    }
}

fn is_bridge(function: &&Function) -> bool {
    matches!(function.kind, Kind::Bridge { .. })
}

/// How a device names itself in its requests.
fn source(device: PciAddress) -> u16 {
    u16::from_be_bytes([device.bus, device.device << 3 | device.function & 7])
}

fn address(segment: u16, source: u16) -> PciAddress {
    let [bus, function] = source.to_be_bytes();
    PciAddress { segment, bus, device: function >> 3, function: function & 7 }
}

/// The unit of a device: one that names it, else the one for all others (section 8.3).
fn owner<'a>(
    units: impl IntoIterator<Item = &'a UnitRecord>,
    bridges: &[Function],
    device: PciAddress,
) -> Option<usize> {
    let mut others = None;
    for (number, unit) in units.into_iter().enumerate() {
        if unit.segment != device.segment {
            continue;
        }
        if unit.scopes.iter().any(|scope| names(scope, bridges, device)) {
            return Some(number);
        }
        if unit.all_others {
            others = others.or(Some(number));
        }
    }
    others
}

fn names(scope: &Scope, bridges: &[Function], device: PciAddress) -> bool {
    let there = destination(scope, bridges, device.segment);
    match scope.kind {
        ScopeKind::Endpoint => there == Some(device),
        ScopeKind::Hierarchy => {
            there == Some(device)
                || there
                    .and_then(|there| buses(bridges, there))
                    .is_some_and(|(first, last)| (first..=last).contains(&device.bus))
        }
        ScopeKind::IoApic | ScopeKind::Hpet | ScopeKind::Other => false,
    }
}

/// Where a way leads; `None` where a bridge on it is not there.
fn destination(scope: &Scope, bridges: &[Function], segment: u16) -> Option<PciAddress> {
    let (last, way) = scope.path.split_last()?;
    let place = |bus, (device, function)| PciAddress { segment, bus, device, function };
    let bus = way.iter().try_fold(scope.bus, |bus, step| {
        buses(bridges, place(bus, *step)).map(|(secondary, _)| secondary)
    })?;
    Some(place(bus, *last))
}

/// The buses behind a bridge.
fn buses(bridges: &[Function], bridge: PciAddress) -> Option<(u8, u8)> {
    let bridge = bridges.iter().find(|function| function.address == bridge)?;
    match bridge.kind {
        Kind::Bridge { secondary, subordinate } => Some((secondary, subordinate)),
        _ => None,
    }
}

/// What devices of a unit must reach on the firmware's behalf.
fn reserved(
    dmar: &Dmar,
    functions: &[Function],
    bridges: &[Function],
    is_own: impl Fn(&PciAddress) -> bool,
) -> BTreeMap<u16, Vec<Range>> {
    let mut all: BTreeMap<u16, Vec<Range>> = BTreeMap::new();
    for memory in &dmar.reserved {
        let range = Range {
            start: memory.start,
            bytes: memory.bytes,
            rights: super::tables::Rights::ReadWrite,
        };
        let of_segment = functions.iter().filter(|f| f.address.segment == memory.segment);
        let named = of_segment.filter(|function| {
            memory.scopes.iter().any(|scope| names(scope, bridges, function.address))
        });
        for function in named.filter(|function| is_own(&function.address)) {
            all.entry(source(function.address)).or_default().push(range);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::dmar::ReservedMemory;
    use super::super::model::{Access, EMULATED, Model};
    use super::super::remapping::message;
    use super::super::tables::Rights;
    use super::*;
    use crate::pci::model::{Model as Buses, bridge, device};
    use crate::pci::scan::scan;

    /// Device 3 of bus 0; device 0 of bus 2, behind bridges 00:1c.0 and 01:01.0; 00:1d.0.
    fn functions() -> Vec<Function> {
        let mut buses = Buses::default();
        buses.put(0, 3, 0, device(0x1af4, 0x1000));
        buses.put(0, 0x1c, 0, bridge(1, 2));
        buses.put(1, 1, 0, bridge(2, 2));
        buses.put(2, 0, 0, device(0x8086, 0x10d3));
        buses.put(0, 0x1d, 0, device(0x8086, 0x2934));
        scan(&mut buses, 0, (0, 255), &[]).functions
    }

    fn at(bus: u8, device: u8) -> PciAddress {
        PciAddress { segment: 0, bus, device, function: 0 }
    }

    fn scope(kind: ScopeKind, path: &[(u8, u8)]) -> Scope {
        Scope { kind, id: 0, bus: 0, path: path.to_vec() }
    }

    fn unit(registers: u64, all_others: bool, scopes: &[Scope]) -> UnitRecord {
        UnitRecord { segment: 0, registers, all_others, scopes: scopes.to_vec() }
    }

    fn dmar(units: Vec<UnitRecord>) -> Dmar {
        Dmar { address_bits: 39, interrupt_remapping: true, units, reserved: Vec::new() }
    }

    fn new(address: PciAddress, start: u64) -> Device {
        let interrupt = Some((7, Message { address: 0xfee0_1000, data: 0x31 }));
        let range = Range { start, bytes: 4096, rights: Rights::ReadWrite };
        Device { address, ranges: vec![range], interrupt }
    }

    #[test]
    fn a_device_belongs_to_the_unit_that_names_it() {
        let all = functions();
        let bridges: Vec<Function> = all.iter().filter(is_bridge).cloned().collect();
        let owner = |scope: Scope, device| {
            let units = [unit(0x1000, true, &[]), unit(0x2000, false, &[scope])];
            owner(&units, &bridges, device)
        };
        let way = scope(ScopeKind::Endpoint, &[(0x1c, 0), (1, 0), (0, 0)]);
        assert_eq!(owner(way.clone(), at(2, 0)), Some(1));
        assert_eq!(owner(way, at(0, 3)), Some(0));
        let hierarchy = scope(ScopeKind::Hierarchy, &[(0x1c, 0)]);
        for (device, unit) in [(at(0, 0x1c), 1), (at(1, 1), 1), (at(2, 0), 1), (at(0, 3), 0)] {
            assert_eq!(owner(hierarchy.clone(), device), Some(unit), "{device}");
        }
        let nowhere = scope(ScopeKind::Endpoint, &[(3, 0), (0, 0)]);
        assert_eq!(owner(nowhere, at(0, 0)), Some(0));
        let other = PciAddress { segment: 1, ..at(0, 3) };
        assert_eq!(owner(scope(ScopeKind::Endpoint, &[(3, 0)]), other), None);
    }

    #[test]
    fn each_unit_is_for_its_own() {
        let named = scope(ScopeKind::Endpoint, &[(3, 0)]);
        let mut dmar =
            dmar(vec![unit(0x1000, false, core::slice::from_ref(&named)), unit(0x2000, true, &[])]);
        let usb = scope(ScopeKind::Endpoint, &[(0x1d, 0)]);
        let memory = ReservedMemory { segment: 0, start: 0x8000, bytes: 4096, scopes: vec![usb] };
        dmar.reserved.push(memory);
        // Two units that read the same memory.
        let first = Model::new(EMULATED, 64);
        let second = first.clone();
        let open = |address| match address {
            0x1000 => Some(first.clone()),
            _ => None,
        };
        let mut iommu = Iommu::start(&dmar, &functions(), &[], open, second);
        let told = iommu.attach(&new(at(0, 3), 0x1000));
        assert_eq!(told, Ok(Protection::Translated(Some(message(7)))));
        // Its unit could not be taken over.
        assert_eq!(iommu.attach(&new(at(2, 0), 0x2000)), Ok(Protection::Trusted));
        let reach =
            |source, address| first.with(|hardware| hardware.access(source, address, Access::Read));
        assert_eq!((reach(0x18, 0x1000), reach(0x18, 0x2000)), (Ok(()), Err(6)));
        let [fault] = &iommu.faults()[..] else { panic!("one access was refused") };
        assert_eq!(fault.device, at(0, 3));
        let reports: Vec<Report> = iommu.report().collect();
        assert_eq!((reports[0].faults, reports[1].state.clone()), (1, Err(UnitError::Unknown)));
        let state = reports[0].state.clone().expect("it works");
        assert_eq!((state.devices, iommu.usage().interrupts), (vec![(at(0, 3), 1)], 1));
        assert_eq!(iommu.detach(at(0, 3)), Ok(()));
        assert_eq!(reach(0x18, 0x1000), Err(2));
    }

    #[test]
    fn reserved_memory_is_for_the_devices_that_it_names() {
        let mut dmar = dmar(vec![unit(0x1000, true, &[])]);
        let scopes = vec![scope(ScopeKind::Endpoint, &[(0x1d, 0)])];
        dmar.reserved.push(ReservedMemory { segment: 0, start: 0x8000, bytes: 4096, scopes });
        let model = Model::new(EMULATED, 64);
        let held = [new(at(0, 3), 0x3000)];
        let open = |_| Some(model.clone());
        let iommu = Iommu::start(&dmar, &functions(), &held, open, model.clone());
        let reach = |source, address| {
            model.with(|hardware| hardware.access(source, address, Access::Write))
        };
        assert_eq!((reach(0xe8, 0x8000), reach(0x18, 0x8000)), (Ok(()), Err(5)));
        assert_eq!((reach(0xe8, 0x3000), reach(0x18, 0x3000)), (Err(5), Ok(())));
        assert_eq!(iommu.usage().domains, 2);
    }

    #[test]
    fn messages_of_other_kinds_are_refused() {
        let model = Model::new(EMULATED, 64);
        let open = |_| Some(model.clone());
        let dmar = dmar(vec![unit(0x1000, true, &[])]);
        let mut iommu = Iommu::start(&dmar, &functions(), &[], open, model.clone());
        let broadcast = Message { address: 0xfee0_0000, data: 0x431 };
        let device = Device { interrupt: Some((7, broadcast)), ..new(at(0, 3), 0x1000) };
        assert_eq!(iommu.attach(&device), Err(UnitError::Message));
        assert_eq!(iommu.usage().domains, 0);
    }
}
