//! What can go wrong while the system comes up or a program is made, in words.

use alloc::string::String;
use core::fmt;

use init::elf::ElfError;
use init::grants::GrantError;
use init::memory::PlanError;
use libd3os::cap;
use libd3os::image::ArchiveError;
use libd3os::memory::MemoryError;
use libd3os::server::ServerError;
use libd3os::service::supervisor::StartFailure;
use libd3os::start::StartInfoError;

/// Something that should have succeeded: a kernel call, or taking memory that was counted before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    /// What init was doing, as a gerund.
    pub(super) doing: &'static str,
    /// What went wrong.
    pub(super) error: MemoryError,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.error)
    }
}

impl From<Refused> for StartFailure {
    fn from(Refused { doing, error }: Refused) -> Self {
        Self::Refused { step: doing.into(), error }
    }
}

/// Says what init was doing when something failed.
pub(super) trait Doing<T> {
    /// Adds what init was doing.
    fn doing(self, doing: &'static str) -> Result<T, Refused>;
}

impl<T, E: Into<MemoryError>> Doing<T> for Result<T, E> {
    fn doing(self, doing: &'static str) -> Result<T, Refused> {
        self.map_err(|error| Refused { doing, error: error.into() })
    }
}

/// What is wrong with one program of the image.
#[derive(Debug)]
pub(super) enum Unfit {
    /// Its file.
    Elf(ElfError),
    /// Its sizes.
    Plan(PlanError),
    /// Its capabilities.
    Grants(GrantError),
    /// Its start information.
    StartInfo(StartInfoError),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elf(error) => error.fmt(f),
            Self::Plan(error) => error.fmt(f),
            Self::Grants(error) => error.fmt(f),
            Self::StartInfo(error) => error.fmt(f),
        }
    }
}

/// Why the system cannot come up.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The boot archive is not one, or damaged.
    Archive(ArchiveError),
    /// A program of the image cannot be.
    Program(String, Unfit),
    /// Less memory than the image's programs take, in bytes.
    Memory {
        /// What they take.
        needed: u64,
        /// What there is.
        available: u64,
    },
    /// Init cannot serve.
    Server(ServerError),
    /// Hardware that the manifest names could not be had.
    Resource(String, cap::Error),
    /// The other cores cannot be met.
    Board(&'static str),
    /// Something failed that should not.
    Refused(Refused),
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(error) => error.fmt(f),
            Self::Program(name, unfit) => write!(f, "program `{name}` cannot run: {unfit}"),
            Self::Memory { needed, available } => write!(
                f,
                "not enough memory: the programs of this image need {} KiB, the kernel left {} KiB",
                needed.div_ceil(1024),
                available / 1024
            ),
            Self::Server(error) => error.fmt(f),
            Self::Resource(name, error) => write!(f, "resource `{name}` is not to be had: {error}"),
            Self::Board(why) => f.write_str(why),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}
