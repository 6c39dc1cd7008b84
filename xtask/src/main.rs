//! The project's commands: `cargo xtask COMMAND`, a module per command.
//!
//! [`commands`] holds what a person types; the modules beside it are the workshop that the
//! commands share: finding tools, building for the two targets, packing images, running QEMU.

mod commands;
mod compile;
mod elf_file;
mod guest;
mod image;
mod linux;
mod metadata;
mod paths;
mod process;
mod progress;
mod qmp;
mod sysroot;
mod toolchain;
mod tools;
mod vm;
mod workshop;

use std::process::ExitCode;

use clap::Parser;

/// Builds, runs, tests, measures and checks D3OS.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(code) => code,
        Err(error) => {
            progress::failure(&error);
            ExitCode::FAILURE
        }
    }
}
