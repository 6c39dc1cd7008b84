//! Which of the machine's devices is the one that the manifest wants, and what its driver gets of
//! it.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use libd3os::device::{Caching, DeviceIdentity};
use libd3os::image::{AcpiDevice, PciId};
use libd3os::service::devices::{
    DeviceState, MAX_WINDOWS, Provided, ProvidedInterrupt, ProvidedWindow, WantedDevice,
};
use libd3os::service::platform::{Interrupt, PciAddress};

use crate::acpi::hpet::Hpet;
use crate::acpi::nfit::Nfit;
use crate::acpi::table::TableError;
use crate::firmware::{Firmware, Found};
use crate::memory::DeviceMemory;
use crate::nodes;
use crate::pages::PAGE_BYTES;
use crate::pci::config::ConfigSpace;
use crate::pci::function::Function;
use crate::pci::reset::snapshot;
use crate::pci::route::{self, Routes};
use crate::pci::window::{self, Note};

/// What becomes of a device that the manifest wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This is it.
    Provide(Box<Provided>, Vec<Note>),
    /// It interrupts by a pin, and the firmware's routes are not known yet.
    AwaitRoutes(PciAddress),
    /// The machine does not have it, or it cannot be used.
    Absent(Reason),
}

/// Why a device is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no such PCI function, or each has a driver.
    NoFunction,
    /// This function has interrupts that nobody can receive.
    NoInterrupt(PciAddress),
    /// This function opens no memory that a driver could be given.
    NoMemory(PciAddress),
    /// There is no such table.
    NoTable(AcpiDevice),
    /// The table is damaged.
    BrokenTable(AcpiDevice, TableError),
    /// The table names no memory that could be given.
    TableWithoutMemory(AcpiDevice),
    /// The manifest does not say what it could be, other than what the boot loader left.
    NotLookedFor,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFunction => f.write_str("there is no such PCI function"),
            Self::NoInterrupt(at) => write!(f, "PCI function {at} has neither MSI nor a route"),
            Self::NoMemory(at) => write!(f, "PCI function {at} opens no memory for a driver"),
            Self::NoTable(table) => write!(f, "there is no ACPI table {}", signature(*table)),
            Self::BrokenTable(table, error) => {
                write!(f, "the ACPI table {} cannot be used: {error}", signature(*table))
            }
            Self::TableWithoutMemory(table) => {
                write!(f, "the ACPI table {} names no memory for a driver", signature(*table))
            }
            Self::NotLookedFor => f.write_str("nothing but the boot loader could have left it"),
        }
    }
}

const fn signature(table: AcpiDevice) -> &'static str {
    match table {
        AcpiDevice::Hpet => "HPET",
        AcpiDevice::Nfit => "NFIT",
    }
}

/// The machine, as decisions need it.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// The firmware's tables.
    pub firmware: &'a Firmware,
    /// All PCI functions.
    pub functions: &'a [Function],
    /// Where interrupt pins lead.
    pub routes: &'a Routes,
    /// Whether no more routes will come.
    pub routes_are_known: bool,
}

/// Decides on a device; `taken` are functions that others have.
pub fn decide(
    machine: Machine<'_>,
    space: &mut impl ConfigSpace,
    memory: &mut impl DeviceMemory,
    wanted: &WantedDevice,
    taken: &[PciAddress],
) -> Decision {
    let function = decide_function(machine, space, &wanted.pci, taken);
    let absent = match (function, wanted.acpi) {
        (Decision::Absent(reason), None) => reason,
        (Decision::Absent(_), Some(table)) => match from_table(machine, memory, table) {
            Ok(provided) => return Decision::Provide(Box::new(provided), Vec::new()),
            Err(reason) => reason,
        },
        (decision, _) => return decision,
    };
    let is_of_boot = wanted.pci.is_empty() && wanted.acpi.is_none();
    Decision::Absent(if is_of_boot { Reason::NotLookedFor } else { absent })
}

