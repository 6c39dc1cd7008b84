//! The registers of both chips.

use bitflags::bitflags;

/// Access to the HPET's registers.
pub trait HpetRegisters {
    /// Reads a register's lower half.
    fn read(&mut self, register: Hpet) -> u32;

    /// Reads a register's upper half.
    fn read_high(&mut self, register: Hpet) -> u32;

    /// Writes a register's lower half.
    fn write(&mut self, register: Hpet, value: u32);
}

/// A register of the HPET (section 2.3.1). They have 64 bits; halves may be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hpet {
    /// General capabilities and ID; in the upper half, femtoseconds for each tick.
    Capabilities,
    /// General configuration.
    Configuration,
    /// The main counter.
    Counter,
    /// A comparator's configuration; in the upper half, the inputs of the IOAPIC that it can drive.
    TimerConfiguration(u8),
    /// A comparator's value.
    Comparator(u8),
}

impl Hpet {
    /// Offset of its first byte.
    #[must_use]
    pub const fn offset(self) -> usize {
        match self {
            Self::Capabilities => 0x000,
            Self::Configuration => 0x010,
            Self::Counter => 0x0f0,
            Self::TimerConfiguration(number) => 0x100 + 0x20 * number as usize,
            Self::Comparator(number) => 0x108 + 0x20 * number as usize,
        }
    }
}

bitflags! {
    /// General configuration (section 2.3.5).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Configuration: u32 {
        /// The counter runs, and comparators interrupt.
        const ENABLE = 1 << 0;
        /// Comparators 0 and 1 take the places of the PIT and of the RTC.
        const LEGACY = 1 << 1;
    }
}

bitflags! {
    /// A comparator's configuration, without its input (section 2.3.8).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TimerConfiguration: u32 {
        /// Interrupts for as long as its status bit is set, not once.
        const LEVEL = 1 << 1;
        /// Interrupts at all.
        const INTERRUPTS = 1 << 2;
        /// Sets itself anew.
        const PERIODIC = 1 << 3;
        /// Compares the lower 32 bits only.
        const NARROW = 1 << 8;
        /// Interrupts by a message, not by an input.
        const MESSAGES = 1 << 14;
    }
}

impl TimerConfiguration {
    /// Lowest bit of the input's number, which has five.
    pub const INPUT_SHIFT: u32 = 9;
    /// Bits of the input's number.
    pub const INPUT_MASK: u32 = 0x1f << Self::INPUT_SHIFT;
}

/// Access to the PIT's registers.
pub trait PitRegisters {
    /// Reads a register.
    fn read(&mut self, register: Pit) -> u8;

    /// Writes a register.
    fn write(&mut self, register: Pit, value: u8);
}

/// A register of the PIT, by its port's offset from 0x40.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Pit {
    /// The count of counter 0: lower byte, then upper byte.
    Counter0 = 0,
    /// The control word; not readable.
    Control = 3,
}

/// Control word: counter 0, both bytes, mode 0 (interrupt on terminal count), binary.
pub const PIT_ONE_SHOT: u8 = 0b0011_0000;
/// Control word: keeps counter 0's present count to be read.
pub const PIT_LATCH: u8 = 0b0000_0000;
/// Femtoseconds for each tick of the PIT: 1,193,182 ticks a second.
pub const PIT_PERIOD: u64 = 1_000_000_000_000_000 / 1_193_182;
