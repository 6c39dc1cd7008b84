//! The driver's end of a consumer's rings.

use super::Epoch;
use super::channel::{Channel, Fault, Wake, Words};
use super::descriptor::{Checks, RxIndex, Sum, ToConsumer, ToDriver, TxIndex, is_frame};
use super::layout::{Control, RECEIVE_MOST, TRANSMIT_MOST};
use super::ownership::{Held, Refusals};
use crate::ring::{Line, RingError};

/// How many buffers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Receive buffers; [`RECEIVE_MOST`] at most count.
    pub receive: u16,
    /// Receive buffers that the consumer may have at once.
    pub quota: u16,
    /// Transmit buffers; [`TRANSMIT_MOST`] at most count.
    pub transmit: u16,
    /// Whether the card makes the checksums of frames to send.
    pub sums: bool,
}

/// What a consumer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The frame of this length in this buffer is to be sent, with a checksum that the card makes. The
    /// buffer is the driver's until [`Port::sent`].
    Transmit(TxIndex, u16, Sum),
    /// This receive buffer is the driver's again.
    GivenBack(RxIndex),
}

/// The consumer did not get the frame. Its buffer stays the driver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotGiven {
    /// It has as many receive buffers as it may have.
    Quota,
    /// The port has ended.
    Fault(Fault),
    /// There is no such buffer, the consumer has it already, or no frame has such a length: the
    /// device is wrong, or its driver.
    Invalid,
}

/// The driver's end: gives received frames, takes frames to send. Every consumer has its own.
#[derive(Debug)]
pub struct Port<'m, W: Wake> {
    channel: Channel<'m, W>,
    limits: Limits,
    inbox: Words,
    /// Receive buffers that the consumer has.
    lent: Held,
    /// Transmit buffers that the driver has.
    posted: Held,
    /// The consumer has no transmit buffer that it could fill, so the next "sent" wakes it.
    starved: bool,
    /// The next flush sends what was collected.
    urgent: bool,
    refusals: Refusals,
}

impl<'m, W: Wake + Clone> Port<'m, W> {
    /// Checks a ticket: whether a call to attach came from who can write the region that begins
    /// with these lines. A ticket is good once, and 0 is none.
    #[must_use]
    pub fn admits(region: &[Line], ticket: u64) -> bool {
        Control::new(region).is_ok_and(|control| {
            let written = control.ticket();
            control.set_ticket(0);
            written == ticket && ticket != 0
        })
    }

    /// Makes the rings in the region that begins with these lines afresh and takes the driver's
    /// end. An earlier port over them must have been dropped; what it had is known from
    /// [`Self::reclaim`].
    ///
    /// # Errors
    /// [`RingError::TooSmall`].
    pub fn new(
        region: &'m [Line],
        wake: W,
        limits: Limits,
        epoch: Epoch,
    ) -> Result<Self, RingError> {
        let control = Control::new(region)?;
        control.clear();
        Ok(Self {
            channel: Channel::new(control.to_consumer(), control.to_driver(), wake, epoch)?,
            limits: Limits {
                receive: limits.receive.min(RECEIVE_MOST),
                transmit: limits.transmit.min(TRANSMIT_MOST),
                ..limits
            },
            inbox: Words::default(),
            lent: Held::default(),
            posted: Held::default(),
            starved: false,
            urgent: false,
            refusals: Refusals::default(),
        })
    }
}

