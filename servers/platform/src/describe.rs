//! Tables for people: what those that this server reads say, in words, and the bytes of all.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use libd3os::device::PersistenceDomain;
use libd3os::service::platform::{PlatformError, TABLE_BYTES};

use crate::acpi::fadt::{Fadt, Register, Space};
use crate::acpi::hpet::Hpet;
use crate::acpi::madt::{Madt, Override};
use crate::acpi::mcfg::Mcfg;
use crate::acpi::nfit::{Nfit, RangeKind};
use crate::acpi::slit::Slit;
use crate::acpi::spcr::Spcr;
use crate::acpi::srat::Srat;
use crate::acpi::{Table, TableError};
use crate::firmware::Firmware;
use crate::iommu::Dmar;
use crate::nodes;

fn table(firmware: &Firmware, number: u32) -> Result<&Table, PlatformError> {
    let index = usize::try_from(number).ok();
    let found = index.and_then(|index| firmware.directory.tables.get(index));
    found.ok_or(PlatformError::NoSuchTable(number))
}

/// Bytes of a table from `offset` on, as many as fit in an answer.
///
/// # Errors
/// [`PlatformError::NoSuchTable`], [`PlatformError::Damaged`].
pub fn part(firmware: &Firmware, number: u32, offset: u32) -> Result<Vec<u8>, PlatformError> {
    let bytes = table(firmware, number)?.bytes.as_ref();
    let bytes = bytes.map_err(|_| PlatformError::Damaged(number))?;
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
    Ok(rest.unwrap_or_default().iter().take(TABLE_BYTES).copied().collect())
}

/// What a table says, a fact a line; none for a kind that is not read, and what is wrong with a
/// damaged one.
///
/// # Errors
/// [`PlatformError::NoSuchTable`].
pub fn words(firmware: &Firmware, number: u32) -> Result<Vec<String>, PlatformError> {
    let table = table(firmware, number)?;
    let facts = match &table.bytes {
        Ok(bytes) => facts(&table.signature().unwrap_or_default(), bytes),
        Err(error) => Err(*error),
    };
    Ok(facts.unwrap_or_else(|error| alloc::vec![error.to_string()]))
}

fn facts(signature: &[u8; 4], bytes: &[u8]) -> Result<Vec<String>, TableError> {
    match *signature {
        Fadt::SIGNATURE => Fadt::parse(bytes).map(|fadt| power(&fadt)),
        Madt::SIGNATURE => Madt::parse(bytes).map(|madt| processors(&madt)),
        Mcfg::SIGNATURE => Mcfg::parse(bytes).map(|mcfg| configuration(&mcfg)),
        Hpet::SIGNATURE => Hpet::parse(bytes).map(|hpet| timer(&hpet)),
        Srat::SIGNATURE => Srat::parse(bytes).map(|srat| affinity(&srat)),
        Slit::SIGNATURE => Slit::parse(bytes).map(|slit| distances(&slit)),
        Nfit::SIGNATURE => Nfit::parse(bytes).map(|nfit| persistent(&nfit)),
        Dmar::SIGNATURE => Dmar::parse(bytes).map(|dmar| remapping(&dmar)),
        Spcr::SIGNATURE => Spcr::parse(bytes).map(|spcr| console(spcr.as_ref())),
        _ => Ok(Vec::new()),
    }
}

fn remapping(dmar: &Dmar) -> Vec<String> {
    let units = dmar.units.iter().map(|unit| {
        let named = unit.scopes.len();
        let others = if unit.all_others { ", and all others" } else { "" };
        let (at, segment) = (unit.registers, unit.segment);
        format!("unit at {at:#x} for {named} named devices of segment {segment}{others}")
    });
    let reserved = dmar.reserved.iter().map(|memory| {
        let (start, last) = (memory.start, memory.start + (memory.bytes - 1));
        format!("{start:#x} to {last:#x} stays reachable for {} devices", memory.scopes.len())
    });
    let first = format!(
        "addresses of {} bits, interrupts {} be remapped",
        dmar.address_bits,
        if dmar.interrupt_remapping { "can" } else { "cannot" }
    );
    core::iter::once(first).chain(units).chain(reserved).collect()
}

fn register(register: Register) -> String {
    let Register { space, address } = register;
    match space {
        Space::Memory => format!("memory {address:#x}"),
        Space::Ports => format!("port {address:#x}"),
        Space::PciConfiguration => format!("PCI configuration {address:#x}"),
        Space::Other(number) => format!("address {address:#x} of space {number}"),
    }
}

