//! What the driver notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::Tally;

/// What the driver did, one word an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// So many rectangles with so many pixels were shown.
    Presented(u16, u32),
    /// Somebody wanted something shown that is not on the screen.
    Refused,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Presented(rectangles, pixels) => {
                write!(f, "showed {rectangles} rectangles, {pixels} pixels")
            }
            Self::Refused => f.write_str("refused a rectangle outside of the screen"),
        }
    }
}

libd3os::counters! {
    /// How often each thing happened, since the driver started.
    pub struct Totals {
        rectangles: "rectangles shown",
        pixels: "pixels shown",
        refused: "rectangles outside of the screen",
    }
}

/// The last events, and totals that never forget.
pub type Journal = libd3os::observe::Journal<Totals>;

impl Tally for Totals {
    type Event = Event;

    fn count(&self, event: Event) {
        match event {
            Event::Presented(rectangles, pixels) => {
                self.rectangles.add(rectangles.into());
                self.pixels.add(pixels.into());
            }
            Event::Refused => self.refused.increment(),
        }
    }
}
