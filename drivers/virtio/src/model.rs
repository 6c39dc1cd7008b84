//! The device's side, as the specification describes it, for tests of drivers: its registers, its
//! configuration space, and its end of the queues. What a driver must not do it panics at.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use libd3os::dma::Dma;

use crate::queue::passed;
use crate::regs::{Features, NO_VECTOR, Status};
use crate::transport::{CONFIG_BYTES, Opening, Place, Windows};

const COMMON: usize = 0x0;
const ISR: usize = 0x1000;
const DEVICE: usize = 0x2000;
const NOTIFY: usize = 0x3000;
const NOTIFY_STEP: usize = 4;
/// Bytes of the one window that the model has.
const WINDOW: usize = 0x4000;
const BAR: u8 = 4;
const VECTORS: u16 = 1;

/// A queue as the device knows it.
#[derive(Clone, Debug, Default)]
pub struct DeviceQueue {
    /// Entries that it can have.
    pub most: u16,
    size: u16,
    vector: u16,
    enabled: bool,
    addresses: [u64; 3],
    seen: u16,
    used: u16,
}

/// A buffer of a chain that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it lies.
    pub bus: u64,
    /// Its bytes.
    pub bytes: u32,
    /// Whether it is to be written.
    pub writable: bool,
}

/// A chain that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its first descriptor.
    pub head: u16,
    /// Its buffers.
    pub parts: Vec<Part>,
}

/// A virtio device on PCI.
#[derive(Debug)]
pub struct Device<'m> {
    memory: Dma<'m>,
    /// Features that it offers.
    pub offers: Features,
    /// Configuration of the device type.
    pub configuration: Vec<u8>,
    /// Its queues.
    pub queues: Vec<DeviceQueue>,
    /// Queues of which it was notified, in order.
    pub notified: Vec<u16>,
    /// Interrupts that it has raised.
    pub interrupts: u64,
    /// Times that it was reset.
    pub resets: u64,
    /// Reads of the status before a reset is over.
    pub reset_takes: u32,
    /// It refuses all features.
    pub refuses: bool,
    resetting: u32,
    status: u8,
    isr: u8,
    generation: u8,
    feature_select: [u32; 2],
    accepted: u64,
    queue_select: u16,
    config_vector: u16,
}

impl<'m> Device<'m> {
    /// A device that reaches this memory, with queues of these sizes.
    #[must_use]
    pub fn new(memory: Dma<'m>, offers: Features, sizes: &[u16]) -> Self {
        let queue = |most: &u16| DeviceQueue { most: *most, ..DeviceQueue::default() };
        Self {
            memory,
            offers,
            configuration: Vec::new(),
            queues: sizes.iter().map(queue).collect(),
            notified: Vec::new(),
            interrupts: 0,
            resets: 0,
            reset_takes: 2,
            refuses: false,
            resetting: 0,
            status: 0,
            isr: 0,
            generation: 0,
            feature_select: [0; 2],
            accepted: 0,
            queue_select: 0,
            config_vector: NO_VECTOR,
        }
    }

    /// Its configuration space, with the capabilities that tell of its structures.
    #[must_use]
    pub fn config() -> [u8; CONFIG_BYTES] {
        let mut config = [0; CONFIG_BYTES];
        config[0x06] = 0x10;
        config[0x34] = 0x40;
        let structures =
            [(1u8, COMMON, 0x1000), (3, ISR, 0x1000), (4, DEVICE, 0x1000), (2, NOTIFY, 0x1000)];
        let mut at = 0x40;
        for (number, offset, length) in structures {
            let next = u8::try_from(at + 20).expect("fits");
            config[at..at + 5].copy_from_slice(&[9, next, 20, number, BAR]);
            config[at + 8..at + 12].copy_from_slice(&le32(offset));
            config[at + 12..at + 16].copy_from_slice(&le32(length));
            config[at + 16..at + 20].copy_from_slice(&le32(NOTIFY_STEP));
            at += 20;
        }
        config[at..at + 3].copy_from_slice(&[0x11, 0, 12]);
        config
    }

    /// What is mapped of it.
    #[must_use]
    pub const fn openings() -> [Opening; 1] {
        [Opening { bar: BAR, offset: 0, bytes: WINDOW as u64 }]
    }

