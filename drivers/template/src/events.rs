//! What the driver notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::Tally;

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

libd3os::counters! {
    /// How often each thing happened, since the driver started.
    pub struct Totals {
        printed: "bytes printed",
        refused: "times it was out of order",
    }
}

/// The last events, and totals that never forget.
pub type Journal = libd3os::observe::Journal<Totals>;

impl Tally for Totals {
    type Event = Event;

    fn count(&self, event: Event) {
        match event {
            Event::Printed => self.printed.increment(),
            Event::OutOfOrder => self.refused.increment(),
            Event::Accepted(_) | Event::Interrupt => {}
        }
    }
}
