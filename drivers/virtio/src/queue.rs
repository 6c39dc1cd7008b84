//! The split virtqueue (2.7), the driver's side.
//!
//! A driver writes its descriptors once ([`Queue::prepare`]), since its buffers do not move, and
//! then [offers](Queue::offer) chains by their first descriptor, the *head*, and
//! [takes](Queue::take) them back. What it has offered is kept apart from the shared memory: a
//! device that returns what it was not given, twice, or with more bytes than there was room for,
//! is a [`Broken`] one.
//!
//! ```text
//! offset                          what
//! 0                               descriptors, 16 bytes each
//! 16 n                            the driver's ring ("available"): flags, index, n heads, used event
//! behind, 4 more than 8 divides   the device's ring ("used"): flags, index, n × 8 bytes, available event
//! ```
//!
//! The device's ring begins so that its elements are aligned to eight bytes, and one load reads
//! one.

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU16, AtomicU64, Ordering, fence};

use libd3os::dma::{Dma, DmaError};

use crate::regs::Features;

/// Entries of the largest queue that this driver sets up.
pub const QUEUE_MOST: u16 = 256;

const NEXT: u64 = 1;
const WRITE: u64 = 2;
/// The driver's ring: the device need not interrupt. The device's: the driver need not notify.
const QUIET: u16 = 1;
/// No chain: the head is the driver's.
const NOT_OFFERED: u32 = u32::MAX;

/// Where the parts of a queue of some size lie in its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    size: u16,
}

impl Layout {
    /// A queue of as many entries as a power of two allows, `size` and [`QUEUE_MOST`] at most; 1
    /// at least.
    #[must_use]
    pub fn new(size: u16) -> Self {
        let size = size.clamp(1, QUEUE_MOST);
        Self { size: 1 << size.ilog2() }
    }

    /// Entries.
    #[must_use]
    pub const fn size(self) -> u16 {
        self.size
    }

    /// Bytes of memory, beginning at a multiple of 16.
    #[must_use]
    pub const fn bytes(self) -> usize {
        (self.available_event() + 2).next_multiple_of(16)
    }

    const fn entries(self) -> usize {
        self.size as usize
    }

    const fn driver(self) -> usize {
        16 * self.entries()
    }

    const fn used_event(self) -> usize {
        self.driver() + 4 + 2 * self.entries()
    }

    const fn device(self) -> usize {
        (self.used_event() + 2).next_multiple_of(8) + 4
    }

    const fn available_event(self) -> usize {
        self.device() + 4 + 8 * self.entries()
    }
}

/// What a device may do with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Write it.
    Write,
}

/// A buffer of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Address at which the device finds it.
    pub bus: u64,
    /// Its bytes.
    pub bytes: u32,
    /// What the device may do with it.
    pub access: Access,
    /// Descriptor of the next buffer of the chain.
    pub next: Option<u16>,
}

impl Segment {
    /// Length, flags and next descriptor, as they stand in a descriptor's second word (2.7.5).
    fn second_word(self) -> u64 {
        let next = self.next.map_or(0, |next| NEXT | u64::from(next) << 16);
        let write = if self.access == Access::Write { WRITE } else { 0 };
        u64::from(self.bytes) | (next | write) << 32
    }
}

/// A chain that the device has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Its first descriptor.
    pub head: u16,
    /// Bytes that the device says to have written into it, as many as there was room for at most.
    pub bytes: u32,
}

/// The device does what no device may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It says to have used more chains than it was offered.
    Index {
        /// Its index.
        index: u16,
    },
    /// It says to have used a chain that it was not offered.
    Head {
        /// The first descriptor, as it said.
        head: u32,
    },
    /// It says to have written more than there was room for.
    Length {
        /// The chain.
        head: u16,
        /// Bytes, as it said.
        bytes: u32,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index { index } => write!(f, "the device's index {index} is beyond the queue's"),
            Self::Head { head } => write!(f, "the device used chain {head}, which it did not have"),
            Self::Length { head, bytes } => {
                write!(f, "the device wrote {bytes} bytes into chain {head}, more than it holds")
            }
        }
    }
}

impl core::error::Error for Broken {}

