//! The serial port driver's process: ports, interrupt, and the `Uart` interface.
//!
//! It waits at one place for callers and for its interrupt. The interrupt is acknowledged before
//! the chip is looked at: what the chip reports after that look raises a new edge, which must not
//! find the line masked.
//!
//! Without a chip it says so once, and answers that there is no line: a machine with a screen is in
//! order without one.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use libd3os::call::{Caller, Later};
use libd3os::cap::{self, IrqHandler, Notification};
use libd3os::ipc::MissingGrant;
use libd3os::port::{PortAccess, Ports};
use libd3os::program::{self, grant};
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::uart::{Uart, UartError};
use libd3os::start::{GrantKind, StartInfo};

use uart::device::{Device, NoChip};
use uart::regs::{Register, Registers};

libd3os::program! {
    main: run,
    serves: ["uart"],
    calls: ["log", "supervisor"],
    ports: ["com1"],
    interrupts: ["com1"],
    signals: ["console-input"],
    waits: ["com1-irq"],
}

/// Bytes that one answer to a reader carries at most.
const READ_BYTES: usize = 512;

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
    let mut server = Server::serving("uart").map_err(Failure::Server)?;
    let Some(mut driver) = Driver::take()? else { refuse(server) };
    server.observe(driver.device.journal().recorder());
    loop {
        match server.next() {
            Event::Request(request) => Uart::dispatch(&mut driver, request),
            Event::Signal(_) => driver.interrupt(),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

/// Serves on a machine without the chip.
fn refuse(mut server: Server) -> ! {
    loop {
        match server.next() {
            Event::Request(request) => Uart::dispatch(&mut NoLine, request),
            Event::Signal(_) => {}
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

/// A call to send these bytes.
type Writer = (Vec<u8>, Later<Result<u32, UartError>>);

struct Driver {
    device: Device<Com1>,
    interrupt: IrqHandler,
    input: Notification,
    /// Who waits for room, first come first served.
    writers: VecDeque<Writer>,
}

impl Driver {
    /// The driver of the chip, if there is one.
    fn take() -> Result<Option<Self>, Failure> {
        let ports = program::ports("com1").map_err(Failure::Grant)?;
        let handler = grant(GrantKind::Interrupts, "com1").map_err(Failure::Grant)?;
        let waits = grant(GrantKind::Waits, "com1-irq").map_err(Failure::Grant)?;
        let input = grant(GrantKind::Signals, "console-input").map_err(Failure::Grant)?;
        let interrupt = IrqHandler::new(handler);
        interrupt.set_notification(Notification::new(waits)).map_err(Failure::Interrupt)?;
        let device = match Device::new(Com1(ports)) {
            Ok(device) => device,
            Err(NoChip) => {
                log::warn!("there is no serial port at {:#x}", ports.base());
                return Ok(None);
            }
        };
        let input = Notification::new(input);
        let mut driver = Self { device, interrupt, input, writers: VecDeque::new() };
        // A predecessor may have ended between an interrupt and its acknowledgement.
        driver.interrupt();
        Ok(Some(driver))
    }

    fn interrupt(&mut self) {
        if let Err(error) = self.interrupt.ack() {
            log::error!("the interrupt cannot be acknowledged: {error}");
        }
        let brought = self.device.interrupt();
        if brought.input {
            self.input.signal();
        }
        if brought.room {
            self.serve_writers();
        }
    }

    fn serve_writers(&mut self) {
        while let Some((bytes, later)) = self.writers.pop_front() {
            match u32::try_from(self.device.send(&bytes)) {
                Ok(0) | Err(_) => {
                    self.writers.push_front((bytes, later));
                    return;
                }
                Ok(taken) => later.answer(&Ok(taken)),
            }
        }
    }
}

impl Uart for Driver {
    fn write(&mut self, _: Caller, bytes: Vec<u8>, later: Later<Result<u32, UartError>>) {
        if bytes.is_empty() {
            return later.answer(&Err(UartError::Empty));
        }
        // Behind those who wait already, whose bytes come first.
        self.writers.push_back((bytes, later));
        self.serve_writers();
    }

    fn read(&mut self, _: Caller) -> Result<Vec<u8>, UartError> {
        Ok(self.device.receive(READ_BYTES))
    }
}

/// What stands in the driver's place without a chip.
struct NoLine;

impl Uart for NoLine {
    fn write(&mut self, _: Caller, _: Vec<u8>, later: Later<Result<u32, UartError>>) {
        later.answer(&Err(UartError::Absent));
    }

    fn read(&mut self, _: Caller) -> Result<Vec<u8>, UartError> {
        Err(UartError::Absent)
    }
}

/// The chip's registers, through the kernel.
#[derive(Debug)]
struct Com1(Ports);

impl Registers for Com1 {
    fn read(&mut self, register: Register) -> u8 {
        // What the kernel refuses reads as it would without a chip.
        self.0.read8(register as u16).unwrap_or(u8::MAX)
    }

    fn write(&mut self, register: Register, value: u8) {
        // A write that the kernel refuses is lost, as it would be without a chip.
        let _ = self.0.write8(register as u16, value);
    }
}
