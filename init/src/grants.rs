//! Which capabilities a program is given: from its manifest entry, and from nothing else.
//!
//! The list made here is at once what the process mints into the program's CNode, what the
//! program reads in its start information, and what `caps NAME` shows; so the three cannot differ.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use libd3os::abi::CapRights;
use libd3os::device::{DeviceGrant, DeviceIdentity, Screen};
use libd3os::ends::tells_of_ends;
use libd3os::image::{IrqLine, Manifest, PortRange, ProgramSpec};
use libd3os::region::Rights;
use libd3os::service::console::INTERRUPTS;
use libd3os::service::supervisor::CapabilityInfo;
use libd3os::start::layout::RING_PLACES;
use libd3os::start::{Grant, GrantKind, Hardware, RegionGrant, RingGrant, signal_badge};

use crate::badge::{Channel, badge, interrupt_badge};
use crate::message::{Bell, Route};
use crate::regions::{self, RegionUse};
use crate::rings::Held;
use crate::supervise::ProgramNumber;

/// Services that init serves itself.
pub const OWN_SERVICES: [(&str, Channel); 4] = [
    ("supervisor", Channel::Supervisor),
    ("log", Channel::Log),
    (DEVICES, Channel::Devices),
    (PERSISTENT, Channel::Persistent),
];
/// The one of them that tells init what the devices are.
pub const DEVICES: &str = "devices";
/// The one of them that maps persistent memory.
pub const PERSISTENT: &str = "persistent";
/// The notification that init signals: the log has new records.
pub const LOG_READY: &str = "log-ready";
/// The notification that init signals: a program with devices has ended, and they are to be reset.
pub const DEVICE_ENDED: &str = "device-ended";

/// Where the capability comes from, and with which badge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Receive side of the program's own endpoint; it belongs to service number `service` of
    /// [`services`].
    Serve {
        /// Index into [`services`].
        service: usize,
    },
    /// Send side of another program's endpoint.
    Call {
        /// Index into [`services`].
        service: usize,
        /// Tells the server who calls.
        badge: u64,
    },
    /// A pair of rings to a program on another core. What is in the slot, while there is one, is the
    /// capability that wakes that program.
    Rings {
        /// The pair's place in the ring window.
        place: u16,
    },
    /// Send side of init's endpoint.
    CallInit {
        /// Tells init who calls, and which of its interfaces.
        badge: u64,
    },
    /// A range of I/O ports.
    Ports(PortRange),
    /// The handler of an interrupt.
    Interrupt(IrqLine),
    /// A device, by its position in the manifest: its memory, which is mapped, and the handler of its
    /// interrupt.
    Device(usize),
    /// Shared memory, which is mapped.
    Region(RegionUse),
    /// Send side of a program's notification.
    Signal {
        /// Whose.
        waiter: ProgramNumber,
        /// Tells it which of its names.
        badge: u64,
    },
    /// Send side of init's notification.
    SignalInit {
        /// Tells init which of its names.
        badge: u64,
    },
    /// The program's own notification.
    Wait {
        /// The badge with which its interrupts arrive.
        badge: u64,
    },
    /// One of the program's reply objects, by number.
    Reply(u32),
}

/// A capability that a program is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// How the program sees it.
    pub grant: Grant,
    /// How init makes it.
    pub source: Source,
    /// What it allows.
    pub rights: CapRights,
}

impl Source {
    /// Whether it is mapped or attached: what is in its slot, if anything, comes and goes by itself.
    #[must_use]
    pub const fn is_mapped(self) -> bool {
        matches!(self, Self::Rings { .. } | Self::Device(_) | Self::Region(_))
    }
}

/// What is known at a program's start of the memory and hardware that it is granted.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Physical addresses of the regions, by position in the manifest.
    pub regions: Vec<Option<u64>>,
    /// The devices that this machine has, by position in the manifest.
    pub devices: Vec<Option<DeviceGrant>>,
}

