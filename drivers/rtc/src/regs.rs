//! The registers of the clock.

use bitflags::bitflags;

/// Access to the clock's registers, which are bytes of its memory.
pub trait Registers {
    /// Reads the register at this address.
    fn read(&mut self, address: u8) -> u8;
}

/// Addresses of registers that have one meaning on every machine.
pub mod address {
    /// Seconds.
    pub const SECONDS: u8 = 0x00;
    /// Minutes.
    pub const MINUTES: u8 = 0x02;
    /// Hours.
    pub const HOURS: u8 = 0x04;
    /// Day of the month.
    pub const DAY: u8 = 0x07;
    /// Month.
    pub const MONTH: u8 = 0x08;
    /// Year of the century.
    pub const YEAR: u8 = 0x09;
    /// Status register A.
    pub const STATUS_A: u8 = 0x0a;
    /// Status register B.
    pub const STATUS_B: u8 = 0x0b;
    /// Status register D.
    pub const STATUS_D: u8 = 0x0d;
    /// The last one that the ports reach.
    pub const LAST: u8 = 0x7f;
}

bitflags! {
    /// Status register A.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct StatusA: u8 {
        /// The time is about to change, or changes: it must not be read.
        const UPDATE_IN_PROGRESS = 1 << 7;
    }
}

bitflags! {
    /// Status register B.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct StatusB: u8 {
        /// Hours count from 0 to 23, not twice from 1 to 12.
        const HOURS_24 = 1 << 1;
        /// Numbers are binary, not two decimal digits of four bits.
        const BINARY = 1 << 2;
    }
}

bitflags! {
    /// Status register D.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct StatusD: u8 {
        /// The battery has held since the time was set.
        const VALID = 1 << 7;
    }
}

/// In the hours of a clock with twelve: the second half of the day.
pub const AFTERNOON: u8 = 1 << 7;
