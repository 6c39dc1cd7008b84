//! Deadlines: being woken at a time. Served by the driver `timer`.
//!
//! What time it is, a program reads itself ([`crate::time`]); deadlines are in the same nanoseconds
//! since the machine's start.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

/// Wakes its clients at times that they choose, once for each deadline, never before it.
///
/// A signal says no more than "look at the clock": when the driver starts, it signals every
/// notification that it has, since a predecessor may have taken deadlines with it. So a client that
/// is signalled does what is due by its own clock, and arms its next deadline anew; then it misses
/// nothing, whatever is restarted.
#[crate::service(name = "timer", version = 1)]
pub trait Timer {
    /// Signals the notification `signal` when the machine has been up for `deadline_ns`
    /// nanoseconds; at once where it has been already. Takes the place of the deadline that the
    /// caller had for this signal. The signals are those that the driver's manifest entry names.
    #[retryable]
    fn arm(signal: String, deadline_ns: u64) -> Result<(), TimerError>;

    /// Takes the caller's deadline for this signal back; without one, does nothing. A signal may be
    /// on its way.
    #[retryable]
    fn disarm(signal: String) -> Result<(), TimerError>;

    /// Answers when the machine has been up for `deadline_ns` nanoseconds.
    #[deferred]
    #[retryable]
    fn wait(deadline_ns: u64) -> Result<(), TimerError>;

    /// The hardware that wakes.
    #[retryable]
    fn hardware() -> Result<String, TimerError>;
}

/// Why the timer refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimerError {
    /// The driver's manifest entry names no such signal.
    NoSuchSignal(String),
    /// There are as many deadlines as there can be.
    Full,
}

impl fmt::Display for TimerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchSignal(name) => write!(f, "the timer does not signal `{name}`"),
            Self::Full => f.write_str("the timer has no room for another deadline"),
        }
    }
}

impl core::error::Error for TimerError {}
