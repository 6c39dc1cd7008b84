//! The persistent memory driver's process: a window into the ranges, and the `Nvdimm` interface.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::convert::Infallible;
use core::fmt;

use libd3os::call::Caller;
use libd3os::device::{DeviceError, DeviceIdentity, NvdimmRange, PersistenceDomain};
use libd3os::ipc::MissingGrant;
use libd3os::persistent::{Window, parts};
use libd3os::program;
use libd3os::region::RegionError;
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::Page;
use libd3os::service::nvdimm::{Nvdimm as Interface, NvdimmError, RangeStatus};
use libd3os::service::persistent::PersistentClient;
use libd3os::shared::SharedMemory;
use libd3os::start::StartInfo;

use nvdimm::device::Ranges;
use nvdimm::instructions::{WriteBack, fence};
use nvdimm::medium::{Medium, Unreachable};

libd3os::program! {
    main: run,
    serves: ["nvdimm"],
    calls: ["log", "persistent", "supervisor"],
    devices: ["nvdimm"],
}

/// Why the driver cannot run.
#[derive(Debug)]
enum Failure {
    Server(ServerError),
    Device(DeviceError<'static>),
    Grant(MissingGrant<'static>),
    OtherDevice,
    NoWindow,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::Device(error) => error.fmt(f),
            Self::Grant(error) => error.fmt(f),
            Self::NoWindow => f.write_str("its window is in use"),
            Self::OtherDevice => f.write_str("the device is no persistent memory"),
        }
    }
}

fn run(_: &'static StartInfo) -> Result<Infallible, Failure> {
    let mut server = Server::serving("nvdimm").map_err(Failure::Server)?;
    let mut driver = Driver(take()?);
    server.observe(driver.0.journal().recorder());
    loop {
        match server.next() {
            Event::Request(request) => Interface::dispatch(&mut driver, request),
            Event::Signal(bits) => log::warn!("a signal {bits:#x}, which nobody should send"),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

/// The ranges of the device, all seen through one window.
fn take() -> Result<Ranges<Seen>, Failure> {
    let device = program::device("nvdimm").map_err(Failure::Device)?;
    let DeviceIdentity::Nvdimm { ranges, domain } = device.identity() else {
        return Err(Failure::OtherDevice);
    };
    let client = PersistentClient::connect().map_err(Failure::Grant)?;
    let mut window = Window::take(client, 0).ok_or(Failure::NoWindow)?;
    // From the beginning it shows something, so that what init holds for it does not depend on what
    // was asked of it.
    if let Err(error) = window.show(0, 0) {
        log::warn!("the first piece of persistent memory: {error}");
    }
    let window = Rc::new(RefCell::new(window));
    let see = |(range, known): (u16, &NvdimmRange)| {
        let NvdimmRange { index, bytes, node, unarmed, .. } = *known;
        let status = RangeStatus { index, bytes, node, armed: !unarmed };
        (status, Seen { window: window.clone(), range, bytes, write_back: WriteBack::find() })
    };
    Ok(Ranges::new((0..).zip(ranges).map(see), *domain))
}

struct Driver(Ranges<Seen>);

impl Interface for Driver {
    fn ranges(&mut self, _: Caller, from: u32) -> Result<Page<RangeStatus>, NvdimmError> {
        Ok(Page::fill(from, self.0.status()))
    }

    fn domain(&mut self, _: Caller) -> Result<Option<PersistenceDomain>, NvdimmError> {
        Ok(self.0.domain())
    }

    fn read(
        &mut self,
        _: Caller,
        range: u16,
        offset: u64,
        bytes: u32,
    ) -> Result<Vec<u8>, NvdimmError> {
        self.0.read(range, offset, bytes)
    }

    fn write(
        &mut self,
        _: Caller,
        range: u16,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Result<(), NvdimmError> {
        self.0.write(range, offset, &bytes)
    }
}

/// A range, seen through the window.
#[derive(Debug)]
struct Seen {
    window: Rc<RefCell<Window>>,
    range: u16,
    bytes: u64,
    write_back: WriteBack,
}

impl Seen {
    /// Does something to each piece of the memory in which some of these bytes lie.
    fn each(
        &self,
        offset: u64,
        bytes: usize,
        mut act: impl FnMut(&SharedMemory, usize, core::ops::Range<usize>) -> Result<(), RegionError>,
    ) -> Result<(), Unreachable> {
        let mut window = self.window.borrow_mut();
        parts(offset, bytes).try_for_each(|part| {
            let memory = window.show(self.range, part.start).map_err(|_| Unreachable)?;
            act(memory, part.offset, part.bytes).map_err(|_| Unreachable)
        })
    }
}

impl Medium for Seen {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), Unreachable> {
        let bytes = into.len();
        self.each(offset, bytes, |memory, at, part| match into.get_mut(part) {
            Some(part) => memory.read(at, part),
            None => Err(RegionError::Outside),
        })
    }

    fn write(&mut self, offset: u64, from: &[u8]) -> Result<(), Unreachable> {
        self.each(offset, from.len(), |memory, at, part| match from.get(part) {
            Some(part) => memory.write(at, part),
            None => Err(RegionError::Outside),
        })
    }

    fn write_back(&mut self, offset: u64) -> Result<(), Unreachable> {
        let write_back = self.write_back;
        self.each(offset, 1, |memory, at, _| {
            write_back.line(memory.base().as_ptr().wrapping_add(at));
            Ok(())
        })
    }

    fn fence(&mut self) {
        fence();
    }
}
