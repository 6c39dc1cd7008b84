//! The serial line: bytes out, bytes in. Served by the driver `uart`.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::trace::TracePage;

/// A serial line. It carries bytes and knows nothing of characters, lines or users.
///
/// After a restart of the driver, callers in the middle of an operation get `Restarted`: bytes
/// that it had accepted and not yet sent are lost, and so is input that it had not yet handed on.
#[crate::service(name = "uart", version = 1)]
pub trait Uart {
    /// Sends bytes, in order with other writes. Answers as soon as the driver has room for at
    /// least one of them, and tells how many of them it took, from the first on; the caller sends
    /// the rest again.
    #[deferred]
    fn write(bytes: Vec<u8>) -> Result<u32, UartError>;

    /// Takes the bytes received since the last read, in order; none if there are none. Does not
    /// wait: the driver signals `console-input` when bytes arrive.
    fn read() -> Result<Vec<u8>, UartError>;

    /// What the driver has counted since it started.
    #[retryable]
    fn counters() -> Result<UartCounters, UartError>;

    /// What the driver did last, from event number `from` on.
    #[retryable]
    fn trace(from: u64) -> Result<TracePage, UartError>;
}

/// What the driver of a serial line has counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UartCounters {
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Received bytes dropped because nobody had read the earlier ones.
    pub dropped: u64,
    /// Times the device lost input because the driver was late.
    pub overruns: u64,
    /// Received bytes with a parity or framing error, or breaks.
    pub line_errors: u64,
    /// Interrupts.
    pub interrupts: u64,
}

/// Why the serial line refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UartError {
    /// The device does not respond.
    NotResponding,
    /// There was nothing to write.
    Empty,
}

impl fmt::Display for UartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotResponding => "the serial device does not respond",
            Self::Empty => "there is nothing to write",
        })
    }
}

impl core::error::Error for UartError {}
