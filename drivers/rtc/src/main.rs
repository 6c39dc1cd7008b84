//! The wall clock driver's process: ports, and the `Rtc` interface.
//!
//! It has no interrupt: the clock is read when somebody asks.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::convert::Infallible;
use core::fmt;

use libd3os::call::Caller;
use libd3os::ipc::MissingGrant;
use libd3os::port::{PortAccess, Ports};
use libd3os::program;
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::rtc::{Rtc, RtcError, WallTime};
use libd3os::start::StartInfo;
use libd3os::time;

use rtc::device::Clock;
use rtc::regs::{Registers, address};

libd3os::program! {
    main: run,
    serves: ["rtc"],
    calls: ["log", "supervisor"],
    ports: ["cmos"],
}

/// Where the century is on PCs whose clock has one. What is there on others is no century and is
/// ignored. The FADT, which tells for sure, is not in a driver's reach.
const CENTURY: u8 = 0x32;

/// Why the driver cannot run.
#[derive(Debug)]
enum Failure {
    Grant(MissingGrant<'static>),
    Server(ServerError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
        }
    }
}

fn run(_: &'static StartInfo) -> Result<Infallible, Failure> {
    let mut server = Server::serving("rtc").map_err(Failure::Server)?;
    let ports = program::ports("cmos").map_err(Failure::Grant)?;
    let mut driver = Driver(Clock::new(Cmos(ports), CENTURY));
    server.observe(driver.0.journal().recorder());
    if let Err(error) = driver.0.seconds() {
        log::warn!("{error}");
    }
    loop {
        match server.next() {
            Event::Request(request) => Rtc::dispatch(&mut driver, request),
            Event::Signal(bits) => log::warn!("a signal {bits:#x}, which nobody should send"),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

struct Driver(Clock<Cmos>);

impl Rtc for Driver {
    fn now(&mut self, _: Caller) -> Result<WallTime, RtcError> {
        let seconds = self.0.seconds()?;
        let uptime = time::uptime().unwrap_or_default();
        let uptime_ns = u64::try_from(uptime.as_nanos()).unwrap_or(u64::MAX);
        Ok(WallTime { seconds, uptime_ns })
    }
}

/// The clock's memory behind its two ports, through the kernel: address, then value.
#[derive(Debug)]
struct Cmos(Ports);

impl Registers for Cmos {
    fn read(&mut self, address: u8) -> u8 {
        // The upper bit keeps non-maskable interrupts out; it stays clear. What the kernel refuses
        // reads as it would without a clock.
        let selected = self.0.write8(0, address & address::LAST);
        selected.and_then(|()| self.0.read8(1)).unwrap_or(u8::MAX)
    }
}
