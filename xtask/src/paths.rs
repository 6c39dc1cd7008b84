//! Where things lie: the workspace and what the commands write below `target/d3os`.

use std::env;
use std::path::{Path, PathBuf};

/// No workspace around the current directory.
#[derive(Debug, thiserror::Error)]
#[error("no D3OS workspace here: run `cargo xtask` inside the repository")]
pub(crate) struct NoWorkspace;

/// The folders of one checkout.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    /// Finds the workspace: from where cargo says this package lies, else upwards from here.
    pub(crate) fn locate() -> Result<Self, NoWorkspace> {
        let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let here = env::current_dir().ok();
        manifest_dir
            .iter()
            .chain(here.iter())
            .find_map(|start| workspace_above(start))
            .ok_or(NoWorkspace)
    }

    /// The workspace's root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Everything that the commands write.
    pub(crate) fn out(&self) -> PathBuf {
        self.root.join("target/d3os")
    }

    /// Manifests, linker scripts and the user target's description.
    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The kernel's linker script.
    pub(crate) fn kernel_script(&self) -> PathBuf {
        self.root.join("microkernel/kernel.ld")
    }
}

fn workspace_above(start: &Path) -> Option<Paths> {
    start
        .ancestors()
        .find(|dir| dir.join("images").is_dir() && dir.join("xtask/Cargo.toml").is_file())
        .map(|dir| Paths { root: dir.to_path_buf() })
}
