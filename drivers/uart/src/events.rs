//! What the driver notes and counts of what it does, for whoever observes it.
//!
//! Interrupts are noted here and counted by the library, as every driver's are.

use core::fmt;

use libd3os::observe::Tally;

/// What the driver did, one word an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An interrupt came in.
    Interrupt,
    /// The interrupt had no cause.
    Spurious,
    /// So many bytes were fetched from the chip.
    Received(u16),
    /// So many bytes went to the chip.
    Sent(u16),
    /// A received byte found the queue full and was dropped.
    Dropped,
    /// The chip lost a byte, since it was not fetched in time.
    Overrun,
    /// The chip reported a parity or framing error or a break (status bits).
    LineError(u8),
    /// A writer waits for room.
    WriterWaits,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupt => f.write_str("interrupt"),
            Self::Spurious => f.write_str("interrupt without a cause"),
            Self::Received(bytes) => write!(f, "received {bytes} bytes"),
            Self::Sent(bytes) => write!(f, "sent {bytes} bytes"),
            Self::Dropped => f.write_str("dropped a byte, nobody reads"),
            Self::Overrun => f.write_str("the chip lost a byte"),
            Self::LineError(status) => write!(f, "line error, status {status:#04x}"),
            Self::WriterWaits => f.write_str("a writer waits for room"),
        }
    }
}

libd3os::counters! {
    /// How often each thing happened, since the driver started.
    pub struct Totals {
        sent: "bytes sent",
        received: "bytes received",
        dropped: "bytes dropped, nobody read",
        overruns: "overruns of the chip",
        line_errors: "line errors",
        spurious: "interrupts without a cause",
        waits: "waits for room",
    }
}

/// The last events, and totals that never forget.
pub type Journal = libd3os::observe::Journal<Totals>;

impl Tally for Totals {
    type Event = Event;

    fn count(&self, event: Event) {
        match event {
            Event::Interrupt => {}
            Event::Spurious => self.spurious.increment(),
            Event::Received(bytes) => self.received.add(bytes.into()),
            Event::Sent(bytes) => self.sent.add(bytes.into()),
            Event::Dropped => self.dropped.increment(),
            Event::Overrun => self.overruns.increment(),
            Event::LineError(_) => self.line_errors.increment(),
            Event::WriterWaits => self.waits.increment(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_counted() {
        let journal = Journal::default();
        let events = [Event::Interrupt, Event::Received(3), Event::Sent(4), Event::Sent(1)];
        events.into_iter().for_each(|event| journal.note(event));
        assert!(journal.recorder().recent(0).into_iter().eq((0..).zip(events)));
        let value = |name| journal.recorder().value(name);
        assert_eq!((value("bytes sent"), value("bytes received")), (5, 3));
        assert_eq!(journal.totals().sent.get(), 5);
    }
}