/// The functions that devices hold.
#[must_use]
pub fn taken(wanted: &[WantedDevice]) -> Vec<PciAddress> {
    let held = wanted.iter().filter(|device| device.state != DeviceState::Absent);
    held.filter_map(|device| address(device.provided.as_ref()?)).collect()
}

/// The function that a device is, if it is one.
#[must_use]
pub const fn address(provided: &Provided) -> Option<PciAddress> {
    match &provided.identity {
        DeviceIdentity::Pci { address, .. } => Some(*address),
        _ => None,
    }
}

fn decide_function(
    machine: Machine<'_>,
    space: &mut impl ConfigSpace,
    ids: &[PciId],
    taken: &[PciAddress],
) -> Decision {
    let mut reason = Reason::NoFunction;
    for id in ids {
        let is_it = |function: &&Function| {
            let same = (function.vendor, function.device) == (id.vendor, id.device);
            same && !taken.contains(&function.address)
        };
        for function in machine.functions.iter().filter(is_it) {
            match from_function(machine, space, function) {
                Decision::Absent(why) => reason = why,
                decision => return decision,
            }
        }
    }
    Decision::Absent(reason)
}

fn from_function(
    machine: Machine<'_>,
    space: &mut impl ConfigSpace,
    function: &Function,
) -> Decision {
    let address = function.address;
    let interrupt = route::interrupt(machine.functions, function, machine.routes);
    let provided_interrupt = match interrupt {
        Interrupt::MsiX { .. } | Interrupt::Msi { .. } => ProvidedInterrupt::Message,
        Interrupt::Pin { gsi, signal, .. } => {
            let (level, low) = (signal.level_triggered, signal.active_low);
            ProvidedInterrupt::Pin { gsi, level, low }
        }
        Interrupt::Unrouted { .. } if machine.routes_are_known => {
            return Decision::Absent(Reason::NoInterrupt(address));
        }
        Interrupt::Unrouted { .. } => return Decision::AwaitRoutes(address),
        Interrupt::None => ProvidedInterrupt::None,
    };
    let found = window::windows(space, machine.functions, function, interrupt);
    if found.windows.is_empty() {
        return Decision::Absent(Reason::NoMemory(address));
    }
    let identity = DeviceIdentity::Pci {
        address,
        vendor: function.vendor,
        device: function.device,
        config: Box::new(snapshot(space, address)),
    };
    let windows = found.windows;
    let provided = Provided { identity, windows, interrupt: provided_interrupt };
    Decision::Provide(Box::new(provided), found.notes)
}

/// How a function interrupts that was provided like this.
#[must_use]
pub fn interrupt_of(function: &Function, provided: &Provided) -> Interrupt {
    use libd3os::service::platform::Signal;
    match provided.interrupt {
        ProvidedInterrupt::Message => function.message_interrupt,
        ProvidedInterrupt::Pin { gsi, level, low } => Interrupt::Pin {
            pin: function.pin.unwrap_or(0),
            gsi,
            signal: Signal { level_triggered: level, active_low: low },
        },
        ProvidedInterrupt::None => Interrupt::None,
    }
}

fn from_table(
    machine: Machine<'_>,
    memory: &mut impl DeviceMemory,
    table: AcpiDevice,
) -> Result<Provided, Reason> {
    let firmware = machine.firmware;
    match table {
        AcpiDevice::Hpet => event_timer(sound(&firmware.hpet, table)?, memory, machine.routes),
        AcpiDevice::Nfit => persistent_memory(sound(&firmware.nfit, table)?),
    }
}

fn sound<T>(found: &Found<T>, table: AcpiDevice) -> Result<&T, Reason> {
    match found {
        Found::Missing => Err(Reason::NoTable(table)),
        Found::Broken(error) => Err(Reason::BrokenTable(table, *error)),
        Found::Sound(sound) => Ok(sound),
    }
}