impl<W: Wake> Port<'_, W> {
    /// Hands a received frame over; it is seen after [`Self::flush`] at the latest.
    ///
    /// # Errors
    /// [`NotGiven`]: the buffer is still the driver's.
    #[inline]
    pub fn give(&mut self, index: RxIndex, length: u16, checks: Checks) -> Result<(), NotGiven> {
        if let Some(fault) = self.channel.fault() {
            return Err(NotGiven::Fault(fault));
        }
        if self.lent.count() >= self.limits.quota {
            return Err(NotGiven::Quota);
        }
        let valid = index.number() < self.limits.receive && is_frame(length);
        if !valid || !self.lent.insert(index.number()) {
            return Err(NotGiven::Invalid);
        }
        self.channel.queue(ToConsumer::Received { index, length, checks }.encode());
        self.urgent = true;
        Ok(())
    }

    /// Hands a transmit buffer back, whose frame was sent or dropped. A buffer that is not the
    /// driver's is refused, and counted: a device reports what it likes.
    #[inline]
    pub fn sent(&mut self, index: TxIndex) {
        if self.posted.remove(index.number()) {
            self.channel.queue(ToConsumer::Sent(index).encode());
            self.urgent |= core::mem::take(&mut self.starved);
        } else {
            self.refusals.transmit += 1;
        }
    }

    /// What the consumer wants next; `None` where there is nothing for now, or for ever
    /// ([`Self::fault`]).
    #[inline]
    pub fn request(&mut self) -> Option<Request> {
        loop {
            let Some(word) = self.inbox.next() else {
                if self.channel.fetch(&mut self.inbox) {
                    continue;
                }
                return None;
            };
            if let Some(request) = self.admit(word) {
                return Some(request);
            }
        }
    }

    #[inline]
    fn admit(&mut self, word: u32) -> Option<Request> {
        match ToDriver::decode(word) {
            Some(ToDriver::GivenBack(index)) if self.lent.remove(index.number()) => {
                Some(Request::GivenBack(index))
            }
            Some(ToDriver::Transmit { index, length, sum })
                if (self.limits.sums || sum == Sum::Made) && self.post(index) =>
            {
                Some(Request::Transmit(index, length, sum))
            }
            refused => self.refuse(refused),
        }
    }

    fn post(&mut self, index: TxIndex) -> bool {
        let fresh = index.number() < self.limits.transmit && self.posted.insert(index.number());
        self.starved |= usize::from(self.posted.count()) + self.channel.queued()
            >= usize::from(self.limits.transmit);
        fresh
    }

    #[cold]
    fn refuse(&mut self, word: Option<ToDriver>) -> Option<Request> {
        match word {
            None => self.refusals.words += 1,
            Some(ToDriver::GivenBack(_)) => self.refusals.receive += 1,
            Some(ToDriver::Transmit { .. }) => self.refusals.transmit += 1,
        }
        self.channel.judge(&self.refusals);
        None
    }

    /// Sends what was collected and wakes the consumer, if there is something that it should know
    /// now: a frame, or the transmit buffers that it ran out of. Other transmit buffers wait until
    /// they fill a line or there is a frame to go with.
    #[inline]
    pub fn flush(&mut self) {
        if core::mem::take(&mut self.urgent) {
            self.channel.flush();
        }
    }

    /// Whether the consumer has run out of transmit buffers, so that the driver should look for
    /// frames that the card has sent.
    #[must_use]
    pub const fn starved(&self) -> bool {
        self.starved
    }

    /// Asks the consumer to wake this driver with its next word, until one is taken. `true` where there
    /// is something to take already, and the driver must not sleep.
    pub fn arm(&mut self) -> bool {
        self.channel.arm()
    }

    /// Why nothing goes through any more, if so.
    #[must_use]
    pub const fn fault(&self) -> Option<Fault> {
        self.channel.fault()
    }

    /// Transmit buffers that the driver has.
    #[must_use]
    pub const fn posted(&self) -> u16 {
        self.posted.count()
    }

    /// What was refused.
    #[must_use]
    pub const fn refusals(&self) -> Refusals {
        self.refusals
    }

    /// Takes back a receive buffer that the consumer has; `None` where it has none. For a port
    /// that has ended or is about to.
    pub fn reclaim(&mut self) -> Option<RxIndex> {
        self.lent.pop().map(RxIndex::new)
    }
}
