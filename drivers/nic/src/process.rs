//! A card's driver as a program: grants, the `nic` interface, the loop.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use libd3os::call::Caller;
use libd3os::cap::{self, IrqHandler, Notification};
use libd3os::device::{Device, DeviceError};
use libd3os::dma::Dma;
use libd3os::ipc::MissingGrant;
use libd3os::nic::{Attachment, Buffers, Consumer, Epoch, FRAME_OFFSET};
use libd3os::program::{self, grant};
use libd3os::region::RegionError;
use libd3os::ring::RingError;
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::nic::{CardState, Nic, NicError};
use libd3os::start::{GrantKind, SIGNAL_FLAG};
use libd3os::time::tsc;

use crate::card::Card;
use crate::engine::{Engine, Station};

/// What the manifest calls the things of a driver.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Its device, and its service.
    pub device: &'static str,
    /// Region of the card's rings.
    pub rings: &'static str,
    /// Region of receive buffers.
    pub receive: &'static str,
    /// Consumers with their regions, and the notifications that wake them.
    pub consumers: &'static [(Consumer, &'static str, &'static str)],
    /// The card's interrupt, as a notification of the driver.
    pub interrupt: &'static str,
    /// Signalled when consumers can attach.
    pub up: &'static str,
}

/// Why a driver cannot run, or cannot go on.
#[derive(Debug)]
pub enum Failure {
    /// The manifest does not grant something.
    Grant(MissingGrant<'static>),
    /// The device is not there, or a part of it is not.
    Device(DeviceError<'static>),
    /// The device has no interrupt.
    NoInterrupt,
    /// The interrupt cannot be had.
    Interrupt(cap::Error),
    /// There are no reply objects.
    Server(ServerError),
    /// A region is no DMA memory.
    NotDma(&'static str),
    /// A region may not be used as it has to be.
    Region(&'static str, RegionError),
    /// A region cannot hold rings.
    Ring(&'static str, RingError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(error) => error.fmt(f),
            Self::Device(error) => error.fmt(f),
            Self::NoInterrupt => f.write_str("the card has no interrupt"),
            Self::Interrupt(error) => write!(f, "the interrupt cannot be had: {error}"),
            Self::Server(error) => error.fmt(f),
            Self::NotDma(region) => write!(f, "no device may reach the region `{region}`"),
            Self::Region(region, error) => write!(f, "region `{region}`: {error}"),
            Self::Ring(region, error) => write!(f, "region `{region}`: {error}"),
        }
    }
}

/// What a driver gets before it has a card.
pub struct Hardware {
    /// The device.
    pub device: Device,
    /// Memory for the card's rings.
    pub rings: Dma<'static>,
    /// Where the card finds the place of the frame in the first receive buffer.
    pub frames: u64,
    names: Names,
    receive: Buffers<'static>,
    stations: Vec<Station<'static, Notification>>,
}

impl Hardware {
    /// Takes what the manifest grants under these names.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn take(names: Names) -> Result<Self, Failure> {
        let rings = program::region(names.rings).map_err(Failure::Grant)?;
        let receive = program::region(names.receive).map_err(Failure::Grant)?;
        let frames = receive.bus().ok_or(Failure::NotDma(names.receive))? + FRAME_OFFSET as u64;
        let stations = names.consumers.iter().map(station).collect::<Result<_, _>>()?;
        Ok(Self {
            device: program::device(names.device).map_err(Failure::Device)?,
            rings: Dma::of_region(rings).ok_or(Failure::NotDma(names.rings))?,
            frames,
            names,
            receive: Buffers::of_region(receive)
                .map_err(|error| Failure::Region(names.receive, error))?,
            stations,
        })
    }

    /// Receive buffers that there is memory for.
    #[must_use]
    pub const fn receive_buffers(&self) -> u16 {
        self.receive.count()
    }
}

fn station(
    &(consumer, region, wake): &(Consumer, &'static str, &'static str),
) -> Result<Station<'static, Notification>, Failure> {
    let memory = program::region(region).map_err(Failure::Grant)?;
    let bus = memory.bus().ok_or(Failure::NotDma(region))?;
    let mapping = memory.mapping().map_err(|error| Failure::Ring(region, error))?;
    let wake = grant(GrantKind::Signals, wake).map_err(Failure::Grant)?;
    Ok(Station { consumer, lines: mapping.lines(), bus, wake: Notification::new(wake) })
}

/// Runs a driver with this card until the card is broken: then it has been stopped, and says why.
///
/// # Errors
/// [`Failure`] where it cannot begin.
pub fn run<C: Card>(hardware: Hardware, card: C) -> Result<Infallible, Ended<C::Broken>> {
    let names = hardware.names;
    let mut server = Server::serving(names.device).map_err(Failure::Server)?;
    let mut driver = Driver::new(hardware, card)?;
    server.observe(driver.engine.journal().recorder());
    signal(names.up)?;
    loop {
        match server.next() {
            Event::Request(request) => Nic::dispatch(&mut driver, request),
            Event::Signal(bits) => driver.signalled(bits),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
        driver.work().map_err(Ended::Broken)?;
    }
}

fn signal(name: &'static str) -> Result<(), Failure> {
    let notification = grant(GrantKind::Signals, name).map_err(Failure::Grant)?;
    Notification::new(notification).signal();
    Ok(())
}

/// Why a driver has ended.
#[derive(Debug)]
pub enum Ended<B> {
    /// It could not begin.
    Failure(Failure),
    /// Its card did what no card may.
    Broken(B),
}

impl<B> From<Failure> for Ended<B> {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl<B: fmt::Display> fmt::Display for Ended<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failure(failure) => failure.fmt(f),
            Self::Broken(broken) => write!(f, "the card was stopped: {broken}"),
        }
    }
}

