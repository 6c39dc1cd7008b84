//! A consumer's end of its rings.

use alloc::collections::VecDeque;
use core::fmt;
use core::ops::{Deref, DerefMut};

use super::channel::{Channel, Fault, Wake, Words};
use super::descriptor::{Checks, RxIndex, Sum, ToConsumer, ToDriver, TxIndex};
use super::layout::{FRAME_BYTES, FRAME_LEAST, RECEIVE_MOST, TRANSMIT_MOST};
use super::memory::Memory;
use super::ownership::{Held, Refusals};
use super::{Attachment, Epoch};
use crate::ring::RingError;

/// A received frame: its bytes lie in the driver's memory until [`Link::give_back`].
#[must_use = "a frame that is not given back is missing until the next attachment"]
#[derive(Debug)]
pub struct Frame<'m> {
    index: RxIndex,
    epoch: Epoch,
    checks: Checks,
    bytes: &'m [u8],
}

impl Frame<'_> {
    /// Which checksums the card has found right.
    #[must_use]
    pub const fn checks(&self) -> Checks {
        self.checks
    }
}

impl Deref for Frame<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

/// A transmit buffer to fill: the frame begins at the first byte. Its bytes are what they were.
#[must_use = "a buffer that is neither sent nor given up is missing until the next attachment"]
#[derive(Debug)]
pub struct Outgoing<'m> {
    index: TxIndex,
    epoch: Epoch,
    bytes: &'m mut [u8],
}

impl Deref for Outgoing<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl DerefMut for Outgoing<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
}

/// The driver's answer to attach does not fit the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// It has more buffers than the memory.
    Buffers,
    /// The rings do not fit.
    Ring(RingError),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buffers => f.write_str("the driver has more buffers than the memory"),
            Self::Ring(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for LinkError {}

/// A frame of the inbox: handed over by the driver, not yet taken.
#[derive(Clone, Copy, Debug)]
struct Arrived {
    index: RxIndex,
    length: u16,
    checks: Checks,
}

/// The consumer's end: receives frames and gives their buffers back, sends frames.
#[derive(Debug)]
pub struct Link<'m, W: Wake> {
    memory: Memory<'m>,
    channel: Channel<'m, W>,
    epoch: Epoch,
    quota: u16,
    receive: u16,
    sums: bool,
    inbox: VecDeque<Arrived>,
    /// Receive buffers that are this side's, those of the inbox included.
    held: Held,
    /// Transmit buffers to fill, the one that was used last on top: it is in the cache.
    free: heapless::Vec<TxIndex, { TRANSMIT_MOST as usize }>,
    /// Transmit buffers that the driver has.
    posted: Held,
    /// Transmit buffers that are being filled.
    filling: u16,
    /// Receive buffers given back since the driver was last woken.
    returned: u16,
    /// The next flush wakes the driver.
    urgent: bool,
    refusals: Refusals,
}

impl<'m, W: Wake + Clone> Link<'m, W> {
    /// The consumer's end of what `attachment` says.
    ///
    /// # Errors
    /// [`LinkError`], and the memory back: the driver's fault, or the manifest's.
    pub fn new(
        memory: Memory<'m>,
        wake: W,
        attachment: &Attachment,
    ) -> Result<Self, (LinkError, Memory<'m>)> {
        let Attachment { receive, transmit, quota, epoch, sums, .. } = *attachment;
        if receive > memory.receive.count() || transmit > memory.transmit.count() {
            return Err((LinkError::Buffers, memory));
        }
        let (outgoing, incoming) = (memory.control.to_driver(), memory.control.to_consumer());
        match Channel::new(outgoing, incoming, wake, epoch) {
            Err(error) => Err((LinkError::Ring(error), memory)),
            Ok(channel) => Ok(Self {
                memory,
                channel,
                epoch,
                quota,
                receive,
                sums,
                inbox: VecDeque::with_capacity(RECEIVE_MOST.into()),
                held: Held::default(),
                free: (0..transmit).rev().map(TxIndex::new).collect(),
                posted: Held::default(),
                filling: 0,
                returned: 0,
                urgent: false,
                refusals: Refusals::default(),
            }),
        }
    }
}