/// Why a manifest entry cannot be granted. The xtask finds these too; init does not trust it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantError {
    /// Nobody serves this.
    NoServer(String),
    /// No hardware of this name has such a thing.
    NoResource(GrantKind, String),
    /// Nobody waits for this.
    NoWaiter(String),
    /// No shared memory has this name.
    NoRegion(GrantKind, String),
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer(name) => write!(f, "calls `{name}`, which no program serves"),
            Self::NoResource(kind, name) | Self::NoRegion(kind, name) => {
                write!(f, "{kind} `{name}`, which the manifest does not describe")
            }
            Self::NoWaiter(name) => write!(f, "signals `{name}`, which no program waits for"),
        }
    }
}

impl core::error::Error for GrantError {}

/// Every service that a program of the image serves: its name and the program.
pub fn services(manifest: &Manifest) -> impl Iterator<Item = (&str, ProgramNumber)> {
    numbered(manifest)
        .flat_map(|(number, spec)| spec.serves.iter().map(move |name| (name.as_str(), number)))
}

/// The program that waits for a notification, and the badge it expects.
#[must_use]
pub fn waiter(manifest: &Manifest, name: &str) -> Option<(ProgramNumber, u64)> {
    numbered(manifest).find_map(|(number, spec)| {
        let index = spec.waits.iter().position(|waited| waited == name)?;
        Some((number, signal_badge(u32::try_from(index).ok()?)))
    })
}

/// Slots behind those of a program's grants, for its part in rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSlots {
    /// The handler of its signal line.
    pub handler: u32,
    /// Its notification.
    pub notification: u32,
}

impl RingSlots {
    /// Behind so many grants.
    #[must_use]
    pub const fn behind(grants: u32) -> Self {
        Self { handler: grants + 1, notification: grants + 2 }
    }

    /// What wakes the other side of the pair at this place.
    #[must_use]
    pub const fn bell(self, place: u16) -> u32 {
        self.notification + 1 + place as u32
    }

    /// The last of them.
    #[must_use]
    pub const fn last(self) -> u32 {
        self.bell(RING_PLACES - 1)
    }
}

/// What ties a program to the core of others, and why it cannot run on `core`: hardware, which
/// only core 0 has, and signals, which do not leave a core. `core_of` tells where programs run.
pub fn tie(
    manifest: &Manifest,
    spec: &ProgramSpec,
    core: u32,
    core_of: impl Fn(ProgramNumber) -> u32,
) -> Option<(GrantKind, String)> {
    let hardware = GrantKind::NAMED.into_iter().filter(|kind| kind.is_of_core_0());
    let hardware = hardware.flat_map(|kind| spec.names(kind).iter().map(move |n| (kind, n)));
    let mapped = |name: &&String| [DEVICES, PERSISTENT].contains(&name.as_str());
    let finder = spec.calls.iter().filter(mapped);
    let finder = finder.map(|name| (GrantKind::Calls, name));
    let hardware = hardware.chain(finder).filter(|_| core != 0);
    let signals = spec.signals.iter().filter(|name| match waiter(manifest, name) {
        Some((waiter, _)) => core_of(waiter) != core,
        None => core != 0,
    });
    let signallers = |name: &String| {
        let all = numbered(manifest).filter(|(_, other)| other.signals.contains(name));
        let elsewhere = all.filter(|(other, _)| core_of(*other) != core).count() > 0;
        elsewhere
            || (core != 0
                && ([LOG_READY, DEVICE_ENDED].contains(&name.as_str()) || tells_of_ends(name)))
    };
    let waits = spec.waits.iter().filter(|name| signallers(name));
    let signals = signals.map(|name| (GrantKind::Signals, name));
    let waits = waits.map(|name| (GrantKind::Waits, name));
    hardware.chain(signals).chain(waits).next().map(|(kind, name)| (kind, name.clone()))
}

/// The services of other programs that a program calls, and those programs.
pub fn called<'m>(
    manifest: &'m Manifest,
    spec: &'m ProgramSpec,
) -> impl Iterator<Item = (&'m str, ProgramNumber)> {
    services(manifest).filter(|(name, _)| spec.calls.iter().any(|called| called == name))
}