fn power(fadt: &Fadt) -> Vec<String> {
    let mut facts = alloc::vec![
        format!("DSDT at {:#x}, FACS at {:#x}", fadt.dsdt, fadt.facs),
        format!("power events by interrupt {}", fadt.sci),
    ];
    let controls = fadt.pm1_control.into_iter().flatten();
    facts.extend(controls.map(|control| format!("power control at {}", register(control))));
    if let Some((at, value)) = fadt.reset {
        facts.push(format!("reset by writing {value:#x} to {}", register(at)));
    }
    if fadt.hardware_reduced {
        facts.push("no power hardware of the classic kind".to_string());
    }
    if !fadt.wbinvd {
        facts.push("WBINVD does not flush the caches".to_string());
    }
    facts
}

fn processors(madt: &Madt) -> Vec<String> {
    let mut facts = alloc::vec![format!("local APICs at {:#x}", madt.local_apics)];
    facts.extend(madt.processors.iter().map(|processor| {
        let state = if processor.enabled { "" } else { ", may be added later" };
        format!("processor: APIC id {}, number {}{state}", processor.apic_id, processor.uid)
    }));
    facts.extend(madt.io_apics.iter().map(|apic| {
        let (id, address, first) = (apic.id, apic.address, apic.first_gsi);
        format!("I/O APIC {id} at {address:#x}, inputs from {first} on")
    }));
    facts.extend(madt.overrides.iter().map(isa_override));
    facts
}

fn isa_override(isa: &Override) -> String {
    let trigger = match isa.level_triggered {
        Some(true) => ", level-triggered",
        Some(false) => ", edge-triggered",
        None => "",
    };
    let polarity = match isa.active_low {
        Some(true) => ", active low",
        Some(false) => ", active high",
        None => "",
    };
    format!("ISA interrupt {} is input {}{trigger}{polarity}", isa.irq, isa.gsi)
}

fn configuration(mcfg: &Mcfg) -> Vec<String> {
    let fact = |region: &crate::acpi::mcfg::Region| {
        let (first, last) = (region.first_bus, region.last_bus);
        format!(
            "segment {}: buses {first:02x} to {last:02x} at {:#x}",
            region.segment, region.start
        )
    };
    mcfg.regions.iter().map(fact).collect()
}

fn timer(hpet: &Hpet) -> Vec<String> {
    let width = if hpet.wide { 64 } else { 32 };
    alloc::vec![
        format!("registers at {:#x}", hpet.address),
        format!("{} comparators, a counter of {width} bits", hpet.comparators),
        format!("at least {} ticks between interrupts", hpet.minimum_tick),
    ]
}

fn affinity(srat: &Srat) -> Vec<String> {
    let mut facts: Vec<String> = srat
        .processors
        .iter()
        .map(|(id, domain)| format!("processor with APIC id {id}: node {domain}"))
        .collect();
    facts.extend(srat.memory.iter().map(|range| {
        let last = range.start + (range.bytes - 1);
        let kind = match (range.non_volatile, range.hot_pluggable) {
            (true, _) => ", keeps its contents",
            (false, true) => ", room for memory to be plugged in",
            (false, false) => "",
        };
        format!("memory {:#x} to {last:#x}: node {}{kind}", range.start, range.domain)
    }));
    facts
}

fn distances(slit: &Slit) -> Vec<String> {
    let row = |from: u32| {
        let row = (0..slit.domains()).filter_map(|to| slit.distance(from, to));
        let row: Vec<String> = row.map(|distance| distance.to_string()).collect();
        format!("from node {from}: {}", row.join(" "))
    };
    (0..slit.domains()).map(row).collect()
}

fn persistent(nfit: &Nfit) -> Vec<String> {
    let mut facts: Vec<String> = nfit
        .ranges
        .iter()
        .map(|range| {
            let kind = match range.kind {
                RangeKind::Persistent => "persistent memory",
                RangeKind::Other => "another kind of range",
            };
            let last = range.start.saturating_add(range.bytes).saturating_sub(1);
            let node = range.domain.map(|node| format!(", node {node}")).unwrap_or_default();
            let state = if nfit.is_unarmed(range) { ", NOT ARMED" } else { "" };
            let (number, start) = (range.index, range.start);
            format!("range {number}: {kind} {start:#x} to {last:#x}{node}{state}")
        })
        .collect();
    facts.extend(nfit.mappings.iter().map(|mapping| {
        let (handle, range) = (mapping.handle, mapping.range);
        format!("module {handle:#x} backs range {range}, flags {:#x}", mapping.flags)
    }));
    facts.push(format!("{} flush hint addresses", nfit.flush_hints));
    facts.push(domain(nodes::domain(nfit)).to_string());
    facts
}

