//! Linux guests made of Debian's kernel package, to measure D3OS beside: a kernel, the modules of a
//! network card, and one program of ours that is the whole user space.

mod modules;
mod package;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cpio::{NewcBuilder, newc};

use crate::process::{self, CommandError};
use crate::progress;
use crate::toolchain;
use crate::workshop::Workshop;

pub(crate) use modules::ModuleError;

/// A guest could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinuxError {
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Debian's index does not say which package has the kernel.
    #[error(
        "apt knows no package behind `{0}`; on another system than Debian there is no Linux guest"
    )]
    NoPackage(&'static str),
    /// The package lacks something.
    #[error("the kernel package has no {0}")]
    Lacks(String),
    /// A module cannot be read.
    #[error("module {name}")]
    Module {
        /// Which.
        name: String,
        /// Why.
        source: ModuleError,
    },
    /// A file cannot be read or written.
    #[error("cannot access {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What QEMU boots.
pub(crate) struct Guest {
    /// The kernel.
    pub(crate) kernel: PathBuf,
    /// The initial file system, with all there is.
    pub(crate) initramfs: PathBuf,
}

/// Makes the guest whose program is `linux-peer`, with these modules and those that they need.
pub(crate) fn guest(workshop: &Workshop, modules: &[&str]) -> Result<Guest, LinuxError> {
    let package = package::unpacked(workshop)?;
    let peer = build_peer(workshop)?;
    let modules = modules::closure(&package.modules, modules)?;
    let files = directories().chain([("init".to_owned(), EXECUTABLE, read(&peer)?)]);
    let modules = modules
        .into_iter()
        .enumerate()
        .map(|(number, (name, bytes))| (format!("modules/{number:02}-{name}.ko"), PLAIN, bytes));
    let initramfs = workshop.paths.out().join("linux/initramfs.cpio");
    archive(files.chain(modules), &initramfs)
        .map_err(|source| LinuxError::Io { path: initramfs.clone(), source })?;
    Ok(Guest { kernel: package.kernel, initramfs })
}

/// Mode bits of the archive's entries.
const FOLDER: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;

/// What the guest's program is built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Name, mode and contents.
type Entry = (String, u32, Vec<u8>);

fn directories() -> impl Iterator<Item = Entry> {
    ["dev", "modules", "sys"].into_iter().map(|name| (name.to_owned(), FOLDER, Vec::new()))
}

fn archive(entries: impl Iterator<Item = Entry>, path: &Path) -> io::Result<()> {
    let inputs = entries
        .map(|(name, mode, bytes)| (NewcBuilder::new(&name).mode(mode), io::Cursor::new(bytes)));
    // The kernel opens this before the program runs.
    let console = (
        NewcBuilder::new("dev/console").mode(0o020_600).rdev_major(5).rdev_minor(1),
        io::Cursor::new(Vec::new()),
    );
    let mut file = io::BufWriter::new(fs::File::create(path)?);
    for (builder, contents) in inputs.chain([console]) {
        let bytes = contents.into_inner();
        let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut writer = builder.write(&mut file, size);
        io::Write::write_all(&mut writer, &bytes)?;
        writer.finish()?;
    }
    newc::trailer(file)?;
    Ok(())
}

/// Builds the program without anything that it would need from a system.
fn build_peer(workshop: &Workshop) -> Result<PathBuf, LinuxError> {
    progress::step("building the Linux guest");
    let target = workshop.paths.out().join("build/peer");
    let mut cargo = toolchain::host_cargo();
    cargo.args(["build", "--quiet", "--release", "--package", "linux-peer"]);
    // With a target named, what runs during the build is built without the flags.
    cargo.args(["--target", TARGET, "--target-dir"]).arg(&target);
    cargo.current_dir(workshop.paths.root()).env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    process::run_aside(&mut cargo)?;
    Ok(target.join(TARGET).join("release/linux-peer"))
}

fn read(path: &Path) -> Result<Vec<u8>, LinuxError> {
    fs::read(path).map_err(|source| LinuxError::Io { path: path.into(), source })
}
