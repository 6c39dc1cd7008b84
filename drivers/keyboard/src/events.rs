//! What the driver notes and counts of what it does, for whoever observes it.
//!
//! Scan codes are not among it: a trace that everybody may read must not tell what was typed.

use core::fmt;

use libd3os::observe::Tally;

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

libd3os::counters! {
    /// How often each thing happened, since the driver started.
    pub struct Totals {
        fetched: "scan codes",
        foreign: "bytes not the keyboard's",
        unknown: "unknown scan codes",
        dropped: "keys dropped, nobody reads",
        spurious: "interrupts without a cause",
    }
}

/// The last events, and totals that never forget.
pub type Journal = libd3os::observe::Journal<Totals>;

impl Tally for Totals {
    type Event = Event;

    fn count(&self, event: Event) {
        match event {
            Event::Fetched(codes) => self.fetched.add(codes.into()),
            Event::Foreign => self.foreign.increment(),
            Event::Unknown => self.unknown.increment(),
            Event::Dropped => self.dropped.increment(),
            Event::Spurious => self.spurious.increment(),
            Event::Interrupt | Event::Layout => {}
        }
    }
}
