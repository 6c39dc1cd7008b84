//! The interface: a document first. Client and dispatch are made from it.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A number that all callers share. It begins at 0 when the server starts; callers get `Restarted`
/// when that happens in the midst of their call.
#[libd3os::service(name = "counter", version = 1)]
pub trait Counter {
    /// Adds to the number and tells the sum.
    fn add(amount: u64) -> Result<u64, CounterError>;

    /// Tells the number.
    #[retryable]
    fn value() -> Result<u64, CounterError>;

    /// Waits until the number is at least `limit`, and tells it.
    #[deferred]
    #[retryable]
    fn reached(limit: u64) -> Result<u64, CounterError>;
}

/// Why the counter refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CounterError {
    /// The sum would not fit; the number is as it was.
    Overflow,
    /// As many callers wait already as there can be.
    TooManyWait,
}

impl fmt::Display for CounterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overflow => "the number would become too large",
            Self::TooManyWait => "too many programs wait for the counter",
        })
    }
}

impl core::error::Error for CounterError {}
