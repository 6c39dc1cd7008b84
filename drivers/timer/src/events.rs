//! What the driver notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::{Counter, Recorder};

/// Events that are remembered.
pub const TRACE_EVENTS: usize = 64;

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

/// How often each thing happened, since the driver started.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Deadlines that were set.
    pub armed: Counter,
    /// Deadlines that were met.
    pub met: Counter,
    /// Those of them that were met more than [`LATE_NS`] after their time.
    pub late: Counter,
    /// Times that the hardware was set.
    pub set: Counter,
    /// Interrupts with nothing due.
    pub early: Counter,
    /// Deadlines that were refused.
    pub refused: Counter,
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
            armed: recorder.counter("deadlines set"),
            met: recorder.counter("deadlines met"),
            late: recorder.counter("met more than 1 ms late"),
            set: recorder.counter("times the hardware was set"),
            early: recorder.counter("interrupts with nothing due"),
            refused: recorder.counter("deadlines refused, no room"),
        };
        Self { recorder, totals }
    }
}

impl Journal {
    /// Notes and counts an event.
    pub fn note(&self, event: Event) {
        let totals = &self.totals;
        match event {
            Event::Armed(_) => totals.armed.increment(),
            Event::Met(ns) => {
                totals.met.increment();
                totals.late.add((ns > LATE_NS).into());
            }
            Event::Set(_) => totals.set.increment(),
            Event::Early => totals.early.increment(),
            Event::Full => totals.refused.increment(),
            Event::Disarmed | Event::Passed | Event::Interrupt => {}
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
    fn late_deadlines_are_counted_twice() {
        let journal = Journal::default();
        [LATE_NS, LATE_NS + 1].into_iter().for_each(|ns| journal.note(Event::Met(ns)));
        assert_eq!((journal.totals().met.get(), journal.totals().late.get()), (2, 1));
    }
}
