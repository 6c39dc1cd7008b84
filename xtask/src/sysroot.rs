//! `core`, `alloc` and `compiler_builtins` for our targets, built once and kept.
//!
//! `-Zbuild-std` in every build would cost half a minute of compiling whenever flags change and
//! leaves `core` unoptimised in debug builds. Built once by a crate without contents, the
//! libraries serve as an ordinary sysroot. Its name is a hash of everything that they depend on.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use crate::process::{self as run, CommandError};
use crate::progress;
use crate::toolchain::Toolchain;

/// The libraries that our code links.
const LIBRARIES: [&str; 3] = ["core", "alloc", "compiler_builtins"];

/// Compiled with thin LTO so that the objects carry the bitcode that an LTO build wants.
const SEED_MANIFEST: &str = "[package]\nname = \"seed\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
    [workspace]\n[profile.release]\npanic = \"abort\"\nlto = \"thin\"\ndebug = \"line-tables-only\"\n";
const SEED_SOURCE: &str = "#![no_std]\n";

/// The libraries could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SysrootError {
    /// A file could not be read or written.
    #[error("cannot write {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Cargo failed.
    #[error("building core and alloc from source failed")]
    Build(#[from] CommandError),
    /// The build did not leave exactly one such library.
    #[error("{folder} does not hold one build of the library {library}")]
    Library {
        /// The library.
        library: &'static str,
        /// Where it should be.
        folder: PathBuf,
    },
}

/// A target and the flags with which everything for it is compiled.
pub(crate) struct TargetSpec {
    /// A built-in target's name, or the path of a description.
    pub(crate) target: String,
    /// What rustc calls it: the description's file name without the ending.
    pub(crate) name: String,
    /// Code generation flags.
    pub(crate) flags: Vec<String>,
}

impl TargetSpec {
    /// Tells cargo to build for it, linking against the libraries in `sysroot` if given.
    pub(crate) fn apply(&self, cargo: &mut std::process::Command, sysroot: Option<&Path>) {
        let mut flags = self.flags.clone();
        if let Some(sysroot) = sysroot {
            flags.push(format!("--sysroot={}", sysroot.display()));
        }
        cargo.args(["--target", &self.target, "-Zjson-target-spec"]);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    }

    fn key(&self, toolchain: &Toolchain) -> Result<String, SysrootError> {
        let mut hasher = DefaultHasher::new();
        (toolchain.identity(), &self.name, &self.flags, SEED_MANIFEST).hash(&mut hasher);
        if self.target.ends_with(".json") {
            let path = PathBuf::from(&self.target);
            let text =
                fs::read_to_string(&path).map_err(|source| SysrootError::Io { path, source })?;
            text.hash(&mut hasher);
        }
        Ok(format!("{}-{:016x}", self.name, hasher.finish()))
    }
}

/// Returns the folder for `--sysroot`, building its libraries if they are not there yet.
pub(crate) fn ensure(
    toolchain: &Toolchain,
    spec: &TargetSpec,
    cache: &Path,
) -> Result<PathBuf, SysrootError> {
    let key = spec.key(toolchain)?;
    let sysroot = cache.join(&key);
    if sysroot.is_dir() {
        return Ok(sysroot);
    }
    progress::step(&format!("building core and alloc for {} (once per compiler)", spec.name));
    let seed = cache.join(format!("{key}.seed"));
    build_seed(toolchain, spec, &seed)?;
    collect(&seed, spec, cache, &sysroot)?;
    remove(&seed)?;
    Ok(sysroot)
}

fn build_seed(toolchain: &Toolchain, spec: &TargetSpec, seed: &Path) -> Result<(), SysrootError> {
    write(&seed.join("Cargo.toml"), SEED_MANIFEST)?;
    write(&seed.join("src/lib.rs"), SEED_SOURCE)?;
    let mut cargo = toolchain.cargo();
    cargo.args(["build", "--quiet", "--release", "-Zbuild-std=core,alloc,compiler_builtins"]);
    cargo.args(["-Zbuild-std-features=compiler-builtins-mem", "--target-dir"]);
    cargo.arg(seed.join("target")).current_dir(seed);
    spec.apply(&mut cargo, None);
    Ok(run::run_aside(&mut cargo)?)
}

/// Copies the libraries beside their final place and moves them there in one step, so that an
/// interrupted or a concurrent build never leaves half a sysroot.
fn collect(
    seed: &Path,
    spec: &TargetSpec,
    cache: &Path,
    sysroot: &Path,
) -> Result<(), SysrootError> {
    let built = seed.join("target").join(&spec.name).join("release/deps");
    let fresh = cache.join(format!("{}.{}", spec.name, process::id()));
    let folder = fresh.join("lib/rustlib").join(&spec.name).join("lib");
    create(&folder)?;
    for library in LIBRARIES {
        let from = find_library(&built, library)?;
        let to = folder.join(from.file_name().unwrap_or_default());
        fs::copy(&from, &to).map_err(|source| SysrootError::Io { path: to, source })?;
    }
    match fs::rename(&fresh, sysroot) {
        Ok(()) => Ok(()),
        // Another build was faster; its result is the same.
        Err(_) if sysroot.is_dir() => remove(&fresh),
        Err(source) => Err(SysrootError::Io { path: sysroot.into(), source }),
    }
}

fn find_library(folder: &Path, library: &'static str) -> Result<PathBuf, SysrootError> {
    let missing = || SysrootError::Library { library, folder: folder.into() };
    let prefix = format!("lib{library}-");
    let entries = fs::read_dir(folder).map_err(|_| missing())?;
    let mut found = entries.flatten().map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&prefix) && name.ends_with(".rlib")
    });
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        _ => Err(missing()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), SysrootError> {
    create(path.parent().unwrap_or(path))?;
    fs::write(path, text).map_err(|source| SysrootError::Io { path: path.into(), source })
}

fn create(folder: &Path) -> Result<(), SysrootError> {
    fs::create_dir_all(folder).map_err(|source| SysrootError::Io { path: folder.into(), source })
}

fn remove(folder: &Path) -> Result<(), SysrootError> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(SysrootError::Io { path: folder.into(), source })
        }
        _ => Ok(()),
    }
}
