//! The card: two queues over memory that does not move.
//!
//! Receive buffer `i` is descriptor `i` of the receive queue, for good: giving it to the card is
//! one entry in the ring. The card writes its header just before the place of the frame.
//!
//! A frame to send is a chain of two descriptors: the header, which the card reads from the
//! driver's own memory so that no consumer can change it, and the frame where the consumer wrote
//! it. Slot `s` is the chain of descriptors `s` and `slots + s`.

use alloc::vec::Vec;
use core::fmt;

use libd3os::dma::{Dma, DmaError};
use libd3os::nic::{BUFFER_BYTES, Checks, FRAME_BYTES, FRAME_LEAST, FRAME_OFFSET, RxIndex, Sum};
use libd3os::service::nic::{CardState, Line};
use nic::card::{Arrival, Card, Flaw, Received, Slot};
use virtio::queue::{Access, Broken, Layout, Queue, Segment};
use virtio::regs::Features;
use virtio::transport::{Notifier, Transport, TransportError, Windows};

use crate::regs::{
    CONFIG_BYTES, Config, HEADER_BYTES, MAC, MTU, RECEIVE_QUEUE, SPEED_DUPLEX, STATUS,
    TRANSMIT_QUEUE,
};

/// MTU of a card that does not tell one.
const USUAL_MTU: u16 = 1500;
/// The greatest MTU whose frames fit in a buffer.
#[expect(clippy::cast_possible_truncation, reason = "a few thousand")]
const GREATEST_MTU: u16 = (FRAME_BYTES - FRAME_LEAST) as u16;

/// Bytes of a receive buffer that the card may write: its header and the longest frame.
#[expect(clippy::cast_possible_truncation, reason = "a few thousand")]
const ROOM: u32 = (HEADER_BYTES + FRAME_BYTES) as u32;

/// The part of that which is the header.
#[expect(clippy::cast_possible_truncation, reason = "twelve")]
const HEADER: u32 = HEADER_BYTES as u32;

const _: () = assert!(HEADER_BYTES <= FRAME_OFFSET);

/// Features that are accepted where they are offered.
const WANTED: Features =
    MAC.union(MTU).union(STATUS).union(SPEED_DUPLEX).union(Features::EVENT_INDEX);

/// The card cannot be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// By the transport.
    Transport(TransportError),
    /// The memory for the rings is too small.
    Memory(DmaError),
    /// The card has no address of its own.
    NoAddress,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
            Self::NoAddress => f.write_str("the card has no address"),
        }
    }
}

impl core::error::Error for SetupError {}

impl From<TransportError> for SetupError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl From<DmaError> for SetupError {
    fn from(error: DmaError) -> Self {
        Self::Memory(error)
    }
}

/// Where the memory of frames is: where the card finds the place of the frame in the first receive
/// buffer, and how many buffers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames {
    /// Bus address of the first one's frame.
    pub bus: u64,
    /// How many.
    pub count: u16,
}

/// One virtio network card.
#[derive(Debug)]
pub struct Device<'m, W> {
    transport: Transport<W>,
    features: Features,
    /// Its interrupts go to a vector, and need not be asked for.
    vectors: bool,
    receive: Queue<'m>,
    receive_notifier: Notifier,
    transmit: Queue<'m>,
    transmit_notifier: Notifier,
    buffers: u16,
    slots: u16,
    /// Slots that are free, the one that was used last on top.
    free: Vec<u16>,
}

impl<'m, W: Windows> Device<'m, W> {
    /// Resets the card, whatever a predecessor left, and sets it up: its interrupts go to
    /// `vector`, where it has vectors.
    ///
    /// # Errors
    /// [`SetupError`]; the card may be half set up, and uses no memory that it was not given.
    pub fn new(
        mut transport: Transport<W>,
        rings: Dma<'m>,
        frames: Frames,
        vector: Option<u16>,
    ) -> Result<Self, SetupError> {
        transport.reset()?;
        let features = transport.negotiate(WANTED)?;
        if !features.contains(MAC) {
            return Err(SetupError::NoAddress);
        }
        let layouts = [RECEIVE_QUEUE, TRANSMIT_QUEUE].map(|queue| transport.queue_size(queue));
        let [receive, transmit] = layouts.map(|size| size.map(Layout::new));
        let (receive, transmit) = (receive?, transmit?);
        let (first, second) = (receive.bytes(), receive.bytes() + transmit.bytes());
        let receive = Queue::new(rings.part(0, first)?, receive, features)?;
        let transmit = Queue::new(rings.part(first, second - first)?, transmit, features)?;
        let header = rings.part(second, HEADER_BYTES)?;
        let receive_notifier = transport.enable(RECEIVE_QUEUE, receive.addresses(), vector)?;
        let transmit_notifier = transport.enable(TRANSMIT_QUEUE, transmit.addresses(), vector)?;
        transport.watch_configuration(vector)?;
        let (buffers, slots) = (frames.count.min(receive.size()), transmit.size() / 2);
        let free = (0..slots).rev().collect();
        let mut device = Self {
            transport,
            features,
            vectors: vector.is_some(),
            receive,
            receive_notifier,
            transmit,
            transmit_notifier,
            buffers,
            slots,
            free,
        };
        device.prepare(frames.bus, header)?;
        device.transport.start();
        Ok(device)
    }

