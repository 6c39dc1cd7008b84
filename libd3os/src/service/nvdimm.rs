//! Persistent memory: its ranges, and bytes of them. Served by the driver `nvdimm`.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::Page;
use crate::device::PersistenceDomain;

/// Most bytes of one read.
pub const MOST_BYTES: u32 = 768;

/// Memory that outlives a loss of power.
///
/// Ranges are named by their place in the list, which stays the same while the machine is on. Reads
/// and writes are copies through messages, for headers and tools.
#[crate::service(name = "nvdimm", version = 1)]
pub trait Nvdimm {
    /// The ranges, from the `from`-th on.
    #[retryable]
    fn ranges(from: u32) -> Result<Page<RangeStatus>, NvdimmError>;

    /// What the platform saves when power fails; `None` where the firmware does not say, and then
    /// nothing that is still in the processors' caches.
    #[retryable]
    fn domain() -> Result<Option<PersistenceDomain>, NvdimmError>;

    /// `bytes` bytes from `offset` on, [`MOST_BYTES`] at most.
    #[retryable]
    fn read(range: u16, offset: u64, bytes: u32) -> Result<Vec<u8>, NvdimmError>;

    /// Writes bytes at `offset`. Once this is answered, they outlive a loss of power; after one in the
    /// midst, any part of each line of 64 bytes may be old. A caller that gets `Restarted` may
    /// write the same again.
    #[retryable]
    fn write(range: u16, offset: u64, bytes: Vec<u8>) -> Result<(), NvdimmError>;
}

/// A range of persistent memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeStatus {
    /// Its number in the firmware's table.
    pub index: u16,
    /// Its bytes.
    pub bytes: u64,
    /// Its proximity domain, where told.
    pub node: Option<u32>,
    /// Whether what is written outlives a loss of power. If not, nothing can be written.
    pub armed: bool,
}

/// Why the driver refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NvdimmError {
    /// There is no range of this number.
    NoSuchRange,
    /// A part of this lies outside of the range.
    Outside,
    /// More than [`MOST_BYTES`] were asked for.
    TooMany,
    /// The memory could not be mapped; of a write a part may be there.
    Unreachable,
    /// The module would lose what is written: it has failed, or has no energy in store.
    Unarmed,
}

impl fmt::Display for NvdimmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchRange => "there is no such range of persistent memory",
            Self::Outside => "the range of persistent memory is smaller",
            Self::TooMany => "more bytes than one answer holds",
            Self::Unreachable => "the memory could not be mapped",
            Self::Unarmed => "the memory is not armed: what is written would be lost",
        })
    }
}

impl core::error::Error for NvdimmError {}
