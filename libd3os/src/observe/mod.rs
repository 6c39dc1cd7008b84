//! Observing: what every server tells of itself, in the same way.
//!
//! A server keeps a [`Recorder`]: named [`Counter`]s and its last events; mostly as a [`Journal`],
//! whose events count themselves. It hands a clone to [`crate::server::Server::observe`], and from then on the server's loop answers two operations
//! that no interface declares, on every service, over endpoints and rings alike:
//!
//! | method | arguments | answer |
//! |---|---|---|
//! | [`COUNTERS_METHOD`] | `(from: u32,)` | [`Page`] of [`Count`]s: the library's, then the recorder's |
//! | [`TRACE_METHOD`] | `(from: u64,)` | [`TracePage`]: the recorder's events from that number on |
//!
//! Both answer at once, may be repeated after a restart, and are not counted as requests.
//! [`ObserveClient`] calls them. Method numbers from [`RESERVED_METHODS`] on are the library's:
//! [`macro@crate::service`] numbers operations from 0 and refuses interfaces that would reach them.
//! A server that hands in no recorder tells the library's counters and no events.
//!
//! Whoever may call a service may observe it; there is no right to the one without the other.
//!
//! ```text
//! let recorder = Recorder::<Event, 64>::default();
//! let sent = recorder.counter("bytes sent");
//! let mut server = Server::serving("uart")?;
//! server.observe(&recorder);
//! …
//! sent.add(16);
//! recorder.note(Event::Sent(16));
//! ```
//!
//! Counting is an addition and noting a store into a ring; words are made only when somebody asks.

mod client;
mod journal;
mod recorder;
mod totals;
mod watch;

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::service::Page;

pub use client::ObserveClient;
pub use journal::{JOURNAL_EVENTS, Journal, Tally, Totals};
pub use recorder::{Counter, Observable, Recorder};
pub use totals::{events, names};
pub(crate) use totals::{note_call, note_interrupt};
pub use watch::Watch;

/// The first method number that no interface's operation has.
pub const RESERVED_METHODS: u16 = 0xff00;
/// Number of the operation that tells the counters.
pub const COUNTERS_METHOD: u16 = RESERVED_METHODS;
/// Number of the operation that tells the last events.
pub const TRACE_METHOD: u16 = RESERVED_METHODS + 1;

/// Whether a method is the library's and not an interface's.
#[must_use]
pub const fn is_reserved(method: u16) -> bool {
    method >= RESERVED_METHODS
}

/// How often something has happened, or how much of it, since the server's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What is counted, in words.
    pub name: String,
    /// How much of it there was.
    pub value: u64,
}

impl Count {
    /// So much of this.
    #[must_use]
    pub fn new(name: &str, value: u64) -> Self {
        Self { name: name.into(), value }
    }
}

/// Something that a server has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// When, in microseconds since the machine's start.
    pub at_us: u64,
    /// What, in words.
    pub what: String,
}

/// A part of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracePage {
    /// Number of the first event of this part; events count from 0 at the server's start. Where
    /// there are none, the number that the next event will have.
    pub first: u64,
    /// The events, oldest first; none at the end of the trace.
    pub events: Vec<Happening>,
}

impl TracePage {
    /// Where the next part begins.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

/// A part of the counters.
pub(crate) type CountPage = Page<Count>;
