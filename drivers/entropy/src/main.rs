//! The entropy driver's process: the processor's instructions, a virtio device where there is one,
//! and the `Entropy` interface.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use entropy::device::Entropy;
use entropy::instructions::{RdRand, RdSeed};
use entropy::rng::{RngError, VirtioRng};
use entropy::source::Words;
use libd3os::call::Caller;
use libd3os::device::{Device, DeviceError, DeviceIdentity};
use libd3os::dma::Dma;
use libd3os::ipc::MissingGrant;
use libd3os::program;
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::entropy::{Entropy as Interface, EntropyError, Health, SourceReport};
use libd3os::start::StartInfo;
use libd3os::sys;
use virtio::mapped::Mapped;
use virtio::transport::Transport;

libd3os::program! {
    main: run,
    serves: ["entropy"],
    calls: ["log", "supervisor"],
    devices: ["rng"],
    dma: ["rng"],
}

fn run(_: &'static StartInfo) -> Result<Infallible, ServerError> {
    let mut server = Server::serving("entropy")?;
    let mut driver = Driver(Entropy::new(sources()));
    server.observe(driver.0.journal().recorder());
    if driver.0.report().iter().all(|report| report.health != Health::Good) {
        log::warn!("this machine gives no random bits: programs that need keys get an error");
    }
    loop {
        match server.next() {
            Event::Request(request) => Interface::dispatch(&mut driver, request),
            Event::Signal(bits) => log::warn!("a signal {bits:#x}, which nobody should send"),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

fn sources() -> impl Iterator<Item = Box<dyn Words>> {
    let seed = RdSeed::find().map(|source| Box::new(source) as Box<dyn Words>);
    let rand = RdRand::find().map(|source| Box::new(source) as Box<dyn Words>);
    seed.into_iter().chain(rand).chain(virtio_rng())
}

/// The virtio device, if the machine has one. One that cannot be used is said to be so, and missed.
fn virtio_rng() -> Option<Box<dyn Words>> {
    let device = match program::device("rng") {
        Ok(device) => device,
        Err(absent) => {
            log::debug!("{absent}");
            return None;
        }
    };
    match open(&device) {
        Ok(rng) => Some(Box::new(rng)),
        Err(error) => {
            log::warn!("the virtio entropy device cannot be used: {error}");
            None
        }
    }
}

fn open(device: &Device) -> Result<VirtioRng<'static, Mapped>, Unusable> {
    let DeviceIdentity::Pci { config, .. } = device.identity() else {
        return Err(Unusable::NotPci);
    };
    let memory = program::region("rng").map_err(Unusable::Grant)?;
    let memory = Dma::of_region(memory).ok_or(Unusable::NoDma)?;
    let (windows, openings) = Mapped::open(device).map_err(Unusable::Device)?;
    let transport = Transport::find(config, &openings, windows);
    let transport = transport.map_err(|error| Unusable::Rng(error.into()))?;
    VirtioRng::new(transport, memory, sys::yield_now).map_err(Unusable::Rng)
}

/// Why the virtio device cannot be used.
#[derive(Debug)]
enum Unusable {
    Device(DeviceError<'static>),
    Grant(MissingGrant<'static>),
    NotPci,
    NoDma,
    Rng(RngError),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => error.fmt(f),
            Self::Grant(error) => error.fmt(f),
            Self::NotPci => f.write_str("it is not on PCI"),
            Self::NoDma => f.write_str("its memory is not for devices"),
            Self::Rng(error) => error.fmt(f),
        }
    }
}

struct Driver(Entropy);

impl Interface for Driver {
    fn fill(&mut self, _: Caller, bytes: u32) -> Result<Vec<u8>, EntropyError> {
        self.0.fill(bytes)
    }

    fn sources(&mut self, _: Caller) -> Result<Vec<SourceReport>, EntropyError> {
        Ok(self.0.report())
    }
}
