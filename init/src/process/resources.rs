//! Kernel objects that outlive the programs that use them: endpoints, notifications, ports,
//! interrupts.
//!
//! They are init's own, so that a client's capability stays good while its server is made anew.

use alloc::format;
use alloc::vec::Vec;

use init::badge::{Channel, badge};
use init::grants::{Source, services};
use init::own::row;
use init::supervise::ProgramNumber;
use libd3os::abi::{CapRights, ObjectType};
use libd3os::cap::{Endpoint, IoPortRange, IrqPin, Notification, Slot};
use libd3os::image::{IrqLine, Manifest, Polarity, PortRange, Resource, Trigger};
use libd3os::service::supervisor::CapabilityInfo;
use libd3os::start::SIGNAL_FLAG;
use libd3os::sys::Cptr;

use super::kernel::{IO_PORT_CONTROL, IRQ_CONTROL, own_slot};
use super::memory::Memory;
use super::serial;
use super::trouble::{Doing, Refused, Trouble};

/// Slots of what programs share. Where something does not exist, the slot is 0, which is always
/// empty.
#[derive(Debug)]
pub(super) struct Shared {
    endpoint: u64,
    notification: u64,
    /// By service number.
    services: Vec<u64>,
    /// By program.
    notifications: Vec<u64>,
    ports: Vec<(PortRange, u64)>,
    interrupts: Vec<(IrqLine, u64)>,
}

impl Shared {
    /// Makes all that the manifest names but hardware. `com1` is the slot of the serial port's capability, which
    /// init has for itself already, or 0.
    pub(super) fn make(
        manifest: &Manifest,
        memory: &mut Memory,
        com1: u64,
    ) -> Result<Self, Refused> {
        let mut make = |object| memory.make(object, 0).doing("making endpoints and notifications");
        let services = services(manifest).map(|_| make(ObjectType::Endpoint));
        let services = services.collect::<Result<_, _>>()?;
        let notifications = manifest.programs.iter().map(|_| make(ObjectType::Notification));
        let notifications = notifications.collect::<Result<_, _>>()?;
        let mut shared = Self {
            endpoint: make(ObjectType::Endpoint)?,
            notification: make(ObjectType::Notification)?,
            services,
            notifications,
            ports: Vec::new(),
            interrupts: Vec::new(),
        };
        if com1 != 0 {
            let IoPortRange { first, last } = serial::PORTS;
            shared.ports.push((PortRange { first, last }, com1));
        }
        Ok(shared)
    }

    /// Takes the hardware that the manifest names: on core 0, which alone has it.
    pub(super) fn take_hardware(
        &mut self,
        manifest: &Manifest,
        memory: &mut Memory,
    ) -> Result<(), Trouble> {
        manifest.resources.iter().try_for_each(|resource| self.take_resource(resource, memory))
    }

    /// Where init receives calls and faults.
    pub(super) fn own_endpoint(&self) -> Endpoint {
        Endpoint::new(Cptr::new(self.endpoint))
    }

    /// The slot of init's endpoint.
    pub(super) fn own_endpoint_slot(&self) -> u64 {
        self.endpoint
    }

    /// The slot of a service's endpoint, by its number.
    pub(super) fn service_slot(&self, service: usize) -> u64 {
        self.service(service)
    }

    /// The I/O ports that were taken.
    pub(super) fn ports(&self) -> impl Iterator<Item = (PortRange, u64)> {
        self.ports.iter().copied()
    }

    /// Handlers of interrupts that the manifest's hardware has.
    pub(super) fn interrupts(&self) -> u64 {
        self.interrupts.len() as u64
    }

    /// Rows for the ports and interrupts.
    pub(super) fn hardware(&self) -> impl Iterator<Item = CapabilityInfo> {
        let ports = self.ports.iter().map(|(PortRange { first, last }, slot)| {
            row(*slot, "I/O ports", format!("{first:#x} to {last:#x}"))
        });
        let interrupts = self
            .interrupts
            .iter()
            .map(|(line, slot)| row(*slot, "IRQ handler", format!("IOAPIC pin {}", line.pin)));
        ports.chain(interrupts)
    }

    /// Where the callers of a service wait, by its number.
    pub(super) fn service_endpoint(&self, service: usize) -> Endpoint {
        Endpoint::new(Cptr::new(self.service(service)))
    }

    /// What ends init's receiving, too.
    pub(super) fn own_notification(&self) -> Notification {
        Notification::new(Cptr::new(self.notification))
    }

