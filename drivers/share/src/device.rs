//! The device: one queue, one request under way.
//!
//! Request and answer lie in the driver's own memory; bytes of files may lie in memory that a program
//! shares with the driver, and then the device reads or writes them there. So no program can change a
//! message, whatever it does with its memory.
//!
//! ```text
//! offset      what
//! 0           the queue
//! 0x400       the request
//! 0x800       its answer
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};

use libd3os::dma::{Dma, DmaError};
use virtio::queue::{Access, Broken, Layout, Queue, Segment};
use virtio::regs::Features;
use virtio::transport::{Notifier, Transport, TransportError, Windows};

use crate::regs::{CONFIG_BYTES, MOUNT_TAG, REQUESTS};
use crate::wire::READ_HEADER;

const REQUEST: usize = 0x400;
const ANSWER: usize = 0x800;
/// Bytes of DMA memory that are used.
pub const MEMORY_BYTES: usize = 0x2000;
/// Bytes of a request at most, those of files aside that lie elsewhere.
pub const REQUEST_ROOM: usize = ANSWER - REQUEST;
/// Bytes of an answer at most, likewise.
pub const ANSWER_ROOM: usize = MEMORY_BYTES - ANSWER;
/// A request, bytes of a file, an answer, bytes of a file: a chain has three of them at most.
const ENTRIES: u16 = 4;
/// The first descriptor of every chain.
const HEAD: u16 = 0;

/// Memory of a program, as the device finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Address of its first byte.
    pub bus: u64,
    /// Its bytes.
    pub bytes: u32,
}

/// Where bytes of a file are in a request or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// In the message itself.
    Within,
    /// Behind the request, here.
    Sent(Span),
    /// Behind the answer's [`READ_HEADER`] bytes, here.
    Received(Span),
}

/// A request, and where its answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The message, [`REQUEST_ROOM`] bytes at most.
    pub request: Vec<u8>,
    /// Bytes of a file.
    pub payload: Payload,
    /// Bytes that the answer may have, [`ANSWER_ROOM`] at most; not counted where the payload is
    /// received.
    pub room: usize,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The message, without what lies in a program's memory.
    pub message: Vec<u8>,
    /// Bytes that came, with that.
    pub bytes: u32,
}

/// The device cannot be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// By the transport.
    Transport(TransportError),
    /// Its memory is too small.
    Memory(DmaError),
    /// Its queue has no room for a request and its answer.
    ShortQueue,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
            Self::ShortQueue => f.write_str("the device's queue is too short"),
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

/// A 9P device.
#[derive(Debug)]
pub struct Device<'m, W> {
    transport: Transport<W>,
    /// Its interrupts go to a vector, and need not be asked for.
    vectors: bool,
    queue: Queue<'m>,
    notifier: Notifier,
    memory: Dma<'m>,
    /// Bytes of the answer that are the driver's own, of the request under way.
    room: Option<usize>,
}

impl<'m, W: Windows> Device<'m, W> {
    /// Resets the device, whatever a predecessor left, and sets it up: its interrupts go to `vector`,
    /// where it has vectors.
    ///
    /// # Errors
    /// [`SetupError`]; the device uses no memory that it was not given.
    pub fn new(
        mut transport: Transport<W>,
        memory: Dma<'m>,
        vector: Option<u16>,
    ) -> Result<Self, SetupError> {
        transport.reset()?;
        let memory = memory.part(0, MEMORY_BYTES)?;
        let features = transport.negotiate(MOUNT_TAG.union(Features::EVENT_INDEX))?;
        let layout = Layout::new(transport.queue_size(REQUESTS)?.min(ENTRIES));
        if layout.size() < ENTRIES {
            return Err(SetupError::ShortQueue);
        }
        let queue = Queue::new(memory.part(0, REQUEST)?, layout, features)?;
        let notifier = transport.enable(REQUESTS, queue.addresses(), vector)?;
        transport.start();
        Ok(Self { transport, vectors: vector.is_some(), queue, notifier, memory, room: None })
    }

    /// What the device says of itself ([`crate::regs::tag`]).
    ///
    /// # Errors
    /// [`TransportError::Restless`].
    pub fn configuration(&mut self) -> Result<[u8; CONFIG_BYTES], TransportError> {
        self.transport.configuration(0)
    }

    /// The registers behind it.
    pub const fn windows(&mut self) -> &mut W {
        self.transport.windows()
    }

    /// Ends the interrupt of a device without vectors.
    pub fn interrupted(&mut self) {
        if !self.vectors {
            self.transport.take_interrupt();
        }
    }

    /// Whether a request is under way.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.room.is_some()
    }

    /// Gives the device a request, while none is under way.
    ///
    /// # Errors
    /// [`DmaError`] where it or its answer do not fit.
    pub fn submit(&mut self, exchange: &Exchange) -> Result<(), DmaError> {
        let Exchange { request, payload, room } = exchange;
        let room = if matches!(payload, Payload::Received(_)) { READ_HEADER } else { *room };
        if request.len() > REQUEST_ROOM || room > ANSWER_ROOM {
            return Err(DmaError::Outside);
        }
        let bytes: &[AtomicU8] = self.memory.row(REQUEST, request.len())?;
        bytes.iter().zip(request).for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
        let (own, received) = self.prepare(request.len(), room, *payload);
        self.room = Some(room);
        // No chain is under way, so the head is the driver's.
        let _offered = self.queue.offer(HEAD, own.saturating_add(received));
        if self.queue.publish() {
            self.transport.notify(self.notifier);
        }
        Ok(())
    }

    /// Writes the chain; tells how many bytes the device may write to the driver's memory and to a
    /// program's.
    fn prepare(&self, request: usize, room: usize, payload: Payload) -> (u32, u32) {
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(0);
        let asked = (Span { bus: self.memory.bus(REQUEST), bytes: length(request) }, Access::Read);
        let answer = (Span { bus: self.memory.bus(ANSWER), bytes: length(room) }, Access::Write);
        let received = match payload {
            Payload::Within => {
                self.chain(&[asked, answer]);
                0
            }
            Payload::Sent(span) => {
                self.chain(&[asked, (span, Access::Read), answer]);
                0
            }
            Payload::Received(span) => {
                self.chain(&[asked, answer, (span, Access::Write)]);
                span.bytes
            }
        };
        (length(room), received)
    }

    fn chain(&self, parts: &[(Span, Access)]) {
        for (number, (span, access)) in (HEAD..).zip(parts) {
            let next = (usize::from(number - HEAD) + 1 < parts.len()).then_some(number + 1);
            let Span { bus, bytes } = *span;
            self.queue.prepare(number, Segment { bus, bytes, access: *access, next });
        }
    }

    /// The answer, if it has come.
    ///
    /// # Errors
    /// [`Broken`]: the device has to be reset.
    pub fn take(&mut self) -> Result<Option<Answer>, Broken> {
        let Some(used) = self.queue.take()? else { return Ok(None) };
        let room = self.room.take().unwrap_or(0);
        let own = room.min(used.bytes as usize);
        let row: &[AtomicU8] = self.memory.row(ANSWER, own).unwrap_or(&[]);
        let message = row.iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        Ok(Some(Answer { message, bytes: used.bytes }))
    }

    /// Asks for an interrupt when the answer comes; `true` where it has come.
    pub fn arm(&mut self) -> bool {
        self.queue.arm(1)
    }
}
