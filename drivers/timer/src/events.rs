//! What the driver notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::Tally;

/// A deadline that is met later than this, in nanoseconds, is counted as late.
pub const LATE_NS: u64 = 1_000_000;

/// What the driver did, one word an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deadline was set, so many nanoseconds away.
    Armed(u64),
    /// A deadline was taken back.
    Disarmed,
    /// A deadline was met, so many nanoseconds after it.
    Met(u64),
    /// The hardware was set to interrupt after so many nanoseconds.
    Set(u64),
    /// The time for which it was set had passed meanwhile.
    Passed,
    /// It interrupted.
    Interrupt,
    /// It interrupted, and nothing was due yet.
    Early,
    /// A deadline was refused, since there is no room for it.
    Full,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Armed(ns) => write!(f, "a deadline in {} µs", ns / 1000),
            Self::Disarmed => f.write_str("a deadline was taken back"),
            Self::Met(ns) => write!(f, "a deadline was met {} µs after it", ns / 1000),
            Self::Set(ns) => write!(f, "set to interrupt in {} µs", ns / 1000),
            Self::Passed => f.write_str("set too late"),
            Self::Interrupt => f.write_str("interrupt"),
            Self::Early => f.write_str("nothing is due yet"),
            Self::Full => f.write_str("no room for another deadline"),
        }
    }
}

libd3os::counters! {
    /// How often each thing happened, since the driver started.
    pub struct Totals {
        armed: "deadlines set",
        met: "deadlines met",
        /// Late is more than [`LATE_NS`].
        late: "met more than 1 ms late",
        set: "times the hardware was set",
        early: "interrupts with nothing due",
        refused: "deadlines refused, no room",
    }
}

/// The last events, and totals that never forget.
pub type Journal = libd3os::observe::Journal<Totals>;

impl Tally for Totals {
    type Event = Event;

    fn count(&self, event: Event) {
        match event {
            Event::Armed(_) => self.armed.increment(),
            Event::Met(ns) => {
                self.met.increment();
                self.late.add((ns > LATE_NS).into());
            }
            Event::Set(_) => self.set.increment(),
            Event::Early => self.early.increment(),
            Event::Full => self.refused.increment(),
            Event::Disarmed | Event::Passed | Event::Interrupt => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_deadlines_are_counted_twice() {
        let journal = Journal::default();
        [LATE_NS, LATE_NS + 1].into_iter().for_each(|ns| journal.note(Event::Met(ns)));
        assert_eq!((journal.totals().met.get(), journal.totals().late.get()), (2, 1));
    }
}
