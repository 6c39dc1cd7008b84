//! What the server notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::{Counter, Recorder};

/// Events that are remembered.
pub const TRACE_EVENTS: usize = 32;

/// What the server did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// So much was added.
    Added(u64),
    /// A caller waits until the number is this.
    Waits(u64),
    /// A caller that waited was answered.
    Reached(u64),
    /// A caller was refused.
    Refused,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(amount) => write!(f, "added {amount}"),
            Self::Waits(limit) => write!(f, "a program waits for {limit}"),
            Self::Reached(limit) => write!(f, "{limit} was reached"),
            Self::Refused => f.write_str("refused a program"),
        }
    }
}

/// The last events, and how often things happened.
#[derive(Clone, Debug)]
pub struct Journal {
    recorder: Recorder<Event, TRACE_EVENTS>,
    added: Counter,
    refused: Counter,
}

impl Default for Journal {
    fn default() -> Self {
        let recorder = Recorder::default();
        let added = recorder.counter("additions");
        let refused = recorder.counter("calls refused");
        Self { recorder, added, refused }
    }
}

impl Journal {
    /// Notes and counts an event.
    pub fn note(&self, event: Event) {
        match event {
            Event::Added(_) => self.added.increment(),
            Event::Refused => self.refused.increment(),
            Event::Waits(_) | Event::Reached(_) => {}
        }
        self.recorder.note(event);
    }

    /// Events and totals, for the server to tell.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder<Event, TRACE_EVENTS> {
        &self.recorder
    }
}