    /// The memory that it reaches.
    #[must_use]
    pub const fn memory(&self) -> Dma<'m> {
        self.memory
    }

    /// Features that were accepted.
    #[must_use]
    pub const fn accepted(&self) -> Features {
        Features::from_bits_retain(self.accepted)
    }

    /// How far it has come with its driver.
    #[must_use]
    pub const fn status(&self) -> Status {
        Status::from_bits_retain(self.status)
    }

    /// Its configuration changes.
    pub fn reconfigure(&mut self, offset: usize, bytes: &[u8]) {
        self.configuration[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.generation = self.generation.wrapping_add(1);
        self.isr |= 2;
        self.interrupts += u64::from(self.config_vector < VECTORS);
    }

    /// Takes the next chain that the driver has offered.
    pub fn pop(&mut self, queue: usize) -> Option<Chain> {
        let (seen, size) = {
            let queue = self.running(queue)?;
            (queue.seen, queue.size)
        };
        let index = self.half(queue, 1, 2)?.load(Ordering::Acquire);
        assert!(index.wrapping_sub(seen) <= size, "more chains than entries");
        if index == seen {
            return None;
        }
        let place = 4 + 2 * usize::from(seen % size);
        let head = self.half(queue, 1, place)?.load(Ordering::Relaxed);
        self.queues[queue].seen = seen.wrapping_add(1);
        self.say_event(queue);
        Some(Chain { head, parts: self.parts(queue, head) })
    }

    /// Says that a chain was used, and interrupts where the driver wants that.
    pub fn push(&mut self, queue: usize, head: u16, bytes: u32) {
        self.push_raw(queue, head.into(), bytes);
    }

    /// The same for a device that says what it likes.
    pub fn push_raw(&mut self, queue: usize, head: u32, bytes: u32) {
        let Some(used) = self.running(queue).map(|queue| queue.used) else { return };
        let size = self.queues[queue].size;
        let at = 4 + 8 * usize::from(used % size);
        let element: &AtomicU64 = self.at(queue, 2, at).expect("in memory");
        element.store(u64::from(head) | u64::from(bytes) << 32, Ordering::Relaxed);
        self.set_used(queue, used.wrapping_add(1));
    }

    /// Says that chains up to this index were used.
    pub fn set_used(&mut self, queue: usize, used: u16) {
        let old = core::mem::replace(&mut self.queues[queue].used, used);
        self.half(queue, 2, 2).expect("in memory").store(used, Ordering::Release);
        if self.wants_interrupt(queue, old, used) {
            self.isr |= 1;
            self.interrupts += u64::from(self.queues[queue].vector < VECTORS);
        }
    }

    fn wants_interrupt(&self, queue: usize, old: u16, new: u16) -> bool {
        let size = usize::from(self.queues[queue].size);
        let half = |at| self.half(queue, 1, at).expect("in memory").load(Ordering::Relaxed);
        if self.accepted().contains(Features::EVENT_INDEX) {
            assert_eq!(half(0), 0, "flags with event indexes");
            passed(half(4 + 2 * size), old, new)
        } else {
            half(0) & 1 == 0
        }
    }

    /// Copies the bytes of a part out.
    #[must_use]
    pub fn read(&self, part: Part) -> Vec<u8> {
        assert!(!part.writable, "a part to be written");
        self.bytes(part).iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
    }

    /// Writes to a part, from its first byte on.
    pub fn write(&self, part: Part, bytes: &[u8]) {
        assert!(part.writable, "a part to be read");
        let room = self.bytes(part);
        assert!(bytes.len() <= room.len(), "the driver offered no room");
        room.iter().zip(bytes).for_each(|(place, byte)| place.store(*byte, Ordering::Relaxed));
    }

    fn bytes(&self, part: Part) -> &'m [AtomicU8] {
        let offset = self.memory.offset(part.bus).expect("DMA into the driver's memory");
        self.memory.row(offset, part.bytes as usize).expect("DMA into the driver's memory")
    }

    /// Wants to be notified of the next chain.
    fn say_event(&self, queue: usize) {
        let (size, seen) = (usize::from(self.queues[queue].size), self.queues[queue].seen);
        let event = self.half(queue, 2, 4 + 8 * size).expect("in memory");
        event.store(seen, Ordering::Relaxed);
    }

    fn parts(&self, queue: usize, head: u16) -> Vec<Part> {
        let (mut parts, mut next) = (Vec::new(), Some(head));
        while let Some(index) = next {
            assert!(index < self.queues[queue].size, "a descriptor that does not exist");
            assert!(parts.len() < usize::from(self.queues[queue].size), "a chain in a circle");
            let words: &[AtomicU64; 2] = self.at(queue, 0, 16 * usize::from(index)).expect("there");
            let [bus, rest] = words.each_ref().map(|word| word.load(Ordering::Relaxed));
            let half = |shift: u32| u16::try_from(rest >> shift & 0xffff).expect("16 bits");
            let (flags, after) = (half(32), half(48));
            let bytes = u32::try_from(rest & 0xffff_ffff).expect("32 bits");
            parts.push(Part { bus, bytes, writable: flags & 2 != 0 });
            next = (flags & 1 != 0).then_some(after);
        }
        parts
    }

    fn running(&self, queue: usize) -> Option<&DeviceQueue> {
        let ready = self.status().contains(Status::DRIVER_OK);
        self.queues.get(queue).filter(|queue| ready && queue.enabled)
    }

    fn half(&self, queue: usize, area: usize, offset: usize) -> Option<&'m AtomicU16> {
        self.at(queue, area, offset)
    }

    /// A word of the queue's descriptors (area 0), the driver's ring (1) or the device's (2).
    fn at<W: libd3os::dma::Word>(&self, queue: usize, area: usize, at: usize) -> Option<&'m W> {
        let bus = self.queues[queue].addresses[area];
        let offset = self.memory.offset(bus).expect("a queue in the driver's memory");
        self.memory.word(offset + at).ok()
    }

    fn reset(&mut self) {
        self.resets += 1;
        self.resetting = self.reset_takes;
        self.accepted = 0;
        self.isr = 0;
        self.config_vector = NO_VECTOR;
        for queue in &mut self.queues {
            let most = queue.most;
            *queue = DeviceQueue { most, size: most, vector: NO_VECTOR, ..DeviceQueue::default() };
        }
        self.notified.clear();
    }

    fn set_status(&mut self, value: u8) {
        if value == 0 {
            self.reset();
        }
        let new = Status::from_bits_retain(value);
        assert!(self.resetting == 0 || value == 0, "a driver that does not wait for the reset");
        assert_eq!(value & self.status, if value == 0 { 0 } else { self.status }, "bits go back");
        let refused = self.refuses || self.accepted & !self.offers.bits() != 0;
        let known = if refused { new - Status::FEATURES_OK } else { new };
        if new.contains(Status::DRIVER_OK) {
            assert!(self.status().contains(Status::FEATURES_OK), "started without features");
        }
        self.status = known.bits();
    }

    fn queue(&mut self) -> Option<&mut DeviceQueue> {
        self.queues.get_mut(usize::from(self.queue_select))
    }

    fn set_queue(&mut self, change: impl FnOnce(&mut DeviceQueue)) {
        assert!(!self.status().contains(Status::DRIVER_OK), "queues are set up before the start");
        let queue = self.queue().expect("a queue that exists");
        assert!(!queue.enabled, "an enabled queue does not change");
        change(queue);
    }

    fn common(&mut self, offset: usize) -> u64 {
        let queue = self.queue().cloned().unwrap_or_default();
        match offset {
            0x04 if self.feature_select[0] < 2 => {
                self.offers.bits() >> (32 * self.feature_select[0]) & 0xffff_ffff
            }
            0x10 => self.config_vector.into(),
            0x12 => self.queues.len() as u64,
            0x14 => {
                self.resetting = self.resetting.saturating_sub(1);
                if self.resetting > 0 { 0xff } else { self.status.into() }
            }
            0x15 => self.generation.into(),
            0x18 => {
                if queue.size == 0 {
                    queue.most.into()
                } else {
                    queue.size.into()
                }
            }
            0x1a => queue.vector.into(),
            0x1c => queue.enabled.into(),
            0x1e => self.queue_select.into(),
            _ => 0,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes values apart")]
    fn set_common(&mut self, offset: usize, value: u32) {
        let half = value as u16;
        let vector = if half < VECTORS { half } else { NO_VECTOR };
        match offset {
            0x00 => self.feature_select[0] = value,
            0x08 => self.feature_select[1] = value,
            0x0c => {
                let shift = 32 * self.feature_select[1];
                self.accepted &= !(0xffff_ffff << shift);
                self.accepted |= u64::from(value) << shift;
            }
            0x10 => self.config_vector = vector,
            0x14 => self.set_status(value as u8),
            0x16 => self.queue_select = half,
            0x18 => self.set_queue(|queue| {
                assert!(half.is_power_of_two() && half <= queue.most, "a size the device has");
                queue.size = half;
            }),
            0x1a => self.set_queue(|queue| queue.vector = vector),
            0x1c => {
                assert_eq!(half, 1);
                self.set_queue(|queue| queue.enabled = true);
            }
            0x20..0x38 => {
                let (area, high) = ((offset - 0x20) / 8, offset % 8 == 4);
                self.set_queue(|queue| {
                    let shift = if high { 32 } else { 0 };
                    queue.addresses[area] &= !(0xffff_ffff << shift);
                    queue.addresses[area] |= u64::from(value) << shift;
                });
            }
            _ => panic!("a register that is not to be written: {offset:#x}"),
        }
    }

    fn register(&mut self, place: Place, width: usize) -> u64 {
        assert!(place.window == 0 && place.offset.is_multiple_of(width), "{place:?}");
        match place.offset {
            ISR => core::mem::take(&mut self.isr).into(),
            DEVICE..NOTIFY => {
                let at = place.offset - DEVICE;
                self.configuration.get(at).copied().unwrap_or(0).into()
            }
            offset => self.common(offset),
        }
    }
}

/// What a device does with what its queues carry, behind the model of what they have in common.
pub trait Behind<'m> {
    /// The model.
    fn device(&mut self) -> &mut Device<'m>;

    /// The driver has notified it of a queue.
    fn notified(&mut self) {}
}

