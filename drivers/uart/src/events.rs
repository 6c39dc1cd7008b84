//! What the driver notes and counts of what it does, for whoever observes it.
//!
//! Interrupts are noted here and counted by the library, as every driver's are.

use core::fmt;

use libd3os::observe::{Counter, Recorder};

/// Events that are remembered.
pub const TRACE_EVENTS: usize = 64;

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

/// How often each thing happened, since the driver started.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Bytes given to the chip.
    pub sent: Counter,
    /// Bytes received and queued.
    pub received: Counter,
    /// Received bytes dropped since nobody fetched them from the queue in time.
    pub dropped: Counter,
    /// Times that the chip lost bytes.
    pub overruns: Counter,
    /// Parity and framing errors and breaks.
    pub line_errors: Counter,
    /// Interrupts without a cause.
    pub spurious: Counter,
    /// Times that a writer had to wait for room.
    pub waits: Counter,
}

/// The last events, and totals that never forget.
#[derive(Clone, Debug)]
pub struct Journal {
    recorder: Recorder<Event, TRACE_EVENTS>,
    totals: Totals,
}

impl Default for Journal {
    fn default() -> Self {
        let recorder = Recorder::default();
        let totals = Totals {
            sent: recorder.counter("bytes sent"),
            received: recorder.counter("bytes received"),
            dropped: recorder.counter("bytes dropped, nobody read"),
            overruns: recorder.counter("overruns of the chip"),
            line_errors: recorder.counter("line errors"),
            spurious: recorder.counter("interrupts without a cause"),
            waits: recorder.counter("waits for room"),
        };
        Self { recorder, totals }
    }
}

impl Journal {
    /// Notes and counts an event.
    pub fn note(&self, event: Event) {
        let totals = &self.totals;
        match event {
            Event::Interrupt => {}
            Event::Spurious => totals.spurious.increment(),
            Event::Received(bytes) => totals.received.add(bytes.into()),
            Event::Sent(bytes) => totals.sent.add(bytes.into()),
            Event::Dropped => totals.dropped.increment(),
            Event::Overrun => totals.overruns.increment(),
            Event::LineError(_) => totals.line_errors.increment(),
            Event::WriterWaits => totals.waits.increment(),
        }
        self.recorder.note(event);
    }

    /// How often each thing happened.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Events and totals, for the server to tell.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder<Event, TRACE_EVENTS> {
        &self.recorder
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
