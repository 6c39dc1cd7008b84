//! The server's decisions: what the machine is made of, which device becomes whose, and what happens
//! when a driver ends.
//!
//! What it needs of the rest of the system are three traits: [`Init`], which holds devices and starts
//! drivers, [`Clock`], and the machine's configuration space and memory. Everything that lasts is in
//! init: a new instance of this server reads in the list of wanted devices what its predecessor did,
//! leaves alone what drivers hold, and finishes what was left unfinished.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use libd3os::device::DeviceIdentity;
use libd3os::service::devices::{DeviceState, InterruptMessage, Provided, WantedDevice, Wiring};
use libd3os::service::platform::{
    Claim, DeviceInfo, Interrupt, IommuUnit, PciAddress, Route, TableInfo,
};

use crate::acpi::table::name;
use crate::claim::{self, Decision, Machine};
use crate::firmware::Firmware;
use crate::iommu::faults::Fault;
use crate::iommu::{Device, Dmar, Guard, Protection};
use crate::journal::{Event, Journal};
use crate::memory::DeviceMemory;
use crate::pci::bar::{BARS, Held};
use crate::pci::config::ConfigSpace;
use crate::pci::function::{Function, Kind};
use crate::pci::problem::Problem;
use crate::pci::reset::{self, Method, Reset, Step, WAKING};
use crate::pci::route::{Routes, describe};
use crate::pci::scan::scan;
use crate::pci::wire;

/// What init does for this server.
pub trait Init {
    /// Why it did not.
    type Error: core::fmt::Display;

    /// The devices that the manifest wants.
    ///
    /// # Errors
    /// As init says.
    fn wanted(&mut self) -> Result<Vec<WantedDevice>, Self::Error>;

    /// Takes a device for its driver, and tells how to wire it.
    ///
    /// # Errors
    /// As init says.
    fn provide(&mut self, name: &str, provided: &Provided) -> Result<Wiring, Self::Error>;

    /// Lets its driver start.
    ///
    /// # Errors
    /// As init says.
    fn ready(&mut self, name: &str) -> Result<(), Self::Error>;

    /// There will be no such device.
    ///
    /// # Errors
    /// As init says.
    fn absent(&mut self, name: &str, reason: &str) -> Result<(), Self::Error>;

    /// Keeps what has to be written to switch the machine off.
    ///
    /// # Errors
    /// As init says.
    fn sleep_types(&mut self, a: u8, b: u8) -> Result<(), Self::Error>;
}

/// Time.
pub trait Clock {
    /// Time since any point.
    fn now(&mut self) -> Duration;

    /// Returns when it is that late.
    fn wait_until(&mut self, time: Duration);
}

/// Faults that are remembered.
const MOST_FAULTS: usize = 32;

/// The machine, and what becomes of its devices.
#[derive(Debug)]
pub struct Core<I, C, S, M> {
    init: I,
    clock: C,
    space: S,
    memory: M,
    firmware: Firmware,
    functions: Vec<Function>,
    wrong: Vec<Problem>,
    cut: bool,
    /// Devices that cannot be used, in words.
    unusable: Vec<String>,
    /// The devices of the manifest, as they were last heard of.
    wanted: Vec<WantedDevice>,
    routes: Routes,
    routes_are_known: bool,
    /// The badge of who tells what the firmware's bytecode says.
    reporter: Option<u64>,
    /// Keeps devices from memory; without it, drivers are trusted.
    guard: Option<Box<dyn Guard>>,
    /// What devices were kept from lately.
    faults: Vec<Fault>,
    journal: Journal,
}

impl<I: Init, C: Clock, S: ConfigSpace, M: DeviceMemory> Core<I, C, S, M> {
    /// Looks at the whole machine. Of configuration space, these segments are looked at: each with
    /// its first and last bus.
    ///
    /// # Errors
    /// Init does not tell which devices are held, so that none may be touched.
    pub fn new(
        mut init: I,
        clock: C,
        mut space: S,
        memory: M,
        firmware: Firmware,
        segments: &[(u16, u8, u8)],
    ) -> Result<Self, I::Error> {
        let wanted = init.wanted()?;
        let held = held(&wanted);
        let (mut functions, mut wrong, mut cut) = (Vec::new(), Vec::new(), false);
        for &(segment, first, last) in segments {
            let tree = scan(&mut space, segment, (first, last), &held);
            let before = functions.len();
            functions.extend(tree.functions.into_iter().map(|mut function: Function| {
                function.parent = function.parent.map(|parent| parent + before);
                function
            }));
            wrong.extend(tree.problems);
            cut |= tree.cut;
        }
        let routes = Routes::default();
        let unusable = Vec::new();
        let (routes_are_known, reporter) = (false, None);
        Ok(Self {
            init,
            clock,
            space,
            memory,
            firmware,
            functions,
            wrong,
            cut,
            unusable,
            wanted,
            routes,
            routes_are_known,
            reporter,
            guard: None,
            faults: Vec::new(),
            journal: Journal::default(),
        })
    }

