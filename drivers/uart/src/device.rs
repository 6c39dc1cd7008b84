//! The driver's logic over any [`Registers`]: sans-IO, one chip.
//!
//! Sending: [`Device::send`] queues; an idle sender is fed at once, from then on each "sender
//! empty" interrupt feeds the next [`FIFO_BYTES`] until the queue is empty. Receiving: the
//! interrupt moves bytes from the chip to the input queue; when that is full, the newest byte is
//! dropped and counted. The line towards the interrupt controller is edge-triggered on a PC, so
//! [`Device::interrupt`] leaves only when the chip says that nothing is pending: a cause left
//! behind would raise no new edge.

use alloc::vec::Vec;

use crate::events::{Event, Journal};
use crate::queue::ByteQueue;
use crate::regs::{
    Cause, DIVISOR_115200, FIFO_BYTES, FifoControl, InterruptEnable, LineControl, LineStatus,
    ModemControl, Register, Registers,
};

/// Bytes that wait for the chip at most; a writer waits when they are as many.
pub const OUTPUT_BYTES: usize = 4096;
/// Received bytes that wait for a reader at most; further ones are dropped.
pub const INPUT_BYTES: usize = 4096;

/// Causes handled in one go; a chip that reports more is stuck, and the line is armed afresh.
const CAUSES_AT_ONCE: usize = 256;

const CAUSES: InterruptEnable = InterruptEnable::RECEIVED
    .union(InterruptEnable::SENDER_EMPTY)
    .union(InterruptEnable::LINE_STATUS);

/// No chip answers at these ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoChip;

/// What an interrupt brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// Bytes came in, so readers may be told.
    pub input: bool,
    /// Bytes went out, so writers that wait may go on.
    pub room: bool,
}

/// One 16550 with its queues.
#[derive(Debug)]
pub struct Device<R> {
    registers: R,
    output: ByteQueue<OUTPUT_BYTES>,
    input: ByteQueue<INPUT_BYTES>,
    journal: Journal,
    sending: bool,
}

impl<R: Registers> Device<R> {
    /// Sets the chip up: 115,200 baud, 8N1, FIFOs on, interrupts for all that the driver handles.
    ///
    /// # Errors
    /// [`NoChip`] when the scratch register does not keep what is written to it.
    pub fn new(mut registers: R) -> Result<Self, NoChip> {
        if !answers(&mut registers) {
            return Err(NoChip);
        }
        set_up(&mut registers);
        Ok(Self {
            registers,
            output: ByteQueue::default(),
            input: ByteQueue::default(),
            journal: Journal::default(),
            sending: false,
        })
    }

