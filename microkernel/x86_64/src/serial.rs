//! The kernel's console: COM1, polled, and no more than a wish: without one nothing is printed.

use crate::instructions::{port_in, port_out};
use core::fmt;

const PORT: u16 = 0x3f8;
const INTERRUPTS: u16 = PORT + 1;
const FIFO: u16 = PORT + 2;
const LINE_CONTROL: u16 = PORT + 3;
const MODEM_CONTROL: u16 = PORT + 4;
const LINE_STATUS: u16 = PORT + 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// What an absent port reads as.
const ABSENT: u8 = 0xff;
/// Readings of the line status after which a byte is given up.
const PATIENCE: u32 = 100_000;

/// The serial line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serial;

impl Serial {
    /// Sets the line to 115,200 baud, 8 bits, no parity, without interrupts.
    pub(crate) fn initialise(self) {
        const DIVISOR_LATCH: u8 = 0x80;
        const EIGHT_BITS: u8 = 3;
        port_out::<u8>(INTERRUPTS, 0);
        port_out::<u8>(LINE_CONTROL, DIVISOR_LATCH | EIGHT_BITS);
        port_out::<u8>(PORT, 1);
        port_out::<u8>(INTERRUPTS, 0);
        port_out::<u8>(LINE_CONTROL, EIGHT_BITS);
        port_out::<u8>(FIFO, 0x07);
        port_out::<u8>(MODEM_CONTROL, 0x03);
    }

    /// Sends a byte once there is room; gives up if there never is.
    pub(crate) fn put(self, byte: u8) {
        for _ in 0..PATIENCE {
            match port_in(LINE_STATUS) {
                ABSENT => return,
                status if status & TRANSMITTER_EMPTY != 0 => {
                    port_out::<u8>(PORT, byte);
                    return;
                }
                _ => core::hint::spin_loop(),
            }
        }
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.put(b'\r');
            }
            self.put(byte);
        }
        Ok(())
    }
}
