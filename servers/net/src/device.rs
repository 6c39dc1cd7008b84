//! A card as the stack's device: frames are read and written where they lie, and counted.

use alloc::vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::ops::{Deref, DerefMut};

use libd3os::nic::Checks;
use libd3os::service::net::{DropReason, Traffic};
use smoltcp::phy::{self, Checksum, ChecksumCapabilities, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use crate::inspect::inspect;

/// Bytes of an Ethernet header.
const HEADER: usize = 14;

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
    /// Sends the first `length` bytes.
    fn send(&mut self, buffer: Self::Buffer, length: usize);
    /// Takes memory back without sending it.
    fn give_up(&mut self, buffer: Self::Buffer);
    /// Hands over what was given back and sent.
    fn flush(&mut self);
    /// Asks to be woken by the next frame; `true` where there is one already.
    fn arm(&mut self) -> bool;
    /// Ends what [`Self::arm`] began.
    fn disarm(&mut self);
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

/// A card under the stack. Without its driver it receives nothing and sends nothing.
pub struct Device<C: Card> {
    card: RefCell<Option<C>>,
    /// Memory for the next frame, so that there is some when the stack was told so.
    spare: RefCell<Option<C::Buffer>>,
    counts: Cell<Counts>,
    address: EthernetAddress,
    mtu: usize,
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
        Self {
            card: RefCell::new(Some(card)),
            spare: RefCell::new(None),
            counts: Cell::default(),
            address,
            mtu,
        }
    }

    /// Takes the card away: its driver is gone.
    pub fn lose(&mut self) -> Option<C> {
        let spare = self.spare.take();
        let mut card = self.card.take()?;
        spare.into_iter().for_each(|buffer| card.give_up(buffer));
        Some(card)
    }

    /// Gives it a card again, of this address.
    pub fn renew(&mut self, card: C, address: EthernetAddress) {
        self.lose();
        self.address = address;
        self.card.replace(Some(card));
    }

    /// Works with the card, if there is one.
    pub fn with_card<T>(&self, work: impl FnOnce(&mut C) -> T) -> Option<T> {
        self.card.borrow_mut().as_mut().map(work)
    }

    /// What went through.
    pub fn counts(&self) -> Counts {
        self.counts.get()
    }

    /// Notes that something was dropped.
    pub fn dropped(&self, reason: DropReason) {
        self.count(|counts| counts.dropped(reason));
    }

    /// Bytes of the longest IP packet.
    pub const fn mtu(&self) -> usize {
        self.mtu
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    /// The next frame that is worth looking at; others are counted and given back.
    fn next(&self) -> Option<C::Frame> {
        let mut card = self.card.borrow_mut();
        let card = card.as_mut()?;
        loop {
            let (frame, checks) = card.receive()?;
            self.count(|counts| add(&mut counts.received, frame.len()));
            match inspect(&frame, self.address, checks) {
                Ok(()) => return Some(frame),
                Err(reason) => self.dropped(reason),
            }
            card.give_back(frame);
        }
    }

    /// Whether a frame can be sent.
    fn has_room(&self) -> bool {
        let mut spare = self.spare.borrow_mut();
        if spare.is_none() {
            *spare = self.with_card(C::take).flatten();
        }
        spare.is_some()
    }

    fn send(&self, buffer: C::Buffer, length: usize) {
        if self.with_card(|card| card.send(buffer, length)).is_some() {
            self.count(|counts| add(&mut counts.sent, length));
        }
    }
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
        let frame = self.next()?;
        let device = &*self;
        Some((Received { device, frame }, Sending { device }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_, C>> {
        let device = &*self;
        device.has_room().then_some(Sending { device })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::default();
        // Those of received frames are checked in `inspect`.
        checksum.ipv4 = Checksum::Tx;
        checksum.tcp = Checksum::Tx;
        checksum.udp = Checksum::Tx;
        checksum.icmpv4 = Checksum::Tx;
        checksum.icmpv6 = Checksum::Tx;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + HEADER;
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
        let spare = self.device.spare.borrow_mut().take();
        let buffer = spare.or_else(|| self.device.with_card(C::take).flatten());
        match buffer {
            Some(mut buffer) if length <= buffer.len() => {
                let result = write(&mut buffer[..length]);
                self.device.send(buffer, length);
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
