//! The persistent memory driver's process: the mapped ranges and the `Nvdimm` interface.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use libd3os::call::Caller;
use libd3os::device::{Device, DeviceError, DeviceIdentity, NvdimmRange, PersistenceDomain};
use libd3os::program;
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::Page;
use libd3os::service::nvdimm::{Nvdimm as Interface, NvdimmError, RangeStatus};
use libd3os::shared::SharedMemory;
use libd3os::start::StartInfo;

use nvdimm::device::Ranges;
use nvdimm::instructions::{WriteBack, fence};
use nvdimm::medium::Medium;

libd3os::program! {
    main: run,
    serves: ["nvdimm"],
    calls: ["log", "supervisor"],
    devices: ["nvdimm"],
}

/// Why the driver cannot run.
#[derive(Debug)]
enum Failure {
    Server(ServerError),
    Device(DeviceError<'static>),
    OtherDevice,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::Device(error) => error.fmt(f),
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

/// The ranges of the device.
fn take() -> Result<Ranges<Mapped>, Failure> {
    let device = program::device("nvdimm").map_err(Failure::Device)?;
    let DeviceIdentity::Nvdimm { ranges, domain } = device.identity() else {
        return Err(Failure::OtherDevice);
    };
    let taken = (0u8..).zip(ranges).map(|(window, range)| take_range(&device, window, range));
    let taken = taken.collect::<Result<Vec<_>, _>>().map_err(Failure::Device)?;
    Ok(Ranges::new(taken, *domain))
}

fn take_range(
    device: &Device,
    window: u8,
    range: &NvdimmRange,
) -> Result<(RangeStatus, Mapped), DeviceError<'static>> {
    let memory = device.memory(window)?;
    let NvdimmRange { index, node, unarmed, .. } = *range;
    let status = RangeStatus { index, bytes: 0, node, armed: !unarmed };
    Ok((status, Mapped { memory, write_back: WriteBack::find() }))
}

struct Driver(Ranges<Mapped>);

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

/// A range, mapped as memory.
#[derive(Debug)]
struct Mapped {
    memory: SharedMemory,
    write_back: WriteBack,
}

impl Medium for Mapped {
    fn bytes(&self) -> usize {
        self.memory.bytes()
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        // Outside of the memory, which the caller has checked, nothing is read.
        let _ = self.memory.read(offset, into);
    }

    fn write(&mut self, offset: usize, from: &[u8]) {
        // Outside of the memory, which the caller has checked, nothing is written.
        let _ = self.memory.write(offset, from);
    }

    fn write_back(&mut self, offset: usize) {
        if offset < self.memory.bytes() {
            self.write_back.line(self.memory.base().as_ptr().wrapping_add(offset));
        }
    }

    fn fence(&mut self) {
        fence();
    }
}
