//! What the driver notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::{Counter, Recorder};

/// Events that are remembered.
pub const TRACE_EVENTS: usize = 32;

/// What the driver did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It read the clock: so many seconds since the beginning of 1970.
    Read(u64),
    /// The clock was about to change, and was read again.
    Changing,
    /// The clock did not stand still long enough to be read.
    NotResponding,
    /// The clock says that it has lost the time.
    PowerLost,
    /// What it said is no date.
    NoDate,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(seconds) => write!(f, "the clock says {seconds}"),
            Self::Changing => f.write_str("the clock was about to change"),
            Self::NotResponding => f.write_str("the clock does not respond"),
            Self::PowerLost => f.write_str("the clock has lost the time"),
            Self::NoDate => f.write_str("what the clock says is no date"),
        }
    }
}

/// The last events, and how often things happened.
#[derive(Clone, Debug)]
pub struct Journal {
    recorder: Recorder<Event, TRACE_EVENTS>,
    read: Counter,
    again: Counter,
    failed: Counter,
}

impl Default for Journal {
    fn default() -> Self {
        let recorder = Recorder::default();
        let read = recorder.counter("times the clock was read");
        let again = recorder.counter("readings given up, it was about to change");
        let failed = recorder.counter("readings that failed");
        Self { recorder, read, again, failed }
    }
}

impl Journal {
    /// Notes and counts an event.
    pub fn note(&self, event: Event) {
        match event {
            Event::Read(_) => self.read.increment(),
            Event::Changing => self.again.increment(),
            Event::NotResponding | Event::PowerLost | Event::NoDate => self.failed.increment(),
        }
        self.recorder.note(event);
    }

    /// Events and totals, for the server to tell.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder<Event, TRACE_EVENTS> {
        &self.recorder
    }
}
