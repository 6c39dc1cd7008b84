//! `lspci`: the PCI functions, and who drives them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use libd3os::service::devices::DeviceState;
use libd3os::service::platform::{Bar, BarSpace, DeviceInfo, Interrupt, Signal};
use libd3os::service::supervisor::ProgramState;

use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence, trace};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table};

/// The service that tells of the machine.
pub(super) const PLATFORM: &str = "platform";

pub(super) static LSPCI: Command = Command {
    name: "lspci",
    summary: "lists the PCI devices and who drives them",
    arguments: &[Argument {
        name: "-v",
        kind: Kind::Choice(&["-v"]),
        presence: Presence::Optional,
        about: "what each device opens, its capabilities and its interrupt, too",
    }],
    flags: &[],
    background: Background::Refused,
    help: "A line for each function of a PCI device: bus, device and function as numbers, what it \
           is, its maker's number and the device's, and the program that drives it with the state \
           of the two. A device that nobody drives is listed and left alone.\n\n\
           With -v: memory and ports that the device opens (the sizes of those that a driver holds \
           since before `platform` was started again are not known), its capabilities by name or \
           number, and its best interrupt: MSI-X, MSI, or a pin with the input that it leads to.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    answering(session)?;
    let devices = session.system.devices()?;
    if arguments.get("-v").is_none() {
        overview(session, &devices);
        return Ok(());
    }
    for device in &devices {
        session.line(headline(device));
        for detail in details(device) {
            session.text(8, &detail);
        }
    }
    Ok(())
}

/// Makes sure that the platform server runs, or is about to: at boot it is among the last to start,
/// and calls wait for it.
pub(super) fn answering(session: &mut Session<'_>) -> Result<(), CommandError> {
    let service = trace::find(session, PLATFORM)?;
    match service.state {
        ProgramState::Starting | ProgramState::Running | ProgramState::BackingOff => Ok(()),
        state => Err(CommandError::NotServed { program: service.program, state }),
    }
}

fn overview(session: &mut Session<'_>, devices: &[DeviceInfo]) {
    let mut table = Table::new([
        Column::left("ADDRESS"),
        Column::elastic("DEVICE"),
        Column::left("ID"),
        Column::left("DRIVER"),
        Column::left("STATE"),
    ]);
    for device in devices {
        let (driver, state) = driver(device);
        table.row([
            Cell::new(Role::Name, device.address.to_string()),
            device.words.as_str().into(),
            id(device).into(),
            driver.into(),
            state.into(),
        ]);
    }
    session.table(&table);
}

fn id(device: &DeviceInfo) -> String {
    format!("{:04x}:{:04x}", device.vendor, device.device)
}

/// The program that drives a device, and how that stands.
fn driver(device: &DeviceInfo) -> (String, String) {
    let Some(claim) = &device.claim else { return Default::default() };
    let driver = if claim.driver.is_empty() { &claim.name } else { &claim.driver };
    (driver.clone(), claim.state.to_string())
}

fn headline(device: &DeviceInfo) -> String {
    let (driver, state) = driver(device);
    let revision = match device.revision {
        0 => String::new(),
        revision => format!(" (rev {revision:02x})"),
    };
    let driven = match driver.is_empty() {
        true => String::new(),
        false => format!(", driven by {driver}: {state}"),
    };
    format!("{} {}: {}{revision}{driven}", device.address, device.words, id(device))
}

fn details(device: &DeviceInfo) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((vendor, subsystem)) = device.subsystem.filter(|ids| *ids != (0, 0)) {
        lines.push(format!("Subsystem: {vendor:04x}:{subsystem:04x}"));
    }
    if let Some((first, last)) = device.buses {
        lines.push(format!("Buses behind it: {first:02x} to {last:02x}"));
    }
    let is_held = device.claim.as_ref().is_some_and(|claim| claim.state != DeviceState::Absent);
    lines.extend(device.bars.iter().map(|bar| opens(bar, is_held)));
    if !device.capabilities.is_empty() {
        let names: Vec<_> =
            device.capabilities.iter().map(|(id, at)| capability(*id, *at)).collect();
        lines.push(format!("Capabilities: {}", names.join(", ")));
    }
    lines.push(format!("Interrupt: {}", interrupt(device.interrupt)));
    lines
}

fn opens(bar: &Bar, is_held: bool) -> String {
    let what = match bar.space {
        BarSpace::Ports => format!("Ports at {:#x}", bar.address),
        BarSpace::Memory { wide, prefetchable } => {
            let wide = if wide { "64-bit" } else { "32-bit" };
            let prefetchable = if prefetchable { "prefetchable" } else { "non-prefetchable" };
            format!("Memory at {:#x} ({wide}, {prefetchable})", bar.address)
        }
    };
    let placed = if bar.address == 0 && !is_held { ", not placed" } else { "" };
    format!("Region {}: {what}{placed} [size={}]", bar.index, size(bar))
}

/// A power of two, with the unit's letter as usual; a `?` where it is not known.
fn size(bar: &Bar) -> String {
    match bar.size {
        0 => "?".into(),
        size if size >= 1 << 30 => format!("{}G", size >> 30),
        size if size >= 1 << 20 => format!("{}M", size >> 20),
        size if size >= 1 << 10 => format!("{}K", size >> 10),
        size => format!("{size}"),
    }
}

/// A capability with its place, by the name that the specifications use.
fn capability(id: u8, at: u8) -> String {
    let name = match id {
        0x01 => "Power Management",
        0x02 => "AGP",
        0x03 => "Vital Product Data",
        0x04 => "Slot Identification",
        0x05 => "MSI",
        0x06 => "CompactPCI Hot Swap",
        0x07 => "PCI-X",
        0x08 => "HyperTransport",
        0x09 => "Vendor Specific",
        0x0a => "Debug Port",
        0x0c => "Hot-Plug",
        0x0d => "Bridge Subsystem",
        0x0f => "Secure Device",
        0x10 => "PCI Express",
        0x11 => "MSI-X",
        0x12 => "SATA Index/Data",
        0x13 => "Advanced Features",
        0x14 => "Enhanced Allocation",
        _ => return format!("[{at:02x}] number {id:#x}"),
    };
    format!("[{at:02x}] {name}")
}

fn interrupt(interrupt: Interrupt) -> String {
    match interrupt {
        Interrupt::MsiX { vectors, bar, offset } => {
            format!("MSI-X, {vectors} vectors, table in region {bar} at {offset:#x}")
        }
        Interrupt::Msi { vectors } => format!("MSI, {vectors} vectors"),
        Interrupt::Pin { pin, gsi, signal } => {
            format!("pin {} to input {gsi} ({})", letter(pin), manner(signal))
        }
        Interrupt::Unrouted { pin } => {
            format!("pin {}, of which nobody says where it leads", letter(pin))
        }
        Interrupt::None => "none".into(),
    }
}

fn letter(pin: u8) -> char {
    match pin {
        1 => 'A',
        2 => 'B',
        3 => 'C',
        _ => 'D',
    }
}

const fn manner(signal: Signal) -> &'static str {
    match (signal.level_triggered, signal.active_low) {
        (true, true) => "level, active low",
        (true, false) => "level, active high",
        (false, true) => "edge, active low",
        (false, false) => "edge, active high",
    }
}