    /// A program's notification.
    pub(super) fn notification(&self, program: ProgramNumber) -> Notification {
        let slot = self.notifications.get(program.index()).copied().unwrap_or(0);
        Notification::new(Cptr::new(slot))
    }

    /// A capability that signals `of` with this badge, in a new slot.
    pub(super) fn signaller(
        &self,
        of: Option<ProgramNumber>,
        badge: u64,
        memory: &mut Memory,
    ) -> Result<Notification, Refused> {
        let index = of.and_then(|program| self.notifications.get(program.index()).copied());
        let source = own_slot(index.unwrap_or(self.notification));
        let slot = memory.slots(1).doing("taking a slot")?;
        let minted = own_slot(slot).mint_from(source, CapRights::WRITE, badge | SIGNAL_FLAG);
        minted.doing("making a signal capability")?;
        Ok(Notification::new(Cptr::new(slot)))
    }

    /// The capability through which a program's faults reach init, in a new slot.
    pub(super) fn fault_endpoint(
        &self,
        program: ProgramNumber,
        memory: &mut Memory,
    ) -> Result<Cptr, Refused> {
        let slot = memory.slots(1).doing("taking a slot")?;
        let rights = CapRights::WRITE.or(CapRights::GRANT).or(CapRights::GRANT_REPLY);
        let badge = badge(program, Channel::Fault);
        own_slot(slot)
            .mint_from(own_slot(self.endpoint), rights, badge)
            .doing("making a fault endpoint")?;
        Ok(Cptr::new(slot))
    }

    /// Puts the capability of one grant into a slot of `program`; `reply` tells init's slots of its
    /// reply objects.
    pub(super) fn grant(
        &self,
        program: ProgramNumber,
        source: Source,
        rights: CapRights,
        destination: Slot,
        reply: impl Fn(u32) -> u64,
    ) -> Result<(), Refused> {
        let (from, badge) = match source {
            Source::Serve { service } => (self.service(service), None),
            Source::Call { service, badge } => (self.service(service), Some(badge)),
            Source::CallInit { badge } => (self.endpoint, Some(badge)),
            Source::Ports(range) => (find(&self.ports, &range), None),
            Source::Interrupt(line) => (find(&self.interrupts, &line), None),
            Source::Signal { waiter, badge } => (self.notification_slot(waiter), Some(badge)),
            Source::SignalInit { badge } => (self.notification, Some(badge)),
            Source::Wait { badge } => (self.notification_slot(program), Some(badge)),
            Source::Reply(number) => (reply(number), None),
            // What wakes the other side of rings comes and goes with the pair; devices and memory are
            // mapped.
            Source::Rings { .. } | Source::Device(_) | Source::Region(_) => return Ok(()),
        };
        let from = own_slot(from);
        let granted = match badge {
            Some(badge) => destination.mint_from(from, rights, badge),
            None => destination.copy_from(from, rights),
        };
        granted.doing("granting a capability")
    }

    fn service(&self, number: usize) -> u64 {
        self.services.get(number).copied().unwrap_or(0)
    }

    fn notification_slot(&self, program: ProgramNumber) -> u64 {
        self.notifications.get(program.index()).copied().unwrap_or(0)
    }

    fn take_resource(&mut self, resource: &Resource, memory: &mut Memory) -> Result<(), Trouble> {
        let refused = |error| Trouble::Resource(resource.name.clone(), error);
        if let Some(range) = resource.ports.filter(|range| find(&self.ports, range) == 0) {
            let slot = memory.slots(1).doing("taking a slot")?;
            let PortRange { first, last } = range;
            let wanted = IoPortRange { first, last };
            IO_PORT_CONTROL.issue(wanted, own_slot(slot)).map_err(refused)?;
            self.ports.push((range, slot));
        }
        if let Some(line) = resource.irq.filter(|line| find(&self.interrupts, line) == 0) {
            let slot = memory.slots(1).doing("taking a slot")?;
            let pin = IrqPin {
                io_apic: 0,
                pin: u64::from(line.pin),
                level_triggered: line.trigger == Trigger::Level,
                active_low: line.polarity == Polarity::ActiveLow,
            };
            // One vector a line: the pin's own number, as long as there is one IOAPIC.
            let vector = u64::from(line.pin);
            IRQ_CONTROL.get_io_apic(own_slot(slot), pin, vector).map_err(refused)?;
            self.interrupts.push((line, slot));
        }
        Ok(())
    }
}

/// The slot that belongs to a key, or 0.
fn find<K: PartialEq>(list: &[(K, u64)], key: &K) -> u64 {
    list.iter().find(|(known, _)| known == key).map_or(0, |(_, slot)| *slot)
}
