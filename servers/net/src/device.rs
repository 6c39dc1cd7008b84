//! A card as the stack's device: frames are read and written where they lie, and counted.

use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::ops::{Deref, DerefMut};

use libd3os::nic::{Checks, Sum};
use libd3os::service::net::{DropReason, Traffic};
use smoltcp::phy::{self, Checksum, ChecksumCapabilities, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use crate::checksum::{Maker, seal};
use crate::inspect::{Content, Datagram, inspect};
use crate::ways::Seen;

/// Bytes of an Ethernet header.
const HEADER: usize = 14;
/// Ways that are noted at a time.
const WAYS_AT_ONCE: usize = 8;
/// Frames that are looked at for a way: a neighbour that does not answer keeps datagrams waiting.
const FRAMES_LOOKED_AT: u8 = 32;

/// A network card, or a simulated one. A link of [`libd3os::nic`] is one.
pub trait Card {
    /// A received frame, in the memory where the card put it.
    type Frame: Deref<Target = [u8]>;
    /// Memory for a frame to send.
    type Buffer: DerefMut<Target = [u8]>;

    /// The next received frame, if there is one.
    fn receive(&mut self) -> Option<(Self::Frame, Checks)>;
    /// Gives a frame's memory back.
    fn give_back(&mut self, frame: Self::Frame);
    /// Memory for a frame, unless all of it is under way.
    fn take(&mut self) -> Option<Self::Buffer>;
    /// Whether it makes checksums.
    fn sums(&self) -> bool {
        false
    }
    /// Sends the first `length` bytes, with a checksum that the card makes if it does.
    fn send(&mut self, buffer: Self::Buffer, length: usize, sum: Sum);
    /// Takes memory back without sending it.
    fn give_up(&mut self, buffer: Self::Buffer);
    /// Hands over what was sent, and with it what was given back. Memory that is given back alone may
    /// wait for the next frame to be sent, as long as the card has enough.
    fn flush(&mut self);
    /// Asks to be woken by the next frame, until one is taken; `true` where there is one already.
    fn arm(&mut self) -> bool;
}

/// What went through, and what did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Received.
    pub received: Traffic,
    /// Sent.
    pub sent: Traffic,
    drops: [u64; DropReason::ALL.len()],
}

impl Counts {
    /// How often something was dropped for each reason that occurred.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().zip(self.drops).filter(|(_, count)| *count > 0)
    }

    fn dropped(&mut self, reason: DropReason) {
        if let Some(count) = self.drops.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

/// What came from a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// A datagram, which was taken.
    Datagram,
    /// A frame for the stack, in which neighbours or routers tell of themselves.
    Neighbours,
    /// Another frame for the stack.
    Frame,
}

/// A card under the stack. Without its driver it receives nothing and sends nothing.
pub struct Device<C: Card> {
    card: RefCell<Option<C>>,
    /// Memory for the next frame, so that there is some when the stack was told so.
    spare: RefCell<Option<C::Buffer>>,
    /// A frame that waits for the stack.
    waiting: RefCell<Option<C::Frame>>,
    /// Something was not sent, or not received, because all memory for frames to send was under way.
    short: Cell<bool>,
    /// So many frames more that the stack sends are looked at for the ways of datagrams.
    learning: Cell<u8>,
    seen: RefCell<Vec<Seen>>,
    counts: RefCell<Counts>,
    address: EthernetAddress,
    mtu: usize,
    /// Who makes the checksums of frames to send.
    maker: Maker,
}

impl<C: Card> fmt::Debug for Device<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counts, address, mtu, .. } = self;
        f.debug_struct("Device")
            .field("counts", counts)
            .field("address", address)
            .field("mtu", mtu)
            .finish_non_exhaustive()
    }
}

impl<C: Card> Device<C> {
    /// A card with this address that carries IP packets of so many bytes.
    pub fn new(card: C, address: EthernetAddress, mtu: usize) -> Self {
        let maker = maker(&card);
        Self {
            card: RefCell::new(Some(card)),
            spare: RefCell::new(None),
            waiting: RefCell::new(None),
            short: Cell::new(false),
            learning: Cell::new(0),
            seen: RefCell::default(),
            counts: RefCell::default(),
            address,
            mtu,
            maker,
        }
    }

    /// Takes the card away: its driver is gone.
    pub fn lose(&mut self) -> Option<C> {
        let (spare, waiting) = (self.spare.take(), self.waiting.take());
        let mut card = self.card.take()?;
        spare.into_iter().for_each(|buffer| card.give_up(buffer));
        waiting.into_iter().for_each(|frame| card.give_back(frame));
        Some(card)
    }

    /// Gives it a card again, of this address.
    pub fn renew(&mut self, card: C, address: EthernetAddress) {
        self.lose();
        self.address = address;
        self.maker = maker(&card);
        self.card.replace(Some(card));
    }

    /// Works with the card, if there is one.
    pub fn with_card<T>(&self, work: impl FnOnce(&mut C) -> T) -> Option<T> {
        self.card.borrow_mut().as_mut().map(work)
    }

    /// What went through.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Notes that something was dropped.
    pub fn dropped(&self, reason: DropReason) {
        self.count(|counts| counts.dropped(reason));
    }

    /// Bytes of the longest frame.
    pub const fn longest(&self) -> usize {
        self.mtu + HEADER
    }

