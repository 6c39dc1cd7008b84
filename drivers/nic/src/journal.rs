//! What the engine tells of its work: counters, and a trace of small events.

use core::fmt;

use libd3os::nic::{Consumer, Fault};
use libd3os::observe::{Counter, Recorder};

use crate::card::Flaw;

/// Events that the trace remembers.
pub const TRACE_EVENTS: usize = 128;

/// What the driver did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An interrupt for which there was nothing to do.
    Spurious,
    /// One pass: frames from the card, and frames to it.
    Moved {
        /// Frames that came in.
        received: u16,
        /// Frames that the card was given to send.
        sent: u16,
    },
    /// Frames that came in and were not handed on, in one pass.
    Dropped(Reason, u16),
    /// A consumer has attached.
    Attached(Consumer),
    /// What goes to a consumer goes nowhere until it attaches anew.
    Ended(Consumer, Fault),
    /// The line went down, or up.
    Line {
        /// Whether it is up.
        up: bool,
    },
}

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its consumer is not attached, or has ended.
    NobodyAttached,
    /// Its consumer has as many buffers as it may have.
    Quota,
    /// It was no frame to begin with.
    Flawed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NobodyAttached => "nobody is attached for them",
            Self::Quota => "their consumer gives no buffers back",
            Self::Flawed => "they were flawed",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spurious => f.write_str("an interrupt without a cause"),
            Self::Moved { received, sent } => write!(f, "{received} frames in, {sent} out"),
            Self::Dropped(reason, frames) => write!(f, "{frames} frames dropped: {reason}"),
            Self::Attached(consumer) => write!(f, "{consumer} attached"),
            Self::Ended(consumer, fault) => write!(f, "{consumer} ended: {fault}"),
            Self::Line { up: true } => f.write_str("the line is up"),
            Self::Line { up: false } => f.write_str("the line is down"),
        }
    }
}

/// The trace and the counters.
#[derive(Clone)]
pub struct Journal {
    recorder: Recorder<Event, TRACE_EVENTS>,
    received: Counter,
    received_bytes: Counter,
    sent: Counter,
    sent_bytes: Counter,
    nobody: Counter,
    quota: Counter,
    flaws: [Counter; 3],
    refused: Counter,
    attached: Counter,
}

impl Default for Journal {
    fn default() -> Self {
        let recorder = Recorder::default();
        Self {
            received: recorder.counter("frames received"),
            received_bytes: recorder.counter("bytes received"),
            sent: recorder.counter("frames sent"),
            sent_bytes: recorder.counter("bytes sent"),
            nobody: recorder.counter("dropped: nobody attached"),
            quota: recorder.counter("dropped: no buffers given back"),
            flaws: [
                recorder.counter("dropped: too short"),
                recorder.counter("dropped: too long"),
                recorder.counter("dropped: damaged"),
            ],
            refused: recorder.counter("refused descriptors"),
            attached: recorder.counter("attachments"),
            recorder,
        }
    }
}

/// What one pass has done, written down once at its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pass {
    pub(crate) received: u16,
    pub(crate) received_bytes: u64,
    pub(crate) sent: u16,
    pub(crate) sent_bytes: u64,
    pub(crate) nobody: u16,
    pub(crate) quota: u16,
    pub(crate) flawed: u16,
}

impl Pass {
    /// Whether nothing was done.
    pub(crate) const fn is_empty(&self) -> bool {
        self.received | self.sent | self.nobody | self.quota | self.flawed == 0
    }
}

impl Journal {
    /// What whoever observes the driver is told from.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder<Event, TRACE_EVENTS> {
        &self.recorder
    }

    /// Notes an event.
    pub fn note(&self, event: Event) {
        self.recorder.note(event);
    }

    /// Adds to the counter of this name.
    pub(crate) fn count(&self, name: &'static str, amount: u64) {
        self.recorder.counter(name).add(amount);
    }

    pub(crate) fn attached(&self, consumer: Consumer) {
        self.attached.increment();
        self.note(Event::Attached(consumer));
    }

    pub(crate) fn flawed(&self, flaw: Flaw) {
        let [short, long, damaged] = &self.flaws;
        match flaw {
            Flaw::Short => short,
            Flaw::Long => long,
            Flaw::Damaged => damaged,
        }
        .increment();
    }

    pub(crate) fn refused(&self, descriptors: u64) {
        self.refused.add(descriptors);
    }

    pub(crate) fn passed(&self, pass: &Pass) {
        let Pass { received, sent, nobody, quota, flawed, .. } = *pass;
        if received | sent != 0 {
            self.received.add(received.into());
            self.received_bytes.add(pass.received_bytes);
            self.sent.add(sent.into());
            self.sent_bytes.add(pass.sent_bytes);
            self.note(Event::Moved { received, sent });
        }
        if nobody | quota | flawed != 0 {
            self.dropped(pass);
        }
    }

    #[cold]
    fn dropped(&self, pass: &Pass) {
        self.nobody.add(pass.nobody.into());
        self.quota.add(pass.quota.into());
        let reasons = [
            (Reason::NobodyAttached, pass.nobody),
            (Reason::Quota, pass.quota),
            (Reason::Flawed, pass.flawed),
        ];
        for (reason, frames) in reasons.into_iter().filter(|(_, frames)| *frames > 0) {
            self.note(Event::Dropped(reason, frames));
        }
    }
}