/// Where a device finds the parts of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Entries.
    pub size: u16,
    /// The descriptors.
    pub descriptors: u64,
    /// The driver's ring.
    pub driver: u64,
    /// The device's ring.
    pub device: u64,
}

/// A split virtqueue.
#[derive(Debug)]
pub struct Queue<'m> {
    addresses: Addresses,
    descriptors: &'m [[AtomicU64; 2]],
    driver: Ring<'m, AtomicU16>,
    device: Ring<'m, AtomicU64>,
    /// Each side says in the ring at which index it wants to hear of the other's (2.7.10).
    event_index: bool,
    /// Index behind the last chain that was offered.
    offered: u16,
    /// The same, as the device was told.
    published: u16,
    /// Index of the next chain that the device will have used.
    taken: u16,
    /// The device's index, as it was last read.
    used: u16,
    /// By head, bytes that the device may write; [`NOT_OFFERED`].
    room: Vec<u32>,
}

/// One of the two rings, as both are laid out.
#[derive(Debug)]
struct Ring<'m, E> {
    flags: &'m AtomicU16,
    index: &'m AtomicU16,
    elements: &'m [E],
    /// Index at which this ring's writer wants to hear of the other ring.
    event: &'m AtomicU16,
}

impl<'m> Queue<'m> {
    /// A fresh queue in this memory, which no device may be using.
    ///
    /// # Errors
    /// [`DmaError`] where it is smaller than [`Layout::bytes`], or does not begin at a multiple of
    /// 16.
    pub fn new(memory: Dma<'m>, layout: Layout, features: Features) -> Result<Self, DmaError> {
        memory.row::<AtomicU64>(0, layout.bytes() / 8)?.iter().for_each(|word| {
            word.store(0, Ordering::Relaxed);
        });
        let addresses = Addresses {
            size: layout.size,
            descriptors: memory.bus(0),
            driver: memory.bus(layout.driver()),
            device: memory.bus(layout.device()),
        };
        if !addresses.descriptors.is_multiple_of(16) {
            return Err(DmaError::Misaligned);
        }
        Ok(Self {
            addresses,
            descriptors: memory.row(0, layout.entries())?,
            driver: Ring {
                flags: memory.word(layout.driver())?,
                index: memory.word(layout.driver() + 2)?,
                elements: memory.row(layout.driver() + 4, layout.entries())?,
                event: memory.word(layout.used_event())?,
            },
            device: Ring {
                flags: memory.word(layout.device())?,
                index: memory.word(layout.device() + 2)?,
                elements: memory.row(layout.device() + 4, layout.entries())?,
                event: memory.word(layout.available_event())?,
            },
            event_index: features.contains(Features::EVENT_INDEX),
            offered: 0,
            published: 0,
            taken: 0,
            used: 0,
            room: alloc::vec![NOT_OFFERED; layout.entries()],
        })
    }

    /// What the device is told of it.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Entries.
    #[must_use]
    pub const fn size(&self) -> u16 {
        self.addresses.size
    }

    /// Chains that the device has.
    #[must_use]
    pub const fn outstanding(&self) -> u16 {
        self.offered.wrapping_sub(self.taken)
    }

    /// Writes a descriptor; one that does not exist is not written. Its chain must not be the
    /// device's.
    #[inline]
    pub fn prepare(&self, descriptor: u16, segment: Segment) {
        if let Some([address, rest]) = self.descriptors.get(usize::from(descriptor)) {
            address.store(segment.bus, Ordering::Relaxed);
            rest.store(segment.second_word(), Ordering::Relaxed);
        }
    }

    /// Changes the number of bytes of a descriptor's buffer that the device may read, which ends
    /// its chain.
    #[inline]
    pub fn resize(&self, descriptor: u16, bytes: u32) {
        if let Some([_, rest]) = self.descriptors.get(usize::from(descriptor)) {
            rest.store(bytes.into(), Ordering::Relaxed);
        }
    }

    /// Offers the chain that begins with `head`, in whose buffers the device may write `room`
    /// bytes in all. The device sees it after [`Self::publish`]. `false`, and nothing is done,
    /// where the head does not exist or is the device's already.
    #[inline]
    pub fn offer(&mut self, head: u16, room: u32) -> bool {
        match self.room.get_mut(usize::from(head)) {
            Some(place) if *place == NOT_OFFERED => *place = room.min(NOT_OFFERED - 1),
            _ => return false,
        }
        // Fewer than the ring's entries are under way, so this place is free.
        self.element(self.offered).store(head, Ordering::Relaxed);
        self.offered = self.offered.wrapping_add(1);
        true
    }

