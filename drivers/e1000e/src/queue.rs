//! The two rings of descriptors.
//!
//! The card works through a ring in order: it owns the descriptors from its head up to, and
//! without, the tail that the driver has told it. It marks each that it is done with ("DD"). One
//! descriptor always stays the driver's, since a tail that meets the head means an empty ring.

use core::sync::atomic::{AtomicU64, Ordering};

use libd3os::dma::{Dma, DmaError};
use libd3os::nic::{RxIndex, Sum};

/// Descriptors of each ring: a multiple of eight (10.2.5.6). Receive buffers and frames under way
/// are fewer.
pub const DESCRIPTORS: u16 = 256;

/// Bytes of a ring; it begins at a multiple of 128 (10.2.5.4).
pub const RING_BYTES: usize = 16 * DESCRIPTORS as usize;

/// Bytes of the memory for both.
pub const RINGS_BYTES: usize = 2 * RING_BYTES;

/// A ring, as both kinds are.
#[derive(Debug)]
struct Ring<'m> {
    descriptors: &'m [[AtomicU64; 2]],
    bus: u64,
    /// The next descriptor that the card will be done with.
    head: u16,
    /// Behind the last that it has.
    tail: u16,
    /// The tail that it was told.
    told: u16,
}

impl<'m> Ring<'m> {
    fn new(memory: Dma<'m>) -> Result<Self, DmaError> {
        let descriptors = memory.row::<[AtomicU64; 2]>(0, DESCRIPTORS.into())?;
        if !memory.bus(0).is_multiple_of(128) {
            return Err(DmaError::Misaligned);
        }
        for word in descriptors.iter().flatten() {
            word.store(0, Ordering::Relaxed);
        }
        Ok(Self { descriptors, bus: memory.bus(0), head: 0, tail: 0, told: 0 })
    }

    fn outstanding(&self) -> u16 {
        self.tail.wrapping_sub(self.head) % DESCRIPTORS
    }

    #[inline]
    fn descriptor(&self, index: u16) -> &'m [AtomicU64; 2] {
        &self.descriptors[usize::from(index % DESCRIPTORS)]
    }

    /// Gives the card a descriptor; `None` where it has all that it can have.
    #[inline]
    fn give(&mut self, address: u64, rest: u64) -> Option<u16> {
        if self.outstanding() == DESCRIPTORS - 1 {
            return None;
        }
        let index = self.tail;
        let [first, second] = self.descriptor(index);
        first.store(address, Ordering::Relaxed);
        second.store(rest, Ordering::Relaxed);
        self.tail = (index + 1) % DESCRIPTORS;
        Some(index)
    }

    /// The next descriptor's second word, if the card says in it that it is done.
    #[inline]
    fn done(&self, bit: u64) -> Option<u64> {
        let [_, second] = self.descriptor(self.head);
        // Acquire: what the card has written before is then there to be seen.
        let word = second.load(Ordering::Acquire);
        (self.head != self.tail && word & bit != 0).then_some(word)
    }

    #[inline]
    fn advance(&mut self) -> u16 {
        let index = self.head;
        self.head = (index + 1) % DESCRIPTORS;
        index
    }

    /// The tail, if the card was not told of it yet. The write that tells it is not moved before
    /// the descriptors' by the processor (x86 keeps stores in order) nor by the compiler (the
    /// fence).
    #[inline]
    fn news(&mut self) -> Option<u16> {
        if self.told == self.tail {
            return None;
        }
        self.told = self.tail;
        core::sync::atomic::fence(Ordering::Release);
        Some(self.tail)
    }
}

/// What the card says of a receive buffer (7.1.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The buffer.
    pub index: RxIndex,
    /// Bytes in it.
    pub length: u16,
    /// The status byte.
    pub status: u8,
    /// The error byte.
    pub errors: u8,
}

/// The frame ends in this buffer.
pub const END_OF_FRAME: u8 = 1 << 1;
/// The card has checked nothing.
pub const NOT_CHECKED: u8 = 1 << 2;
/// The card has checked UDP.
pub const UDP_CHECKED: u8 = 1 << 4;
/// The card has checked TCP.
pub const TCP_CHECKED: u8 = 1 << 5;
/// The card has checked the IPv4 header.
pub const IPV4_CHECKED: u8 = 1 << 6;

/// TCP's or UDP's checksum is wrong.
pub const TRANSPORT_WRONG: u8 = 1 << 5;
/// The IPv4 header's checksum is wrong.
pub const IPV4_WRONG: u8 = 1 << 6;
/// The frame is damaged: check sequence, symbol, sequence, carrier extension, data.
pub const DAMAGED: u8 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 4 | 1 << 7;

const RECEIVE_DONE: u64 = 1 << 32;

/// The receive ring.
#[derive(Debug)]
pub struct ReceiveRing<'m> {
    ring: Ring<'m>,
    /// Which buffer a descriptor has.
    buffers: [RxIndex; DESCRIPTORS as usize],
}

impl<'m> ReceiveRing<'m> {
    /// A fresh ring in this memory, which no card may be using.
    ///
    /// # Errors
    /// [`DmaError`] where it is too small or misaligned.
    pub fn new(memory: Dma<'m>) -> Result<Self, DmaError> {
        let buffers = [RxIndex::new(0); DESCRIPTORS as usize];
        Ring::new(memory).map(|ring| Self { ring, buffers })
    }

