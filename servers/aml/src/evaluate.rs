//! Asking the bytecode.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use acpi::aml::namespace::{AmlName, NameSeg};
use acpi::aml::object::{Object, WrappedObject};
use acpi::aml::{AmlError, Interpreter};
use libd3os::service::platform::{PciAddress, Route};

use crate::machine::{Access, Machine, Refused};
use crate::resource::{self, Interrupt};
use crate::routes::{self, Entry, Leads};

/// Bytes of a table's header, and where in it the revision is.
const HEADER_BYTES: usize = 36;
const REVISION: usize = 8;
/// What `_PIC` is told: interrupts are I/O APICs'.
const APIC_MODE: u64 = 1;
/// Host bridges: PCI, and PCI Express, as numbers and as text (ACPI 6.5, section 5.6.7).
const HOST_BRIDGES: [(u64, &str); 2] = [(0x030a_d041, "PNP0A03"), (0x080a_d041, "PNP0A08")];
/// Where a bridge's configuration space tells the bus behind it, and what it is.
const BUSES: u16 = 0x18;
const LAYOUT: u16 = 0x0c;
/// Deepest name.
const DEEPEST: usize = 64;

/// Something that the bytecode says. Each is told as soon as it is known: what comes later may never come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// What to write to the sleep types of both power management registers to switch off.
    SleepTypes(u8, u8),
    /// Where the interrupt pins of the devices on a bus lead.
    Routes(Vec<Route>),
    /// What could not be found out, in words.
    Problem(String),
}

/// The tables hold no bytecode that can be loaded.
#[derive(Clone, Debug)]
pub enum LoadError {
    /// The main table is shorter than a header.
    TooShort,
    /// The interpreter could not be set up.
    SetUp,
    /// The main table does not make sense to the interpreter.
    Table(AmlError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("the main table is too short"),
            Self::SetUp => f.write_str("the interpreter cannot be set up"),
            Self::Table(error) => write!(f, "the main table cannot be loaded: {error:?}"),
        }
    }
}

impl core::error::Error for LoadError {}

/// Evaluates the bytecode of the main table (DSDT) and the further ones (SSDT), and tells what it
/// finds; returns what the bytecode wanted to touch and could not.
///
/// # Errors
/// [`LoadError`]. A further table that cannot be loaded is a problem among the findings.
///
/// # Panics
/// Where the interpreter does.
pub fn evaluate<M: Machine>(
    main: &[u8],
    further: &[Vec<u8>],
    machine: Rc<M>,
    tell: impl FnMut(Finding),
) -> Result<Refused, LoadError> {
    let access = Access::new(machine);
    let revision = *main.get(REVISION).ok_or(LoadError::TooShort)?;
    let code = main.get(HEADER_BYTES..).ok_or(LoadError::TooShort)?;
    let registers = access.fixed_registers().map_err(|_| LoadError::SetUp)?;
    let interpreter = Interpreter::new(access.clone(), revision, registers, None);
    interpreter.load_table(code).map_err(LoadError::Table)?;
    let mut evaluation = Evaluation { interpreter, access, tell };
    evaluation.find_sleep_types();
    evaluation.load_further(further);
    evaluation.interpreter.initialize_namespace();
    evaluation.choose_apics();
    evaluation.find_routes();
    Ok(evaluation.access.refused())
}

struct Evaluation<M: Machine, T> {
    interpreter: Interpreter<Access<M>>,
    access: Access<M>,
    tell: T,
}

impl<M: Machine, T: FnMut(Finding)> Evaluation<M, T> {
    fn load_further(&mut self, tables: &[Vec<u8>]) {
        for (number, table) in tables.iter().enumerate() {
            let code = table.get(HEADER_BYTES..).unwrap_or(&[]);
            if let Err(error) = self.interpreter.load_table(code) {
                self.problem(format!("table {} of the further ones: {error:?}", number + 1));
            }
        }
    }