    #[inline]
    fn element(&self, index: u16) -> &AtomicU16 {
        &self.driver.elements[usize::from(index & (self.addresses.size - 1))]
    }

    /// Lets the device see what was offered. Tells whether it wants to be notified.
    #[must_use = "a device that is not notified may not look"]
    #[inline]
    pub fn publish(&mut self) -> bool {
        let (new, old) = (self.offered, self.published);
        if new == old {
            return false;
        }
        self.published = new;
        self.driver.index.store(new, Ordering::Release);
        // The device writes what it wants to hear of and then looks at the index; this side writes
        // the index and then looks at what the device wants (2.7.13.4).
        fence(Ordering::SeqCst);
        if self.event_index {
            passed(self.device.event.load(Ordering::Relaxed), old, new)
        } else {
            self.device.flags.load(Ordering::Relaxed) & QUIET == 0
        }
    }

    /// Whether [`Self::take`] finds something.
    #[must_use]
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.device.index.load(Ordering::Acquire) != self.taken
    }

    /// The next chain that the device has used.
    ///
    /// # Errors
    /// [`Broken`]: the device must be reset before its buffers are used again.
    #[inline]
    pub fn take(&mut self) -> Result<Option<Used>, Broken> {
        if self.used == self.taken && !self.sees_more()? {
            return Ok(None);
        }
        let place = usize::from(self.taken & (self.addresses.size - 1));
        let element = self.device.elements[place].load(Ordering::Relaxed);
        let used = self.admit(element)?;
        self.taken = self.taken.wrapping_add(1);
        Ok(Some(used))
    }

    /// Reads the device's index; what it wrote before is then there to be seen.
    #[inline]
    fn sees_more(&mut self) -> Result<bool, Broken> {
        let index = self.device.index.load(Ordering::Acquire);
        if index.wrapping_sub(self.taken) > self.published.wrapping_sub(self.taken) {
            return Err(Broken::Index { index });
        }
        self.used = index;
        Ok(index != self.taken)
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "takes the word apart")]
    fn admit(&mut self, element: u64) -> Result<Used, Broken> {
        let (head, bytes) = (element as u32, (element >> 32) as u32);
        let known = u16::try_from(head).ok().filter(|head| usize::from(*head) < self.room.len());
        let head = known.ok_or(Broken::Head { head })?;
        let room = core::mem::replace(&mut self.room[usize::from(head)], NOT_OFFERED);
        match room {
            NOT_OFFERED => Err(Broken::Head { head: head.into() }),
            room if bytes > room => Err(Broken::Length { head, bytes }),
            _ => Ok(Used { head, bytes }),
        }
    }

    /// Asks for an interrupt when the device has used `more` chains more, one at least. `true`
    /// where so many are there to be taken already, and the driver must not wait. A device without
    /// [`Features::EVENT_INDEX`] interrupts with the next chain.
    #[inline]
    pub fn arm(&mut self, more: u16) -> bool {
        let more = if self.event_index { more.max(1) } else { 1 };
        if self.event_index {
            self.driver.event.store(self.taken.wrapping_add(more - 1), Ordering::Relaxed);
        } else {
            self.driver.flags.store(0, Ordering::Relaxed);
        }
        // As in `publish`, the other way round.
        fence(Ordering::SeqCst);
        self.device.index.load(Ordering::Acquire).wrapping_sub(self.taken) >= more
    }

    /// Asks for no interrupt. One may come nevertheless.
    #[inline]
    pub fn disarm(&mut self) {
        if self.event_index {
            // The index that is as far away as can be.
            self.driver.event.store(self.taken.wrapping_sub(1), Ordering::Relaxed);
        } else {
            self.driver.flags.store(QUIET, Ordering::Relaxed);
        }
    }
}

/// Whether an index that went from `old` to `new` went over the one behind `event` (2.7.10.1).
#[inline]
#[must_use]
pub fn passed(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests;
