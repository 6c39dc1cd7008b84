//! Both chips as their data sheets describe them, and the time in which they live.

use std::cell::Cell;
use std::rc::Rc;

use crate::regs::{
    Configuration, Hpet, HpetRegisters, PIT_LATCH, PIT_ONE_SHOT, PIT_PERIOD, Pit, PitRegisters,
    TimerConfiguration,
};

/// Time in nanoseconds. Each access to a register takes some.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    now: Rc<Cell<u64>>,
    cost: Rc<Cell<u64>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { now: Rc::new(Cell::new(1_000)), cost: Rc::new(Cell::new(500)) }
    }
}

impl Clock {
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    pub(crate) fn set(&self, now: u64) {
        assert!(now >= self.now(), "time does not go back");
        self.now.set(now);
    }

    pub(crate) fn advance(&self, ns: u64) {
        self.set(self.now() + ns);
    }

    /// From now on an access takes this long.
    pub(crate) fn costs(&self, ns: u64) {
        self.cost.set(ns);
    }

    fn access(&self) {
        self.advance(self.cost.get());
    }
}

/// Counter 0 of an 8254.
#[derive(Debug)]
pub(crate) struct PitChip {
    clock: Clock,
    present: bool,
    /// The byte that was written first.
    low: Option<u8>,
    /// When the count was written, and the count, while it runs.
    running: Option<(u64, u16)>,
    latched: Option<[u8; 2]>,
    second_byte: bool,
    /// The output has risen, and nobody has asked since.
    risen: bool,
}

impl PitChip {
    pub(crate) fn new(clock: Clock) -> Self {
        let (low, running, latched) = (None, None, None);
        Self { clock, present: true, low, running, latched, second_byte: false, risen: false }
    }

    pub(crate) fn absent(clock: Clock) -> Self {
        Self { present: false, ..Self::new(clock) }
    }

    /// When the output rises: one tick after the count has run down.
    pub(crate) fn next_edge(&self) -> Option<u64> {
        let (start, count) = self.running?;
        let ticks = if count == 0 { 0x1_0000 } else { u64::from(count) } + 1;
        Some(start + (ticks * PIT_PERIOD).div_ceil(1_000_000))
    }

    /// Whether the output has risen since it was asked.
    pub(crate) fn take_edge(&mut self) -> bool {
        self.run();
        std::mem::take(&mut self.risen)
    }

    fn run(&mut self) {
        if self.next_edge().is_some_and(|edge| edge <= self.clock.now()) {
            self.running = None;
            self.risen = true;
        }
    }

    fn count(&self) -> u16 {
        let Some((start, count)) = self.running else { return 0 };
        let ticks = (self.clock.now() - start) * 1_000_000 / PIT_PERIOD;
        count.wrapping_sub(u16::try_from(ticks % 0x1_0000).expect("16 bits"))
    }
}

impl PitRegisters for PitChip {
    fn read(&mut self, register: Pit) -> u8 {
        self.clock.access();
        assert_eq!(register, Pit::Counter0, "the control word cannot be read");
        if !self.present {
            return 0xff;
        }
        let bytes = self.latched.unwrap_or_else(|| self.count().to_le_bytes());
        self.second_byte = !self.second_byte;
        if self.second_byte {
            return bytes[0];
        }
        self.latched = None;
        bytes[1]
    }

    fn write(&mut self, register: Pit, value: u8) {
        self.clock.access();
        self.run();
        match (register, value) {
            (Pit::Control, PIT_LATCH) => self.latched = Some(self.count().to_le_bytes()),
            (Pit::Control, PIT_ONE_SHOT) => (self.low, self.running) = (None, None),
            (Pit::Control, other) => panic!("the driver does not use control word {other:#x}"),
            (Pit::Counter0, byte) => match self.low.take() {
                // The first byte stops the counter.
                None => (self.low, self.running) = (Some(byte), None),
                Some(low) => {
                    let count = u16::from_le_bytes([low, byte]);
                    self.running = Some((self.clock.now(), count));
                }
            },
        }
    }
}

/// An HPET with three comparators, of which the first can drive inputs 16 to 23.
#[derive(Debug)]
pub(crate) struct HpetChip {
    clock: Clock,
    /// Femtoseconds for each tick, as the registers say; 0 where there is no chip.
    period: u32,
    /// How the clock that drives it differs from that, in parts per million.
    off_ppm: i64,
    configuration: Configuration,
    timer: u32,
    comparator: u32,
    /// The counter at a time.
    origin: (u64, u32),
    /// When the comparator or the gate was last looked at.
    looked: u64,
    /// The counter has gone by the comparator, and nobody has asked since.
    gone_by: bool,
}

const POSSIBLE_INPUTS: u32 = 0x00ff_0000;
/// What of a comparator's configuration can be written in this chip.
const WRITABLE: u32 = 0x3f0e;

