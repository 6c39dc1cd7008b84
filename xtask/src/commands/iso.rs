//! `iso`: a hybrid image that starts on BIOS and UEFI machines, from CD or USB stick.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use super::build::{self, BuildError};
use crate::compile::Profile;
use crate::process::{self, CommandError};
use crate::progress;
use crate::tools::{self, Tool, ToolError};
use crate::workshop::{Workshop, WorkshopError};

/// What `grub-mkrescue` needs to make both halves of the image.
const TOOLS: [Tool; 5] =
    [Tool::GrubMkrescue, Tool::GrubBios, Tool::GrubEfi, Tool::Xorriso, Tool::Mtools];

/// Options of `iso`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image: a file images/NAME.toml.
    #[arg(long, value_name = "NAME", default_value = build::DEFAULT_IMAGE)]
    image: String,
}

/// No ISO image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IsoError {
    /// No workspace or no compiler.
    #[error(transparent)]
    Workshop(#[from] WorkshopError),
    /// Nothing to put into it.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A tool is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// GRUB failed.
    #[error("cannot write the ISO image")]
    Grub(#[from] CommandError),
    /// A file could not be copied.
    #[error("cannot write {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Args {
    /// Builds the image and prints its path.
    pub(crate) fn run(self) -> Result<ExitCode, IsoError> {
        let workshop = Workshop::open()?;
        let kernel = build::kernel(&workshop, Profile::Release)?;
        let module = build::image(&workshop, &self.image)?;
        let iso = workshop.paths.out().join("d3os.iso");
        write(&workshop, &kernel, &module, &iso)?;
        println!("{}", iso.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes an ISO image that boots `kernel` with `module`.
pub(crate) fn write(
    workshop: &Workshop,
    kernel: &Path,
    module: &Path,
    iso: &Path,
) -> Result<(), IsoError> {
    tools::ensure_all(&TOOLS)?;
    let grub = tools::ensure(Tool::GrubMkrescue)?;
    progress::step("writing the ISO image");
    let tree = Tree::create(iso)?;
    tree.add(kernel, "boot/kernel.elf")?;
    tree.add(module, "boot/init.elf")?;
    tree.add(&workshop.paths.images().join("grub.cfg"), "boot/grub/grub.cfg")?;
    let mut mkrescue = Command::new(grub);
    // Fonts, translations and themes of GRUB's would double the image.
    mkrescue.args(["--fonts=", "--locales=", "--themes=", "-o"]).arg(iso).arg(&tree.0);
    process::run_silent(&mut mkrescue).map_err(|(error, said)| {
        eprint!("{said}");
        IsoError::Grub(error)
    })
}

/// The folder that becomes the image; removed when dropped.
struct Tree(PathBuf);

impl Tree {
    fn create(iso: &Path) -> Result<Self, IsoError> {
        let folder = iso.with_extension(format!("{}.tree", std::process::id()));
        let made = fs::create_dir_all(folder.join("boot/grub"));
        made.map_err(|source| IsoError::Io { path: folder.clone(), source })?;
        Ok(Self(folder))
    }

    fn add(&self, file: &Path, name: &str) -> Result<(), IsoError> {
        let to = self.0.join(name);
        fs::copy(file, &to).map(drop).map_err(|source| IsoError::Io { path: to, source })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Left behind it only takes room.
        let _left = fs::remove_dir_all(&self.0);
    }
}