/// The capabilities of one program that runs for a session, in slot order from 1 up. Services of
/// other cores are reached by `routes`; memory and devices are what `found` says.
///
/// # Errors
/// [`GrantError`] where the manifest names what does not exist.
pub fn grants(
    manifest: &Manifest,
    number: ProgramNumber,
    spec: &ProgramSpec,
    session: u8,
    routes: &[Route],
    found: &Found,
) -> Result<Vec<Granted>, GrantError> {
    let caller = (number, session);
    let slots = RingSlots::behind(count(spec));
    let mut list = List::default();
    for name in &spec.serves {
        let service = service_index(manifest, name)?;
        list.add(GrantKind::Serves, name, Source::Serve { service }, CapRights::READ);
    }
    if let Some(name) = spec.serves.first() {
        for reply in 0..spec.replies {
            list.add(GrantKind::Reply, name, Source::Reply(reply), CapRights::ALL);
        }
    }
    for name in &spec.calls {
        match routes.iter().find(|route| route.service == *name) {
            Some(route) => list.add_rings(name, route.place, slots),
            None => {
                list.add(GrantKind::Calls, name, call_source(manifest, caller, name)?, CALL_RIGHTS);
            }
        }
    }
    for name in &spec.ports {
        let ports = manifest.resource(name).and_then(|resource| resource.ports);
        let ports = ports.ok_or_else(|| missing(GrantKind::Ports, name))?;
        list.add(GrantKind::Ports, name, Source::Ports(ports), CapRights::READ_WRITE);
    }
    for name in &spec.interrupts {
        let line = manifest.resource(name).and_then(|resource| resource.irq);
        let line = line.ok_or_else(|| missing(GrantKind::Interrupts, name))?;
        list.add(GrantKind::Interrupts, name, Source::Interrupt(line), CapRights::ALL);
    }
    for name in &spec.devices {
        let device = manifest.devices.iter().position(|device| device.name == *name);
        let device = device.ok_or_else(|| missing(GrantKind::Devices, name))?;
        list.add_device(name, device, found.devices.get(device).cloned().flatten());
    }
    for known in regions::uses(manifest, spec)? {
        let name = &manifest.regions[known.region].name;
        list.add_region(name, known, found.regions.get(known.region).copied().flatten());
    }
    for name in &spec.signals {
        list.add(GrantKind::Signals, name, signal_source(manifest, name)?, CapRights::WRITE);
    }
    for (index, name) in (0..).zip(&spec.waits) {
        let source = Source::Wait { badge: signal_badge(index) };
        // Writing is what lets the program aim an interrupt at its own notification.
        list.add(GrantKind::Waits, name, source, CapRights::READ_WRITE);
    }
    Ok(list.0)
}

/// How many capabilities [`grants`] lists.
#[must_use]
pub fn count(spec: &ProgramSpec) -> u32 {
    let named: usize = GrantKind::NAMED.map(|kind| spec.names(kind).len()).iter().sum();
    let replies = if spec.serves.is_empty() { 0 } else { spec.replies };
    u32::try_from(named).unwrap_or(u32::MAX).saturating_add(replies)
}

/// A call needs no more than to send and to be replied to.
const CALL_RIGHTS: CapRights = CapRights::WRITE.or(CapRights::GRANT_REPLY);

/// What `caps NAME` shows of a grant.
#[must_use]
pub fn describe(manifest: &Manifest, granted: &Granted) -> CapabilityInfo {
    let name = &granted.grant.name;
    let (kind, detail) = match granted.source {
        Source::Serve { .. } => ("endpoint", format!("serves {name}")),
        Source::Call { badge, .. } => ("endpoint", format!("calls {name}, badge {badge:#x}")),
        Source::Rings { place } => {
            ("rings", format!("calls {name} on another core, place {place}"))
        }
        Source::CallInit { badge } => {
            ("endpoint", format!("calls {name} (init), badge {badge:#x}"))
        }
        Source::Ports(range) => {
            ("I/O ports", format!("{name}, {:#x} to {:#x}", range.first, range.last))
        }
        Source::Interrupt(line) => ("IRQ handler", format!("{name}, IOAPIC pin {}", line.pin)),
        Source::Signal { waiter, .. } => {
            let program = manifest.programs.get(waiter.index()).map_or("", |spec| &spec.name);
            ("notification", format!("signals {name} ({program})"))
        }
        Source::SignalInit { .. } => ("notification", format!("signals {name} (init)")),
        Source::Wait { .. } => ("notification", format!("waits for {name}")),
        Source::Reply(_) => ("reply", format!("answers callers of {name}")),
        Source::Device(_) => ("device", describe_device(name, granted.grant.hardware.as_ref())),
        Source::Region(known) => ("memory", describe_region(name, &known, &granted.grant)),
    };
    CapabilityInfo {
        slot: granted.grant.ring.map_or(granted.grant.slot, |ring| ring.bell),
        kind: kind.to_string(),
        detail,
        rights: letters(granted.rights),
    }
}

