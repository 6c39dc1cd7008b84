//! What the driver notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::{Counter, Recorder};

/// Events that are remembered.
pub const TRACE_EVENTS: usize = 32;

/// What the driver did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// So many bytes were accepted from a program.
    Accepted(usize),
    /// A byte was handed to the printer.
    Printed,
    /// An interrupt came in.
    Interrupt,
    /// The printer says that it is out of order.
    OutOfOrder,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(bytes) => write!(f, "accepted {bytes} bytes"),
            Self::Printed => f.write_str("handed over a byte"),
            Self::Interrupt => f.write_str("interrupt"),
            Self::OutOfOrder => f.write_str("the printer is out of order"),
        }
    }
}

/// The last events, and how often things happened.
#[derive(Clone, Debug)]
pub struct Journal {
    recorder: Recorder<Event, TRACE_EVENTS>,
    printed: Counter,
    refused: Counter,
}

impl Default for Journal {
    fn default() -> Self {
        let recorder = Recorder::default();
        let printed = recorder.counter("bytes printed");
        let refused = recorder.counter("times it was out of order");
        Self { recorder, printed, refused }
    }
}

impl Journal {
    /// Notes and counts an event.
    pub fn note(&self, event: Event) {
        match event {
            Event::Printed => self.printed.increment(),
            Event::OutOfOrder => self.refused.increment(),
            Event::Accepted(_) | Event::Interrupt => {}
        }
        self.recorder.note(event);
    }

    /// Events and totals, for the server to tell.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder<Event, TRACE_EVENTS> {
        &self.recorder
    }
}
