//! The timer driver's process: the chip, its interrupt, and the `Timer` interface.
//!
//! An interrupt is acknowledged before the clock is looked at: an edge that comes after that look
//! must not find the line masked.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use libd3os::call::{Caller, Later};
use libd3os::cap::{self, IrqHandler, Notification};
use libd3os::device::{DeviceError, DeviceIdentity};
use libd3os::ipc::MissingGrant;
use libd3os::mmio::Registers;
use libd3os::port::{PortAccess, Ports};
use libd3os::program::{self, grant};
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::timer::{Timer as Interface, TimerError};
use libd3os::start::{GrantKind, StartInfo};
use libd3os::sys::Cptr;
use libd3os::time;

use timer::alarm::Alarm;
use timer::device::Timer;
use timer::hpet::{HpetAlarm, HpetError};
use timer::pit::{NoChip, PitAlarm};
use timer::queue::Full;
use timer::regs::{Hpet, HpetRegisters, Pit, PitRegisters};

libd3os::program! {
    main: run,
    serves: ["timer"],
    calls: ["log", "supervisor"],
    ports: ["pit"],
    interrupts: ["pit", "pit-isa"],
    devices: ["hpet"],
    signals: ["*"],
    waits: ["hpet-irq", "pit-irq", "pit-isa-irq"],
}

/// Where the PIT's interrupt arrives, each with its notification: at input 2 on most machines, and
/// at input 0 on those whose firmware has not moved it.
const PIT_INTERRUPTS: [(&str, &str); 2] = [("pit", "pit-irq"), ("pit-isa", "pit-isa-irq")];

/// The HPET and the notification of its interrupt.
const HPET: (&str, &str) = ("hpet", "hpet-irq");

/// Why the HPET is not used.
#[derive(Debug)]
enum WithoutHpet {
    Device(DeviceError<'static>),
    /// It is something else, or its comparator has no input.
    NoInterrupt,
    Refused(HpetError),
    Interrupt(cap::Error),
}

impl fmt::Display for WithoutHpet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => error.fmt(f),
            Self::NoInterrupt => f.write_str("the HPET has no interrupt"),
            Self::Refused(error) => write!(f, "the HPET cannot be used: {error}"),
            Self::Interrupt(error) => write!(f, "the HPET's interrupt cannot be had: {error}"),
        }
    }
}

/// Why the driver cannot run.
#[derive(Debug)]
enum Failure {
    Grant(MissingGrant<'static>),
    Server(ServerError),
    Chip(u16),
    Interrupt(cap::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
            Self::Chip(port) => write!(f, "no timer counts at port {port:#x}"),
            Self::Interrupt(error) => write!(f, "the interrupt cannot be had: {error}"),
        }
    }
}

