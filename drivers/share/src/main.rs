//! The driver's process: device, memory and interrupt for the engine, and the `Share` interface.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use libd3os::call::{Caller, Later};
use libd3os::cap::{self, IrqHandler, Notification};
use libd3os::device::{Device as Granted, DeviceError, DeviceIdentity};
use libd3os::dma::Dma;
use libd3os::ipc::MissingGrant;
use libd3os::program::{self, grant};
use libd3os::server::{Event as Incoming, Server, ServerError};
use libd3os::service::share::{FileStatus, Listing, Share, ShareError, Window};
use libd3os::start::{GrantKind, SIGNAL_FLAG, StartInfo};
use virtio::mapped::Mapped;
use virtio::transport::{Transport, has_vectors};

use share::device::{Device, SetupError};
use share::engine::{Engine, Fault, Region};
use share::regs::tag;
use share::session::Session;

libd3os::program! {
    main: run,
    serves: ["share"],
    calls: ["log", "supervisor"],
    devices: ["share"],
    dma: ["share-fetch", "share-messages"],
    waits: ["share-irq"],
}

/// Regions that programs share with the driver.
const SHARED: [&str; 1] = ["share-fetch"];

/// Why the driver has ended.
#[derive(Debug)]
enum Failure {
    Grant(MissingGrant<'static>),
    Device(DeviceError<'static>),
    NotPci,
    NoInterrupt,
    Interrupt(cap::Error),
    Server(ServerError),
    NotDma(&'static str),
    Setup(SetupError),
    Fault(Fault),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(error) => error.fmt(f),
            Self::Device(error) => error.fmt(f),
            Self::NotPci => f.write_str("the device is not on PCI"),
            Self::NoInterrupt => f.write_str("the device has no interrupt"),
            Self::Interrupt(error) => write!(f, "the interrupt cannot be had: {error}"),
            Self::Server(error) => error.fmt(f),
            Self::NotDma(region) => write!(f, "no device may reach the region `{region}`"),
            Self::Setup(error) => error.fmt(f),
            Self::Fault(fault) => write!(f, "the device was given up: {fault}"),
        }
    }
}

fn run(_: &'static StartInfo) -> Result<Infallible, Failure> {
    let granted = program::device("share").map_err(Failure::Device)?;
    let mut driver = Driver::take(&granted)?;
    driver.announce();
    let mut server = Server::serving("share").map_err(Failure::Server)?;
    server.observe(driver.engine.journal().recorder());
    loop {
        match server.next() {
            Incoming::Request(request) => Share::dispatch(&mut driver, request),
            Incoming::Signal(bits) => driver.signalled(bits),
            Incoming::Message(message) => log::warn!("a message with label {}", message.label),
        }
        driver.engine.run().map_err(Failure::Fault)?;
    }
}

struct Driver {
    engine: Engine<'static, Mapped>,
    interrupt: IrqHandler,
    /// Bit of the interrupt among the program's signals.
    bit: u64,
}

impl Driver {
    fn take(granted: &Granted) -> Result<Self, Failure> {
        let DeviceIdentity::Pci { config, .. } = granted.identity() else {
            return Err(Failure::NotPci);
        };
        let interrupt = granted.interrupt().ok_or(Failure::NoInterrupt)?;
        let bit = connect(&interrupt)?;
        let (windows, openings) = Mapped::open(granted).map_err(Failure::Device)?;
        let transport = Transport::find(config, &openings, windows);
        let transport = transport.map_err(|error| Failure::Setup(error.into()))?;
        let vector = has_vectors(config).then_some(0);
        let device = Device::new(transport, memory("share-messages")?, vector);
        let region = |name| Ok(Region { name, memory: memory(name)? });
        let regions = SHARED.into_iter().map(region).collect::<Result<_, Failure>>()?;
        let engine = Engine::new(device.map_err(Failure::Setup)?, regions);
        Ok(Self { engine, interrupt, bit })
    }

