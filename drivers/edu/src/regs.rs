//! The device's registers (QEMU, docs/specs/edu).

use bitflags::bitflags;

/// A register of four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Register {
    /// Which device this is, and its version.
    Identification = 0x00,
    /// Why it interrupts.
    InterruptStatus = 0x24,
    /// Written with a cause, takes it away.
    InterruptAcknowledge = 0x64,
}

/// A register of eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum WideRegister {
    /// Where a transfer reads.
    Source = 0x80,
    /// Where it writes.
    Destination = 0x88,
    /// Its bytes.
    Count = 0x90,
    /// What to do.
    Command = 0x98,
}

/// Access to the device's registers; the process has memory behind it, the tests a model.
pub trait Registers {
    /// Reads a register.
    fn read(&mut self, register: Register) -> u32;
    /// Writes a register.
    fn write(&mut self, register: Register, value: u32);
    /// Reads a wide register.
    fn read_wide(&mut self, register: WideRegister) -> u64;
    /// Writes a wide register.
    fn write_wide(&mut self, register: WideRegister, value: u64);
}

/// What [`Register::Identification`] ends in; the version stands above.
pub const IDENTIFICATION: u32 = 0x00ed;

bitflags! {
    /// The command register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Command: u64 {
        /// Transfer; the device clears it when it has.
        const START = 1 << 0;
        /// From the device's buffer to memory, not the other way.
        const TO_MEMORY = 1 << 1;
        /// Interrupt when it is done.
        const INTERRUPT = 1 << 2;
    }
}

/// The interrupt's cause after a transfer.
pub const TRANSFERRED: u32 = 0x100;
/// Where the device's buffer begins in its own addresses.
pub const BUFFER: u64 = 0x4_0000;
/// Bytes of the buffer.
pub const BUFFER_BYTES: u64 = 4096;
