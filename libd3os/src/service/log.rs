//! The log: what programs have to say about themselves. Served by `init`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// The system's log: a ring of the latest records of all programs.
///
/// When it is full, the oldest record is dropped; a reader is told how many it missed. Init
/// keeps the log, so that it outlives every program that writes to it.
#[crate::service(name = "log", version = 1)]
pub trait Log {
    /// Adds a record in the caller's name. A target or message that is too long is cut.
    fn append(level: Level, target: String, message: String) -> Result<(), LogError>;

    /// Reads records from number `from` on, as many as fit in a message. Numbers count up from 0
    /// and are never reused.
    #[retryable]
    fn read(from: u64) -> Result<LogPage, LogError>;
}

/// How important a record is, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Level {
    /// Something failed.
    Error = 1,
    /// Something looks wrong and was dealt with.
    Warn = 2,
    /// What an operator wants to know.
    Info = 3,
    /// What a developer wants to know.
    Debug = 4,
    /// Every step.
    Trace = 5,
}

impl Level {
    /// Every level, the most important first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Its name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level of this name, or `None`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<::log::Level> for Level {
    fn from(level: ::log::Level) -> Self {
        match level {
            ::log::Level::Error => Self::Error,
            ::log::Level::Warn => Self::Warn,
            ::log::Level::Info => Self::Info,
            ::log::Level::Debug => Self::Debug,
            ::log::Level::Trace => Self::Trace,
        }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its number.
    pub seq: u64,
    /// Microseconds since the machine started.
    pub time_us: u64,
    /// The program that wrote it.
    pub program: String,
    /// How important it is.
    pub level: Level,
    /// The part of the program that it comes from.
    pub target: String,
    /// What it says.
    pub message: String,
}

/// A part of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// Records in order.
    pub records: Vec<LogRecord>,
    /// The number to read from next; equal to the one asked for (plus `lost`) when the log has
    /// nothing newer.
    pub next: u64,
    /// Records between the number asked for and the first one that is still kept.
    pub lost: u64,
}

/// Why the log refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogError {
    /// The number asked for lies beyond the newest record's successor.
    InTheFuture,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InTheFuture => f.write_str("the log has not come that far"),
        }
    }
}

impl core::error::Error for LogError {}
