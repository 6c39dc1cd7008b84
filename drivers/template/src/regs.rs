//! The port's registers.

use bitflags::bitflags;

/// Access to the port's registers.
pub trait Registers {
    /// Reads a register.
    fn read(&mut self, register: Register) -> u8;

    /// Writes a register.
    fn write(&mut self, register: Register, value: u8);
}

/// A register, by its port's offset from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Register {
    /// The byte on the line.
    Data = 0,
    /// What the printer says; see [`Status`].
    Status = 1,
    /// What the port tells the printer; see [`Control`].
    Control = 2,
}

bitflags! {
    /// The printer's lines.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status: u8 {
        /// The printer has no error.
        const NO_ERROR = 1 << 3;
        /// The printer is switched on and selected.
        const SELECTED = 1 << 4;
        /// The printer is out of paper.
        const PAPER_OUT = 1 << 5;
        /// The printer can take a byte.
        const READY = 1 << 7;
    }
}

bitflags! {
    /// The port's lines.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Control: u8 {
        /// Its beginning tells the printer to take the byte.
        const STROBE = 1 << 0;
        /// Off resets the printer.
        const NO_RESET = 1 << 2;
        /// Selects the printer.
        const SELECT = 1 << 3;
        /// Interrupts when the printer has taken a byte.
        const INTERRUPTS = 1 << 4;
    }
}