/// A device, how much memory it opens, and whether its interrupt is in the slot.
fn describe_device(name: &str, hardware: Option<&Hardware>) -> String {
    let Some(Hardware::Device(device)) = hardware else {
        return format!("{name}, which this machine does not have");
    };
    let which = match &device.identity {
        DeviceIdentity::Pci { address, vendor, device, .. } => {
            format!("PCI {address} {vendor:04x}:{device:04x}")
        }
        DeviceIdentity::Hpet { comparators, .. } => format!("HPET, {comparators} comparators"),
        DeviceIdentity::Nvdimm { ranges, .. } => format!("NVDIMM, {} ranges", ranges.len()),
        DeviceIdentity::Framebuffer(Screen { width, height, bits, .. }) => {
            format!("framebuffer {width}x{height}x{bits}")
        }
    };
    let own = device.windows.iter().map(|window| window.bytes).sum::<u64>();
    let kib = match &device.identity {
        DeviceIdentity::Nvdimm { ranges, .. } => ranges.iter().map(|range| range.bytes).sum(),
        _ => own,
    } >> 10;
    let interrupt = if device.interrupts { ", its interrupt" } else { "" };
    format!("{name}, {which}, {kib} KiB{interrupt}")
}

fn describe_region(name: &str, known: &RegionUse, grant: &Grant) -> String {
    let kib = known.bytes >> 10;
    let bus = match &grant.hardware {
        Some(Hardware::Region(RegionGrant { bus: Some(bus), .. })) => {
            format!(", for its devices at {bus:#x}")
        }
        _ => String::new(),
    };
    format!("{name}, {kib} KiB at {:#x}{bus}", known.base)
}

/// What `caps NAME` shows of a program's part in rings.
#[must_use]
pub fn describe_rings(manifest: &Manifest, spec: &ProgramSpec, held: Held) -> CapabilityInfo {
    let slots = RingSlots::behind(count(spec));
    let (slot, kind, detail, rights) = match held {
        Held::Line(Bell { core, line }) => {
            let detail = format!("signal line {line} of core {core}");
            (slots.handler, "IRQ handler", detail, CapRights::ALL)
        }
        Held::Pair { place, client } => {
            let program = manifest.programs.get(client.index()).map_or("", |spec| &spec.name);
            let detail = format!("serves {program} on another core, place {place}");
            (slots.bell(place), "rings", detail, CapRights::READ_WRITE)
        }
    };
    CapabilityInfo { slot, kind: kind.to_string(), detail, rights: letters(rights) }
}

/// Rights as letters: r(ead), w(rite), g(rant), p (reply).
#[must_use]
pub fn letters(rights: CapRights) -> String {
    let all = [
        (CapRights::READ, 'r'),
        (CapRights::WRITE, 'w'),
        (CapRights::GRANT, 'g'),
        (CapRights::GRANT_REPLY, 'p'),
    ];
    all.into_iter().filter(|(right, _)| rights.contains(*right)).map(|(_, letter)| letter).collect()
}

#[derive(Default)]
struct List(Vec<Granted>);

impl List {
    fn add(&mut self, kind: GrantKind, name: &str, source: Source, rights: CapRights) {
        // A manifest cannot list 2^32 names: each takes bytes of an archive in memory.
        let slot = u32::try_from(self.0.len() + 1).unwrap_or(u32::MAX);
        let hardware = match source {
            Source::Ports(range) => Some(Hardware::Ports(range)),
            Source::Interrupt(line) => Some(Hardware::Interrupt(line)),
            _ => None,
        };
        let grant = Grant { kind, name: name.to_string(), slot, ring: None, hardware };
        self.0.push(Granted { grant, source, rights });
    }

