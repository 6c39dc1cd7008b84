//! The screen driver's process: the device, the region that others draw in, and the `Framebuffer`
//! interface.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use libd3os::call::Caller;
use libd3os::cap::Notification;
use libd3os::device::{CONFIGURATION_BYTES, Device, DeviceError, DeviceIdentity, Screen};
use libd3os::dma::Dma;
use libd3os::ipc::MissingGrant;
use libd3os::mmio;
use libd3os::program::{self, grant};
use libd3os::server::{Event as Incoming, Server, ServerError};
use libd3os::service::framebuffer::{Framebuffer, FramebufferError, Mode, Rectangle};
use libd3os::shared::SharedMemory;
use libd3os::start::{GrantKind, StartInfo};
use libd3os::sys;

use framebuffer::bochs::{self, NoMode};
use framebuffer::events::{Event, Journal};
use framebuffer::gpu::{Backing, Gpu, GpuError};
use framebuffer::regs::{BOCHS_REGISTERS, Register, Registers, VGA_PORTS};
use framebuffer::surface::{BadScreen, Memory, Surface};
use virtio::mapped::Mapped;
use virtio::transport::Transport;

libd3os::program! {
    main: run,
    serves: ["framebuffer"],
    calls: ["log", "supervisor"],
    devices: ["screen"],
    dma: ["screen", "screen-commands"],
    signals: ["screen-up"],
}

/// The vendor of virtio devices.
const VIRTIO: u16 = 0x1af4;
/// Base address registers of the standard VGA.
const PIXELS: u8 = 0;
const REGISTERS: u8 = 2;

/// Why the driver cannot run.
#[derive(Debug)]
enum Failure {
    Grant(MissingGrant<'static>),
    Server(ServerError),
    Device(DeviceError<'static>),
    Mode(NoMode),
    Screen(BadScreen),
    Gpu(GpuError),
    NoDma,
    Unknown,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
            Self::Device(error) => error.fmt(f),
            Self::Mode(error) => write!(f, "the screen cannot be used: {error}"),
            Self::Screen(error) => write!(f, "the screen cannot be used: {error}"),
            Self::Gpu(error) => write!(f, "the screen cannot be used: {error}"),
            Self::NoDma => f.write_str("the device may not reach the memory that it is to show"),
            Self::Unknown => f.write_str("the device is no screen that this driver knows"),
        }
    }
}

fn run(_: &'static StartInfo) -> Result<Infallible, Failure> {
    let mut server = Server::serving("framebuffer").map_err(Failure::Server)?;
    let mut driver = Driver::take()?;
    server.observe(driver.journal.recorder());
    let up = grant(GrantKind::Signals, "screen-up").map_err(Failure::Grant)?;
    Notification::new(up).signal();
    loop {
        match server.next() {
            Incoming::Request(request) => Framebuffer::dispatch(&mut driver, request),
            Incoming::Signal(_) => {}
            Incoming::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

/// How the region is shown.
enum Output {
    /// Pixels are copied to the device's memory.
    Linear(Surface<Shared>, Shared),
    /// The device fetches them.
    Gpu(Gpu<'static, Mapped>),
}

impl Output {
    fn mode(&self) -> Mode {
        match self {
            Self::Linear(surface, _) => surface.mode(),
            Self::Gpu(gpu) => gpu.mode(),
        }
    }

    fn present(&mut self, parts: &[Rectangle]) -> Result<u32, FramebufferError> {
        match self {
            Self::Linear(surface, region) => surface.present(region, parts),
            Self::Gpu(gpu) => gpu.present(parts),
        }
    }
}

struct Driver {
    output: Output,
    journal: Journal,
}

impl Driver {
    fn take() -> Result<Self, Failure> {
        let device = program::device("screen").map_err(Failure::Device)?;
        let output = match device.identity() {
            DeviceIdentity::Framebuffer(screen) => linear(&device, screen)?,
            DeviceIdentity::Pci { vendor: VIRTIO, config, .. } => gpu(&device, config)?,
            DeviceIdentity::Pci { .. } => {
                let registers = device.registers(REGISTERS).map_err(Failure::Device)?;
                let screen = bochs::set_mode(&mut Vga(registers)).map_err(Failure::Mode)?;
                linear(&device, &screen)?
            }
            _ => return Err(Failure::Unknown),
        };
        let Mode { width, height } = output.mode();
        log::info!("a screen, {width} by {height} pixels of it are used");
        Ok(Self { output, journal: Journal::default() })
    }
}

/// A screen whose pixels are memory of the device.
fn linear(device: &Device, screen: &Screen) -> Result<Output, Failure> {
    let region = Shared(region()?);
    let pixels = Shared(device.memory(PIXELS).map_err(Failure::Device)?);
    let surface = Surface::new(pixels, screen, region.bytes()).map_err(Failure::Screen)?;
    Ok(Output::Linear(surface, region))
}

/// A virtio GPU.
fn gpu(device: &Device, config: &[u8; CONFIGURATION_BYTES]) -> Result<Output, Failure> {
    let region = region()?;
    let bytes = u32::try_from(region.bytes()).unwrap_or(u32::MAX);
    let backing = Backing { bus: region.bus().ok_or(Failure::NoDma)?, bytes };
    let commands = program::region("screen-commands").map_err(Failure::Grant)?;
    let commands = Dma::of_region(commands).ok_or(Failure::NoDma)?;
    let (windows, openings) = Mapped::open(device).map_err(Failure::Device)?;
    let transport = Transport::find(config, &openings, windows);
    let transport = transport.map_err(|error| Failure::Gpu(error.into()))?;
    Gpu::new(transport, commands, backing, sys::yield_now).map(Output::Gpu).map_err(Failure::Gpu)
}

fn region() -> Result<SharedMemory, Failure> {
    program::region("screen").map_err(Failure::Grant)
}

impl Framebuffer for Driver {
    fn mode(&mut self, _: Caller) -> Result<Mode, FramebufferError> {
        Ok(self.output.mode())
    }

    fn present(&mut self, _: Caller, rectangles: Vec<Rectangle>) -> Result<(), FramebufferError> {
        match self.output.present(&rectangles) {
            Ok(pixels) => {
                let count = u16::try_from(rectangles.len()).unwrap_or(u16::MAX);
                self.journal.note(Event::Presented(count, pixels));
                Ok(())
            }
            Err(error) => {
                self.journal.note(Event::Refused);
                Err(error)
            }
        }
    }
}

/// Memory that others change, too.
struct Shared(SharedMemory);

impl Memory for Shared {
    fn bytes(&self) -> usize {
        self.0.bytes()
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        // The surface stays within the size that it was told; the region may be read.
        let _ = self.0.read(offset, into);
    }

    fn write(&mut self, offset: usize, from: &[u8]) {
        // As above; the device's memory may be written.
        let _ = self.0.write(offset, from);
    }
}

/// The standard VGA's registers.
struct Vga(mmio::Registers);

impl Registers for Vga {
    fn read(&mut self, register: Register) -> u16 {
        self.0.read16(BOCHS_REGISTERS + 2 * register as usize)
    }

    fn write(&mut self, register: Register, value: u16) {
        self.0.write16(BOCHS_REGISTERS + 2 * register as usize, value);
    }

    fn write_attribute_index(&mut self, value: u8) {
        self.0.write8(VGA_PORTS, value);
    }
}
