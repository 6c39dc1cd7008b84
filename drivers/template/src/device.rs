//! The driver's logic over any [`Registers`]: sans-IO, one port.
//!
//! A byte is put on the line and the strobe says so. The printer is busy while it takes it; when it
//! is ready again, it interrupts, and gets the next.

use alloc::collections::VecDeque;

use crate::events::{Event, Journal};
use crate::interface::PrinterError;
use crate::regs::{Control, Register, Registers, Status};

/// Bytes that wait for the printer at most.
pub const QUEUE_BYTES: usize = 1024;

/// Bytes that are handed over in one go; a printer that takes more is not kept waiting by the next
/// call or interrupt.
const BYTES_AT_ONCE: usize = 64;

const IDLE: Control = Control::NO_RESET.union(Control::SELECT).union(Control::INTERRUPTS);

/// One port with its queue.
#[derive(Debug)]
pub struct Device<R> {
    registers: R,
    queue: VecDeque<u8>,
    journal: Journal,
}

impl<R: Registers> Device<R> {
    /// Selects the printer and lets the port interrupt. Nothing is assumed of what a predecessor
    /// left: a strobe that is still on ends here.
    pub fn new(mut registers: R) -> Self {
        registers.write(Register::Control, IDLE.bits());
        Self { registers, queue: VecDeque::new(), journal: Journal::default() }
    }

    /// Takes as many of `bytes` as there is room for, from the first on, and tells how many.
    ///
    /// # Errors
    /// [`PrinterError`]; nothing was taken then.
    pub fn send(&mut self, bytes: &[u8]) -> Result<usize, PrinterError> {
        if !self.is_in_order() {
            self.journal.note(Event::OutOfOrder);
            return Err(PrinterError::OutOfOrder);
        }
        let taken = bytes.len().min(QUEUE_BYTES - self.queue.len());
        if taken == 0 && !bytes.is_empty() {
            return Err(PrinterError::Full);
        }
        self.queue.extend(&bytes[..taken]);
        self.journal.note(Event::Accepted(taken));
        self.feed();
        Ok(taken)
    }

    /// The printer has taken a byte.
    pub fn interrupt(&mut self) {
        self.journal.note(Event::Interrupt);
        self.feed();
    }

    /// What was done so far.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Hands over bytes for as long as the printer takes them.
    fn feed(&mut self) {
        for _ in 0..BYTES_AT_ONCE {
            if !self.status().contains(Status::READY) {
                return;
            }
            let Some(byte) = self.queue.pop_front() else { return };
            self.registers.write(Register::Data, byte);
            self.registers.write(Register::Control, (IDLE | Control::STROBE).bits());
            self.registers.write(Register::Control, IDLE.bits());
            self.journal.note(Event::Printed);
        }
    }

    fn is_in_order(&mut self) -> bool {
        let status = self.status();
        let needed = Status::NO_ERROR | Status::SELECTED;
        status.contains(needed) && !status.contains(Status::PAPER_OUT)
    }

    fn status(&mut self) -> Status {
        Status::from_bits_retain(self.registers.read(Register::Status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Port;
    use proptest::prelude::*;

    /// Runs the printer until it has nothing to do, handling each edge as the process would.
    fn drain(device: &mut Device<Port>) {
        while device.registers.finish_byte() {
            if device.registers.take_edge() {
                device.interrupt();
            }
        }
    }

    #[test]
    fn a_printer_that_is_switched_off_takes_nothing() {
        let mut device = Device::new(Port::switched_off());
        assert_eq!(device.send(b"x"), Err(PrinterError::OutOfOrder));
        assert_eq!(device.journal().recorder().value("times it was out of order"), 1);
    }

    #[test]
    fn a_long_text_is_printed_whole_and_in_order() {
        let mut device = Device::new(Port::default());
        let text: Vec<u8> = (0..=255).cycle().take(3 * QUEUE_BYTES).collect();
        let mut rest = &text[..];
        while !rest.is_empty() {
            match device.send(rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(PrinterError::Full) => drain(&mut device),
                Err(error) => panic!("{error}"),
            }
        }
        drain(&mut device);
        assert_eq!(device.registers.paper(), text);
        assert_eq!(device.journal().recorder().value("bytes printed"), text.len() as u64);
    }

    proptest! {
        #[test]
        fn no_order_of_events_loses_or_doubles_a_byte(steps in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 0..80)) {
            let mut device = Device::new(Port::default());
            let mut sent = Vec::new();
            for step in steps {
                match step {
                    Some(bytes) => {
                        let taken = device.send(&bytes).expect("there is room");
                        sent.extend(&bytes[..taken]);
                    }
                    None => { device.registers.finish_byte(); }
                }
                if device.registers.take_edge() {
                    device.interrupt();
                }
            }
            drain(&mut device);
            prop_assert_eq!(device.registers.paper(), &sent[..]);
        }
    }
}