struct Driver<C> {
    engine: Engine<'static, C, Notification>,
    interrupt: IrqHandler,
    /// Bit of the interrupt among the program's signals.
    bit: u64,
    /// The interrupt has come, and nothing was done for it yet.
    interrupted: bool,
}

impl<C: Card> Driver<C> {
    fn new(hardware: Hardware, card: C) -> Result<Self, Failure> {
        let Hardware { device, names, receive, stations, .. } = hardware;
        let interrupt = device.interrupt().ok_or(Failure::NoInterrupt)?;
        let waits = grant(GrantKind::Waits, names.interrupt).map_err(Failure::Grant)?;
        interrupt.set_notification(Notification::new(waits)).map_err(Failure::Interrupt)?;
        let bit = program::start_info().and_then(|info| info.signal(names.interrupt));
        let bit = bit.map(|badge| badge & !SIGNAL_FLAG);
        // A predecessor may have ended between an interrupt and its acknowledgement.
        interrupt.ack().map_err(Failure::Interrupt)?;
        let engine = Engine::new(card, receive, stations, first_epoch());
        Ok(Self { engine, interrupt, bit: bit.unwrap_or(u64::MAX), interrupted: false })
    }

    /// Acknowledge, then look: the passes of [`Self::work`] come after this. A line that is held
    /// until the card is asked would interrupt again at once, so the card is asked before.
    fn signalled(&mut self, bits: u64) {
        if bits & self.bit != 0 {
            self.interrupted = true;
            self.engine.interrupted();
            if let Err(error) = self.interrupt.ack() {
                log::error!("the interrupt cannot be acknowledged: {error}");
            }
        }
    }

    fn work(&mut self) -> Result<(), C::Broken> {
        let done = self.engine.run()?;
        if core::mem::take(&mut self.interrupted) && !done {
            // No frame: the line, perhaps.
            self.engine.look();
        }
        Ok(())
    }
}

/// An epoch that the driver's last instance is unlikely to have used.
fn first_epoch() -> Epoch {
    let [low, high, ..] = (tsc() >> 8).to_le_bytes();
    Epoch(u16::from_le_bytes([low, high]))
}

impl<C: Card> Nic for Driver<C> {
    fn attach(
        &mut self,
        _: Caller,
        consumer: Consumer,
        ticket: u64,
    ) -> Result<Attachment, NicError> {
        self.engine.attach(consumer, ticket)
    }

    fn link(&mut self, _: Caller) -> Result<CardState, NicError> {
        Ok(self.engine.state())
    }
}
