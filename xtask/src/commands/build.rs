//! `build`: the kernel at `target/d3os/kernel.elf`, an image as boot module beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use libd3os::image::BootConfig;

use crate::compile::{self, CompileError, Layout, Profile};
use crate::elf_file::{ElfError, symbols};
use crate::image::pack::{Image, PackError};
use crate::progress;
use crate::workshop::{Workshop, WorkshopError};

/// Options of `build`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image: a file images/NAME.toml.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_IMAGE)]
    image: String,
    /// Build the kernel with checks, debug information and the Debug* system calls.
    #[arg(long)]
    debug: bool,
    /// Build the kernel only.
    #[arg(long)]
    kernel_only: bool,
    /// Build this package as a root task instead of an image.
    #[arg(long, value_name = "PACKAGE", conflicts_with = "image")]
    root_task: Option<String>,
}

/// The image that a command uses unless told otherwise.
pub(crate) const DEFAULT_IMAGE: &str = "default";

/// Something was not built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// The kernel's functions cannot be told.
    #[error("the kernel's symbols")]
    Symbols(#[from] ElfError),
    /// No workspace or no compiler.
    #[error(transparent)]
    Workshop(#[from] WorkshopError),
    /// Something does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// No image.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A file could not be read or written.
    #[error("cannot access {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Args {
    /// Builds and prints the paths of what was built.
    pub(crate) fn run(self) -> Result<ExitCode, BuildError> {
        let workshop = Workshop::open()?;
        let profile = if self.debug { Profile::Debug } else { Profile::Release };
        println!("{}", kernel(&workshop, profile)?.display());
        if self.kernel_only {
            return Ok(ExitCode::SUCCESS);
        }
        let module = match &self.root_task {
            Some(package) => root_task(&workshop, package)?,
            None => image(&workshop, &self.image)?,
        };
        println!("{}", module.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Builds the kernel with the table of its functions; returns the file that QEMU and GRUB load.
pub(crate) fn kernel(workshop: &Workshop, profile: Profile) -> Result<PathBuf, BuildError> {
    progress::step("building the kernel");
    let linked = compile::kernel(workshop, profile)?;
    let mut file = fs::read(&linked).map_err(|source| BuildError::Io { path: linked, source })?;
    symbols::embed(&mut file)?;
    let path = workshop.paths.out().join("kernel.elf");
    write(&path, &file)?;
    Ok(path)
}

/// Builds the image NAME for an ordinary session; returns its boot module.
pub(crate) fn image(workshop: &Workshop, name: &str) -> Result<PathBuf, BuildError> {
    let module = compiled_image(workshop, name)?.boot_module(&BootConfig::default())?;
    let path = workshop.paths.out().join(match name {
        DEFAULT_IMAGE => "init.elf".to_owned(),
        other => format!("init-{other}.elf"),
    });
    write(&path, &module)?;
    Ok(path)
}

/// Compiles the programs of an image and checks its manifest.
pub(crate) fn compiled_image(workshop: &Workshop, name: &str) -> Result<Image, BuildError> {
    progress::step(&format!("building the image `{name}`"));
    Ok(Image::build(workshop, name)?)
}

/// Builds a package as the only program of a machine; returns its ELF file.
pub(crate) fn root_task(workshop: &Workshop, package: &str) -> Result<PathBuf, BuildError> {
    progress::step(&format!("building the root task `{package}`"));
    Ok(compile::program(workshop, package, Layout::User)?)
}

/// Writes a file in one step: who reads it meanwhile sees the old one or the new one.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let fresh = path.with_extension(format!("{}.new", process::id()));
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&fresh, bytes))
        .and_then(|()| fs::rename(&fresh, path));
    written.map_err(|source| BuildError::Io { path: path.into(), source })
}
