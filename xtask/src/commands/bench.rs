//! `bench`: figures in executed instructions, which do not depend on the host's speed or load,
//! and of rings and persistent objects in nanoseconds, side by side with others.

mod boot;
mod counting;
mod io;
mod kernel;
mod long;
mod plugin;
mod pmem;
mod ring;
mod witness;

use std::path::PathBuf;
use std::process::ExitCode;

use super::build::BuildError;
use crate::elf_file::ElfError;
use crate::linux::LinuxError;
use crate::process::CommandError;
use crate::tools::ToolError;
use crate::vm::PmemError;
use crate::workshop::WorkshopError;

/// What can be measured.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Executed instructions from the kernel's first to the shell's prompt, split by phase.
    Boot(boot::Args),
    /// Executed instructions of the kernel's operations, beside seL4's, and of its longest stretches.
    Kernel(kernel::Args),
    /// Executed instructions of network traffic, beside a Linux guest.
    Io(io::Args),
    /// Nanoseconds per message between two threads of this host, beside other queues.
    Ring(ring::Args),
    /// Nanoseconds of persistent objects on this host, beside other stores.
    Pmem(pmem::Args),
}

/// Nothing was measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// No workspace or no compiler.
    #[error(transparent)]
    Workshop(#[from] WorkshopError),
    /// Nothing to boot.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// No QEMU.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The plugin does not compile.
    #[error("the counting plugin does not compile")]
    Plugin(#[source] CommandError),
    /// QEMU did not start, or did not say which version it is.
    #[error(transparent)]
    Qemu(#[from] CommandError),
    /// QEMU's version is not understood.
    #[error("cannot tell QEMU's version from {0:?}")]
    QemuVersion(String),
    /// The kernel's file does not say where it is entered.
    #[error("the kernel has no PVH entry")]
    NoEntry,
    /// The kernel's file does not say where it asks for interrupts.
    #[error("the kernel has no function `{0}`")]
    NoPoll(&'static str),
    /// The kernel's file cannot be read.
    #[error("the kernel's ELF file")]
    Kernel(#[from] ElfError),
    /// The machine did not come to its last mark.
    #[error("the last mark was not reached within {0} s")]
    NotReached(u64),
    /// The root task gave up before this operation, or in it.
    #[error("`{0}` was not measured: the root task gave up")]
    NotMeasured(&'static str),
    /// The report lacks a phase: a mark is missing in the guest.
    #[error("the boot passed no mark of phase {0}")]
    NoMark(u32),
    /// The machine gets no NVDIMM.
    #[error(transparent)]
    Pmem(#[from] PmemError),
    /// There is no Linux to measure.
    #[error("no Linux guest")]
    Linux(#[from] LinuxError),
    /// A guest does not answer.
    #[error("the guest ({guest}) does not answer")]
    Network {
        /// Which.
        guest: String,
        /// What happened.
        source: std::io::Error,
    },
    /// The benchmark of rings did not print figures.
    #[error("the benchmark of rings printed no figures but {0:?}")]
    RingFigures(String),
    /// What measures stores printed something else, or not all figures.
    #[error("not the figures of a store: {0:?}")]
    StoreFigures(String),
    /// A file could not be read or written.
    #[error("cannot access {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The result is not JSON.
    #[error("cannot write the result")]
    Json(#[from] serde_json::Error),
}

impl Args {
    /// Measures and prints.
    pub(crate) fn run(self) -> Result<ExitCode, BenchError> {
        match self.what {
            What::Boot(args) => args.run(),
            What::Kernel(args) => args.run(),
            What::Io(args) => args.run(),
            What::Ring(args) => args.run(),
            What::Pmem(args) => args.run(),
        }
    }
}