    /// Writes all that stays the same of the descriptors.
    fn prepare(&mut self, frames: u64, header: Dma<'m>) -> Result<(), DmaError> {
        header.row(0, HEADER_BYTES)?.iter().for_each(zero);
        for index in 0..self.buffers {
            let bus = frames + u64::from(index) * BUFFER_BYTES as u64 - HEADER_BYTES as u64;
            let segment = Segment { bus, bytes: ROOM, access: Access::Write, next: None };
            self.receive.prepare(index, segment);
        }
        for slot in 0..self.slots {
            let next = Some(self.slots + slot);
            let segment = Segment { bus: header.bus(0), bytes: HEADER, access: Access::Read, next };
            self.transmit.prepare(slot, segment);
        }
        Ok(())
    }

    fn config(&mut self) -> Option<Config> {
        let bytes = self.transport.configuration::<CONFIG_BYTES>(0).ok()?;
        Some(Config::from_bytes(bytes))
    }

    fn line(&self, config: &Config) -> Line {
        match config {
            Config { up: false, .. } if self.features.contains(STATUS) => Line::Down,
            Config { speed: u32::MAX, .. } => Line::Up(0),
            Config { speed, .. } if self.features.contains(SPEED_DUPLEX) => Line::Up(*speed),
            _ => Line::Up(0),
        }
    }

    fn mtu(&self, config: &Config) -> u16 {
        let told = self.features.contains(MTU).then_some(config.mtu);
        told.map_or(USUAL_MTU, |mtu| mtu.min(GREATEST_MTU))
    }

    /// The frame in what the card has written into a buffer.
    #[inline]
    fn frame(bytes: u32) -> Result<Received, Flaw> {
        let length = (bytes as usize).checked_sub(HEADER_BYTES + FRAME_LEAST);
        let length = length.ok_or(Flaw::Short)? + FRAME_LEAST;
        let length = u16::try_from(length).map_err(|_| Flaw::Long)?;
        Ok(Received { length, checks: Checks::default(), rest: None })
    }
}

fn zero(byte: &core::sync::atomic::AtomicU8) {
    byte.store(0, core::sync::atomic::Ordering::Relaxed);
}

impl<W: Windows> Card for Device<'_, W> {
    type Broken = Broken;

    /// A card with vectors tells nothing: its line is looked at when an interrupt brings no frame.
    fn interrupted(&mut self) -> bool {
        const CONFIGURATION: u8 = 2;
        !self.vectors && self.transport.take_interrupt() & CONFIGURATION != 0
    }

    /// A card whose configuration cannot be read has no line.
    fn state(&mut self) -> CardState {
        let Some(config) = self.config() else {
            return CardState { mac: [0; 6], mtu: USUAL_MTU, line: Line::Down };
        };
        CardState { mac: config.mac, mtu: self.mtu(&config), line: self.line(&config) }
    }

    fn receive_buffers(&self) -> u16 {
        self.buffers
    }

    #[inline]
    fn refill(&mut self, index: RxIndex) {
        // The engine gives what the card does not have; the queue refuses what it has.
        let _refused = self.receive.offer(index.number(), ROOM);
    }

    #[inline]
    fn receive(&mut self) -> Result<Option<Arrival>, Broken> {
        let arrival = self
            .receive
            .take()?
            .map(|used| Arrival { index: RxIndex::new(used.head), frame: Self::frame(used.bytes) });
        Ok(arrival)
    }

    #[inline]
    fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    #[inline]
    fn transmit(&mut self, bus: u64, length: u16, _: Sum) -> Option<Slot> {
        let slot = self.free.pop()?;
        let segment = Segment { bus, bytes: length.into(), access: Access::Read, next: None };
        self.transmit.prepare(self.slots + slot, segment);
        self.transmit.offer(slot, 0).then_some(Slot(slot))
    }

    #[inline]
    fn sent(&mut self) -> Result<Option<Slot>, Broken> {
        let Some(used) = self.transmit.take()? else { return Ok(None) };
        self.free.push(used.head);
        Ok(Some(Slot(used.head)))
    }

    #[inline]
    fn publish(&mut self) {
        if self.receive.publish() {
            self.transport.notify(self.receive_notifier);
        }
        if self.transmit.publish() {
            self.transport.notify(self.transmit_notifier);
        }
    }

    #[inline]
    fn arm(&mut self, sent: bool) -> bool {
        let ready = self.receive.arm(1);
        if !sent {
            return ready;
        }
        // Many at once, so that one interrupt brings room for many frames.
        let many = (self.transmit.outstanding() / 2).max(1);
        self.transmit.arm(many) || ready
    }

    #[inline]
    fn disarm(&mut self) {
        self.receive.disarm();
        self.transmit.disarm();
    }

    fn stop(&mut self) {
        // A card that does not finish its reset cannot be stopped by its driver; whoever starts
        // the next one takes away its way to memory before that.
        let _unfinished = self.transport.reset();
    }
}

#[cfg(test)]
mod tests;