    /// A device's slot is for its handler, and stays empty where it has none.
    fn add_device(&mut self, name: &str, device: usize, found: Option<DeviceGrant>) {
        let rights = if found.is_some() { CapRights::ALL } else { CapRights::NONE };
        self.add(GrantKind::Devices, name, Source::Device(device), rights);
        if let Some(granted) = self.0.last_mut() {
            granted.grant.hardware = Some(found.map_or(Hardware::AbsentDevice, Hardware::Device));
        }
    }

    /// Shared memory is mapped; its slot stays empty.
    fn add_region(&mut self, name: &str, known: RegionUse, paddr: Option<u64>) {
        let hardware = Some(Hardware::Region(known.grant(paddr)));
        let name = name.to_string();
        let grant = Grant { kind: known.kind, name, slot: 0, ring: None, hardware };
        let writes = known.rights().contain(Rights::WRITE);
        let rights = if writes { CapRights::READ_WRITE } else { CapRights::READ };
        self.0.push(Granted { grant, source: Source::Region(known), rights });
    }

    /// Rings stand for an endpoint, whose slot stays empty.
    fn add_rings(&mut self, name: &str, place: u16, slots: RingSlots) {
        let ring = Some(RingGrant { place, bell: slots.bell(place) });
        let name = name.to_string();
        let grant = Grant { kind: GrantKind::Calls, name, slot: 0, ring, hardware: None };
        let source = Source::Rings { place };
        self.0.push(Granted { grant, source, rights: CapRights::READ_WRITE });
    }
}

fn numbered(manifest: &Manifest) -> impl Iterator<Item = (ProgramNumber, &ProgramSpec)> {
    (1..).map_while(ProgramNumber::new).zip(&manifest.programs)
}

fn service_index(manifest: &Manifest, name: &str) -> Result<usize, GrantError> {
    services(manifest)
        .position(|(service, _)| service == name)
        .ok_or_else(|| GrantError::NoServer(name.to_string()))
}

fn call_source(
    manifest: &Manifest,
    (caller, session): (ProgramNumber, u8),
    name: &str,
) -> Result<Source, GrantError> {
    if let Some((_, channel)) = OWN_SERVICES.iter().find(|(own, _)| *own == name) {
        return Ok(Source::CallInit { badge: badge(caller, *channel) });
    }
    let service = service_index(manifest, name)?;
    Ok(Source::Call { service, badge: caller.caller(session).0 })
}

fn signal_source(manifest: &Manifest, name: &str) -> Result<Source, GrantError> {
    if let Some((session, _)) = (0..).zip(INTERRUPTS).find(|(_, known)| *known == name) {
        return Ok(Source::SignalInit { badge: interrupt_badge(session) });
    }
    let (waiter, badge) =
        waiter(manifest, name).ok_or_else(|| GrantError::NoWaiter(name.to_string()))?;
    Ok(Source::Signal { waiter, badge })
}

