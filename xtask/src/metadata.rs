//! The workspace as cargo sees it: members, their targets and what they depend on.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::process::{self, CommandError};
use crate::toolchain;

/// `cargo metadata` gave nothing usable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MetadataError {
    /// Cargo refused: usually a broken `Cargo.toml`.
    #[error("cargo cannot read the workspace")]
    Cargo(#[from] CommandError),
    /// Cargo answered something else.
    #[error("cargo's metadata is not what was expected")]
    Format(#[from] serde_json::Error),
}

/// The part of `cargo metadata` that the commands use.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// Every member of the workspace.
    pub(crate) packages: Vec<Package>,
}

/// One member.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// The package's name.
    pub(crate) name: String,
    /// Its `Cargo.toml`.
    pub(crate) manifest_path: PathBuf,
    /// What it names in any of its dependency tables.
    pub(crate) dependencies: Vec<Dependency>,
    /// Binaries, libraries, tests.
    pub(crate) targets: Vec<Target>,
}

/// One line of a dependency table.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The package depended on.
    pub(crate) name: String,
    /// `dev`, `build`, or none for an ordinary one.
    pub(crate) kind: Option<String>,
}

/// One thing that cargo builds of a package.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: String,
    kind: Vec<String>,
}

impl Metadata {
    /// Asks cargo about the workspace at `root`.
    pub(crate) fn read(root: &Path) -> Result<Self, MetadataError> {
        let mut cargo = toolchain::host_cargo();
        cargo.args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(root);
        Ok(serde_json::from_str(&process::output(&mut cargo)?)?)
    }

    /// The member of this name.
    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// The members that have programs: binaries that link against the userland library, which the
    /// kernel and this tool's own binary do not.
    pub(crate) fn program_packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.programs().next().is_some())
    }

    /// Names of all programs. Most packages have one, of the package's own name.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &str> {
        self.packages.iter().flat_map(Package::programs)
    }

    /// The package that has this program.
    pub(crate) fn package_of(&self, program: &str) -> Option<&str> {
        let mut packages = self.packages.iter();
        let package = packages.find(|package| package.programs().any(|name| name == program))?;
        Some(&package.name)
    }
}

impl Package {
    /// The package's folder.
    pub(crate) fn dir(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("/"))
    }

    fn programs(&self) -> impl Iterator<Item = &str> {
        let is_binary = |target: &&Target| target.kind.iter().any(|kind| kind == "bin");
        let links_userland = self.dependencies.iter().any(|other| other.name == "libd3os");
        // The tools use the library, too, and run on the host, or on Linux.
        let is_tool =
            self.dir().components().any(|part| part.as_os_str() == env!("CARGO_PKG_NAME"));
        let has_programs = links_userland && !is_tool;
        let binaries = self.targets.iter().filter(is_binary).filter(move |_| has_programs);
        binaries.map(|target| target.name.as_str())
    }
}
