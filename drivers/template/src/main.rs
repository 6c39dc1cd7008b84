//! The driver's process: ports, interrupt, and the `Printer` interface.
//!
//! The interrupt is acknowledged before the port is looked at: an edge that comes after that look
//! must not find the line masked.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use driver_template::device::Device;
use driver_template::interface::{Printer, PrinterError};
use driver_template::regs::{Register, Registers};
use libd3os::call::Caller;
use libd3os::cap::{self, IrqHandler, Notification};
use libd3os::ipc::MissingGrant;
use libd3os::port::{PortAccess, Ports};
use libd3os::program::{self, grant};
use libd3os::server::{Event, Server, ServerError};
use libd3os::start::{GrantKind, StartInfo};

libd3os::program! {
    main: run,
    serves: ["printer"],
    calls: ["log", "supervisor"],
    ports: ["lpt1"],
    interrupts: ["lpt1"],
    waits: ["lpt1-irq"],
}

/// Why the driver cannot run.
#[derive(Debug)]
enum Failure {
    Grant(MissingGrant<'static>),
    Server(ServerError),
    Interrupt(cap::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
            Self::Interrupt(error) => write!(f, "the interrupt cannot be had: {error}"),
        }
    }
}

fn run(_: &'static StartInfo) -> Result<Infallible, Failure> {
    let mut server = Server::serving("printer").map_err(Failure::Server)?;
    let mut driver = Driver::take()?;
    server.observe(driver.device.journal().recorder());
    loop {
        match server.next() {
            Event::Request(request) => Printer::dispatch(&mut driver, request),
            Event::Signal(_) => driver.interrupt(),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

struct Driver {
    device: Device<Lpt1>,
    interrupt: IrqHandler,
}

impl Driver {
    fn take() -> Result<Self, Failure> {
        let ports = program::ports("lpt1").map_err(Failure::Grant)?;
        let handler = grant(GrantKind::Interrupts, "lpt1").map_err(Failure::Grant)?;
        let waits = grant(GrantKind::Waits, "lpt1-irq").map_err(Failure::Grant)?;
        let interrupt = IrqHandler::new(handler);
        interrupt.set_notification(Notification::new(waits)).map_err(Failure::Interrupt)?;
        let mut driver = Self { device: Device::new(Lpt1(ports)), interrupt };
        // A predecessor may have ended between an interrupt and its acknowledgement.
        driver.interrupt();
        Ok(driver)
    }

    fn interrupt(&mut self) {
        if let Err(error) = self.interrupt.ack() {
            log::error!("the interrupt cannot be acknowledged: {error}");
        }
        self.device.interrupt();
    }
}

impl Printer for Driver {
    fn write(&mut self, _: Caller, bytes: Vec<u8>) -> Result<u32, PrinterError> {
        let taken = self.device.send(&bytes)?;
        // A message holds less than a thousand bytes.
        Ok(u32::try_from(taken).unwrap_or(u32::MAX))
    }
}

/// The port's registers, through the kernel.
#[derive(Debug)]
struct Lpt1(Ports);

impl Registers for Lpt1 {
    fn read(&mut self, register: Register) -> u8 {
        // What the kernel refuses reads as it would without a printer.
        self.0.read8(register as u16).unwrap_or(0)
    }

    fn write(&mut self, register: Register, value: u8) {
        // A write that the kernel refuses is lost, as it would be without a printer.
        let _ = self.0.write8(register as u16, value);
    }
}
