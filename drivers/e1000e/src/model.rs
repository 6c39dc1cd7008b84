//! A model of the card for the tests: its registers, its rings, its interrupts, and a wire.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use libd3os::dma::Dma;

use crate::device::BUFFER_ROOM;
use crate::regs::{Register, Registers};

const RESET: u32 = 1 << 26;
const MASTER_DISABLE: u32 = 1 << 2;
const MASTER_ENABLE: u32 = 1 << 19;

/// An 82574 at whose other end the test sits.
#[derive(Debug)]
pub(crate) struct Chip<'m> {
    memory: Dma<'m>,
    registers: BTreeMap<usize, u32>,
    /// Whether it interrupts by MSI-X.
    vector: bool,
    cause: u32,
    mask: u32,
    /// Reads before a reset is over; it never is where there are too many.
    pub(crate) reset_takes: u32,
    resetting: u32,
    /// Reads before the EEPROM is read.
    pub(crate) eeprom_takes: u32,
    pub(crate) interrupts: u64,
    pub(crate) resets: u64,
    pub(crate) mac: [u8; 6],
    /// What the last context descriptor says: where a checksum begins, and where it is put.
    context: Option<(usize, usize)>,
}

impl<'m> Chip<'m> {
    pub(crate) fn new(memory: Dma<'m>, vector: bool) -> Self {
        Self {
            memory,
            // What a predecessor left.
            registers: BTreeMap::from([(0x100, 2), (0x2818, 17), (0x5200 + 4 * 5, 0xffff)]),
            vector,
            cause: 0xffff_ffff,
            mask: 0xffff_ffff,
            reset_takes: 3,
            resetting: 0,
            eeprom_takes: 5,
            interrupts: 0,
            resets: 0,
            mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
            context: None,
        }
    }

    pub(crate) fn register(&self, offset: usize) -> u32 {
        self.registers.get(&offset).copied().unwrap_or(0)
    }

    /// A frame comes in, in as many buffers as it takes; `false` where there are too few.
    pub(crate) fn arrives(&mut self, frame: &[u8], status: u8, errors: u8) -> bool {
        let parts: Vec<_> = frame.chunks(BUFFER_ROOM).collect();
        if self.register(0x100) & 2 == 0 || (self.receive_buffers() as usize) < parts.len() {
            return false;
        }
        for (number, part) in parts.iter().enumerate() {
            let last = number + 1 == parts.len();
            let [address, _] = self.descriptor(0x2800, self.register(0x2810));
            self.bytes(address.load(Ordering::Relaxed), part.len())
                .iter()
                .zip(*part)
                .for_each(|(place, byte)| place.store(*byte, Ordering::Relaxed));
            let status = if last { status | 3 } else { 1 };
            self.write_back(u16::try_from(part.len()).expect("short"), status, errors);
        }
        self.raise(if self.vector { 1 << 20 } else { 1 << 7 });
        true
    }

    /// Writes any descriptor back, true or not.
    pub(crate) fn write_back(&mut self, length: u16, status: u8, errors: u8) {
        let head = self.register(0x2810);
        let [_, rest] = self.descriptor(0x2800, head);
        let word = u64::from(length) | u64::from(status) << 32 | u64::from(errors) << 40;
        rest.store(word, Ordering::Release);
        self.registers.insert(0x2810, (head + 1) % self.entries(0x2808));
    }

    fn receive_buffers(&self) -> u32 {
        let entries = self.entries(0x2808);
        (self.register(0x2818) + entries - self.register(0x2810)) % entries
    }

    /// The next frame goes out.
    pub(crate) fn leaves(&mut self) -> Option<Vec<u8>> {
        let head = self.register(0x3810);
        if self.register(0x400) & 2 == 0 || head == self.register(0x3818) {
            return None;
        }
        let [address, rest] = self.descriptor(0x3800, head);
        let word = rest.load(Ordering::Acquire);
        rest.store(word | 1 << 32, Ordering::Release);
        self.registers.insert(0x3810, (head + 1) % self.entries(0x3808));
        let address = address.load(Ordering::Relaxed);
        if word >> 20 & 0x20f == 0x200 {
            self.take_context(address, word);
            return self.leaves();
        }
        let made = word >> 20 & 0x20f == 0x201;
        assert_eq!(word >> 24 & !(0x20 | 1 << 17), 0b1011, "end, check sequence, report");
        assert_eq!(made, word >> 40 == 2, "a sum in data descriptors alone");
        assert!(made || word >> 16 & 0xff == 0, "no checksum");
        let bytes = self.bytes(address, (word & 0xffff) as usize);
        let mut frame: Vec<u8> = bytes.iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        if made {
            self.make_sum(&mut frame);
        }
        self.raise(if self.vector { 1 << 22 } else { 1 });
        Some(frame)
    }