    /// Has an IOMMU guard all devices from now on, if the machine has one. It is started with what
    /// drivers hold already.
    pub fn protect(
        &mut self,
        start: impl FnOnce(&Dmar, &[Function], &[Device]) -> Option<Box<dyn Guard>>,
    ) {
        if self.firmware.dmar.sound().is_none() {
            return;
        }
        let held = self.held_devices();
        let dmar = self.firmware.dmar.sound();
        self.guard = dmar.and_then(|dmar| start(dmar, &self.functions, &held));
        for report in self.guard.iter().flat_map(|guard| guard.report()) {
            log::info!("{report}");
        }
    }

    /// The devices with which drivers are at work. Init says how they are wired when it is told once
    /// more what they are.
    fn held_devices(&mut self) -> Vec<Device> {
        let mut held = Vec::new();
        for (number, wanted) in self.wanted.iter().enumerate() {
            let Some(provided) = &wanted.provided else { continue };
            let Some(address) = claim::address(provided) else { continue };
            if wanted.state != DeviceState::Ready {
                continue;
            }
            match self.init.provide(&wanted.name, provided) {
                Ok(wiring) => held.push(Device::wired(address, number, &wiring)),
                Err(error) => log::error!("{}: init does not say its wiring: {error}", wanted.name),
            }
        }
        held
    }

    /// Brings every wanted device on its way: finds those that nobody has looked for yet, wires those
    /// that were found, resets those whose drivers have ended.
    pub fn settle(&mut self) {
        match self.init.wanted() {
            Ok(wanted) => self.wanted = wanted,
            Err(error) => return log::error!("init does not tell what is wanted: {error}"),
        }
        for index in 0..self.wanted.len() {
            self.settle_one(index);
        }
    }

    fn settle_one(&mut self, index: usize) {
        let Some(wanted) = self.wanted.get(index) else { return };
        match (wanted.state, wanted.provided.clone()) {
            (DeviceState::Unsettled, _) => self.find(index),
            (DeviceState::Held, Some(provided)) => self.give(index, provided),
            (DeviceState::Ended, Some(provided)) => self.recover(index, provided),
            (DeviceState::Ready | DeviceState::Absent, _)
            | (DeviceState::Held | DeviceState::Ended, None) => {}
        }
    }

    fn find(&mut self, index: usize) {
        let taken = claim::taken(&self.wanted);
        let Some(wanted) = self.wanted.get(index) else { return };
        let machine = Machine {
            firmware: &self.firmware,
            functions: &self.functions,
            routes: &self.routes,
            routes_are_known: self.routes_are_known,
        };
        let (space, memory) = (&mut self.space, &mut self.memory);
        match claim::decide(machine, space, memory, wanted, &taken) {
            Decision::Provide(provided, notes) => {
                for note in notes {
                    log::warn!("{}: {note}", wanted.name);
                }
                self.give(index, *provided);
            }
            Decision::AwaitRoutes(address) => log::info!(
                "{} is PCI function {address}, which has no messages: it waits for the routes of \
                 interrupt pins",
                wanted.name
            ),
            Decision::Absent(reason) => self.absent(index, &reason.to_string()),
        }
    }

    /// Gives a device that is quiet to its driver.
    fn give(&mut self, index: usize, provided: Provided) {
        let Some(wanted) = self.wanted.get_mut(index) else { return };
        let name = wanted.name.clone();
        let is_first = wanted.provided.is_none();
        let wiring = match self.init.provide(&name, &provided) {
            Ok(wiring) => wiring,
            Err(error) => return self.absent(index, &error.to_string()),
        };
        wanted.state = DeviceState::Held;
        wanted.provided = Some(provided.clone());
        let interrupt = match self.wire(index, &provided, &wiring) {
            Ok(interrupt) => interrupt,
            Err(error) => return self.absent(index, &error),
        };
        match self.init.ready(&name) {
            Ok(()) if is_first => log::info!("{name} is {}", claim::words(&provided, interrupt)),
            Ok(()) => log::debug!("{name} was reset and wired again"),
            Err(error) => return log::error!("{name}: init does not take it: {error}"),
        }
        if let Some(wanted) = self.wanted.get_mut(index) {
            wanted.state = DeviceState::Ready;
        }
        self.journal.note(Event::Given(number(index)));
    }

    /// Lets a device reach memory and interrupt.
    fn wire(
        &mut self,
        index: usize,
        provided: &Provided,
        wiring: &Wiring,
    ) -> Result<Interrupt, String> {
        let Some(address) = claim::address(provided) else { return Ok(Interrupt::None) };
        let function = self.function(address).ok_or("the function is gone")?.clone();
        // Firmware may have left it at work.
        reset::quiet(&mut self.space, &function);
        for bridge in self.bridges_above(&function) {
            wire::open_bridge(&mut self.space, bridge);
        }
        if reset::wake(&mut self.space, &function) {
            let until = self.clock.now() + WAKING;
            self.clock.wait_until(until);
        }
        let message = self.admit(&Device::wired(address, index, wiring), wiring)?;
        let interrupt = claim::interrupt_of(&function, provided);
        let (space, memory) = (&mut self.space, &mut self.memory);
        match wire::wire(space, memory, &function, interrupt, message) {
            Ok(()) => Ok(interrupt),
            Err(error) => {
                self.shut_out(address)?;
                Err(error.to_string())
            }
        }
    }