fn missing(kind: GrantKind, name: &str) -> GrantError {
    GrantError::NoResource(kind, name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use libd3os::image::{Polarity, Resource, Trigger};

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn manifest() -> Manifest {
        let irq = IrqLine { pin: 4, trigger: Trigger::Edge, polarity: Polarity::ActiveHigh };
        let ports = PortRange { first: 0x3f8, last: 0x3ff };
        let com1 = Resource { name: "com1".to_string(), ports: Some(ports), irq: Some(irq) };
        let uart = ProgramSpec {
            name: "uart".to_string(),
            serves: strings(&["uart"]),
            replies: 2,
            calls: strings(&["log"]),
            ports: strings(&["com1"]),
            interrupts: strings(&["com1"]),
            signals: strings(&["console-input"]),
            waits: strings(&["com1-irq"]),
            ..ProgramSpec::default()
        };
        let console = ProgramSpec {
            name: "console".to_string(),
            serves: strings(&["console"]),
            calls: strings(&["uart", "supervisor"]),
            signals: strings(&["interrupt"]),
            waits: strings(&["log-ready", "console-input"]),
            ..ProgramSpec::default()
        };
        Manifest {
            name: "test".to_string(),
            resources: vec![com1],
            programs: vec![uart, console],
            ..Manifest::default()
        }
    }

    fn number(index: usize) -> ProgramNumber {
        ProgramNumber::from_index(index).expect("small")
    }

    fn of(manifest: &Manifest, index: usize) -> Result<Vec<Granted>, GrantError> {
        grants(manifest, number(index), &manifest.programs[index], 0, &[], &Found::default())
    }

    #[test]
    fn a_driver_gets_what_its_entry_lists_and_nothing_else() {
        let console = ProgramNumber::from_index(1).expect("small");
        let list = of(&manifest(), 0).expect("sound");
        let sources: Vec<_> = list.iter().map(|granted| granted.source).collect();
        let irq = manifest().resources[0].irq.expect("given");
        assert_eq!(
            sources,
            [
                Source::Serve { service: 0 },
                Source::Reply(0),
                Source::Reply(1),
                Source::CallInit { badge: 0x102 },
                Source::Ports(PortRange { first: 0x3f8, last: 0x3ff }),
                Source::Interrupt(irq),
                Source::Signal { waiter: console, badge: signal_badge(1) },
                Source::Wait { badge: signal_badge(0) },
            ]
        );
        assert!(list.iter().map(|granted| granted.grant.slot).eq(1..=8));
        let hardware: Vec<_> =
            list.iter().filter_map(|granted| granted.grant.hardware.clone()).collect();
        let ports = PortRange { first: 0x3f8, last: 0x3ff };
        assert_eq!(hardware, [Hardware::Ports(ports), Hardware::Interrupt(irq)]);
    }

    #[test]
    fn callers_are_told_apart_and_cannot_receive() {
        let list = of(&manifest(), 1).expect("sound");
        let call = &list[1];
        assert_eq!(call.source, Source::Call { service: 0, badge: 2 });
        let other =
            grants(&manifest(), number(1), &manifest().programs[1], 3, &[], &Found::default())
                .expect("sound");
        assert_eq!(other[1].source, Source::Call { service: 0, badge: 3 << 16 | 2 });
        assert_eq!(other[2].source, list[2].source, "init knows the sessions itself");
        assert_eq!(letters(call.rights), "wp");
        assert_eq!(letters(list[0].rights), "r");
    }

    #[test]
    fn rings_stand_for_an_endpoint_and_no_slot_moves() {
        let manifest = manifest();
        let number = ProgramNumber::from_index(1).expect("small");
        let route = Route { service: "uart".to_string(), place: 2, pair: None };
        let spec = &manifest.programs[1];
        let list = grants(&manifest, number, spec, 0, &[route], &Found::default()).expect("sound");
        let plain = of(&manifest, 1).expect("sound");
        assert_eq!(list.len(), count(spec) as usize);
        let uart = list.iter().find(|granted| granted.grant.name == "uart").expect("called");
        // Six grants, the handler, the notification, and the bells from slot 9 on.
        let ring = Some(RingGrant { place: 2, bell: 11 });
        assert_eq!(
            (uart.grant.slot, uart.grant.ring, uart.source),
            (0, ring, Source::Rings { place: 2 })
        );
        assert_eq!(describe(&manifest, uart).slot, 11);
        let held = describe_rings(&manifest, spec, Held::Pair { place: 2, client: number });
        assert_eq!((held.slot, &*held.detail), (11, "serves console on another core, place 2"));
        let line = describe_rings(&manifest, spec, Held::Line(Bell { core: 3, line: 4 }));
        assert_eq!((line.slot, &*line.detail), (7, "signal line 4 of core 3"));
        assert_eq!(RingSlots::behind(6).last(), 8 + u32::from(RING_PLACES));
        let slots = |list: &[Granted]| -> Vec<_> {
            let others = list.iter().filter(|granted| granted.grant.name != "uart");
            others.map(|granted| granted.grant.slot).collect()
        };
        assert_eq!(slots(&list), slots(&plain));
    }

    #[test]
    fn hardware_and_signals_tie_programs_to_a_core() {
        let manifest = manifest();
        let tie = |index: usize, core, others| {
            let spec = &manifest.programs[index];
            super::tie(&manifest, spec, core, |_| others)
                .map(|(kind, name)| format!("{kind} {name}"))
        };
        assert_eq!((tie(0, 0, 0), tie(1, 0, 0)), (None, None));
        assert_eq!(tie(0, 2, 2).as_deref(), Some("ports com1"));
        assert_eq!(tie(0, 0, 2).as_deref(), Some("signals console-input"));
        assert_eq!(tie(1, 2, 2).as_deref(), Some("signals interrupt"));
        assert_eq!(tie(1, 0, 1).as_deref(), Some("waits console-input"));
        let quiet = ProgramSpec { calls: strings(&["uart"]), ..ProgramSpec::default() };
        assert_eq!(super::tie(&manifest, &quiet, 3, |_| 0), None);
        assert!(called(&manifest, &quiet).map(|(name, _)| name).eq(["uart"]));
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let wrong = |change: fn(&mut ProgramSpec)| {
            let mut manifest = manifest();
            change(&mut manifest.programs[0]);
            of(&manifest, 0).expect_err("names what does not exist").to_string()
        };
        let message = wrong(|spec| spec.calls = strings(&["disk"]));
        assert_eq!(message, "calls `disk`, which no program serves");
        let message = wrong(|spec| spec.ports = strings(&["com9"]));
        assert_eq!(message, "ports `com9`, which the manifest does not describe");
        let message = wrong(|spec| spec.signals = strings(&["nobody"]));
        assert_eq!(message, "signals `nobody`, which no program waits for");
    }

    fn with_device() -> (Manifest, Found) {
        use libd3os::image::{DeviceSpec, RegionSpec};
        let mut manifest = manifest();
        let name = "clock".to_string();
        manifest.devices = vec![DeviceSpec { name, ..DeviceSpec::default() }];
        let region = |name: &str| RegionSpec { name: name.to_string(), bytes: 0x4000 };
        manifest.regions = vec![region("frames"), region("rings")];
        manifest.programs[0].devices = strings(&["clock"]);
        manifest.programs[0].dma = strings(&["rings"]);
        manifest.programs[0].reads = strings(&["frames"]);
        let identity =
            DeviceIdentity::Hpet { comparators: 3, wide: true, minimum_tick: 9, input: None };
        let device = DeviceGrant { identity, windows: Vec::new(), interrupts: true };
        (manifest, Found { regions: vec![None, Some(0x70_0000)], devices: vec![Some(device)] })
    }

    #[test]
    fn devices_and_memory_are_told_and_shown() {
        let (manifest, found) = with_device();
        let spec = &manifest.programs[0];
        let list = grants(&manifest, number(0), spec, 0, &[], &found).expect("sound");
        assert_eq!(list.len(), count(spec) as usize);
        let lines: Vec<_> = list
            .iter()
            .map(|granted| describe(&manifest, granted))
            .map(|info| format!("{} {} {} {}", info.slot, info.kind, info.detail, info.rights))
            .collect();
        assert_eq!(lines[6], "7 device clock, HPET, 3 comparators, 0 KiB, its interrupt rwgp");
        assert_eq!(lines[7], "0 memory frames, 16 KiB at 0x400000000000 r");
        assert_eq!(
            lines[8],
            "0 memory rings, 16 KiB at 0x400000200000, for its devices at 0x700000 rw"
        );
        // What comes behind keeps its slots, whether the machine has the device or not.
        assert_eq!(list[9].grant.slot, 10);
        let none = grants(&manifest, number(0), spec, 0, &[], &Found::default()).expect("sound");
        assert_eq!(none[6].grant.hardware, Some(Hardware::AbsentDevice));
        assert_eq!(describe(&manifest, &none[6]).detail, "clock, which this machine does not have");
        assert_eq!(none[9].grant, list[9].grant);
        let tied = super::tie(&manifest, spec, 1, |_| 1).map(|(kind, _)| kind);
        assert_eq!(tied, Some(GrantKind::Ports));
    }

    #[test]
    fn is_shown_in_words() {
        let manifest = manifest();
        let lines: Vec<_> = of(&manifest, 0)
            .expect("sound")
            .iter()
            .map(|granted| describe(&manifest, granted))
            .map(|info| format!("{} {} {} {}", info.slot, info.kind, info.detail, info.rights))
            .collect();
        assert_eq!(lines[3], "4 endpoint calls log (init), badge 0x102 wp");
        assert_eq!(lines[4], "5 I/O ports com1, 0x3f8 to 0x3ff rw");
        assert_eq!(lines[6], "7 notification signals console-input (console) w");
    }
}
