//! What the driver notes and counts of what it does, for whoever observes it. No bytes are among it.

use core::fmt;

use libd3os::observe::{Counter, Recorder};
use libd3os::service::entropy::Source;

/// Events that are remembered.
pub const TRACE_EVENTS: usize = 32;

/// What the driver did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The generator was seeded from this source.
    Seeded(Source),
    /// A source gave nothing.
    Silent(Source),
    /// A source failed its tests and is not used any more.
    Failed(Source),
    /// So many bytes were given out.
    Gave(usize),
    /// A caller got no bytes, since nothing has seeded the generator.
    Refused,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seeded(source) => write!(f, "seeded by {source}"),
            Self::Silent(source) => write!(f, "{source} gives nothing"),
            Self::Failed(source) => write!(f, "{source} has failed its tests"),
            Self::Gave(bytes) => write!(f, "gave {bytes} bytes"),
            Self::Refused => f.write_str("gave none: not seeded"),
        }
    }
}

/// The last events, and how often things happened.
#[derive(Clone, Debug)]
pub struct Journal {
    recorder: Recorder<Event, TRACE_EVENTS>,
    given: Counter,
    /// Words taken from the sources.
    pub words: Counter,
    silent: Counter,
    refused: Counter,
}

impl Default for Journal {
    fn default() -> Self {
        let recorder = Recorder::default();
        let given = recorder.counter("bytes given");
        let words = recorder.counter("words taken from sources");
        let silent = recorder.counter("times a source gave nothing");
        let refused = recorder.counter("calls refused, not seeded");
        Self { recorder, given, words, silent, refused }
    }
}

impl Journal {
    /// Notes and counts an event.
    pub fn note(&self, event: Event) {
        match event {
            Event::Gave(bytes) => self.given.add(bytes as u64),
            Event::Silent(_) => self.silent.increment(),
            Event::Refused => self.refused.increment(),
            Event::Seeded(_) | Event::Failed(_) => {}
        }
        self.recorder.note(event);
    }

    /// Events and totals, for the server to tell.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder<Event, TRACE_EVENTS> {
        &self.recorder
    }
}
