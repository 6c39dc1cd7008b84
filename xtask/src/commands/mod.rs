//! What a person types: a module per command.

mod bench;
pub(crate) mod build;
mod iso;
mod qemu;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::Subcommand;

/// The commands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Build the kernel and an image below target/d3os.
    Build(build::Args),
    /// Boot to the shell in QEMU, or run shell lines in it.
    Qemu(qemu::Args),
    /// Write an ISO image that boots on BIOS and UEFI machines.
    Iso(iso::Args),
    /// Run the tests: on the host, the kernel in QEMU, whole images in QEMU.
    Test(test::Args),
    /// Count the instructions of a boot, or of the kernel's operations.
    Bench(bench::Args),
    /// Check format, lints, dependencies, documentation and manifests.
    Tidy(tidy::Args),
}

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandFailure {
    /// `build`.
    #[error(transparent)]
    Build(#[from] build::BuildError),
    /// `qemu`.
    #[error(transparent)]
    Qemu(#[from] qemu::QemuError),
    /// `iso`.
    #[error(transparent)]
    Iso(#[from] iso::IsoError),
    /// `bench`.
    #[error(transparent)]
    Bench(#[from] bench::BenchError),
    /// `tidy`.
    #[error(transparent)]
    Tidy(#[from] tidy::TidyError),
}

impl Command {
    /// Carries the command out.
    pub(crate) fn run(self) -> Result<ExitCode, CommandFailure> {
        Ok(match self {
            Self::Build(args) => args.run()?,
            Self::Qemu(args) => args.run()?,
            Self::Iso(args) => args.run()?,
            Self::Test(args) => args.run(),
            Self::Bench(args) => args.run()?,
            Self::Tidy(args) => args.run()?,
        })
    }
}
