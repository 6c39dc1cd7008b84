//! `iommu`: which memory devices reach, and what they were kept from.

use alloc::format;
use alloc::string::{String, ToString};

use libd3os::service::platform::IommuUnit;

use super::lspci::answering;
use super::{Arguments, Background, Command, CommandError};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table};
use crate::units::{bytes, counted};

/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;

pub(super) static IOMMU: Command = Command {
    name: "iommu",
    summary: "shows which memory devices reach",
    arguments: &[],
    flags: &[],
    background: Background::Refused,
    help: "The units of the IOMMU, each with the addresses that it translates, whether devices \
           interrupt only by entries that are their own, the pages that its tables take, and the \
           accesses that it refused. Then the devices that reach memory, and how much: that of \
           their drivers, and what the firmware has reserved for them. At last what devices were \
           kept from lately. On a machine without an IOMMU drivers are trusted with DMA.",
    run,
};

fn run(session: &mut Session<'_>, _: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    answering(session)?;
    let units = session.system.iommu()?;
    if units.is_empty() {
        session.line("This machine has no IOMMU that is used: drivers are trusted with DMA.");
        return Ok(());
    }
    show_units(session, &units);
    show_devices(session, &units);
    let faults = session.system.faults()?;
    if !faults.is_empty() {
        session.line("");
        faults.iter().for_each(|fault| session.painted_line(Role::Bad, fault));
    }
    Ok(())
}

fn show_units(session: &mut Session<'_>, units: &[IommuUnit]) {
    let mut table = Table::new([
        Column::left("UNIT"),
        Column::right("BITS").sparse(),
        Column::right("INTERRUPTS").sparse(),
        Column::right("TABLES").sparse(),
        Column::right("REFUSED"),
        Column::elastic("STATE"),
    ]);
    for unit in units {
        let name = Cell::new(Role::Name, format!("{:#x}", unit.registers));
        let [bits, interrupts, tables] = facts(unit);
        let state = match &unit.problem {
            Some(problem) => Cell::new(Role::Bad, format!("{problem}: drivers are trusted")),
            None => "translates".into(),
        };
        table.row([
            name,
            bits.into(),
            interrupts.into(),
            tables.into(),
            refused(unit).into(),
            state,
        ]);
    }
    session.table(&table);
}

/// What is said of a unit that is used.
fn facts(unit: &IommuUnit) -> [String; 3] {
    if unit.problem.is_some() {
        return Default::default();
    }
    let interrupts = match unit.remaps_interrupts {
        true => counted(u64::from(unit.interrupts), "entry", "entries"),
        false => "not remapped".to_string(),
    };
    let tables = bytes(u64::from(unit.table_pages) * PAGE_BYTES);
    [unit.address_bits.to_string(), interrupts, tables]
}

/// The number of refused accesses, which is a lower bound where records were lost.
fn refused(unit: &IommuUnit) -> String {
    format!("{}{}", unit.faults, if unit.lost > 0 { "+" } else { "" })
}

fn show_devices(session: &mut Session<'_>, units: &[IommuUnit]) {
    let devices = units.iter().flat_map(|unit| &unit.devices);
    let mut table = Table::new([Column::left("DEVICE"), Column::right("REACHES")]);
    let mut any = false;
    for (device, pages) in devices {
        any = true;
        let reach = bytes(u64::from(*pages) * PAGE_BYTES);
        table.row([Cell::new(Role::Name, device.to_string()), reach.into()]);
    }
    if any {
        session.line("");
        session.table(&table);
    }
}