fn event_timer(
    hpet: &Hpet,
    memory: &mut impl DeviceMemory,
    routes: &Routes,
) -> Result<Provided, Reason> {
    if !hpet.address.is_multiple_of(PAGE_BYTES) {
        return Err(Reason::TableWithoutMemory(AcpiDevice::Hpet));
    }
    let input = timer_input(hpet, memory, routes);
    let identity = DeviceIdentity::Hpet {
        comparators: hpet.comparators,
        wide: hpet.wide,
        minimum_tick: hpet.minimum_tick,
        input,
    };
    let window = ProvidedWindow {
        bar: 0,
        offset: 0,
        paddr: hpet.address,
        bytes: PAGE_BYTES,
        caching: Caching::Uncached,
    };
    let pin = |gsi| ProvidedInterrupt::Pin { gsi, level: false, low: false };
    let interrupt = input.map_or(ProvidedInterrupt::None, pin);
    Ok(Provided { identity, windows: alloc::vec![window], interrupt })
}

/// First input that no ISA device has.
const FIRST_FREE_INPUT: u32 = 16;
/// Upper half of the first comparator's configuration: to which inputs it can be routed
/// (IA-PC HPET 1.0a, section 2.3.8).
const FIRST_COMPARATOR_INPUTS: u64 = 0x104;

/// An input for the first comparator: the last that it can be routed to and that no PCI device has.
fn timer_input(hpet: &Hpet, memory: &mut impl DeviceMemory, routes: &Routes) -> Option<u32> {
    let possible = memory.read(hpet.address + FIRST_COMPARATOR_INPUTS).ok()?;
    let is_possible = |input: &u32| possible & 1 << input != 0 && !routes.lead_to(*input);
    (FIRST_FREE_INPUT..u32::BITS).rev().find(is_possible)
}

fn persistent_memory(nfit: &Nfit) -> Result<Provided, Reason> {
    let whole = |start: u64, bytes: u64| {
        start.is_multiple_of(PAGE_BYTES) && bytes.is_multiple_of(PAGE_BYTES)
    };
    let usable = nfit.persistent().filter(|range| whole(range.start, range.bytes));
    let (mut ranges, mut windows) = (Vec::new(), Vec::new());
    for (bar, range) in (0u8..).zip(usable).take(MAX_WINDOWS) {
        let (paddr, bytes) = (range.start, range.bytes);
        windows.push(ProvidedWindow { bar, offset: 0, paddr, bytes, caching: Caching::Cached });
        ranges.push(nodes::for_driver(nfit, range));
    }
    if windows.is_empty() {
        return Err(Reason::TableWithoutMemory(AcpiDevice::Nfit));
    }
    let identity = DeviceIdentity::Nvdimm { ranges, domain: nodes::domain(nfit) };
    Ok(Provided { identity, windows, interrupt: ProvidedInterrupt::None })
}

/// A provided device in words: what it is, and how it interrupts.
#[must_use]
pub fn words(provided: &Provided, interrupt: Interrupt) -> String {
    let what = match &provided.identity {
        DeviceIdentity::Pci { address, vendor, device, .. } => {
            alloc::format!("PCI function {address} ({vendor:04x}:{device:04x})")
        }
        DeviceIdentity::Hpet { .. } => "the event timer (HPET)".to_string(),
        DeviceIdentity::Nvdimm { ranges, .. } => {
            alloc::format!("{} range(s) of persistent memory (NFIT)", ranges.len())
        }
        DeviceIdentity::Framebuffer(_) => "what the boot loader left".to_string(),
    };
    let how = match (interrupt, provided.interrupt) {
        (Interrupt::MsiX { .. }, _) => "MSI-X".to_string(),
        (Interrupt::Msi { .. }, _) => "MSI".to_string(),
        (_, ProvidedInterrupt::Pin { gsi, .. }) => alloc::format!("interrupt input {gsi}"),
        _ => "no interrupt".to_string(),
    };
    alloc::format!("{what}, {how}")
}
