//! Registers of the 16550 and what their bits mean (PC16550D, section 8).

use bitflags::bitflags;

/// A register that the driver uses, as offset from the base port.
///
/// With [`LineControl::DIVISOR_ACCESS`] set, offsets 0 and 1 are the divisor's two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Register {
    /// Read: oldest received byte. Write: byte to send. Low byte of the divisor.
    Data = 0,
    /// Which causes raise the interrupt. High byte of the divisor.
    InterruptEnable = 1,
    /// Read: why the interrupt was raised. Write: FIFO control.
    InterruptIdOrFifoControl = 2,
    /// Frame format and access to the divisor.
    LineControl = 3,
    /// Outputs to the modem; one of them gates the interrupt line on a PC.
    ModemControl = 4,
    /// Received bytes, errors, room for sending.
    LineStatus = 5,
    /// Inputs from the modem.
    ModemStatus = 6,
    /// A byte that does nothing: tells whether a chip is there.
    Scratch = 7,
}

/// Access to one chip's registers; the process has ports behind it, the tests a model.
pub trait Registers {
    /// Reads a register. Some reads have effects (data, interrupt identification, status).
    fn read(&mut self, register: Register) -> u8;
    /// Writes a register.
    fn write(&mut self, register: Register, value: u8);
}

bitflags! {
    /// Interrupt causes that are let through.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct InterruptEnable: u8 {
        /// Bytes were received.
        const RECEIVED = 1 << 0;
        /// The sender's FIFO ran empty.
        const SENDER_EMPTY = 1 << 1;
        /// A reception error.
        const LINE_STATUS = 1 << 2;
    }

    /// How the FIFOs work. Trigger level: see [`FifoControl::TRIGGER_8`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct FifoControl: u8 {
        /// FIFOs on.
        const ENABLE = 1 << 0;
        /// Forget what was received.
        const CLEAR_RECEIVER = 1 << 1;
        /// Forget what was to be sent.
        const CLEAR_SENDER = 1 << 2;
        /// Interrupt at eight received bytes, or after four idle character times.
        const TRIGGER_8 = 2 << 6;
    }

    /// Frame format.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LineControl: u8 {
        /// Eight data bits; without further bits: no parity, one stop bit.
        const EIGHT_BITS = 3;
        /// Offsets 0 and 1 are the divisor.
        const DIVISOR_ACCESS = 1 << 7;
    }

    /// Outputs.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ModemControl: u8 {
        /// Data terminal ready.
        const DTR = 1 << 0;
        /// Request to send.
        const RTS = 1 << 1;
        /// On a PC: connects the chip's interrupt output to the interrupt controller.
        const OUT2 = 1 << 3;
    }

    /// State of the line.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LineStatus: u8 {
        /// A received byte waits.
        const DATA_READY = 1 << 0;
        /// A received byte was lost in the chip: it was not fetched in time.
        const OVERRUN = 1 << 1;
        /// Parity error in the byte at the top.
        const PARITY = 1 << 2;
        /// Missing stop bit in the byte at the top.
        const FRAMING = 1 << 3;
        /// The line was held low.
        const BREAK = 1 << 4;
        /// The sender's FIFO is empty: [`FIFO_BYTES`] fit.
        const SENDER_EMPTY = 1 << 5;
        /// The sender and its shift register are empty.
        const IDLE = 1 << 6;
    }
}

/// Bytes that the sender's FIFO takes once it is empty.
pub const FIFO_BYTES: usize = 16;

/// Divisor for 115,200 baud: the chip's clock divided by sixteen is just that.
pub const DIVISOR_115200: u16 = 1;

/// Why the interrupt was raised, by falling priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing pending.
    None,
    /// An error or break: cleared by reading the line status.
    LineStatus,
    /// Enough bytes received, or some for long enough: cleared by fetching them.
    Received,
    /// The sender's FIFO ran empty: cleared by this very read.
    SenderEmpty,
    /// A modem input changed: cleared by reading the modem status.
    Modem,
}

impl Cause {
    /// The cause that the interrupt identification register tells.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0xf {
            0x6 => Self::LineStatus,
            0x4 | 0xc => Self::Received,
            0x2 => Self::SenderEmpty,
            0x0 => Self::Modem,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_apart_with_and_without_fifo_bits() {
        assert_eq!(Cause::from_bits(0xc1), Cause::None);
        assert_eq!(Cause::from_bits(0xc6), Cause::LineStatus);
        assert_eq!(Cause::from_bits(0xcc), Cause::Received);
        assert_eq!(Cause::from_bits(0x04), Cause::Received);
        assert_eq!(Cause::from_bits(0xc2), Cause::SenderEmpty);
        assert_eq!(Cause::from_bits(0x00), Cause::Modem);
    }
}