    /// Says that interrupts go to I/O APICs, before anybody asks where they lead.
    fn choose_apics(&mut self) {
        let Some(name) = absolute("\\_PIC") else { return };
        let mode = Object::Integer(APIC_MODE).wrap();
        if let Err(error) = self.interpreter.evaluate_if_present(name, Vec::from([mode])) {
            self.problem(format!("\\_PIC: {error:?}"));
        }
    }

    fn find_sleep_types(&mut self) {
        let Some(package) = absolute("\\_S5").and_then(|name| self.object(name)) else { return };
        let Object::Package(fields) = &*package else {
            return self.problem("\\_S5 is no package".to_string());
        };
        let mut types = fields.iter().map(sleep_type);
        match (types.next().flatten(), types.next().flatten()) {
            (Some(a), b) => (self.tell)(Finding::SleepTypes(a, b.unwrap_or(a))),
            (None, _) => self.problem("\\_S5 has no sleep types".to_string()),
        }
    }

    fn find_routes(&mut self) {
        for device in self.devices_with("_PRT") {
            if !self.is_present(&device) {
                continue;
            }
            match self.bus(&device, DEEPEST) {
                Some((segment, bus)) => self.add_table(&device, segment, bus),
                None => self.problem(format!("{device} has routes, but no bus is known for it")),
            }
        }
    }

    fn add_table(&mut self, device: &AmlName, segment: u16, bus: u8) {
        let Some(table) = child(device, "_PRT").and_then(|name| self.object(name)) else { return };
        let Some((entries, bad)) = routes::decode(&table) else {
            return self.problem(format!("the routes of {device} are no package"));
        };
        if bad > 0 {
            self.problem(format!("{bad} of the routes of {device} make no sense"));
        }
        let mut found = Vec::new();
        for Entry { device: number, pin, leads } in entries {
            if let Some(Interrupt { number: gsi, signal }) = self.follow(device, &leads) {
                found.push(Route { segment, bus, device: number, pin, gsi, signal });
            }
        }
        (self.tell)(Finding::Routes(found));
    }

    /// The input that a pin leads to; a link that is connected to none has none.
    fn follow(&mut self, scope: &AmlName, leads: &Leads) -> Option<Interrupt> {
        let name = match leads {
            Leads::Input(input) => return Some(*input),
            Leads::Link(name) => AmlName::from_str(name).ok()?,
        };
        let link = self.interpreter.namespace.lock().search_for_level(&name, scope).ok();
        let resources =
            link.and_then(|link| child(&link, "_CRS")).and_then(|name| self.object(name));
        let found = match resources.as_deref() {
            Some(Object::Buffer(bytes)) => resource::interrupt(bytes),
            _ => None,
        };
        if found.is_none() {
            self.problem(format!("link {name} of {scope} leads nowhere"));
        }
        found
    }

    /// Segment and bus of the devices behind a device: a host bridge says it, a bridge's
    /// configuration space has it.
    fn bus(&mut self, device: &AmlName, deepest: usize) -> Option<(u16, u8)> {
        if self.is_host_bridge(device) {
            let segment = u16::try_from(self.number(device, "_SEG").unwrap_or(0)).ok()?;
            let bus = u8::try_from(self.number(device, "_BBN").unwrap_or(0)).ok()?;
            return Some((segment, bus));
        }
        let place = self.number(device, "_ADR")?;
        let above = device.parent().ok()?;
        let (segment, bus) = self.bus(&above, deepest.checked_sub(1)?)?;
        let number = u8::try_from(place >> 16).ok().filter(|number| *number < 32)?;
        let function = u8::try_from(place & 0xffff).ok().filter(|function| *function < 8)?;
        let address = PciAddress { segment, bus, device: number, function };
        self.secondary(address).map(|bus| (segment, bus))
    }

    /// The bus behind a bridge, if it is one that the firmware has set up.
    fn secondary(&self, address: PciAddress) -> Option<u8> {
        let read = |offset| self.access.machine().configuration(address, offset).to_le_bytes();
        let [.., layout, _] = read(LAYOUT);
        let [_, secondary, ..] = read(BUSES);
        (layout & 0x7f == 1 && secondary > address.bus).then_some(secondary)
    }

