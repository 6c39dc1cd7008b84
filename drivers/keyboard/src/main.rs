//! The keyboard driver's process: ports, interrupt, and the `Keyboard` interface.
//!
//! The interrupt is acknowledged before the controller is looked at: what it has for us after that
//! look raises a new edge, which must not find the line masked. On a machine without a controller
//! the driver stays and says so to whoever asks: that is no failure of it.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use libd3os::call::Caller;
use libd3os::cap::{self, IrqHandler, Notification};
use libd3os::ipc::MissingGrant;
use libd3os::port::{PortAccess, Ports};
use libd3os::program::{self, grant};
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::keyboard::{Input, Keyboard, KeyboardError, Layout};
use libd3os::start::{GrantKind, StartInfo};

use keyboard::device::{Device, NoController, Presence};
use keyboard::regs::{Register, Registers};

libd3os::program! {
    main: run,
    serves: ["keyboard"],
    calls: ["log", "supervisor"],
    ports: ["keyboard", "keyboard-command"],
    interrupts: ["keyboard"],
    signals: ["keyboard-input"],
    waits: ["keyboard-irq"],
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
    let mut server = Server::serving("keyboard").map_err(Failure::Server)?;
    let mut driver = Driver::take()?;
    if let Some(device) = &driver.device {
        server.observe(device.journal().recorder());
    }
    loop {
        match server.next() {
            Event::Request(request) => Keyboard::dispatch(&mut driver, request),
            Event::Signal(_) => driver.interrupt(),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

struct Driver {
    /// `None` where the machine has no controller.
    device: Option<Device<Controller>>,
    interrupt: IrqHandler,
    input: Notification,
}

impl Driver {
    fn take() -> Result<Self, Failure> {
        let data = program::ports("keyboard").map_err(Failure::Grant)?;
        let command = program::ports("keyboard-command").map_err(Failure::Grant)?;
        let handler = grant(GrantKind::Interrupts, "keyboard").map_err(Failure::Grant)?;
        let waits = grant(GrantKind::Waits, "keyboard-irq").map_err(Failure::Grant)?;
        let input = grant(GrantKind::Signals, "keyboard-input").map_err(Failure::Grant)?;
        let interrupt = IrqHandler::new(handler);
        interrupt.set_notification(Notification::new(waits)).map_err(Failure::Interrupt)?;
        let device = Device::new(Controller { data, command }, Layout::default());
        tell(&device);
        let mut driver = Self { device: device.ok(), interrupt, input: Notification::new(input) };
        // A predecessor may have ended between an interrupt and its acknowledgement.
        driver.interrupt();
        Ok(driver)
    }

    fn interrupt(&mut self) {
        if let Err(error) = self.interrupt.ack() {
            log::error!("the interrupt cannot be acknowledged: {error}");
        }
        if self.device.as_mut().is_some_and(Device::interrupt) {
            self.input.signal();
        }
    }

    fn device(&mut self) -> Result<&mut Device<Controller>, KeyboardError> {
        self.device.as_mut().ok_or(KeyboardError::Absent)
    }
}

fn tell(device: &Result<Device<Controller>, NoController>) {
    match device.as_ref().map(Device::presence) {
        Ok(Presence::Keyboard) => log::info!("a keyboard, layout `{}`", Layout::default()),
        Ok(Presence::Silence) => log::info!("no keyboard answers; one may be plugged in"),
        Err(NoController) => log::info!("this machine has no PS/2 controller, thus no keyboard"),
    }
}

impl Keyboard for Driver {
    fn read(&mut self, _: Caller) -> Result<Vec<Input>, KeyboardError> {
        Ok(self.device()?.receive(READ_BYTES))
    }

    fn layout(&mut self, _: Caller) -> Result<Layout, KeyboardError> {
        Ok(self.device()?.layout())
    }

    fn set_layout(&mut self, _: Caller, layout: Layout) -> Result<(), KeyboardError> {
        self.device()?.set_layout(layout);
        Ok(())
    }
}

/// The controller's ports, through the kernel.
#[derive(Debug)]
struct Controller {
    data: Ports,
    command: Ports,
}

impl Controller {
    fn port(&mut self, register: Register) -> &mut Ports {
        match register {
            Register::Data => &mut self.data,
            Register::StatusOrCommand => &mut self.command,
        }
    }
}

impl Registers for Controller {
    fn read(&mut self, register: Register) -> u8 {
        // What the kernel refuses reads as it would without a controller.
        self.port(register).read8(0).unwrap_or(u8::MAX)
    }

    fn write(&mut self, register: Register, value: u8) {
        // A write that the kernel refuses is lost, as it would be without a controller.
        let _ = self.port(register).write8(0, value);
    }
}
