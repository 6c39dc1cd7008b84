//! What the server notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::Tally;

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

libd3os::counters! {
    /// How often each thing happened, since the server started.
    pub struct Totals {
        added: "additions",
        refused: "calls refused",
    }
}

/// The last events, and totals that never forget.
pub type Journal = libd3os::observe::Journal<Totals>;

impl Tally for Totals {
    type Event = Event;

    fn count(&self, event: Event) {
        match event {
            Event::Added(_) => self.added.increment(),
            Event::Refused => self.refused.increment(),
            Event::Waits(_) | Event::Reached(_) => {}
        }
    }
}