fn run(start: &'static StartInfo) -> Result<Infallible, Failure> {
    let mut server = Server::serving("timer").map_err(Failure::Server)?;
    let mut driver = Driver::take(start)?;
    server.observe(driver.timer.journal().recorder());
    log::info!("deadlines are met by the {}", driver.timer.alarm().name());
    driver.wake_all();
    loop {
        match server.next() {
            Event::Request(request) => Interface::dispatch(&mut driver, request),
            Event::Signal(_) => driver.interrupt(),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sleeper {
    /// A signal of a caller's, by its place in the list.
    Signal { caller: u64, signal: usize },
    /// A call that is put off, by its number.
    Call(u64),
}

type Waiting = Later<Result<(), TimerError>>;

struct Driver {
    timer: Timer<Box<dyn Alarm>, Sleeper>,
    interrupts: Vec<IrqHandler>,
    signals: Vec<(&'static str, Notification)>,
    calls: BTreeMap<u64, Waiting>,
    next_call: u64,
}

impl Driver {
    fn take(start: &'static StartInfo) -> Result<Self, Failure> {
        let (alarm, interrupts) = match hpet() {
            Ok(hpet) => hpet,
            Err(reason) => {
                log::info!("{reason}");
                pit()?
            }
        };
        let granted = start.grants.iter().filter(|grant| grant.kind == GrantKind::Signals);
        let signal = |slot: u32| Notification::new(Cptr::new(slot.into()));
        let signals = granted.map(|grant| (grant.name.as_str(), signal(grant.slot))).collect();
        let timer = Timer::new(alarm);
        Ok(Self { timer, interrupts, signals, calls: BTreeMap::new(), next_call: 0 })
    }

    /// Tells all clients to look at the clock: a predecessor may have taken deadlines with it.
    fn wake_all(&self) {
        self.signals.iter().for_each(|(_, notification)| notification.signal());
    }

    fn interrupt(&mut self) {
        for interrupt in &self.interrupts {
            if let Err(error) = interrupt.ack() {
                log::error!("an interrupt cannot be acknowledged: {error}");
            }
        }
        self.timer.interrupt(now());
        self.look();
    }

    fn look(&mut self) {
        loop {
            let look = self.timer.look(now());
            look.due.into_iter().for_each(|sleeper| self.wake(sleeper));
            if !look.again {
                return;
            }
        }
    }

    fn wake(&mut self, sleeper: Sleeper) {
        match sleeper {
            Sleeper::Signal { signal, .. } => {
                if let Some((_, notification)) = self.signals.get(signal) {
                    notification.signal();
                }
            }
            Sleeper::Call(number) => {
                if let Some(waiting) = self.calls.remove(&number) {
                    waiting.answer(&Ok(()));
                }
            }
        }
    }

    fn sleeper(&self, caller: Caller, name: &str) -> Result<Sleeper, TimerError> {
        let signal = self.signals.iter().position(|(known, _)| *known == name);
        let signal = signal.ok_or_else(|| TimerError::NoSuchSignal(name.to_string()))?;
        Ok(Sleeper::Signal { caller: caller.0, signal })
    }
}

impl Interface for Driver {
    fn arm(&mut self, caller: Caller, signal: String, deadline_ns: u64) -> Result<(), TimerError> {
        let sleeper = self.sleeper(caller, &signal)?;
        self.timer.arm(sleeper, deadline_ns, now()).map_err(|Full| TimerError::Full)?;
        self.look();
        Ok(())
    }

    fn disarm(&mut self, caller: Caller, signal: String) -> Result<(), TimerError> {
        let sleeper = self.sleeper(caller, &signal)?;
        self.timer.disarm(&sleeper);
        Ok(())
    }

    fn wait(&mut self, _: Caller, deadline_ns: u64, later: Waiting) {
        let number = self.next_call;
        self.next_call += 1;
        if let Err(Full) = self.timer.arm(Sleeper::Call(number), deadline_ns, now()) {
            return later.answer(&Err(TimerError::Full));
        }
        self.calls.insert(number, later);
        self.look();
    }

    fn hardware(&mut self, _: Caller) -> Result<String, TimerError> {
        Ok(self.timer.alarm().name().to_string())
    }
}

/// Nanoseconds since the machine's start.
fn now() -> u64 {
    time::uptime().map_or(0, |uptime| u64::try_from(uptime.as_nanos()).unwrap_or(u64::MAX))
}

/// An alarm, and the interrupts by which it goes off.
type Hardware = (Box<dyn Alarm>, Vec<IrqHandler>);

/// The HPET and its interrupt.
fn hpet() -> Result<Hardware, WithoutHpet> {
    let (name, signal) = HPET;
    let device = program::device(name).map_err(WithoutHpet::Device)?;
    let DeviceIdentity::Hpet { minimum_tick, input: Some(input), .. } = device.identity() else {
        return Err(WithoutHpet::NoInterrupt);
    };
    let handler = device.interrupt().ok_or(WithoutHpet::NoInterrupt)?;
    let registers = device.registers(0).map_err(WithoutHpet::Device)?;
    let alarm = HpetAlarm::new(HpetMemory(registers), *input, *minimum_tick);
    let alarm = alarm.map_err(WithoutHpet::Refused)?;
    let waits = grant(GrantKind::Waits, signal).map_err(DeviceError::NotGranted);
    let waits = Notification::new(waits.map_err(WithoutHpet::Device)?);
    handler.set_notification(waits).map_err(WithoutHpet::Interrupt)?;
    // A predecessor may have ended between an interrupt and its acknowledgement.
    handler.ack().map_err(WithoutHpet::Interrupt)?;
    Ok((Box::new(alarm), alloc::vec![handler]))
}

/// The PIT and its interrupts.
fn pit() -> Result<Hardware, Failure> {
    let ports = program::ports("pit").map_err(Failure::Grant)?;
    let interrupts = PIT_INTERRUPTS.map(|(name, signal)| interrupt(name, signal));
    let interrupts = interrupts.into_iter().collect::<Result<_, _>>()?;
    let alarm = PitAlarm::new(PitPorts(ports)).map_err(|NoChip| Failure::Chip(ports.base()))?;
    Ok((Box::new(alarm), interrupts))
}

/// An interrupt that signals the program, and may come from now on.
fn interrupt(name: &'static str, signal: &'static str) -> Result<IrqHandler, Failure> {
    let handler = grant(GrantKind::Interrupts, name).map_err(Failure::Grant)?;
    let waits = grant(GrantKind::Waits, signal).map_err(Failure::Grant)?;
    let handler = IrqHandler::new(handler);
    handler.set_notification(Notification::new(waits)).map_err(Failure::Interrupt)?;
    // A predecessor may have ended between an interrupt and its acknowledgement.
    handler.ack().map_err(Failure::Interrupt)?;
    Ok(handler)
}

/// The HPET's registers, mapped.
#[derive(Debug)]
struct HpetMemory(Registers);

impl HpetRegisters for HpetMemory {
    fn read(&mut self, register: Hpet) -> u32 {
        self.0.read32(register.offset())
    }

    fn read_high(&mut self, register: Hpet) -> u32 {
        self.0.read32(register.offset() + size_of::<u32>())
    }

    fn write(&mut self, register: Hpet, value: u32) {
        self.0.write32(register.offset(), value);
    }
}

/// The PIT's registers, through the kernel.
#[derive(Debug)]
struct PitPorts(Ports);

impl PitRegisters for PitPorts {
    fn read(&mut self, register: Pit) -> u8 {
        // What the kernel refuses reads as it would without a chip.
        self.0.read8(register as u16).unwrap_or(u8::MAX)
    }

    fn write(&mut self, register: Pit, value: u8) {
        // A write that the kernel refuses is lost, as it would be without a chip.
        let _ = self.0.write8(register as u16, value);
    }
}