    /// Queues as many of `bytes` as there is room for, starts the sender if it was idle, and
    /// tells how many were taken. Zero for a non-empty slice means: try again when
    /// [`Brought::room`] was reported.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let taken = self.output.extend(bytes);
        if taken == 0 && !bytes.is_empty() {
            self.journal.note(Event::WriterWaits);
        }
        if !self.sending {
            self.feed();
        }
        taken
    }

    /// Takes up to `limit` received bytes, oldest first.
    pub fn receive(&mut self, limit: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(limit.min(self.input.len()));
        while bytes.len() < limit
            && let Some(byte) = self.input.pop()
        {
            bytes.push(byte);
        }
        bytes
    }

    /// Handles everything that the chip reports.
    pub fn interrupt(&mut self) -> Brought {
        self.journal.note(Event::Interrupt);
        let mut brought = Brought::default();
        for handled in 0..CAUSES_AT_ONCE {
            match Cause::from_bits(self.registers.read(Register::InterruptIdOrFifoControl)) {
                Cause::None => {
                    if handled == 0 {
                        self.journal.note(Event::Spurious);
                    }
                    return brought;
                }
                Cause::Received => brought.input |= self.fetch(),
                Cause::SenderEmpty => brought.room |= self.feed(),
                Cause::LineStatus => self.line_status(),
                Cause::Modem => drop(self.registers.read(Register::ModemStatus)),
            }
        }
        self.arm_afresh();
        brought
    }

    /// What happened so far.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Gives the chip up to a FIFO's worth of bytes; without any, the sender is idle from now on.
    fn feed(&mut self) -> bool {
        let mut sent = 0;
        while usize::from(sent) < FIFO_BYTES
            && let Some(byte) = self.output.pop()
        {
            self.registers.write(Register::Data, byte);
            sent += 1;
        }
        self.sending = sent > 0;
        if self.sending {
            self.journal.note(Event::Sent(sent));
        }
        self.sending
    }

    /// Moves received bytes to the queue. Bounded, since a line that never falls silent must
    /// not keep the driver from its writers.
    fn fetch(&mut self) -> bool {
        let mut received = 0;
        for _ in 0..INPUT_BYTES {
            let status = LineStatus::from_bits_retain(self.registers.read(Register::LineStatus));
            self.note_errors(status);
            if !status.contains(LineStatus::DATA_READY) {
                break;
            }
            let byte = self.registers.read(Register::Data);
            match self.input.push(byte) {
                Ok(()) => received += 1,
                Err(_) => self.journal.note(Event::Dropped),
            }
        }
        if received > 0 {
            self.journal.note(Event::Received(received));
        }
        received > 0
    }

    fn line_status(&mut self) {
        let status = LineStatus::from_bits_retain(self.registers.read(Register::LineStatus));
        self.note_errors(status);
    }

    fn note_errors(&mut self, status: LineStatus) {
        if status.contains(LineStatus::OVERRUN) {
            self.journal.note(Event::Overrun);
        }
        let errors = status & (LineStatus::PARITY | LineStatus::FRAMING | LineStatus::BREAK);
        if !errors.is_empty() {
            self.journal.note(Event::LineError(errors.bits()));
        }
    }

    /// Closes and opens the gate: whatever is pending then raises a new edge.
    fn arm_afresh(&mut self) {
        self.registers.write(Register::InterruptEnable, 0);
        self.registers.write(Register::InterruptEnable, CAUSES.bits());
    }
}

fn answers(registers: &mut impl Registers) -> bool {
    [0x5a, 0xa5].into_iter().all(|pattern| {
        registers.write(Register::Scratch, pattern);
        registers.read(Register::Scratch) == pattern
    })
}