    /// Has the IOMMU let a device reach its driver's memory; the message by which it interrupts.
    fn admit(
        &mut self,
        device: &Device,
        wiring: &Wiring,
    ) -> Result<Option<InterruptMessage>, String> {
        self.shut_out(device.address)?;
        let Some(guard) = &mut self.guard else { return Ok(wiring.message) };
        match guard.attach(device) {
            Ok(Protection::Translated(Some(message))) => Ok(Some(message.into())),
            Ok(Protection::Translated(None)) => Ok(wiring.message),
            Ok(Protection::Trusted) => {
                log::warn!("no IOMMU is for {}: its driver is trusted with DMA", device.address);
                Ok(wiring.message)
            }
            Err(error) => Err(format!("the IOMMU does not take {}: {error}", device.address)),
        }
    }

    /// Has the IOMMU keep a quiet device from everything.
    fn shut_out(&mut self, address: PciAddress) -> Result<(), String> {
        let Some(guard) = &mut self.guard else { return Ok(()) };
        guard.detach(address).map_err(|error| format!("the IOMMU keeps {address}: {error}"))
    }

    /// Takes a device back whose driver has ended, and gives it to the next instance.
    fn recover(&mut self, index: usize, provided: Provided) {
        if let Some(address) = claim::address(&provided)
            && let Err(error) = self.reset(address, &provided)
        {
            return self.absent(index, &error);
        }
        self.give(index, provided);
    }

    fn reset(&mut self, address: PciAddress, provided: &Provided) -> Result<(), String> {
        let function = self.function(address).ok_or("the function is gone")?.clone();
        reset::quiet(&mut self.space, &function);
        self.journal.note(Event::Quiet(address));
        let mut reset = Reset::begin(&mut self.space, &function);
        let outcome = loop {
            let now = self.clock.now();
            match reset.step(&mut self.space, now) {
                Step::Until(time) => self.clock.wait_until(time),
                Step::Done(outcome) => break outcome,
            }
        };
        self.shut_out(address)?;
        if outcome.pending {
            log::warn!("PCI function {address} still had transactions under way when it was reset");
        }
        if !outcome.alive {
            return Err(format!("PCI function {address} does not answer after {}", outcome.method));
        }
        if outcome.method != Method::None
            && let DeviceIdentity::Pci { config, .. } = &provided.identity
        {
            reset::restore(&mut self.space, &function, config);
        }
        self.journal.note(Event::Reset(address));
        Ok(())
    }

    fn absent(&mut self, index: usize, reason: &str) {
        let Some(wanted) = self.wanted.get_mut(index) else { return };
        let WantedDevice { name, driver, .. } = &*wanted;
        // One that never was is no problem, but a machine without it.
        if wanted.provided.is_some() {
            self.unusable.push(format!("`{name}`, for {driver}: {reason}"));
        }
        match self.init.absent(name, reason) {
            Ok(()) => {
                wanted.state = DeviceState::Absent;
                self.journal.note(Event::Absent(number(index)));
            }
            Err(error) => log::error!("{name} is absent ({reason}), and init refuses: {error}"),
        }
    }

    fn function(&self, address: PciAddress) -> Option<&Function> {
        self.functions.iter().find(|function| function.address == address)
    }

    /// The bridges that lead to a function, the nearest first.
    fn bridges_above(&self, function: &Function) -> Vec<PciAddress> {
        let mut bridges: Vec<PciAddress> = Vec::new();
        let mut parent = function.parent;
        while let Some(bridge) = parent.and_then(|index| self.functions.get(index)) {
            // Numbers that lead upwards in a circle were refused when the buses were walked.
            if bridges.contains(&bridge.address) {
                break;
            }
            bridges.push(bridge.address);
            parent = bridge.parent;
        }
        bridges
    }
}

/// What the IOMMU tells.
impl<I: Init, C: Clock, S: ConfigSpace, M: DeviceMemory> Core<I, C, S, M> {
    /// Notes what devices were kept from since the last time, and says it in the log.
    pub fn look_for_faults(&mut self) {
        let faults = self.guard.as_mut().map(|guard| guard.faults()).unwrap_or_default();
        for fault in &faults {
            self.journal.note(Event::Kept(*fault));
            log::warn!("{fault}");
        }
        let known = self.faults.len() + faults.len();
        self.faults.drain(..known.saturating_sub(MOST_FAULTS).min(self.faults.len()));
        self.faults.extend(faults.into_iter().rev().take(MOST_FAULTS).rev());
    }

    /// How the IOMMU's units are.
    #[must_use]
    pub fn units(&self) -> Vec<IommuUnit> {
        let guard = self.guard.iter();
        guard.flat_map(|guard| guard.report()).map(IommuUnit::from).collect()
    }

    /// What devices were kept from lately, in words, the oldest first.
    pub fn faults(&self) -> impl Iterator<Item = String> {
        self.faults.iter().map(Fault::to_string)
    }
}

/// What it is told.
impl<I: Init, C: Clock, S: ConfigSpace, M: DeviceMemory> Core<I, C, S, M> {
    /// Takes routes of interrupt pins from this caller; devices that waited for them are settled
    /// with the last. Whether the caller is believed: the first one is, and no other.
    pub fn report_routes(&mut self, caller: u64, routes: Vec<Route>, last: bool) -> bool {
        if !self.believes(caller) {
            return false;
        }
        self.journal.note(Event::Routes(number(routes.len())));
        self.routes.extend(routes);
        if last && !core::mem::replace(&mut self.routes_are_known, true) {
            log::info!(
                "the firmware's bytecode tells {} routes of interrupt pins",
                self.routes.len()
            );
            self.settle();
        }
        true
    }