    fn is_host_bridge(&mut self, device: &AmlName) -> bool {
        let is_one = |id: &Object| match id {
            Object::Integer(id) => HOST_BRIDGES.iter().any(|(number, _)| number == id),
            Object::String(id) => HOST_BRIDGES.iter().any(|(_, text)| text == id),
            _ => false,
        };
        let mut ids =
            ["_HID", "_CID"].map(|name| child(device, name).and_then(|id| self.object(id)));
        ids.iter_mut().flatten().any(|id| match &**id {
            Object::Package(all) => all.iter().any(|id| is_one(id)),
            id => is_one(id),
        })
    }

    /// Whether a device is there; one that does not say so is (ACPI 6.5, section 6.3.7).
    fn is_present(&mut self, device: &AmlName) -> bool {
        self.number(device, "_STA").is_none_or(|status| status & 0b1001 != 0)
    }

    fn devices_with(&mut self, name: &str) -> Vec<AmlName> {
        let Ok(name) = NameSeg::from_str(name) else { return Vec::new() };
        let mut found = Vec::new();
        let walked = self.interpreter.namespace.lock().traverse(|path, level| {
            if level.values.contains_key(&name) {
                found.push(path.clone());
            }
            Ok(true)
        });
        if let Err(error) = walked {
            self.problem(format!("the names cannot be walked: {error:?}"));
        }
        found
    }