    /// Says what is shared.
    fn announce(&mut self) {
        match self.engine.device().configuration() {
            Ok(config) => {
                let tag = String::from_utf8_lossy(tag(&config)).into_owned();
                log::info!("the host shares a directory, `{}`", tag.escape_debug());
            }
            Err(error) => log::warn!("{error}"),
        }
    }

    /// Acknowledge, then look: the engine runs after this.
    fn signalled(&mut self, bits: u64) {
        if bits & self.bit != 0 {
            self.engine.device().interrupted();
            if let Err(error) = self.interrupt.ack() {
                log::error!("the interrupt cannot be acknowledged: {error}");
            }
        }
    }
}

/// Has the interrupt signal this program; tells by which bit.
fn connect(interrupt: &IrqHandler) -> Result<u64, Failure> {
    let waits = grant(GrantKind::Waits, "share-irq").map_err(Failure::Grant)?;
    interrupt.set_notification(Notification::new(waits)).map_err(Failure::Interrupt)?;
    // A predecessor may have ended between an interrupt and its acknowledgement.
    interrupt.ack().map_err(Failure::Interrupt)?;
    let badge = program::start_info().and_then(|info| info.signal("share-irq"));
    Ok(badge.map_or(u64::MAX, |badge| badge & !SIGNAL_FLAG))
}

fn memory(region: &'static str) -> Result<Dma<'static>, Failure> {
    let memory = program::region(region).map_err(Failure::Grant)?;
    Dma::of_region(memory).ok_or(Failure::NotDma(region))
}

impl Share for Driver {
    fn list(
        &mut self,
        _: Caller,
        directory: String,
        from: u64,
        later: Later<Result<Listing, ShareError>>,
    ) {
        self.engine.add(later, async move |host: &Session| host.list(&directory, from).await);
    }

    fn stat(&mut self, _: Caller, path: String, later: Later<Result<FileStatus, ShareError>>) {
        self.engine.add(later, async move |host: &Session| host.stat(&path).await);
    }

    fn read(
        &mut self,
        _: Caller,
        path: String,
        offset: u64,
        bytes: u32,
        later: Later<Result<Vec<u8>, ShareError>>,
    ) {
        self.engine.add(later, async move |host: &Session| host.read(&path, offset, bytes).await);
    }

    fn write(
        &mut self,
        _: Caller,
        path: String,
        offset: u64,
        bytes: Vec<u8>,
        later: Later<Result<(), ShareError>>,
    ) {
        self.engine.add(later, async move |host: &Session| host.write(&path, offset, &bytes).await);
    }

    fn read_into(
        &mut self,
        _: Caller,
        path: String,
        offset: u64,
        window: Window,
        later: Later<Result<u32, ShareError>>,
    ) {
        match self.engine.span(&window) {
            Err(error) => later.answer(&Err(error)),
            Ok(span) => self
                .engine
                .add(later, async move |host: &Session| host.read_into(&path, offset, span).await),
        }
    }

    fn write_from(
        &mut self,
        _: Caller,
        path: String,
        offset: u64,
        window: Window,
        later: Later<Result<(), ShareError>>,
    ) {
        match self.engine.span(&window) {
            Err(error) => later.answer(&Err(error)),
            Ok(span) => self
                .engine
                .add(later, async move |host: &Session| host.write_from(&path, offset, span).await),
        }
    }

    fn create(&mut self, _: Caller, path: String, later: Later<Result<(), ShareError>>) {
        self.engine.add(later, async move |host: &Session| host.create(&path).await);
    }

    fn sync(&mut self, _: Caller, path: String, later: Later<Result<(), ShareError>>) {
        self.engine.add(later, async move |host: &Session| host.sync(&path).await);
    }

    fn make_directory(&mut self, _: Caller, path: String, later: Later<Result<(), ShareError>>) {
        self.engine.add(later, async move |host: &Session| host.make_directory(&path).await);
    }

    fn remove(&mut self, _: Caller, path: String, later: Later<Result<(), ShareError>>) {
        self.engine.add(later, async move |host: &Session| host.remove(&path).await);
    }
}