    /// Takes what has to be written to switch off. Whether the caller is believed.
    pub fn report_sleep_types(&mut self, caller: u64, a: u8, b: u8) -> bool {
        let believed = self.believes(caller);
        if believed && let Err(error) = self.init.sleep_types(a, b) {
            log::error!("init does not take how to switch off: {error}");
        }
        believed
    }

    /// Whether this caller is the one who tells what the firmware's bytecode says.
    fn believes(&mut self, caller: u64) -> bool {
        *self.reporter.get_or_insert(caller) == caller
    }
}

/// What it tells.
impl<I: Init, C: Clock, S: ConfigSpace, M: DeviceMemory> Core<I, C, S, M> {
    /// What the tables tell.
    #[must_use]
    pub const fn firmware(&self) -> &Firmware {
        &self.firmware
    }

    /// What the server counts and notes.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The tables.
    pub fn tables(&self) -> impl Iterator<Item = TableInfo> {
        self.firmware.directory.tables.iter().map(|table| {
            let header = table.header;
            let maker = header.map_or_else(String::new, |header| {
                let letters = |bytes: &[u8]| {
                    let shown = bytes.iter().take_while(|byte| **byte != 0);
                    let shown =
                        shown.map(|&b| if (b' '..0x7f).contains(&b) { b.into() } else { '.' });
                    shown.collect::<String>().trim().to_string()
                };
                format!("{} {}", letters(&header.oem), letters(&header.oem_table))
            });
            TableInfo {
                name: table.signature().map_or_else(|| "????".to_string(), name),
                address: table.address,
                bytes: header.map_or(0, |header| header.length.get()),
                revision: header.map_or(0, |header| header.revision),
                maker: maker.trim().to_string(),
                problem: table.bytes.as_ref().err().map(ToString::to_string),
            }
        })
    }

    /// The PCI functions, with for whom they are.
    pub fn devices(&self) -> impl Iterator<Item = DeviceInfo> {
        self.functions.iter().map(|function| {
            let info = describe(&self.functions, function, &self.routes);
            DeviceInfo { claim: self.claim(function.address), ..info }
        })
    }

    fn claim(&self, address: PciAddress) -> Option<Claim> {
        let is_it = |wanted: &&WantedDevice| {
            wanted.state != DeviceState::Absent
                && wanted.provided.as_ref().and_then(claim::address) == Some(address)
        };
        let wanted = self.wanted.iter().find(is_it)?;
        let WantedDevice { name, driver, state, .. } = wanted;
        Some(Claim { name: name.clone(), driver: driver.clone(), state: *state })
    }

    /// Asks init how the devices stand now; what was known before stays if init does not tell.
    pub fn refresh(&mut self) {
        if let Ok(wanted) = self.init.wanted() {
            self.wanted = wanted;
        }
    }

    /// Four bytes of configuration space.
    pub fn configuration(&mut self, address: PciAddress, offset: u16) -> u32 {
        self.space.read(address, offset)
    }

