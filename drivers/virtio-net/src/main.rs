//! The virtio network card's process: device, memory and interrupt for the engine of [`nic`].
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use core::convert::Infallible;
use core::fmt;

use libd3os::device::DeviceIdentity;
use libd3os::nic::Consumer;
use libd3os::start::StartInfo;
use nic::process::{self, Ended, Failure, Hardware, Names};
use virtio::mapped::Mapped;
use virtio::queue::Broken;
use virtio::transport::{Transport, has_vectors};

use virtio_net::device::{Device, Frames, SetupError};

libd3os::program! {
    main: run,
    serves: ["virtio-net"],
    calls: ["log", "supervisor"],
    devices: ["virtio-net"],
    dma: ["virtio-net-rings", "virtio-net-rx", "virtio-net-tx"],
    signals: ["nic-up", "virtio-net-frames"],
    waits: ["virtio-net-irq", "virtio-net-send"],
}

const NAMES: Names = Names {
    device: "virtio-net",
    rings: "virtio-net-rings",
    receive: "virtio-net-rx",
    consumers: &[(Consumer::Net, "virtio-net-tx", "virtio-net-frames")],
    interrupt: "virtio-net-irq",
    up: "nic-up",
};

/// Why the driver has ended.
#[derive(Debug)]
enum Fatal {
    NotPci,
    Setup(SetupError),
    Ended(Ended<Broken>),
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPci => f.write_str("the device is not on PCI"),
            Self::Setup(error) => error.fmt(f),
            Self::Ended(ended) => ended.fmt(f),
        }
    }
}

impl From<Failure> for Fatal {
    fn from(failure: Failure) -> Self {
        Self::Ended(Ended::Failure(failure))
    }
}

fn run(_: &'static StartInfo) -> Result<Infallible, Fatal> {
    let hardware = Hardware::take(NAMES)?;
    let DeviceIdentity::Pci { config, .. } = hardware.device.identity() else {
        return Err(Fatal::NotPci);
    };
    let (windows, openings) = Mapped::open(&hardware.device).map_err(Failure::Device)?;
    let transport = Transport::find(config, &openings, windows);
    let transport = transport.map_err(|error| Fatal::Setup(error.into()))?;
    let frames = Frames { bus: hardware.frames, count: hardware.receive_buffers() };
    let vector = has_vectors(config).then_some(0);
    let device = Device::new(transport, hardware.rings, frames, vector).map_err(Fatal::Setup)?;
    process::run(hardware, device).map_err(Fatal::Ended)
}