    fn number(&mut self, device: &AmlName, name: &str) -> Option<u64> {
        let object = self.object(child(device, name)?)?;
        match &*object {
            Object::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// What a name stands for; a method is carried out. None of both is not a problem, other
    /// failures are.
    fn object(&mut self, name: AmlName) -> Option<WrappedObject> {
        match self.interpreter.evaluate_if_present(name.clone(), Vec::new()) {
            Ok(object) => object.map(WrappedObject::unwrap_reference),
            Err(AmlError::LevelDoesNotExist(_)) => None,
            Err(error) => {
                self.problem(format!("{name}: {error:?}"));
                None
            }
        }
    }

    fn problem(&mut self, problem: String) {
        (self.tell)(Finding::Problem(problem));
    }
}

/// The type that a field of `\_S5` says: three bits of it count.
fn sleep_type(field: &WrappedObject) -> Option<u8> {
    match &*field.clone().unwrap_reference() {
        Object::Integer(value) => u8::try_from(value & 7).ok(),
        _ => None,
    }
}

fn absolute(name: &str) -> Option<AmlName> {
    AmlName::from_str(name).ok()
}

fn child(device: &AmlName, name: &str) -> Option<AmlName> {
    AmlName::from_str(name).ok()?.resolve(device).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{
        PC, Q35, Registers, device, main_table, name, number, package, scope, table,
    };
    use libd3os::service::platform::Signal;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const LEVEL_HIGH: Signal = Signal { level_triggered: true, active_low: false };

    fn findings(tables: &[u8], machine: &Rc<Registers>) -> (Vec<Finding>, Refused) {
        let further: Vec<Vec<u8>> = table(tables, b"SSDT").into_iter().collect();
        let main = table(tables, b"DSDT").expect("it has one");
        let mut all = Vec::new();
        let refused = evaluate(&main, &further, machine.clone(), |finding| all.push(finding));
        (all, refused.expect("it can be loaded"))
    }

    #[test]
    fn a_real_machine_says_everything() {
        let (found, refused) = findings(Q35, &Rc::default());
        let [Finding::SleepTypes(0, 0), Finding::Routes(routes)] = &found[..] else {
            panic!("{found:?}")
        };
        // It asks processors and memory that may be plugged in how they are.
        assert!(refused.ports > 0 && refused.configuration == 0, "{refused:?}");
        assert_eq!(routes.len(), 32 * 4);
        assert!(routes.iter().all(|r| (r.segment, r.bus, r.signal) == (0, 0, LEVEL_HIGH)));
        let gsi = |device, pin| {
            routes.iter().find(|r| (r.device, r.pin) == (device, pin)).map(|route| route.gsi)
        };
        // As the chip set has it: up to device 24 the pins turn with the device, from 25 on they do not.
        assert_eq!([1, 2, 3, 4].map(|pin| gsi(0, pin)), [20, 21, 22, 23].map(Some));
        assert_eq!([1, 2, 3, 4].map(|pin| gsi(3, pin)), [23, 20, 21, 22].map(Some));
        assert_eq!([1, 2, 3, 4].map(|pin| gsi(31, pin)), [16, 17, 18, 19].map(Some));
    }

    /// The other machine's routing table is made by a program, which stores into a package by index. The
    /// interpreter (6.1) cannot do that and panics. This test says so when a later one can.
    #[test]
    fn what_is_known_before_a_panic_was_told() {
        let main = table(PC, b"DSDT").expect("it has one");
        let mut found = Vec::new();
        let tell = |finding| found.push(finding);
        let machine = Rc::<Registers>::default();
        let end = catch_unwind(AssertUnwindSafe(|| evaluate(&main, &[], machine, tell)));
        assert!(end.is_err(), "the interpreter has learned it: expect routes here");
        assert_eq!(found, [Finding::SleepTypes(0, 0)]);
    }

    #[test]
    fn tables_that_are_none_are_refused() {
        let load = |main: &[u8]| evaluate(main, &[], Rc::<Registers>::default(), |_| {});
        assert!(matches!(load(&[]), Err(LoadError::TooShort)));
        assert!(matches!(load(&[2; 35]), Err(LoadError::TooShort)));
        let wrong = [&[0; 36][..], &[0x5b, 0xff]].concat();
        assert!(matches!(load(&wrong), Err(LoadError::Table(_))));
        // A further table that is wrong costs itself only.
        let main = table(Q35, b"DSDT").expect("it has one");
        let mut found = Vec::new();
        let further = [wrong];
        let end = evaluate(&main, &further, Rc::<Registers>::default(), |it| found.push(it));
        assert!(end.is_ok());
        assert!(
            matches!(
                &found[..],
                [Finding::SleepTypes(..), Finding::Problem(_), Finding::Routes(_)]
            ),
            "{found:?}"
        );
    }

    const HOST_BRIDGE: u32 = 0x080a_d041;

    fn entry(device: u32, pin: u32, gsi: u32) -> Vec<u8> {
        package(&[number(device << 16 | 0xffff), number(pin), number(0), number(gsi)])
    }

    /// A host bridge of bus 0x20, in which device 8 is a bridge and device 9 is none.
    fn bridges() -> Vec<u8> {
        let table = |gsi| name(b"_PRT", &package(&[entry(0, 0, gsi)]));
        let behind = |at: u32, gsi| vec![name(b"_ADR", &number(at << 16)), table(gsi)];
        let host = device(
            b"PCI0",
            &[
                name(b"_HID", &number(HOST_BRIDGE)),
                name(b"_BBN", &number(0x20)),
                table(16),
                device(b"BRG8", &behind(8, 40)),
                device(b"DEV9", &behind(9, 41)),
            ],
        );
        let absent = device(b"PCI1", &[name(b"_STA", &number(0)), table(50)]);
        main_table(&[scope(b"\\_SB_", &[host, absent])])
    }

    #[test]
    fn routes_behind_bridges_are_for_the_bus_there() {
        let at = |device| PciAddress { segment: 0, bus: 0x20, device, function: 0 };
        let words =
            [((at(8), LAYOUT), 0x0001_0000), ((at(8), BUSES), 0x0023_2220), ((at(9), LAYOUT), 0)];
        let machine = Registers { words: words.into(), ..Registers::default() };
        let (mut routes, mut problems) = (Vec::new(), Vec::new());
        let tell = |finding| match finding {
            Finding::Routes(found) => routes.extend(found),
            Finding::Problem(problem) => problems.push(problem),
            Finding::SleepTypes(..) => panic!("there are none"),
        };
        evaluate(&bridges(), &[], Rc::new(machine), tell).expect("it can be loaded");
        let found: Vec<_> = routes.iter().map(|route| (route.bus, route.pin, route.gsi)).collect();
        assert_eq!(found, [(0x20, 1, 16), (0x22, 1, 40)]);
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.contains("DEV9"), "{problem}");
    }
}
