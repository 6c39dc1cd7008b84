//! The serial line: bytes out, bytes in. Served by the driver `uart`.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// A serial line. It carries bytes and knows nothing of characters, lines or users.
///
/// After a restart of the driver, callers in the middle of an operation get `Restarted`: bytes
/// that it had accepted and not yet sent are lost, and so is input that it had not yet handed on.
#[crate::service(name = "uart", version = 3)]
pub trait Uart {
    /// Sends bytes, in order with other writes. Answers as soon as the driver has room for at
    /// least one of them, and tells how many of them it took, from the first on; the caller sends
    /// the rest again.
    #[deferred]
    fn write(bytes: Vec<u8>) -> Result<u32, UartError>;

    /// Takes the bytes received since the last read, in order; none if there are none. Does not
    /// wait: the driver signals `console-input` when bytes arrive.
    fn read() -> Result<Vec<u8>, UartError>;
}

/// Why the serial line refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UartError {
    /// The machine has no such line.
    Absent,
    /// There was nothing to write.
    Empty,
}

impl fmt::Display for UartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "the machine has no such serial line",
            Self::Empty => "there is nothing to write",
        })
    }
}

impl core::error::Error for UartError {}