    /// Where the card finds it.
    #[must_use]
    pub const fn bus(&self) -> u64 {
        self.ring.bus
    }

    /// Gives the card a buffer, whose frame is to lie at this address; `false` where it has all
    /// that it can have.
    #[inline]
    pub fn give(&mut self, index: RxIndex, bus: u64) -> bool {
        let place = self.ring.give(bus, 0);
        if let Some(place) = place {
            self.buffers[usize::from(place)] = index;
        }
        place.is_some()
    }

    /// Whether [`Self::take`] finds something.
    #[must_use]
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.ring.done(RECEIVE_DONE).is_some()
    }

    /// The next buffer that the card is done with.
    #[inline]
    pub fn take(&mut self) -> Option<Written> {
        let word = self.ring.done(RECEIVE_DONE)?;
        let place = self.ring.advance();
        let [low, high, _, _, status, errors, ..] = word.to_le_bytes();
        let index = self.buffers[usize::from(place)];
        Some(Written { index, length: u16::from_le_bytes([low, high]), status, errors })
    }

    /// The tail that the card has to be told of, if there is news.
    #[inline]
    pub fn news(&mut self) -> Option<u16> {
        self.ring.news()
    }
}

/// End of the frame, insert the check sequence, report when done (7.2.2).
const COMMAND: u64 = (1 << 0 | 1 << 1 | 1 << 3) << 24;
/// A descriptor of the extended kinds.
const EXTENDED: u64 = 1 << 29;
/// A data descriptor (7.2.5) whose checksum is made: UDP's or TCP's.
const WITH_SUM: u64 = EXTENDED | 1 << 20 | 1 << 41;
const TRANSMIT_DONE: u64 = 1 << 32;

/// A context descriptor (7.2.4) of frames over IPv4 without options: where the headers begin and where
/// a checksum is put that is made from there to the frame's end.
fn context(sum: Sum, place: u8) -> [u64; 2] {
    const ETHERNET: u64 = 14;
    const IPV4_SUM: u64 = ETHERNET + 10;
    const IPV4_END: u64 = ETHERNET + 19;
    const REPORT: u64 = 1 << 27;
    const IPV4: u64 = 1 << 25;
    let tcp = u64::from(sum == Sum::Tcp) << 24;
    let network = ETHERNET | IPV4_SUM << 8 | IPV4_END << 16;
    let transport = u64::from(Sum::BEGINS) << 32 | u64::from(place) << 40;
    [network | transport, EXTENDED | REPORT | IPV4 | tcp]
}

/// The transmit ring.
///
/// What kind of checksum the card makes stands in a context descriptor, which holds for the frames behind
/// it: there is a new one only where the kind changes.
#[derive(Debug)]
pub struct TransmitRing<'m> {
    ring: Ring<'m>,
    /// What the last context descriptor says.
    context: Sum,
    /// Which descriptors are such ones.
    contexts: [bool; DESCRIPTORS as usize],
}

impl<'m> TransmitRing<'m> {
    /// A fresh ring in this memory, which no card may be using.
    ///
    /// # Errors
    /// [`DmaError`] where it is too small or misaligned.
    pub fn new(memory: Dma<'m>) -> Result<Self, DmaError> {
        let contexts = [false; DESCRIPTORS as usize];
        Ring::new(memory).map(|ring| Self { ring, context: Sum::Made, contexts })
    }

    /// Where the card finds it.
    #[must_use]
    pub const fn bus(&self) -> u64 {
        self.ring.bus
    }

    /// Whether [`Self::give`] takes another frame.
    #[must_use]
    #[inline]
    pub fn has_room(&self) -> bool {
        // With a context descriptor it takes two.
        self.ring.outstanding() < DESCRIPTORS - 2
    }

    /// Gives the card a frame, of which it makes a checksum; tells its place, or `None` where there is no
    /// room.
    #[inline]
    pub fn give(&mut self, bus: u64, length: u16, sum: Sum) -> Option<u16> {
        if !self.has_room() {
            return None;
        }
        let kind = match sum.place() {
            Some(place) => {
                if self.context != sum {
                    self.change_context(sum, place);
                }
                WITH_SUM
            }
            None => 0,
        };
        self.ring.give(bus, u64::from(length) | COMMAND | kind)
    }

    #[cold]
    fn change_context(&mut self, sum: Sum, place: u8) {
        let [first, second] = context(sum, place);
        if let Some(at) = self.ring.give(first, second) {
            self.contexts[usize::from(at)] = true;
            self.context = sum;
        }
    }

    /// Whether [`Self::take`] finds something.
    #[must_use]
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.ring.done(TRANSMIT_DONE).is_some()
    }

    /// The place of the next frame that the card is done with.
    #[inline]
    pub fn take(&mut self) -> Option<u16> {
        loop {
            self.ring.done(TRANSMIT_DONE)?;
            let place = self.ring.advance();
            if !core::mem::take(&mut self.contexts[usize::from(place)]) {
                return Some(place);
            }
        }
    }

    /// The tail that the card has to be told of, if there is news.
    #[inline]
    pub fn news(&mut self) -> Option<u16> {
        self.ring.news()
    }
}