    fn take_context(&mut self, address: u64, word: u64) {
        assert_eq!(address & 0xffff_ffff, 14 | 24 << 8 | 33 << 16, "an IPv4 header");
        assert_eq!(word >> 24 & 0xfe, 0b10_1010, "extended, reported, IPv4");
        let [_, _, _, _, begin, place, ..] = address.to_le_bytes();
        assert_eq!((word >> 24 & 1 == 1, begin), (place == 50, 34), "UDP, or TCP");
        self.context = Some((begin.into(), place.into()));
    }

    /// RFC 1071, over what stands there: the place of the checksum included.
    fn make_sum(&self, frame: &mut [u8]) {
        let (begin, place) = self.context.expect("a context before frames of it");
        let mut sum = 0u32;
        for pair in frame[begin..].chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        let sum = u16::try_from(sum ^ 0xffff).expect("folded");
        frame[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    }

    /// The link goes up or down.
    pub(crate) fn set_link(&mut self, up: bool) {
        self.registers.insert(8, if up { 0x82 } else { 0 });
        self.raise(1 << 2 | if self.vector { 1 << 24 } else { 0 });
    }

    fn entries(&self, length: usize) -> u32 {
        let bytes = self.register(length);
        assert!(bytes > 0 && bytes.is_multiple_of(128), "a ring of {bytes} bytes");
        bytes / 16
    }

    fn descriptor(&self, base: usize, index: u32) -> &'m [AtomicU64; 2] {
        let address = u64::from(self.register(base)) | u64::from(self.register(base + 4)) << 32;
        let offset = self.memory.offset(address).expect("a ring in the driver's memory");
        self.memory.word(offset + 16 * index as usize).expect("a ring in the driver's memory")
    }

    fn bytes(&self, address: u64, count: usize) -> &'m [AtomicU8] {
        let offset = self.memory.offset(address).expect("DMA into the driver's memory");
        self.memory.row(offset, count).expect("DMA into the driver's memory")
    }

    fn raise(&mut self, causes: u32) {
        self.cause |= causes;
        self.settle();
    }

    /// A message for each cause that is let through; with MSI-X it clears the causes that the
    /// driver chose.
    fn settle(&mut self) {
        let causes = self.cause & self.mask;
        if causes == 0 {
            return;
        }
        if self.vector {
            let to_zero = self.register(0xe4) & 0xfffff == 0x8_0808;
            assert!(to_zero, "causes without a vector");
            self.cause &= !(self.register(0xdc) & causes);
        }
        self.interrupts += 1;
    }

    fn reset(&mut self) {
        assert_eq!(self.register(0x100) & 2, 0, "reset while frames come in");
        self.resets += 1;
        self.resetting = self.reset_takes;
        (self.cause, self.mask) = (0, 0);
        self.registers.clear();
        let [a, b, c, d, e, f] = self.mac;
        self.registers.insert(0x5400, u32::from_le_bytes([a, b, c, d]));
        let valid = if self.mac == [0; 6] { 0 } else { 1 << 31 };
        self.registers.insert(0x5404, u32::from(e) | u32::from(f) << 8 | valid);
        self.registers.insert(8, 0x82);
    }

    fn control(&mut self) -> u32 {
        self.resetting = self.resetting.saturating_sub(1);
        if self.resetting > 0 { RESET } else { self.register(0) }
    }
}

impl Registers for Chip<'_> {
    fn read(&mut self, register: Register) -> u32 {
        match register {
            Register::Control => self.control(),
            Register::Status if self.register(0) & MASTER_DISABLE == 0 => {
                self.register(8) | MASTER_ENABLE
            }
            Register::Eeprom => {
                self.eeprom_takes = self.eeprom_takes.saturating_sub(1);
                u32::from(self.eeprom_takes == 0) << 9
            }
            Register::InterruptCause => {
                let causes = self.cause;
                if !self.vector {
                    self.cause = 0;
                }
                causes
            }
            Register::Missed | Register::NoBuffers => {
                self.registers.remove(&(register as usize)).unwrap_or(0)
            }
            _ => self.register(register as usize),
        }
    }

    fn write(&mut self, register: Register, value: u32) {
        match register {
            Register::Control if value & RESET != 0 => self.reset(),
            Register::InterruptCause => self.cause &= !value,
            Register::InterruptMaskSet => {
                self.mask |= value;
                self.settle();
            }
            Register::InterruptMaskClear => self.mask &= !value,
            _ => drop(self.registers.insert(register as usize, value)),
        }
    }

    fn write_nth(&mut self, register: Register, index: usize, value: u32) {
        self.registers.insert(register as usize + 4 * index, value);
    }

    fn wait_us(&mut self, _: u32) {}
}