impl<'m, T: Behind<'m>> Windows for T {
    fn read8(&mut self, place: Place) -> u8 {
        self.device().read8(place)
    }
    fn read16(&mut self, place: Place) -> u16 {
        self.device().read16(place)
    }
    fn read32(&mut self, place: Place) -> u32 {
        self.device().read32(place)
    }
    fn write8(&mut self, place: Place, value: u8) {
        self.device().write8(place, value);
    }
    fn write16(&mut self, place: Place, value: u16) {
        self.device().write16(place, value);
        if self.device().notified.pop().is_some() {
            self.notified();
        }
    }
    fn write32(&mut self, place: Place, value: u32) {
        self.device().write32(place, value);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "takes values apart")]
impl Windows for Device<'_> {
    fn read8(&mut self, place: Place) -> u8 {
        self.register(place, 1) as u8
    }

    fn read16(&mut self, place: Place) -> u16 {
        self.register(place, 2) as u16
    }

    fn read32(&mut self, place: Place) -> u32 {
        self.register(place, 4) as u32
    }

    fn write8(&mut self, place: Place, value: u8) {
        assert_eq!(place.offset, 0x14, "the status is the one byte to write");
        self.set_common(place.offset, value.into());
    }

    fn write16(&mut self, place: Place, value: u16) {
        if place.offset < NOTIFY {
            return self.set_common(place.offset, value.into());
        }
        assert_eq!(place.offset, NOTIFY + NOTIFY_STEP * usize::from(value), "its own place");
        assert!(self.running(value.into()).is_some(), "notified before the start");
        self.notified.push(value);
    }

    fn write32(&mut self, place: Place, value: u32) {
        match place.offset.checked_sub(DEVICE) {
            None => self.set_common(place.offset, value),
            Some(at) => self.configuration[at..at + 4].copy_from_slice(&value.to_le_bytes()),
        }
    }
}

fn le32(value: usize) -> [u8; 4] {
    u32::try_from(value).expect("32 bits").to_le_bytes()
}

/// A word that a test changes behind the driver's back.
pub fn scribble(memory: Dma<'_>, offset: usize, value: u32) {
    if let Ok(word) = memory.word::<AtomicU32>(offset & !3) {
        word.store(value, Ordering::Relaxed);
    }
}
