//! What every building command has at hand: the folders, the compiler, the workspace's packages.

use crate::metadata::{Metadata, MetadataError};
use crate::paths::{NoWorkspace, Paths};
use crate::toolchain::{Toolchain, ToolchainError};

/// The workshop cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkshopError {
    /// Not inside the repository.
    #[error(transparent)]
    Workspace(#[from] NoWorkspace),
    /// No compiler for our targets.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// Cargo does not understand the workspace.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// The folders, the compiler and the packages.
pub(crate) struct Workshop {
    /// Where things lie.
    pub(crate) paths: Paths,
    /// What builds for our targets.
    pub(crate) toolchain: Toolchain,
    /// What the workspace consists of.
    pub(crate) metadata: Metadata,
}

impl Workshop {
    /// Finds everything; installs library sources if they are missing.
    pub(crate) fn open() -> Result<Self, WorkshopError> {
        let paths = Paths::locate()?;
        let toolchain = Toolchain::find()?;
        let metadata = Metadata::read(paths.root())?;
        Ok(Self { paths, toolchain, metadata })
    }
}
