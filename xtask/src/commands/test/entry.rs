//! The kernel's entry code under a debugger: what can happen at any instruction happens at each.
//!
//! The guest runs the kernel's tests of hostile registers, which use every way into the kernel and out
//! of it; QEMU's debugger interface steps through the entry code meanwhile (`walk`). Nothing in the
//! kernel helps. The number of instructions is counted from the kernel's ELF file: one that was not come
//! to is a failure. The guest's own tests count, too.

mod code;
mod debugger;
mod walk;

use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

use self::code::EntryCode;
use self::debugger::Debugger;
pub(super) use self::walk::Roots;
use self::walk::{Counts, Walk, WalkError};
use super::tally::Tally;
use crate::elf_file::ElfError;
use crate::progress;

/// The tests that the guest runs.
pub(super) const GROUP: &str = "registers";

/// The guest could not be tried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    /// The kernel's file cannot be read.
    #[error("the kernel's file")]
    File(#[from] io::Error),
    /// It is not what it should be.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// The kernel failed, or QEMU.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// Some instructions were never executed.
    #[error("{0} instructions of the entry code were never come to: {1}")]
    Missing(usize, String),
}

/// Where QEMU's debugger interface is to be.
pub(super) struct Socket(PathBuf);

impl Socket {
    pub(super) fn new() -> Self {
        Self(env::temp_dir().join(format!("d3os-entry-{}.sock", process::id())))
    }

    /// QEMU's arguments: it waits for the debugger.
    pub(super) fn arguments(&self) -> [String; 3] {
        let place = self.0.display();
        ["-S".into(), "-gdb".into(), format!("unix:{place},server=on,wait=off")]
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // QEMU removes it itself where it ends in order.
        let _gone = fs::remove_file(&self.0);
    }
}

/// Walks through the entry code of a kernel that QEMU was started with and this socket.
pub(super) fn walk(kernel: &Path, socket: &Socket, roots: Roots) -> Tally {
    match try_to_walk(kernel, socket, roots) {
        Ok((instructions, counts)) => {
            progress::note(&format!("{instructions} instructions of entry code: {counts}"));
            Tally::one(true)
        }
        Err(error) => {
            progress::failure(&error);
            Tally::failure()
        }
    }
}

fn try_to_walk(
    kernel: &Path,
    socket: &Socket,
    roots: Roots,
) -> Result<(usize, Counts), EntryError> {
    let variant = if roots == Roots::Separate { "separate" } else { "shared" };
    let code = EntryCode::read(&fs::read(kernel)?, variant)?;
    let debugger = Debugger::connect(&socket.0).map_err(WalkError::from)?;
    let (counts, missing) = Walk::new(debugger, &code, roots).run()?;
    if missing.is_empty() {
        return Ok((code.instructions().len(), counts));
    }
    let names = missing.iter().map(|address| {
        let routine = code.routine_of(*address);
        format!("{routine}+{:#x}", address - code.routine(routine))
    });
    Err(EntryError::Missing(missing.len(), names.collect::<Vec<_>>().join(" ")))
}
