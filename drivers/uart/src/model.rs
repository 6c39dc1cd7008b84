//! A model of the chip for the tests: FIFOs, interrupt identification, an edge-triggered line.

use std::collections::VecDeque;

use crate::regs::{FIFO_BYTES, Register, Registers};

/// A 16550 at whose other end the test sits.
#[derive(Debug, Default)]
pub(crate) struct Chip {
    absent: bool,
    divisor: u16,
    enable: u8,
    line_control: u8,
    modem_control: u8,
    fifo_control: u8,
    scratch: u8,
    received: VecDeque<u8>,
    sender: VecDeque<u8>,
    overrun: bool,
    timed_out: bool,
    sender_empty: bool,
    line_was_high: bool,
    edge: bool,
    wire: Vec<u8>,
}

impl Chip {
    pub(crate) fn absent() -> Self {
        Self { absent: true, ..Self::default() }
    }

    pub(crate) fn divisor(&self) -> u16 {
        self.divisor
    }

    pub(crate) fn line_control(&self) -> u8 {
        self.line_control
    }

    pub(crate) fn fifo_on(&self) -> bool {
        self.fifo_control & 1 != 0
    }

    pub(crate) fn interrupts_reach_the_controller(&self) -> bool {
        self.modem_control & 8 != 0 && self.enable == 7
    }

    /// What left the chip.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Bytes come in from the line; more than the FIFO holds overrun it.
    pub(crate) fn type_bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.received.len() < FIFO_BYTES {
                self.received.push_back(byte);
            } else {
                self.overrun = true;
            }
        }
        self.settle();
    }

    /// Four character times pass without a byte.
    pub(crate) fn time_out(&mut self) {
        self.timed_out = !self.received.is_empty();
        self.settle();
    }

    /// Shifts one byte out; false when there is none.
    pub(crate) fn step_sender(&mut self) -> bool {
        let Some(byte) = self.sender.pop_front() else { return false };
        self.wire.push(byte);
        if self.sender.is_empty() {
            self.sender_empty = true;
        }
        self.settle();
        true
    }

    pub(crate) fn edge(&self) -> bool {
        self.edge
    }

    /// The controller takes the interrupt, if an edge came.
    pub(crate) fn take_edge(&mut self) -> bool {
        std::mem::take(&mut self.edge)
    }

    fn cause(&self) -> u8 {
        let received = self.received.len() >= 8;
        match () {
            () if self.enable & 4 != 0 && self.overrun => 0x6,
            () if self.enable & 1 != 0 && received => 0x4,
            () if self.enable & 1 != 0 && self.timed_out => 0xc,
            () if self.enable & 2 != 0 && self.sender_empty => 0x2,
            () => 0x1,
        }
    }

    fn settle(&mut self) {
        let high = self.cause() != 1;
        self.edge |= high && !self.line_was_high;
        self.line_was_high = high;
    }

    fn line_status(&mut self) -> u8 {
        let status = u8::from(!self.received.is_empty())
            | (u8::from(self.overrun) << 1)
            | (u8::from(self.sender.is_empty()) * 0x60);
        self.overrun = false;
        status
    }

    fn divisor_access(&self) -> bool {
        self.line_control & 0x80 != 0
    }

    fn send(&mut self, byte: u8) {
        assert!(self.sender.len() < FIFO_BYTES, "the sender's FIFO was overfilled");
        self.sender.push_back(byte);
        self.sender_empty = false;
    }
}

impl Registers for Chip {
    fn read(&mut self, register: Register) -> u8 {
        if self.absent {
            return 0xff;
        }
        let value = match register {
            Register::Data => {
                self.timed_out &= self.received.len() > 1;
                self.received.pop_front().unwrap_or(0)
            }
            Register::InterruptEnable => self.enable,
            Register::InterruptIdOrFifoControl => {
                let cause = self.cause();
                self.sender_empty &= cause != 2;
                0xc0 | cause
            }
            Register::LineControl => self.line_control,
            Register::ModemControl => self.modem_control,
            Register::LineStatus => self.line_status(),
            Register::ModemStatus => 0xb0,
            Register::Scratch => self.scratch,
        };
        self.settle();
        value
    }

    fn write(&mut self, register: Register, value: u8) {
        match register {
            Register::Data if self.divisor_access() => {
                self.divisor = self.divisor & 0xff00 | u16::from(value);
            }
            Register::InterruptEnable if self.divisor_access() => {
                self.divisor = self.divisor & 0xff | u16::from(value) << 8;
            }
            Register::Data => self.send(value),
            Register::InterruptEnable => {
                // The data sheet: enabling the sender's interrupt raises it when the sender is
                // empty.
                self.sender_empty |= value & !self.enable & 2 != 0 && self.sender.is_empty();
                self.enable = value;
            }
            Register::InterruptIdOrFifoControl => self.fifo_control = value,
            Register::LineControl => self.line_control = value,
            Register::ModemControl => self.modem_control = value,
            Register::LineStatus | Register::ModemStatus => {}
            Register::Scratch => self.scratch = value,
        }
        self.settle();
    }
}
