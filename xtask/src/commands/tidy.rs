//! `tidy`: what the house style asks for and a machine can check.

mod graph;
mod needs;
mod size;
mod source;
mod unsafety;

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::compile::{CompileError, Side};
use crate::image::pack::PackError;
use crate::process;
use crate::progress;
use crate::sysroot::SysrootError;
use crate::toolchain;
use crate::workshop::{Workshop, WorkshopError};

/// Options of `tidy`.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// A check could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TidyError {
    /// No workspace or no compiler.
    #[error(transparent)]
    Workshop(#[from] WorkshopError),
    /// No libraries for our targets.
    #[error(transparent)]
    Sysroot(#[from] SysrootError),
    /// A program does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A source file is not Rust.
    #[error("{path} is not Rust")]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        source: syn::Error,
    },
    /// A manifest cannot be compared because an image cannot be built.
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// What a check found; empty if all is well.
type Findings = Vec<String>;
type Check = fn(&Workshop) -> Result<Findings, TidyError>;

const CHECKS: [(&str, Check); 11] = [
    ("every file says its purpose", source::purpose),
    ("every member has the workspace's lints", source::lints),
    ("dependencies point one way", graph::check),
    ("unsafe code is in named modules", unsafety::check),
    ("the kernel is small", size::check),
    ("format", format),
    ("clippy for the host", clippy_host),
    ("clippy for the kernel", clippy_kernel),
    ("clippy for programs", clippy_programs),
    ("documentation", documentation),
    ("manifests grant what programs declare", needs::check),
];

impl Args {
    /// Makes every check, also after one has failed.
    pub(crate) fn run(self) -> Result<ExitCode, TidyError> {
        let workshop = Workshop::open()?;
        let mut failed = 0_u32;
        for (name, check) in CHECKS {
            let findings = check(&workshop).unwrap_or_else(|error| {
                progress::failure(&error);
                vec!["could not be checked".to_owned()]
            });
            println!("{}  {name}", if findings.is_empty() { "ok    " } else { "FAILED" });
            findings.iter().for_each(|finding| println!("        {finding}"));
            failed += u32::from(!findings.is_empty());
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn format(workshop: &Workshop) -> Result<Findings, TidyError> {
    let mut cargo = host(workshop, "fmt");
    Ok(findings(cargo.args(["--all", "--check"])))
}

fn clippy_host(workshop: &Workshop) -> Result<Findings, TidyError> {
    let mut cargo = whole(host(workshop, "clippy"));
    Ok(findings(cargo.args(["--quiet", "--all-targets", "--", "-Dwarnings"])))
}

fn clippy_kernel(workshop: &Workshop) -> Result<Findings, TidyError> {
    let mut found = Findings::new();
    for features in ["", "debug-syscalls,four-domains"] {
        let mut cargo = whole(Side::Kernel.cargo(workshop, "clippy")?);
        cargo.args(["--package", "microkernel", "--features", features, "--", "-Dwarnings"]);
        found.extend(findings(&mut cargo));
    }
    Ok(found)
}

fn clippy_programs(workshop: &Workshop) -> Result<Findings, TidyError> {
    let mut cargo = whole(Side::User.cargo(workshop, "clippy")?);
    for package in workshop.metadata.program_packages() {
        cargo.args(["--package", &package.name]);
    }
    Ok(findings(cargo.args(["--", "-Dwarnings"])))
}

/// Without incremental state, which rustc 1.95 trips over in lint levels after an edit to a trait
/// that `#[libd3os::service]` declares ("shallow_lint_levels_on").
fn whole(mut cargo: Command) -> Command {
    cargo.env("CARGO_INCREMENTAL", "0");
    cargo
}

fn documentation(workshop: &Workshop) -> Result<Findings, TidyError> {
    let mut cargo = host(workshop, "doc");
    cargo.args(["--quiet", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings");
    Ok(findings(&mut cargo))
}

fn host(workshop: &Workshop, verb: &str) -> Command {
    let mut cargo = toolchain::host_cargo();
    cargo.arg(verb).current_dir(workshop.paths.root());
    cargo
}

/// The tool prints what it finds; its line says how to see it again.
fn findings(command: &mut Command) -> Findings {
    match process::run_aside(command) {
        Ok(()) => Findings::new(),
        Err(error) => vec![error.to_string()],
    }
}