    /// What is wrong, in words.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        let tables = self.firmware.problems().into_iter();
        let functions = self.wrong.iter().map(ToString::to_string);
        let cut = self.cut.then(|| "there are more PCI functions than are read".to_string());
        let unrouted = self.functions.iter().filter_map(|function| self.unrouted(function));
        tables.chain(functions).chain(cut).chain(unrouted).chain(self.unusable.iter().cloned())
    }

    /// That a function could interrupt only by a pin of which nobody says where it leads.
    fn unrouted(&self, function: &Function) -> Option<String> {
        let interrupt = crate::pci::route::interrupt(&self.functions, function, &self.routes);
        let is_device = matches!(function.kind, Kind::Device { .. });
        let Interrupt::Unrouted { .. } = interrupt else { return None };
        let address = function.address;
        // Before the routes are told nothing is wrong.
        let is_known = self.routes_are_known && is_device;
        is_known.then(|| format!("PCI function {address} has neither MSI nor a route"))
    }

    /// The machine in a line.
    #[must_use]
    pub fn summary(&self) -> String {
        let tables = self.firmware.directory.tables.len();
        let nodes = crate::nodes::nodes(&self.firmware).len();
        let mut buses: Vec<_> =
            self.functions.iter().map(|f| (f.address.segment, f.address.bus)).collect();
        buses.dedup();
        let functions = self.functions.len();
        format!(
            "{tables} ACPI tables, {nodes} node(s), {functions} PCI functions on {} bus(es)",
            buses.len()
        )
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The functions that drivers hold, which are only read.
fn held(wanted: &[WantedDevice]) -> Vec<Held> {
    let provided = wanted.iter().filter_map(|device| device.provided.as_ref());
    provided
        .filter_map(|provided| {
            Some(Held { address: claim::address(provided)?, sizes: sizes(provided) })
        })
        .collect()
}

/// What the base address registers of a held function open, as far as its driver got it.
fn sizes(provided: &Provided) -> [u64; BARS] {
    let mut sizes = [0u64; BARS];
    for window in &provided.windows {
        if let Some(size) = sizes.get_mut(usize::from(window.bar)) {
            let end = window.offset.saturating_add(window.bytes);
            // A page that is withheld at the end is a part of it: sizes are powers of two.
            *size = (*size).max(end.checked_next_power_of_two().unwrap_or(0));
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acpi::samples;
    use crate::iommu::remapping::Message;
    use crate::iommu::unit::UnitError;
    use crate::iommu::units::Report;
    use crate::pci::config::read16;
    use crate::pci::model::{Memory, Model, Node, any_node, bridge, device};
    use crate::pci::reset::{BUS_MASTERING, COMMAND};
    use libd3os::image::{AcpiDevice, PciId};
    use libd3os::service::devices::{InterruptMessage, ProvidedInterrupt};
    use libd3os::service::platform::Signal;
    use proptest::prelude::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Init as its interface describes it, and what it was asked.
    #[derive(Clone, Debug, Default)]
    struct Supervisor(Rc<RefCell<Inner>>);

    #[derive(Debug, Default)]
    struct Inner {
        wanted: Vec<WantedDevice>,
        asked: Vec<String>,
        /// Names of devices that are refused.
        refused: Vec<String>,
    }

    impl Supervisor {
        fn wanting(devices: Vec<WantedDevice>) -> Self {
            Self(Rc::new(RefCell::new(Inner { wanted: devices, ..Inner::default() })))
        }

        fn change(&self, name: &str, change: impl FnOnce(&mut WantedDevice)) {
            let mut inner = self.0.borrow_mut();
            change(inner.wanted.iter_mut().find(|device| device.name == name).expect("wanted"));
        }

        fn end(&self, name: &str) {
            self.change(name, |device| device.state = DeviceState::Ended);
        }

        fn take_asked(&self) -> Vec<String> {
            core::mem::take(&mut self.0.borrow_mut().asked)
        }

        fn provided(&self, name: &str) -> Provided {
            let inner = self.0.borrow();
            let device = inner.wanted.iter().find(|device| device.name == name).expect("wanted");
            device.provided.clone().expect("provided")
        }
    }

    impl Init for Supervisor {
        type Error = &'static str;

        fn wanted(&mut self) -> Result<Vec<WantedDevice>, &'static str> {
            Ok(self.0.borrow().wanted.clone())
        }

        fn provide(&mut self, name: &str, provided: &Provided) -> Result<Wiring, &'static str> {
            let mut inner = self.0.borrow_mut();
            if inner.refused.iter().any(|refused| refused == name) {
                return Err("it belongs to another");
            }
            inner.asked.push(format!("provide {name}"));
            drop(inner);
            self.change(name, |device| {
                if let Some(before) = &device.provided {
                    assert_eq!(before, provided, "the same is told of what is held");
                }
                device.provided = Some(provided.clone());
                if device.state == DeviceState::Unsettled {
                    device.state = DeviceState::Held;
                }
            });
            let is_message = provided.interrupt == ProvidedInterrupt::Message;
            let message = InterruptMessage { address: 0xfee0_0000, data: 0x51 };
            Ok(Wiring { message: is_message.then_some(message), dma: Vec::new() })
        }

        fn ready(&mut self, name: &str) -> Result<(), &'static str> {
            self.0.borrow_mut().asked.push(format!("ready {name}"));
            self.change(name, |device| device.state = DeviceState::Ready);
            Ok(())
        }

        fn absent(&mut self, name: &str, reason: &str) -> Result<(), &'static str> {
            self.0.borrow_mut().asked.push(format!("absent {name}: {reason}"));
            self.change(name, |device| device.state = DeviceState::Absent);
            Ok(())
        }

        fn sleep_types(&mut self, a: u8, b: u8) -> Result<(), &'static str> {
            self.0.borrow_mut().asked.push(format!("sleep types {a} and {b}"));
            Ok(())
        }
    }

    #[derive(Debug, Default)]
    struct Time(Duration);

    impl Clock for Time {
        fn now(&mut self) -> Duration {
            self.0
        }

        fn wait_until(&mut self, time: Duration) {
            assert!(time > self.0);
            self.0 = time;
        }
    }

    type Tested<'a> = Core<Supervisor, Time, &'a mut Model, Memory>;

    fn wanted(name: &str, pci: &[(u16, u16)]) -> WantedDevice {
        WantedDevice {
            name: name.into(),
            driver: format!("{name}-driver"),
            pci: pci.iter().map(|&(vendor, device)| PciId { vendor, device }).collect(),
            acpi: None,
            boot: None,
            state: DeviceState::Unsettled,
            provided: None,
        }
    }

    fn of_table(name: &str, table: AcpiDevice) -> WantedDevice {
        WantedDevice { acpi: Some(table), ..wanted(name, &[]) }
    }

    fn started<'a>(
        init: &Supervisor,
        model: &'a mut Model,
        machine: &samples::Machine,
    ) -> Tested<'a> {
        let firmware = Firmware::read(&machine.root, &machine.memory()[..]);
        // The event timer's first comparator can be routed to these inputs.
        let mut memory = Memory::default();
        memory.0.insert(0xfed0_0104, 0x00ff_0104);
        let segments = [(0, 0, 255)];
        let mut core = Core::new(init.clone(), Time::default(), model, memory, firmware, &segments)
            .expect("init tells");
        core.settle();
        core
    }

    const NIC: (u16, u16) = (0x8086, 0x10d3);
    const OLD: (u16, u16) = (0x10ec, 0x8139);

    /// A card with messages and a reset.
    fn nic() -> Node {
        device(NIC.0, NIC.1)
            .capabilities(&[(0xa0, 0x11, &[0x0004_0000, 3]), (0xe0, 0x10, &[0x0002_0000, 1 << 28])])
            .bar(0, 0xfeb8_0000, 0x2_0000)
            .bar(3, 0xfebd_0000, 0x4000)
            .writable(0xa0, 0xc000_0000)
            .reset_by(Method::Express(0xe0))
    }

    /// A card with a pin only.
    fn old() -> Node {
        device(OLD.0, OLD.1).bar(1, 0xfebe_0000, 0x1000).with(0x3c, 0x0100)
    }

    fn at(bus: u8, device: u8) -> PciAddress {
        PciAddress { segment: 0, bus, device, function: 0 }
    }

    fn command(model: &mut Model, address: PciAddress) -> u16 {
        read16(model, address, COMMAND)
    }

    fn machine() -> Model {
        let mut model = Model::default();
        model.put(0, 1, 0, bridge(1, 1));
        model.put(1, 0, 0, nic());
        model.put(0, 2, 0, old());
        model
    }

    fn devices() -> Vec<WantedDevice> {
        vec![
            wanted("nic", &[(1, 1), NIC]),
            wanted("old", &[OLD]),
            wanted("none", &[(2, 2)]),
            of_table("hpet", AcpiDevice::Hpet),
            of_table("pmem", AcpiDevice::Nfit),
        ]
    }

    #[test]
    fn devices_go_to_their_drivers_and_what_is_missing_is_told() {
        let (init, mut model) = (Supervisor::wanting(devices()), machine());
        let core = started(&init, &mut model, &samples::Machine::q35());
        assert_eq!(
            init.take_asked(),
            [
                "provide nic",
                "ready nic",
                "absent none: there is no such PCI function",
                "provide hpet",
                "ready hpet",
                "provide pmem",
                "ready pmem",
            ]
        );
        assert_eq!(core.problems().count(), 0, "that a card waits for routes is no problem");
        assert_eq!(core.summary(), "12 ACPI tables, 2 node(s), 3 PCI functions on 2 bus(es)");
        assert_ne!(command(&mut model, at(1, 0)) & BUS_MASTERING, 0);
        assert_ne!(command(&mut model, at(0, 1)) & BUS_MASTERING, 0, "the bridge above it");
        assert_eq!(command(&mut model, at(0, 2)) & BUS_MASTERING, 0);
        let nic = init.provided("nic");
        let windows: Vec<_> = nic.windows.iter().map(|w| (w.bar, w.offset, w.bytes)).collect();
        assert_eq!(windows, [(0, 0, 0x2_0000), (3, 0x1000, 0x3000)]);
        let hpet = init.provided("hpet");
        let pin = ProvidedInterrupt::Pin { gsi: 23, level: false, low: false };
        assert_eq!((hpet.interrupt, hpet.windows[0].paddr), (pin, 0xfed0_0000));
        let pmem = init.provided("pmem");
        assert_eq!((pmem.windows[0].paddr, pmem.windows[0].bytes), (1 << 32, 64 << 20));
    }

    #[test]
    fn what_waits_for_routes_is_settled_with_the_last_of_them() {
        let route = |device, gsi| Route {
            segment: 0,
            bus: 0,
            device,
            pin: 1,
            gsi,
            signal: Signal { level_triggered: true, active_low: true },
        };
        let run = |routes: Vec<Route>| {
            let (init, mut model) = (Supervisor::wanting(vec![wanted("old", &[OLD])]), machine());
            let mut core = started(&init, &mut model, &samples::Machine::q35());
            assert_eq!(init.take_asked(), Vec::<String>::new());
            assert!(core.report_routes(7, Vec::new(), false));
            assert!(!core.report_routes(8, Vec::new(), true), "another caller");
            assert!(core.report_routes(7, routes, true));
            let unrouted = core.problems().any(|text| text.ends_with("neither MSI nor a route"));
            assert_eq!(unrouted, !core.routes.lead_to(18));
            init.take_asked()
        };
        assert_eq!(run(vec![route(3, 17), route(2, 18)]), ["provide old", "ready old"]);
        let nobody = "absent old: PCI function 00:02.0 has neither MSI nor a route";
        assert_eq!(run(vec![route(3, 17)]), [nobody]);
    }

    #[test]
    fn a_device_whose_driver_has_ended_is_reset_and_given_again() {
        let (init, mut model) = (Supervisor::wanting(devices()), machine());
        let mut core = started(&init, &mut model, &samples::Machine::q35());
        init.take_asked();
        let before = init.provided("nic");
        init.end("nic");
        init.end("hpet");
        core.settle();
        assert_eq!(init.take_asked(), ["provide nic", "ready nic", "provide hpet", "ready hpet"]);
        assert_eq!(core.clock.0, Duration::from_millis(100));
        assert_eq!(init.provided("nic"), before);
        assert_eq!(model.nodes[&at(1, 0)].behaviour.resets, 1);
        assert_ne!(command(&mut model, at(1, 0)) & BUS_MASTERING, 0);
        assert_eq!(model.read(at(1, 0), 0x10), 0xfeb8_0000, "its address is restored");
    }

    #[test]
    fn a_device_that_does_not_come_back_is_absent_and_told() {
        let mut slow = nic();
        slow.behaviour.slow = u32::MAX;
        let (init, mut model) = (Supervisor::wanting(vec![wanted("nic", &[NIC])]), machine());
        model.put(1, 0, 0, slow);
        let mut core = started(&init, &mut model, &samples::Machine::q35());
        init.take_asked();
        init.end("nic");
        core.settle();
        let reason = "PCI function 01:00.0 does not answer after a function-level reset";
        assert_eq!(init.take_asked(), [format!("absent nic: {reason}")]);
        assert!(
            core.problems().any(|problem| problem == format!("`nic`, for nic-driver: {reason}"))
        );
    }

    /// Init's notes and an IOMMU's, in one list.
    #[derive(Clone, Debug)]
    struct Recording {
        init: Supervisor,
        refuses: bool,
    }

    impl Recording {
        fn note(&self, what: String) {
            self.init.0.borrow_mut().asked.push(what);
        }
    }

    impl Guard for Recording {
        fn attach(&mut self, device: &Device) -> Result<Protection, UnitError> {
            self.note(format!("attach {} with {:?}", device.address, device.interrupt));
            if self.refuses {
                return Err(UnitError::Message);
            }
            Ok(Protection::Translated(Some(Message { address: 0xfee0_0010, data: 0 })))
        }

        fn detach(&mut self, device: PciAddress) -> Result<(), UnitError> {
            self.note(format!("detach {device}"));
            Ok(())
        }

        fn faults(&mut self) -> Vec<Fault> {
            Fault::decode(0, [0x1000, 0, 0x20, 0x8000_0005]).into_iter().cycle().take(20).collect()
        }

        fn report(&self) -> Vec<Report> {
            Vec::new()
        }
    }

    const ATTACH: &str = "attach 01:00.0 with Some((0, Message { address: 4276092928, data: 81 }))";

    fn guarded<'a>(init: &Supervisor, model: &'a mut Model, refuses: bool) -> Tested<'a> {
        let machine = samples::Machine::q35();
        let firmware = Firmware::read(&machine.root, &machine.memory()[..]);
        let memory = Memory::default();
        let mut core =
            Core::new(init.clone(), Time::default(), model, memory, firmware, &[(0, 0, 255)])
                .expect("init tells");
        core.protect(|dmar, functions, held| {
            assert_eq!((dmar.units.len(), functions.len()), (1, 3));
            let init = init.clone();
            let guard = Recording { init, refuses };
            held.iter().for_each(|device| guard.note(format!("held {}", device.address)));
            Some(Box::new(guard))
        });
        core.settle();
        core
    }

    #[test]
    fn the_iommu_admits_a_device_before_it_works_and_shuts_it_out_when_it_is_quiet() {
        let init = Supervisor::wanting(vec![wanted("nic", &[NIC])]);
        let mut model = machine();
        let mut core = guarded(&init, &mut model, false);
        assert_eq!(init.take_asked(), ["provide nic", "detach 01:00.0", ATTACH, "ready nic"]);
        init.end("nic");
        core.settle();
        let again = ["detach 01:00.0", "provide nic", "detach 01:00.0", ATTACH, "ready nic"];
        assert_eq!(init.take_asked(), again);
        // It interrupts by the entry that it got.
        let table = core.memory.0.clone();
        assert!(table.values().any(|word| *word == 0xfee0_0010), "{table:x?}");
        // A restarted server has the IOMMU started with what drivers hold.
        drop(core);
        drop(guarded(&init, &mut model, false));
        assert_eq!(init.take_asked(), ["provide nic", "held 01:00.0"]);
    }

    #[test]
    fn a_device_that_the_iommu_does_not_take_never_works() {
        let init = Supervisor::wanting(vec![wanted("nic", &[NIC])]);
        let mut model = machine();
        drop(guarded(&init, &mut model, true));
        let reason = "absent nic: the IOMMU does not take 01:00.0: the device's interrupt is of an \
                      unknown kind";
        assert_eq!(init.take_asked(), ["provide nic", "detach 01:00.0", ATTACH, reason]);
        assert_eq!(command(&mut model, at(1, 0)) & BUS_MASTERING, 0);
    }

    #[test]
    fn what_devices_were_kept_from_is_remembered_within_bounds() {
        let init = Supervisor::wanting(Vec::new());
        let mut model = machine();
        let mut core = guarded(&init, &mut model, false);
        for _ in 0..3 {
            core.look_for_faults();
        }
        let faults: Vec<String> = core.faults().collect();
        assert_eq!(faults.len(), MOST_FAULTS);
        assert_eq!(faults[0], "device 00:04.0 was kept from writing 0x1000 (no mapping)");
    }

    #[test]
    fn a_restart_of_this_server_disturbs_no_driver() {
        let (init, mut model) = (Supervisor::wanting(devices()), machine());
        drop(started(&init, &mut model, &samples::Machine::q35()));
        init.take_asked();
        let (before, writes) = (model.nodes[&at(1, 0)].clone(), model.writes_to(at(1, 0)));
        let mut core = started(&init, &mut model, &samples::Machine::q35());
        assert_eq!(init.take_asked(), Vec::<String>::new());
        let sizes: Vec<_> =
            core.devices().map(|d| d.bars.iter().map(|b| b.size).collect::<Vec<_>>()).collect();
        assert_eq!(sizes, [vec![], vec![0x1000], vec![0x2_0000, 0x4000]]);
        // Nor does it matter to the new instance that its predecessor gave it.
        init.end("nic");
        core.settle();
        assert_eq!(init.take_asked(), ["provide nic", "ready nic"]);
        drop(core);
        assert_eq!(before.behaviour.resets + 1, model.nodes[&at(1, 0)].behaviour.resets);
        assert!(model.writes_to(at(1, 0)) > writes);
    }

    #[test]
    fn the_new_instance_writes_nothing_to_what_is_held() {
        let (init, mut model) = (Supervisor::wanting(devices()), machine());
        drop(started(&init, &mut model, &samples::Machine::q35()));
        let writes = model.writes_to(at(1, 0));
        drop(started(&init, &mut model, &samples::Machine::q35()));
        assert_eq!(model.writes_to(at(1, 0)), writes);
    }

    #[test]
    fn what_a_predecessor_left_half_done_is_finished() {
        let (init, mut model) = (Supervisor::wanting(devices()), machine());
        drop(started(&init, &mut model, &samples::Machine::q35()));
        init.change("nic", |nic| nic.state = DeviceState::Held);
        init.take_asked();
        drop(started(&init, &mut model, &samples::Machine::q35()));
        assert_eq!(init.take_asked(), ["provide nic", "ready nic"]);
    }

    #[test]
    fn two_of_a_kind_go_to_two_drivers_and_a_refusal_costs_one() {
        let twice =
            vec![wanted("first", &[NIC]), wanted("second", &[NIC]), wanted("third", &[NIC])];
        let (init, mut model) = (Supervisor::wanting(twice), machine());
        model.put(0, 5, 0, nic());
        init.0.borrow_mut().refused.push("first".into());
        let mut core = started(&init, &mut model, &samples::Machine::q35());
        let refused = "absent first: it belongs to another";
        let none = "absent third: there is no such PCI function";
        let asked = [refused, "provide second", "ready second", "provide third", "ready third"];
        assert_eq!(init.take_asked(), asked, "{none}");
        let claims: Vec<_> =
            core.devices().filter_map(|d| Some((d.address, d.claim?.name))).collect();
        assert_eq!(claims, [(at(0, 5), "second".into()), (at(1, 0), "third".into())]);
        core.refresh();
    }

    #[test]
    fn how_to_switch_off_is_believed_of_one_program() {
        let (init, mut model) = (Supervisor::wanting(Vec::new()), machine());
        let mut core = started(&init, &mut model, &samples::Machine::pc());
        assert!(core.report_sleep_types(5, 7, 0));
        assert!(!core.report_sleep_types(6, 1, 1));
        assert!(!core.report_routes(6, Vec::new(), true));
        assert_eq!(init.take_asked(), ["sleep types 7 and 0"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Whatever the tables and the functions say: every device is settled, nobody reaches memory
        /// who was not given to a driver, every window is whole pages, and what a driver held is
        /// given again or named as lost.
        #[test]
        fn any_machine_is_survived(
            changes in samples::changes(),
            is_q35: bool,
            nodes in prop::collection::vec((0u8..4, 0u8..4, 0u8..2, any_node(), any::<bool>()), 0..20),
            ended in prop::collection::vec(any::<bool>(), 5),
        ) {
            let mut machine = if is_q35 { samples::Machine::q35() } else { samples::Machine::pc() };
            machine.damage(&changes);
            let mut model = Model::default();
            for (bus, device, function, node, is_nic) in nodes {
                let nic = u32::from(NIC.1) << 16 | u32::from(NIC.0);
                let node = if is_nic { node.with(0, nic) } else { node };
                model.put(bus, device, function, node);
            }
            let mut devices = devices();
            devices.push(wanted("second", &[NIC]));
            let init = Supervisor::wanting(devices);
            let mut core = started(&init, &mut model, &machine);
            core.report_routes(1, Vec::new(), true);
            let given: Vec<_> = core.devices().filter(|d| d.claim.is_some()).map(|d| d.address).collect();
            let addresses: Vec<_> = core.devices().map(|d| d.address).collect();
            let bridges: Vec<_> =
                core.devices().filter(|d| d.buses.is_some()).map(|d| d.address).collect();
            prop_assert!(core.tables().count() + core.problems().count() < 5000);
            for device in &init.0.borrow().wanted {
                prop_assert!(matches!(device.state, DeviceState::Ready | DeviceState::Absent));
                for window in device.provided.iter().flat_map(|provided| &provided.windows) {
                    prop_assert!(window.bytes > 0 && (window.paddr | window.bytes) % 4096 == 0);
                }
            }
            let before: Vec<_> = addresses
                .iter()
                .filter(|at| !given.contains(at) && !bridges.contains(at))
                .map(|at| (*at, command(core.space, *at)))
                .collect();
            for (device, is_ended) in init.0.borrow_mut().wanted.iter_mut().zip(ended) {
                if is_ended && device.state == DeviceState::Ready {
                    device.state = DeviceState::Ended;
                }
            }
            core.settle();
            for device in &init.0.borrow().wanted {
                prop_assert!(matches!(device.state, DeviceState::Ready | DeviceState::Absent));
            }
            for (at, command_before) in before {
                prop_assert_eq!(command(core.space, at), command_before);
            }
        }
    }
}
