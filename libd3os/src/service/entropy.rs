//! Random bytes that nobody can guess. Served by the driver `entropy`.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// Most bytes of one answer.
pub const MOST_BYTES: u32 = 512;

/// Random bytes for keys, sequence numbers and identifiers: the output of a generator that is seeded
/// from the hardware and mixes in more of it as it goes on. What it has given out cannot be computed
/// from what it holds later.
#[crate::service(name = "entropy", version = 1)]
pub trait Entropy {
    /// So many random bytes, [`MOST_BYTES`] at most. While no hardware has given enough to seed the
    /// generator, an error and never a byte.
    #[retryable]
    fn fill(bytes: u32) -> Result<Vec<u8>, EntropyError>;

    /// Where the randomness comes from.
    #[retryable]
    fn sources() -> Result<Vec<SourceReport>, EntropyError>;
}

/// A piece of hardware that gives random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// The processor's `RDSEED` instruction.
    RdSeed,
    /// The processor's `RDRAND` instruction.
    RdRand,
    /// The entropy device of an emulated machine.
    VirtioRng,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RdSeed => "RDSEED",
            Self::RdRand => "RDRAND",
            Self::VirtioRng => "virtio-rng",
        })
    }
}

/// How a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Which.
    pub source: Source,
    /// Its state.
    pub health: Health,
    /// Bytes that it has given.
    pub bytes: u64,
}

/// Whether a source can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Health {
    /// The machine does not have it.
    Absent,
    /// It gives bits, and they pass the tests.
    Good,
    /// It has given bits that no sound source gives, and is not used any more.
    Failed,
    /// It gives no bits at present.
    Silent,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Absent => "absent",
            Self::Good => "good",
            Self::Failed => "failed its tests",
            Self::Silent => "gives nothing",
        })
    }
}

/// Why there are no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntropyError {
    /// No source has given enough yet to seed the generator, or none is there.
    NotSeeded,
    /// More than [`MOST_BYTES`] were asked for.
    TooMany,
}

impl fmt::Display for EntropyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSeeded => "no hardware has given enough randomness",
            Self::TooMany => "more random bytes than one answer holds",
        })
    }
}

impl core::error::Error for EntropyError {}
