//! What the driver notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::{Counter, Recorder};

/// Events that are remembered.
pub const TRACE_EVENTS: usize = 64;

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

/// The last events, and totals that never forget.
#[derive(Clone, Debug)]
pub struct Journal {
    recorder: Recorder<Event, TRACE_EVENTS>,
    rectangles: Counter,
    pixels: Counter,
    refused: Counter,
}

impl Default for Journal {
    fn default() -> Self {
        let recorder = Recorder::default();
        let rectangles = recorder.counter("rectangles shown");
        let pixels = recorder.counter("pixels shown");
        let refused = recorder.counter("rectangles outside of the screen");
        Self { recorder, rectangles, pixels, refused }
    }
}

impl Journal {
    /// Notes and counts an event.
    pub fn note(&self, event: Event) {
        match event {
            Event::Presented(rectangles, pixels) => {
                self.rectangles.add(rectangles.into());
                self.pixels.add(pixels.into());
            }
            Event::Refused => self.refused.increment(),
        }
        self.recorder.note(event);
    }

    /// Events and totals, for the server to tell.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder<Event, TRACE_EVENTS> {
        &self.recorder
    }
}
