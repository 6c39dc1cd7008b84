//! What the driver notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::{Counter, Recorder};
use libd3os::service::nvdimm::NvdimmError;

use crate::medium::Unreachable;

/// Events that are remembered.
pub const TRACE_EVENTS: usize = 64;

/// What the driver did, by the number of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// So many bytes were read.
    Read(u16, usize),
    /// So many bytes were written and have arrived.
    Wrote(u16, usize),
    /// A write was refused, since what is written may be lost.
    Unarmed(u16),
    /// A call asked for what is not there.
    Outside(u16),
    /// Init did not map what a call was about.
    Unreachable(u16),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(range, bytes) => write!(f, "read {bytes} bytes of range {range}"),
            Self::Wrote(range, bytes) => write!(f, "wrote {bytes} bytes of range {range}"),
            Self::Unarmed(range) => write!(f, "refused to write to range {range}, not armed"),
            Self::Unreachable(range) => write!(f, "a part of range {range} was not mapped"),
            Self::Outside(range) => write!(f, "refused what is not in range {range}"),
        }
    }
}

/// The last events, and how often things happened.
#[derive(Clone, Debug)]
pub struct Journal {
    recorder: Recorder<Event, TRACE_EVENTS>,
    read: Counter,
    written: Counter,
    refused: Counter,
}

impl Default for Journal {
    fn default() -> Self {
        let recorder = Recorder::default();
        let read = recorder.counter("bytes read");
        let written = recorder.counter("bytes written");
        let refused = recorder.counter("calls refused");
        Self { recorder, read, written, refused }
    }
}

impl Journal {
    /// Notes and counts an event.
    pub fn note(&self, event: Event) {
        match event {
            Event::Read(_, bytes) => self.read.add(bytes as u64),
            Event::Wrote(_, bytes) => self.written.add(bytes as u64),
            Event::Unarmed(_) | Event::Outside(_) | Event::Unreachable(_) => {
                self.refused.increment()
            }
        }
        self.recorder.note(event);
    }

    /// Notes that memory was not mapped, and puts it into the caller's words.
    pub fn unreachable(&self, range: u16, _: Unreachable) -> NvdimmError {
        self.note(Event::Unreachable(range));
        NvdimmError::Unreachable
    }

    /// Events and totals, for the server to tell.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder<Event, TRACE_EVENTS> {
        &self.recorder
    }
}