    /// Bytes of the longest IP packet.
    pub const fn mtu(&self) -> usize {
        self.mtu
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.borrow_mut());
    }

    /// Takes the next frame that is worth looking at, unless one waits for the stack: a datagram is
    /// offered to `take`, anything else, and what that does not want, waits for the stack. Others
    /// are counted and given back.
    pub fn next(&self, mut take: impl FnMut(&Datagram<'_>) -> bool) -> Option<Came> {
        if self.waiting.borrow().is_some() {
            return Some(Came::Frame);
        }
        let mut card = self.card.borrow_mut();
        let card = card.as_mut()?;
        loop {
            let (frame, checks) = card.receive()?;
            self.count(|counts| add(&mut counts.received, frame.len()));
            let came = match inspect(&frame, self.address, checks) {
                Ok(Content::Datagram(datagram)) if take(&datagram) => Some(Came::Datagram),
                Ok(Content::Neighbours) => Some(Came::Neighbours),
                Ok(_) => Some(Came::Frame),
                Err(reason) => {
                    self.dropped(reason);
                    None
                }
            };
            match came {
                Some(Came::Frame | Came::Neighbours) => *self.waiting.borrow_mut() = Some(frame),
                Some(Came::Datagram) | None => card.give_back(frame),
            }
            if came.is_some() {
                return came;
            }
        }
    }

    /// Whether something waits because all memory for frames to send was under way, since the last
    /// time.
    pub fn take_short(&self) -> bool {
        self.short.take()
    }

    /// Looks at the next frames that the stack sends for the ways of datagrams.
    pub fn learn(&self) {
        self.learning.set(FRAMES_LOOKED_AT);
    }

    /// What was seen of the ways of datagrams.
    pub fn take_seen(&self) -> Vec<Seen> {
        self.seen.take()
    }

    /// Memory for a frame, unless all of it is under way.
    pub fn take_buffer(&self) -> Option<C::Buffer> {
        let spare = self.spare.take();
        let buffer = spare.or_else(|| self.with_card(C::take).flatten());
        if buffer.is_none() {
            self.short.set(true);
        }
        buffer
    }

    /// Keeps memory that was not needed.
    pub fn keep_buffer(&self, buffer: C::Buffer) {
        let before = self.spare.replace(Some(buffer));
        if let Some(buffer) = before {
            self.with_card(|card| card.give_up(buffer));
        }
    }

    /// Whether a frame can be sent.
    fn has_room(&self) -> bool {
        let buffer = if self.spare.borrow().is_some() { return true } else { self.take_buffer() };
        let has_room = buffer.is_some();
        self.spare.replace(buffer);
        has_room
    }

    /// Who makes the checksums of frames to send.
    pub const fn maker(&self) -> Maker {
        self.maker
    }

    /// Sends the first `length` bytes, of which the card makes this checksum.
    pub fn send(&self, buffer: C::Buffer, length: usize, sum: Sum) {
        if self.with_card(|card| card.send(buffer, length, sum)).is_some() {
            self.count(|counts| add(&mut counts.sent, length));
        }
    }

    fn note_way(&self, frame: &[u8]) {
        let Some(left) = self.learning.get().checked_sub(1) else { return };
        self.learning.set(left);
        let mut seen = self.seen.borrow_mut();
        if seen.len() < WAYS_AT_ONCE {
            seen.extend(Seen::in_frame(frame));
        }
    }
}

fn maker(card: &impl Card) -> Maker {
    if card.sums() { Maker::Card } else { Maker::Server }
}

fn add(traffic: &mut Traffic, bytes: usize) {
    traffic.frames += 1;
    traffic.bytes += bytes as u64;
}

impl<C: Card> phy::Device for Device<C> {
    type RxToken<'a>
        = Received<'a, C>
    where
        Self: 'a;
    type TxToken<'a>
        = Sending<'a, C>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_, C>, Sending<'_, C>)> {
        // An answer may have to be sent: without room for it the frame waits.
        if !self.has_room() {
            return None;
        }
        self.next(|_| false)?;
        let frame = self.waiting.take()?;
        let device = &*self;
        Some((Received { device, frame }, Sending { device }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_, C>> {
        let device = &*self;
        device.has_room().then_some(Sending { device })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::default();
        // Those of received frames are checked in `inspect`; a segment's is made in `seal`.
        checksum.ipv4 = Checksum::Tx;
        checksum.tcp = Checksum::None;
        checksum.udp = Checksum::Tx;
        checksum.icmpv4 = Checksum::Tx;
        checksum.icmpv6 = Checksum::Tx;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.longest();
        capabilities.checksum = checksum;
        capabilities
    }
}

/// A frame for the stack.
pub struct Received<'a, C: Card> {
    device: &'a Device<C>,
    frame: C::Frame,
}

impl<C: Card> phy::RxToken for Received<'_, C> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        let result = read(&self.frame);
        self.device.with_card(|card| card.give_back(self.frame));
        result
    }
}

/// Room for a frame of the stack.
pub struct Sending<'a, C: Card> {
    device: &'a Device<C>,
}

impl<C: Card> phy::TxToken for Sending<'_, C> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        match self.device.take_buffer() {
            Some(mut buffer) if length <= buffer.len() => {
                let result = write(&mut buffer[..length]);
                let sum = seal(&mut buffer[..length], self.device.maker);
                self.device.note_way(&buffer[..length]);
                self.device.send(buffer, length, sum);
                result
            }
            unfit => {
                // Two frames of one token, or one that is longer than the card said it takes.
                *self.device.spare.borrow_mut() = unfit;
                self.device.dropped(DropReason::NoBuffer);
                write(&mut vec![0; length])
            }
        }
    }
}
