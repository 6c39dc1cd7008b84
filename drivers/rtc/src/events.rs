//! What the driver notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::Tally;

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

libd3os::counters! {
    /// How often each thing happened, since the driver started.
    pub struct Totals {
        read: "times the clock was read",
        again: "readings given up, it was about to change",
        failed: "readings that failed",
    }
}

/// The last events, and totals that never forget.
pub type Journal = libd3os::observe::Journal<Totals>;

impl Tally for Totals {
    type Event = Event;

    fn count(&self, event: Event) {
        match event {
            Event::Read(_) => self.read.increment(),
            Event::Changing => self.again.increment(),
            Event::NotResponding | Event::PowerLost | Event::NoDate => self.failed.increment(),
        }
    }
}
