//! What the driver notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::Tally;
use libd3os::service::share::Errno;

use crate::wire::Malformed;

/// What the driver did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The host was asked for something, by the protocol's number.
    Asked(u8),
    /// So many bytes of a file came.
    Read(u32),
    /// It took so many bytes for a file.
    Wrote(u32),
    /// It refused.
    Refused(Errno),
    /// It answered what is no answer.
    Malformed(Malformed),
    /// A program's operation has come to its end.
    Done,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(kind) => write!(f, "asked the host: {}", name(*kind)),
            Self::Read(bytes) => write!(f, "{bytes} bytes of a file came"),
            Self::Wrote(bytes) => write!(f, "the host took {bytes} bytes of a file"),
            Self::Refused(errno) => write!(f, "the host refused: {errno}"),
            Self::Malformed(malformed) => write!(f, "the host broke the protocol: {malformed}"),
            Self::Done => f.write_str("an operation has ended"),
        }
    }
}

/// The protocol's name of a request.
fn name(kind: u8) -> &'static str {
    match kind {
        12 => "Tlopen",
        14 => "Tlcreate",
        24 => "Tgetattr",
        40 => "Treaddir",
        50 => "Tfsync",
        72 => "Tmkdir",
        76 => "Tunlinkat",
        100 => "Tversion",
        104 => "Tattach",
        110 => "Twalk",
        116 => "Tread",
        118 => "Twrite",
        120 => "Tclunk",
        _ => "?",
    }
}

libd3os::counters! {
    /// How often each thing happened, since the driver started.
    pub struct Totals {
        operations: "operations",
        asked: "requests to the host",
        read: "bytes read",
        written: "bytes written",
        refused: "refused by the host",
        malformed: "broken answers",
    }
}

/// The last events, and totals that never forget.
pub type Journal = libd3os::observe::Journal<Totals>;

impl Tally for Totals {
    type Event = Event;

    fn count(&self, event: Event) {
        match event {
            Event::Asked(_) => self.asked.increment(),
            Event::Read(bytes) => self.read.add(bytes.into()),
            Event::Wrote(bytes) => self.written.add(bytes.into()),
            Event::Refused(_) => self.refused.increment(),
            Event::Malformed(_) => self.malformed.increment(),
            Event::Done => self.operations.increment(),
        }
    }
}