const fn domain(domain: Option<PersistenceDomain>) -> &'static str {
    match domain {
        None => "what is safe when power fails is not said",
        Some(PersistenceDomain::Caches) => "safe when power fails: what is in the caches",
        Some(PersistenceDomain::MemoryControllers) => {
            "safe when power fails: what has reached the memory controllers"
        }
        Some(PersistenceDomain::Medium) => "safe when power fails: what has reached the medium",
    }
}

fn console(spcr: Option<&Spcr>) -> Vec<String> {
    let Some(spcr) = spcr else { return alloc::vec!["the firmware has no console".to_string()] };
    let mut facts = alloc::vec![format!(
        "a console of kind {} at {}",
        spcr.interface,
        register(spcr.registers)
    )];
    facts.extend(spcr.irq.map(|irq| format!("ISA interrupt {irq}")));
    facts.extend(spcr.gsi.map(|gsi| format!("interrupt input {gsi}")));
    facts.extend(spcr.baud.map(|baud| format!("{baud} bits a second")));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acpi::samples::{Machine, changes};
    use proptest::prelude::*;

    fn firmware(machine: &Machine) -> Firmware {
        Firmware::read(&machine.root, &machine.memory()[..])
    }

    fn of(machine: &Machine, name: &[u8; 4]) -> Vec<String> {
        let firmware = firmware(machine);
        let tables = &firmware.directory.tables;
        let index = tables.iter().position(|table| table.signature() == Some(*name));
        let index = u32::try_from(index.expect("the machine has it")).expect("few");
        words(&firmware, index).expect("there")
    }

    #[test]
    fn tables_are_told_in_words() {
        let q35 = Machine::q35();
        assert_eq!(of(&q35, b"MCFG"), ["segment 0: buses 00 to ff at 0xb0000000"]);
        assert_eq!(of(&q35, b"HPET")[1], "3 comparators, a counter of 64 bits");
        assert_eq!(of(&q35, b"APIC")[1], "processor: APIC id 0, number 0");
        assert_eq!(of(&q35, b"SLIT").len(), 2);
        assert_eq!(
            of(&q35, b"DMAR"),
            [
                "addresses of 39 bits, interrupts can be remapped",
                "unit at 0xfed90000 for 7 named devices of segment 0",
            ]
        );
        assert_eq!(
            of(&q35, b"NFIT"),
            [
                "range 2: persistent memory 0x100000000 to 0x103ffffff, node 1",
                "module 0x1 backs range 2, flags 0x0",
                "0 flush hint addresses",
                "safe when power fails: what has reached the memory controllers",
            ]
        );
        assert_eq!(
            of(&q35, b"FACP").last().map(String::as_str),
            Some("reset by writing 0xf to port 0xcf9")
        );
        assert!(of(&q35, b"DSDT").is_empty());
    }

    #[test]
    fn bytes_come_in_parts_until_the_end() {
        let firmware = firmware(&Machine::q35());
        let dsdt = firmware.directory.tables.iter().position(|t| t.signature() == Some(*b"DSDT"));
        let number = u32::try_from(dsdt.expect("there")).expect("few");
        let mut all = Vec::new();
        loop {
            let offset = u32::try_from(all.len()).expect("short");
            let part = part(&firmware, number, offset).expect("sound");
            if part.is_empty() {
                break;
            }
            all.extend(part);
        }
        assert_eq!(Some(&all[..]), firmware.directory.sound(b"DSDT"));
        assert_eq!(part(&firmware, 99, 0), Err(PlatformError::NoSuchTable(99)));
        assert_eq!(words(&firmware, 99), Err(PlatformError::NoSuchTable(99)));
    }

    proptest! {
        /// Whatever tables hold, words are found for them.
        #[test]
        fn damaged_tables_are_told_too(changes in changes()) {
            let mut machine = Machine::q35();
            machine.damage(&changes);
            let firmware = firmware(&machine);
            for number in 0..u32::try_from(firmware.directory.tables.len()).expect("few") {
                prop_assert!(words(&firmware, number).is_ok());
                let damaged = firmware.directory.tables[number as usize].bytes.is_err();
                prop_assert_eq!(part(&firmware, number, 0).is_err(), damaged);
            }
        }
    }
}
