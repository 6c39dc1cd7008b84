//! The interface: a document first. Client and dispatch are made from it.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// A line to a printer. After a restart of the driver, bytes that it had accepted and not yet handed
/// over are lost.
#[libd3os::service(name = "printer", version = 1)]
pub trait Printer {
    /// Hands bytes to the printer, in order with other writes: takes as many of them as there is
    /// room for, from the first on, and tells how many. The caller sends the rest again.
    fn write(bytes: Vec<u8>) -> Result<u32, PrinterError>;
}

/// Why the driver refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrinterError {
    /// The printer says that it is out of order, out of paper, or switched off.
    OutOfOrder,
    /// There is no room for a single byte: the printer is slow.
    Full,
}

impl fmt::Display for PrinterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfOrder => "the printer is out of order",
            Self::Full => "the printer has to catch up first",
        })
    }
}

impl core::error::Error for PrinterError {}
