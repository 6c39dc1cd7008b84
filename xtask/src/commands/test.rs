//! `test`: the three rings, each with one command, and the sum in one plain line.

mod entry;
mod host;
mod kernel;
mod system;
mod tally;

use std::process::ExitCode;

use clap::ValueEnum;

use self::system::Scope;
use self::tally::Tally;
use super::build::BuildError;
use super::iso::IsoError;
use crate::paths::NoWorkspace;
use crate::process::CommandError;
use crate::progress;
use crate::tools::ToolError;
use crate::workshop::{Workshop, WorkshopError};

/// Options of `test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this ring; without it, all three.
    #[arg(value_enum)]
    ring: Option<Ring>,
    /// Only tests whose names contain this text (rings kernel and system).
    #[arg(requires = "ring")]
    filter: Option<String>,
    /// Everything, hours of it: what is represented by a few otherwise (rings host and system).
    #[arg(long, requires = "ring")]
    all: bool,
}

/// Where tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ring {
    /// Protocols, data structures and tools under `cargo test`.
    Host,
    /// The kernel in QEMU, under a root task that tries every object.
    Kernel,
    /// Whole images in QEMU, driven through the shell.
    System,
}

/// A ring could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TestError {
    /// Not inside the repository.
    #[error(transparent)]
    Workspace(#[from] NoWorkspace),
    /// No workspace or no compiler.
    #[error(transparent)]
    Workshop(#[from] WorkshopError),
    /// Nothing to test.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// No ISO image to test.
    #[error(transparent)]
    Iso(#[from] IsoError),
    /// A tool is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A program could not be started.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl Args {
    /// Runs the rings; a ring that cannot be run counts as one failure.
    pub(crate) fn run(self) -> ExitCode {
        let rings =
            self.ring.map_or(vec![Ring::Host, Ring::Kernel, Ring::System], |ring| vec![ring]);
        let filter = self.filter.unwrap_or_default();
        let scope = if self.all { Scope::All } else { Scope::Representative };
        let mut sum = Tally::default();
        for ring in rings {
            let tally = ring.run(&filter, scope).unwrap_or_else(|error| {
                progress::failure(&error);
                Tally::failure()
            });
            progress::step(&format!("ring {ring:?}: {tally}"));
            sum += tally;
        }
        println!("{sum}");
        if sum.all_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Ring {
    fn run(self, filter: &str, scope: Scope) -> Result<Tally, TestError> {
        match self {
            Self::Host => host::run(scope),
            Self::Kernel => kernel::run(&Workshop::open()?, filter),
            Self::System => system::run(&Workshop::open()?, filter, scope),
        }
    }
}