impl HpetChip {
    /// A chip whose counter stands at `counter`.
    pub(crate) fn new(clock: Clock, counter: u32) -> Self {
        let origin = (clock.now(), counter);
        let looked = clock.now();
        Self {
            clock,
            period: 69_841_279,
            off_ppm: 0,
            configuration: Configuration::empty(),
            timer: TimerConfiguration::PERIODIC.bits() | TimerConfiguration::INTERRUPTS.bits(),
            comparator: 77,
            origin,
            looked,
            gone_by: false,
        }
    }

    pub(crate) fn absent() -> Self {
        Self { period: 0, ..Self::new(Clock::default(), 0) }
    }

    /// The same chip on a crystal that is off by so much.
    pub(crate) fn off_by(self, off_ppm: i64) -> Self {
        Self { off_ppm, ..self }
    }

    /// The input that comparator 0 drives.
    pub(crate) fn input(&self) -> Option<u32> {
        let input =
            (self.timer & TimerConfiguration::INPUT_MASK) >> TimerConfiguration::INPUT_SHIFT;
        (POSSIBLE_INPUTS >> input & 1 == 1).then_some(input)
    }

    /// Femtoseconds for each tick, as they really are.
    fn real_period(&self) -> u128 {
        let period = i128::from(self.period);
        u128::try_from(period - period * i128::from(self.off_ppm) / 1_000_000).expect("positive")
    }

    fn counter_at(&self, time: u64) -> u64 {
        let (start, counter) = self.origin;
        let ticks = u128::from(time - start) * 1_000_000 / self.real_period();
        u64::from(counter) + u64::try_from(ticks).expect("not that long")
    }

    fn counter(&self) -> u32 {
        let running = self.configuration.contains(Configuration::ENABLE);
        let counter =
            if running { self.counter_at(self.clock.now()) } else { self.origin.1.into() };
        u32::try_from(counter & u64::from(u32::MAX)).expect("masked")
    }

    fn interrupts(&self) -> bool {
        let timer = TimerConfiguration::from_bits_retain(self.timer);
        self.configuration.contains(Configuration::ENABLE)
            && timer.contains(TimerConfiguration::INTERRUPTS | TimerConfiguration::NARROW)
            && self.input().is_some()
    }

    /// When the counter next equals the comparator, after it was last looked at.
    pub(crate) fn next_edge(&self) -> Option<u64> {
        if !self.interrupts() {
            return None;
        }
        let at = self.counter_at(self.looked);
        let low = u32::try_from(at & u64::from(u32::MAX)).expect("masked");
        let ahead = match self.comparator.wrapping_sub(low) {
            0 => 1 << 32,
            ahead => u64::from(ahead),
        };
        let ticks = u128::from(at + ahead - u64::from(self.origin.1));
        let ns = (ticks * self.real_period()).div_ceil(1_000_000);
        Some(self.origin.0 + u64::try_from(ns).expect("not that long"))
    }

    /// Whether the counter has gone by the comparator since it was asked.
    pub(crate) fn take_edge(&mut self) -> bool {
        self.run();
        std::mem::take(&mut self.gone_by)
    }

    fn run(&mut self) {
        self.gone_by |= self.next_edge().is_some_and(|edge| edge <= self.clock.now());
        self.looked = self.clock.now();
    }
}

impl HpetRegisters for HpetChip {
    fn read(&mut self, register: Hpet) -> u32 {
        self.clock.access();
        match register {
            Hpet::Capabilities if self.period == 0 => u32::MAX,
            Hpet::Capabilities => 0x8086_a201,
            Hpet::Configuration => self.configuration.bits(),
            Hpet::Counter => self.counter(),
            Hpet::TimerConfiguration(0) => self.timer,
            Hpet::Comparator(0) => self.comparator,
            Hpet::TimerConfiguration(_) | Hpet::Comparator(_) => 0,
        }
    }

    fn read_high(&mut self, register: Hpet) -> u32 {
        self.clock.access();
        match register {
            Hpet::Capabilities if self.period == 0 => u32::MAX,
            Hpet::Capabilities => self.period,
            Hpet::TimerConfiguration(0) => POSSIBLE_INPUTS,
            _ => 0,
        }
    }

    fn write(&mut self, register: Hpet, value: u32) {
        self.clock.access();
        self.run();
        match register {
            Hpet::Configuration => {
                self.origin = (self.clock.now(), self.counter());
                self.configuration = Configuration::from_bits_retain(value);
            }
            Hpet::TimerConfiguration(0) => self.timer = value & WRITABLE | self.timer & !WRITABLE,
            Hpet::TimerConfiguration(1 | 2) => {}
            Hpet::Comparator(0) => self.comparator = value,
            other => panic!("the driver has no reason to write {other:?}"),
        }
    }
}