impl<'m, W: Wake> Link<'m, W> {
    /// The next received frame, if there is one.
    #[inline]
    pub fn receive(&mut self) -> Option<Frame<'m>> {
        if self.inbox.is_empty() {
            self.fetch();
        }
        let Arrived { index, length, checks } = self.inbox.pop_front()?;
        // SAFETY: the driver handed the buffer over, and it is this side's (`held`) until it is
        // given back, which takes the frame.
        let bytes = unsafe { self.memory.receive.received(index, length) }?;
        Some(Frame { index, epoch: self.epoch, checks, bytes })
    }

    /// Gives a frame's buffer back. The driver learns of it with the next flush, and is woken
    /// when half of the quota has been given back.
    #[inline]
    pub fn give_back(&mut self, frame: Frame<'m>) {
        if frame.epoch == self.epoch && self.held.remove(frame.index.number()) {
            self.channel.queue(ToDriver::GivenBack(frame.index).encode());
            self.returned += 1;
            self.urgent |= self.returned > self.quota / 2;
        }
    }

    /// A transmit buffer to fill, of [`FRAME_BYTES`] bytes. `None` where the driver has all of
    /// them: it wakes this side when it gives some back.
    #[inline]
    pub fn take(&mut self) -> Option<Outgoing<'m>> {
        if self.free.is_empty() {
            self.fetch();
        }
        let index = self.free.pop()?;
        // SAFETY: the buffer is this side's, and was taken from the only list of them; it returns
        // there, or goes to the driver, only with the slice.
        let bytes = unsafe { self.memory.transmit.room(index) }?;
        self.filling += 1;
        Some(Outgoing { index, epoch: self.epoch, bytes })
    }

    /// Whether the card makes the checksums of frames to send.
    #[must_use]
    pub const fn sums(&self) -> bool {
        self.sums
    }

    /// Sends the buffer's first `length` bytes as a frame, with the next flush; the card makes the
    /// checksum, where it does that ([`Self::sums`]). A length that no frame has ([`FRAME_LEAST`] to
    /// [`FRAME_BYTES`]) sends nothing, as [`Self::give_up`].
    #[inline]
    pub fn send(&mut self, outgoing: Outgoing<'m>, length: usize, sum: Sum) {
        let frame = (FRAME_LEAST..=FRAME_BYTES).contains(&length);
        let Some(length) = u16::try_from(length).ok().filter(|_| frame) else {
            return self.give_up(outgoing);
        };
        let index = outgoing.index;
        if outgoing.epoch == self.epoch && self.posted.insert(index.number()) {
            self.filling -= 1;
            self.channel.queue(ToDriver::Transmit { index, length, sum }.encode());
            self.urgent = true;
        }
    }

    /// Takes a transmit buffer back without sending it.
    pub fn give_up(&mut self, outgoing: Outgoing<'m>) {
        if outgoing.epoch == self.epoch {
            self.filling -= 1;
            // There is room for all that there are.
            let _full = self.free.push(outgoing.index);
        }
    }

    /// Tells the driver what was given back and sent, and wakes it if it sleeps and there is
    /// something to do for it. Once after many frames is best.
    #[inline]
    pub fn flush(&mut self) {
        if core::mem::take(&mut self.urgent) {
            self.returned = 0;
            self.channel.flush();
        } else {
            self.channel.publish();
        }
    }

    /// Whether the driver waits for what [`Self::flush`] hands over: frames to send, or buffers of which
    /// it may run short. Other buffers that were given back may as well go with the next frame.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Asks the driver to wake this program with its next frame, until one is taken. `true` where there
    /// is something to receive already, and the program must not sleep.
    pub fn arm(&mut self) -> bool {
        self.channel.arm() || !self.inbox.is_empty()
    }

    /// Why nothing goes through any more, if so: attach anew.
    #[must_use]
    pub const fn fault(&self) -> Option<Fault> {
        self.channel.fault()
    }

    /// What was refused of the driver's words.
    #[must_use]
    pub const fn refusals(&self) -> Refusals {
        self.refusals
    }

    /// Ends the link; the memory is for the next one.
    ///
    /// # Errors
    /// The link itself, where frames or buffers of it are still in somebody's hands: the driver
    /// would write to them after the next attachment.
    #[expect(clippy::result_large_err, reason = "the link must not be lost")]
    pub fn close(self) -> Result<Memory<'m>, Self> {
        let taken = usize::from(self.held.count()) - self.inbox.len();
        if taken > 0 || self.filling > 0 { Err(self) } else { Ok(self.memory) }
    }

    /// Takes all lines that the driver has sent.
    fn fetch(&mut self) {
        if self.channel.is_idle() {
            return;
        }
        let mut words = Words::default();
        while self.channel.fetch(&mut words) {
            while let Some(word) = words.next() {
                self.admit(word);
            }
        }
    }

    #[inline]
    fn admit(&mut self, word: u32) {
        match ToConsumer::decode(word) {
            Some(ToConsumer::Received { index, length, checks })
                if index.number() < self.receive && self.held.insert(index.number()) =>
            {
                self.inbox.push_back(Arrived { index, length, checks });
            }
            Some(ToConsumer::Sent(index)) if self.posted.remove(index.number()) => {
                // There is room for all that there are.
                let _full = self.free.push(index);
            }
            refused => self.refuse(refused),
        }
    }

    #[cold]
    fn refuse(&mut self, word: Option<ToConsumer>) {
        match word {
            None => self.refusals.words += 1,
            Some(ToConsumer::Received { .. }) => self.refusals.receive += 1,
            Some(ToConsumer::Sent(_)) => self.refusals.transmit += 1,
        }
        self.channel.judge(&self.refusals);
    }
}