fn set_up(registers: &mut impl Registers) {
    let [low, high] = DIVISOR_115200.to_le_bytes();
    let fifo = FifoControl::ENABLE
        | FifoControl::CLEAR_RECEIVER
        | FifoControl::CLEAR_SENDER
        | FifoControl::TRIGGER_8;
    let modem = ModemControl::DTR | ModemControl::RTS | ModemControl::OUT2;
    let writes = [
        (Register::InterruptEnable, 0),
        (Register::LineControl, LineControl::DIVISOR_ACCESS.bits()),
        (Register::Data, low),
        (Register::InterruptEnable, high),
        (Register::LineControl, LineControl::EIGHT_BITS.bits()),
        (Register::InterruptIdOrFifoControl, fifo.bits()),
        (Register::ModemControl, modem.bits()),
        (Register::InterruptEnable, CAUSES.bits()),
    ];
    for (register, value) in writes {
        registers.write(register, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Chip;
    use proptest::prelude::*;

    fn device() -> Device<Chip> {
        Device::new(Chip::default()).expect("the model answers")
    }

    /// Runs the chip until its sender is empty, handling each edge as the process would.
    fn drain(device: &mut Device<Chip>) -> Brought {
        let mut all = Brought::default();
        while device.registers.step_sender() || device.registers.edge() {
            if device.registers.take_edge() {
                let brought = device.interrupt();
                all.room |= brought.room;
                all.input |= brought.input;
            }
        }
        all
    }

    #[test]
    fn an_absent_chip_is_found_out() {
        assert_eq!(Device::new(Chip::absent()).err(), Some(NoChip));
    }

    #[test]
    fn is_set_up_for_115200_8n1_with_interrupts() {
        let device = device();
        let chip = &device.registers;
        assert_eq!((chip.divisor(), chip.line_control()), (1, 3));
        assert!(chip.fifo_on() && chip.interrupts_reach_the_controller());
    }

    #[test]
    fn a_long_text_leaves_whole_and_in_order() {
        let mut device = device();
        let text: Vec<u8> = (0..3000u32).map(|n| u8::try_from(n % 251).expect("small")).collect();
        assert_eq!(device.send(&text), 3000);
        assert!(drain(&mut device).room);
        assert_eq!(device.registers.wire(), text);
        assert_eq!(device.journal.totals().sent.get(), 3000);
        assert_eq!(device.send(b"!"), 1);
        drain(&mut device);
        assert_eq!(device.registers.wire().last(), Some(&b'!'));
    }

    #[test]
    fn a_full_output_queue_takes_nothing_until_room_is_reported() {
        let mut device = device();
        let flood = vec![b'x'; OUTPUT_BYTES + FIFO_BYTES];
        assert_eq!(device.send(&flood), OUTPUT_BYTES);
        assert_eq!(device.send(&flood[OUTPUT_BYTES..]), FIFO_BYTES);
        assert_eq!(device.send(b"y"), 0);
        assert_eq!(device.journal.totals().waits.get(), 1);
        assert!(drain(&mut device).room);
        assert_eq!(device.send(b"y"), 1);
    }

    #[test]
    fn input_arrives_by_interrupt_and_the_flood_is_dropped_and_counted() {
        let mut device = device();
        for _ in 0..INPUT_BYTES / 8 + 1 {
            device.registers.type_bytes(b"12345678");
            if device.registers.take_edge() {
                device.interrupt();
            }
        }
        let totals = device.journal.totals();
        assert_eq!((totals.received.get(), totals.dropped.get()), (4096, 8));
        assert_eq!(device.receive(5), b"12345");
        assert_eq!(device.receive(usize::MAX).len(), INPUT_BYTES - 5);
        assert!(device.receive(1).is_empty());
    }

    #[test]
    fn an_overrun_in_the_chip_is_traced() {
        let mut device = device();
        device.registers.type_bytes(b"more than sixteen bytes at once");
        assert!(device.registers.take_edge());
        assert!(device.interrupt().input);
        assert_eq!(device.receive(99), b"more than sixtee");
        let totals = device.journal.totals();
        assert_eq!((totals.overruns.get(), totals.line_errors.get()), (1, 0));
        let events = device.journal.recorder().recent(0);
        assert!(events.into_iter().any(|(_, event)| event == Event::Overrun));
    }

    #[test]
    fn an_interrupt_without_cause_is_counted() {
        let mut device = device();
        drain(&mut device);
        assert_eq!(device.interrupt(), Brought::default());
        assert_eq!(device.journal.totals().spurious.get(), 1);
    }

    proptest! {
        #[test]
        fn no_order_of_events_loses_or_doubles_a_byte(steps in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..9)), 0..80)) {
            let mut device = device();
            let (mut written, mut typed, mut read) = (Vec::new(), Vec::new(), Vec::new());
            for (kind, bytes) in steps {
                match kind {
                    0 => { let n = device.send(&bytes); written.extend(&bytes[..n]); }
                    1 => { device.registers.type_bytes(&bytes); typed.extend(&bytes); }
                    2 => { device.registers.step_sender(); }
                    _ => read.extend(device.receive(bytes.len())),
                }
                if device.registers.take_edge() {
                    device.interrupt();
                }
            }
            device.registers.time_out();
            if device.registers.take_edge() {
                device.interrupt();
            }
            drain(&mut device);
            read.extend(device.receive(usize::MAX));
            prop_assert_eq!(device.registers.wire(), &written[..]);
            prop_assert_eq!(read, typed);
        }
    }
}
