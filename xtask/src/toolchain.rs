//! A compiler together with the sources of its standard library.
//!
//! Kernel and programs need `core` and `alloc` for targets that an installed Rust does not hold,
//! so both are built from source (see [`crate::sysroot`]). The sources come from rustup's
//! `rust-src` for the toolchain in use or, where there is no rustup or it may not download, from
//! Debian's packages, which bring a compiler of their own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, CommandError};
use crate::progress;
use crate::tools::{self, Tool, ToolError};

/// Debian's compiler with sources and clippy.
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"];

/// Variables of cargo's that describe the user's network and terminal, not the package that is
/// being built: the only ones that a nested cargo keeps.
const KEPT_CARGO_VARIABLES: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTR",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
    "CARGO_BUILD_JOBS",
];

/// No usable compiler.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolchainError {
    /// Neither rustup's sources nor Debian's.
    #[error(
        "no library sources for `core`: run `rustup component add rust-src`, \
         or `sudo apt-get install rustc-web cargo-web rust-web-src lld`"
    )]
    NoSources,
    /// The compiler does not say what it is.
    #[error("the compiler does not work")]
    Compiler(#[from] CommandError),
    /// No linker for bare machines.
    #[error("no linker")]
    Linker(#[from] ToolError),
}

/// A compiler, its cargo, and the linker for targets without an operating system.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    rustc: PathBuf,
    cargo: PathBuf,
    linker: PathBuf,
    identity: String,
}

impl Toolchain {
    /// Finds a compiler with library sources, installing the sources if need be.
    pub(crate) fn find() -> Result<Self, ToolchainError> {
        let (rustc, cargo) = with_sources()?;
        let identity = process::output(clean(Command::new(&rustc).arg("-vV")))?;
        let linker = linker(&rustc)?;
        Ok(Self { rustc, cargo, linker, identity })
    }

    /// What `rustc -vV` says: changes whenever the compiler does.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// The linker that takes linker scripts for ELF.
    pub(crate) fn linker(&self) -> &Path {
        &self.linker
    }

    /// A cargo that builds for our own targets, free of what the outer cargo set.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        clean(&mut command).env("RUSTC", &self.rustc).env("RUSTC_BOOTSTRAP", "1");
        command
    }
}

/// A cargo that builds for the host with the user's own toolchain.
pub(crate) fn host_cargo() -> Command {
    let mut command = Command::new("cargo");
    let target_dir = env::var_os("CARGO_TARGET_DIR");
    clean(&mut command).envs(target_dir.map(|dir| ("CARGO_TARGET_DIR", dir)));
    command
}

/// Takes away what `cargo run` sets for us and would mislead a nested cargo: packages would be
/// rebuilt at every call, or built by another toolchain or with the host's flags.
fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let cargo = name == "CARGO" || name.starts_with("CARGO_");
        let kept = KEPT_CARGO_VARIABLES.iter().any(|prefix| name.starts_with(prefix));
        let rust = matches!(name, "RUSTUP_TOOLCHAIN" | "RUSTFLAGS" | "RUSTDOCFLAGS" | "RUSTC");
        if rust || (cargo && !kept) {
            command.env_remove(name);
        }
    }
    command
}

fn with_sources() -> Result<(PathBuf, PathBuf), ToolchainError> {
    let default = (PathBuf::from("rustc"), PathBuf::from("cargo"));
    if has_sources(&default.0) || (add_rust_src() && has_sources(&default.0)) {
        return Ok(default);
    }
    let debian = (PathBuf::from("/usr/bin/rustc"), PathBuf::from("/usr/bin/cargo"));
    if has_sources(&debian.0) || (add_debian_toolchain() && has_sources(&debian.0)) {
        return Ok(debian);
    }
    Err(ToolchainError::NoSources)
}

fn has_sources(rustc: &Path) -> bool {
    sysroot_of(rustc)
        .is_ok_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file())
}

fn sysroot_of(rustc: &Path) -> Result<PathBuf, CommandError> {
    let mut command = Command::new(rustc);
    let printed = process::output(clean(&mut command).args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(printed.trim_end()))
}

fn add_rust_src() -> bool {
    if tools::in_path("rustup").is_none() {
        return false;
    }
    progress::step("library sources are missing: running `rustup component add rust-src`");
    let mut rustup = Command::new("rustup");
    process::run_aside(clean(&mut rustup).args(["component", "add", "rust-src"])).is_ok()
}

fn add_debian_toolchain() -> bool {
    match tools::install_packages("a compiler with library sources", &DEBIAN_PACKAGES) {
        Ok(()) => true,
        Err(error) => {
            progress::failure(&error);
            false
        }
    }
}

/// The toolchain's own linker if it brings one, else the system's.
fn linker(rustc: &Path) -> Result<PathBuf, ToolchainError> {
    let host = "lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld";
    let own = sysroot_of(rustc)?.join(host);
    match own.is_file() {
        true => Ok(own),
        false => Ok(tools::ensure(Tool::Lld)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nested_cargo_forgets_the_outer_package() {
        // `cargo test` itself sets CARGO_PKG_NAME and friends for this process.
        assert!(env::var_os("CARGO_PKG_NAME").is_some());
        let mut command = Command::new("cargo");
        clean(&mut command);
        let removed = |name: &str| command.get_envs().any(|(n, v)| n == name && v.is_none());
        assert!(removed("CARGO_PKG_NAME"));
        assert!(removed("CARGO_MANIFEST_DIR"));
        assert!(!removed("CARGO_HOME"));
    }
}
