//! What the driver notes and counts of what it does, for whoever observes it.
//!
//! Scan codes are not among it: a trace that everybody may read must not tell what was typed.

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
    /// So many scan codes were fetched.
    Fetched(u16),
    /// A byte from a mouse, or a garbled one, was thrown away.
    Foreign,
    /// A scan code that no key has.
    Unknown,
    /// A key found the queue full and was dropped.
    Dropped,
    /// Another layout was chosen.
    Layout,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupt => f.write_str("interrupt"),
            Self::Spurious => f.write_str("interrupt without a cause"),
            Self::Fetched(codes) => write!(f, "fetched {codes} scan codes"),
            Self::Foreign => f.write_str("threw a byte away that is not the keyboard's"),
            Self::Unknown => f.write_str("a scan code that no key has"),
            Self::Dropped => f.write_str("dropped a key, nobody reads"),
            Self::Layout => f.write_str("another layout was chosen"),
        }
    }
}

/// How often each thing happened, since the driver started.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Scan codes fetched.
    pub fetched: Counter,
    /// Bytes that were not the keyboard's.
    pub foreign: Counter,
    /// Scan codes that no key has.
    pub unknown: Counter,
    /// Keys dropped since nobody read the earlier ones.
    pub dropped: Counter,
    /// Interrupts without a cause.
    pub spurious: Counter,
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
            fetched: recorder.counter("scan codes"),
            foreign: recorder.counter("bytes not the keyboard's"),
            unknown: recorder.counter("unknown scan codes"),
            dropped: recorder.counter("keys dropped, nobody reads"),
            spurious: recorder.counter("interrupts without a cause"),
        };
        Self { recorder, totals }
    }
}

impl Journal {
    /// Notes and counts an event.
    pub fn note(&self, event: Event) {
        let totals = &self.totals;
        match event {
            Event::Fetched(codes) => totals.fetched.add(codes.into()),
            Event::Foreign => totals.foreign.increment(),
            Event::Unknown => totals.unknown.increment(),
            Event::Dropped => totals.dropped.increment(),
            Event::Spurious => totals.spurious.increment(),
            Event::Interrupt | Event::Layout => {}
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
