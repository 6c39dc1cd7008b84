//! Compiling kernel and programs, each for its own target.
//!
//! Cargo is called once per binary because every binary has its own linker script; the libraries
//! below are shared in one target folder per target.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, CommandError};
use crate::sysroot::{self, SysrootError, TargetSpec};
use crate::workshop::Workshop;

/// Something did not compile.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileError {
    /// The libraries below are missing.
    #[error(transparent)]
    Sysroot(#[from] SysrootError),
    /// The linker script cannot be used.
    #[error("cannot read the linker script {path}")]
    Script {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The compiler said no.
    #[error("{package} does not compile")]
    Package {
        /// Which.
        package: String,
        /// Cargo's end.
        source: CommandError,
    },
}

impl CompileError {
    fn script(path: &Path, source: io::Error) -> Self {
        Self::Script { path: path.into(), source }
    }
}

/// What the compiler leaves in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// What ships: no checks, no debug system calls.
    Release,
    /// Assertions, overflow checks, debug information and the Debug* system calls.
    Debug,
}

/// Symbols stay for backtraces, line tables go.
const STRIPPED: &str = "profile.release.strip='debuginfo'";

/// The kernel that checks itself is optimised like the one that ships: its stack is made for
/// optimised code.
const CHECKED: [&str; 6] = [
    "--profile=checked",
    "--config=profile.checked.inherits='release'",
    "--config=profile.checked.debug-assertions=true",
    "--config=profile.checked.overflow-checks=true",
    "--config=profile.checked.debug='full'",
    "--config=profile.checked.strip='none'",
];

/// How a program's segments are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// An ordinary program.
    User,
    /// A root task with room for the boot archive.
    Init,
}

/// The two targets that we compile for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Soft float, upper half, no red zone.
    Kernel,
    /// Hard float, thread-local storage.
    User,
}

impl Side {
    /// Target and flags.
    pub(crate) fn spec(self, workshop: &Workshop) -> TargetSpec {
        let linker = format!("-Clinker={}", workshop.toolchain.linker().display());
        // Backtraces walk frame pointers: nothing in the system unwinds by tables.
        let mut flags = vec![linker, "-Cforce-frame-pointers=yes".to_owned()];
        match self {
            Self::Kernel => {
                flags.extend(
                    ["-Crelocation-model=static", "-Ccode-model=kernel"].map(str::to_owned),
                );
                TargetSpec {
                    target: "x86_64-unknown-none".into(),
                    name: "x86_64-unknown-none".into(),
                    flags,
                }
            }
            Self::User => {
                let description = workshop.paths.images().join("x86_64-d3os-none.json");
                TargetSpec {
                    target: description.display().to_string(),
                    name: "x86_64-d3os-none".into(),
                    flags,
                }
            }
        }
    }

    /// A cargo command for this side (`build`, `clippy`, `rustc`): target, libraries and target
    /// folder set, package and profile left to the caller.
    pub(crate) fn cargo(self, workshop: &Workshop, verb: &str) -> Result<Command, SysrootError> {
        let spec = self.spec(workshop);
        let cache = workshop.paths.out().join("sysroot");
        let sysroot = sysroot::ensure(&workshop.toolchain, &spec, &cache)?;
        let mut cargo = workshop.toolchain.cargo();
        cargo.arg(verb).arg("--quiet").arg("--target-dir").arg(self.target_dir(workshop));
        cargo.current_dir(workshop.paths.root());
        spec.apply(&mut cargo, Some(&sysroot));
        Ok(cargo)
    }

    fn target_dir(self, workshop: &Workshop) -> PathBuf {
        workshop.paths.out().join(match self {
            Self::Kernel => "build/kernel",
            Self::User => "build/user",
        })
    }

    fn artifact(self, workshop: &Workshop, profile: Profile, binary: &str) -> PathBuf {
        let folder = match profile {
            Profile::Release => "release",
            Profile::Debug => "checked",
        };
        self.target_dir(workshop).join(self.spec(workshop).name).join(folder).join(binary)
    }
}

/// Compiles the kernel; returns its ELF file, without the symbol table for panics.
pub(crate) fn kernel(workshop: &Workshop, profile: Profile) -> Result<PathBuf, CompileError> {
    let mut cargo = Side::Kernel.cargo(workshop, "rustc")?;
    cargo.args(["--package", "microkernel", "--bin", "microkernel"]);
    match profile {
        Profile::Release => cargo.args(["--release", "--config", STRIPPED]),
        Profile::Debug => cargo.args(CHECKED).args(["--features", "debug-syscalls,four-domains"]),
    };
    link_with(&mut cargo, workshop, &[workshop.paths.kernel_script()])?;
    build("microkernel", &mut cargo)?;
    Ok(Side::Kernel.artifact(workshop, profile, "microkernel"))
}

/// Compiles a program of whichever package; returns its ELF file.
pub(crate) fn program(
    workshop: &Workshop,
    name: &str,
    layout: Layout,
) -> Result<PathBuf, CompileError> {
    let segments = match layout {
        Layout::User => "user.ld",
        Layout::Init => "init.ld",
    };
    let scripts = [segments, "sections.ld"].map(|name| workshop.paths.images().join(name));
    let mut cargo = Side::User.cargo(workshop, "rustc")?;
    // Cargo says so where there is no such package.
    let package = workshop.metadata.package_of(name).unwrap_or(name);
    cargo.args(["--package", package, "--bin", name, "--release"]);
    cargo.args(["--config", STRIPPED]);
    link_with(&mut cargo, workshop, &scripts)?;
    build(name, &mut cargo)?;
    Ok(Side::User.artifact(workshop, Profile::Release, name))
}

fn build(package: &str, cargo: &mut Command) -> Result<(), CompileError> {
    process::run_aside(cargo)
        .map_err(|source| CompileError::Package { package: package.into(), source })
}

/// Adds the linker's arguments. Cargo does not watch linker scripts, so each state of a script
/// gets its own name: a changed script is a changed argument, and cargo links again.
fn link_with(
    cargo: &mut Command,
    workshop: &Workshop,
    scripts: &[PathBuf],
) -> Result<(), CompileError> {
    let folder = workshop.paths.out().join("build/scripts");
    fs::create_dir_all(&folder).map_err(|source| CompileError::script(&folder, source))?;
    let texts: Result<Vec<String>, CompileError> = scripts
        .iter()
        .map(|path| fs::read_to_string(path).map_err(|source| CompileError::script(path, source)))
        .collect();
    let text = texts?.concat();
    let copy = folder.join(format!("{:016x}.ld", hash(&text)));
    fs::write(&copy, text).map_err(|source| CompileError::script(&copy, source))?;
    cargo.arg("--").arg(format!("-Clink-arg=-T{}", copy.display()));
    cargo.args(["-Clink-arg=-zmax-page-size=4096", "-Clink-arg=--build-id=none"]);
    Ok(())
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
