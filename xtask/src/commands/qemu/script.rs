//! `qemu --run`: shell lines go in with the image, their output comes out, and the exit status
//! tells how they went.
//!
//! The guest ends QEMU with a status through the exit device. Any other end is a death of the
//! guest: a kernel's panic, a reset, the end of the time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use libd3os::image::BootConfig;

use super::QemuError;
use super::screenshot::Screenshot;
use crate::commands::build::{self, BuildError};
use crate::guest::{Ending, Guest};
use crate::vm::{EXIT_PORT, Machine};
use crate::workshop::Workshop;

/// Seconds that lines may take unless told otherwise.
pub(crate) const DEFAULT_TIMEOUT: u64 = 300;

/// The guest ended without saying how its lines went.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GuestDeath {
    /// Kernel or init said that it cannot go on.
    #[error("the system died; its last words are above")]
    Dead,
    /// The machine stopped or was reset.
    #[error("the machine stopped before the lines were done")]
    Stopped,
    /// QEMU itself failed.
    #[error("QEMU failed: {0}")]
    Qemu(String),
}

/// A boot module with the lines in it; removed when dropped.
pub(crate) struct Module(PathBuf);

impl Module {
    /// Builds the image and writes the module.
    pub(crate) fn write(
        workshop: &Workshop,
        image: &str,
        lines: String,
    ) -> Result<Self, BuildError> {
        let config = BootConfig { script: Some(lines), exit_port: Some(EXIT_PORT), quiet: true };
        let bytes = build::compiled_image(workshop, image)?.boot_module(&config)?;
        let path = workshop.paths.out().join(format!("run/{}.elf", std::process::id()));
        build::write(&path, &bytes)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // Left behind it only takes room.
        let _left = fs::remove_file(&self.0);
    }
}

/// Runs the machine to its end, its serial line on standard output.
pub(crate) fn run(
    machine: &Machine,
    seconds: u64,
    screenshot: Option<Screenshot>,
) -> Result<ExitCode, QemuError> {
    let mut guest = Guest::start(machine.command()?)?;
    let shooting = screenshot.map(Screenshot::begin);
    match guest.watch(Duration::from_secs(seconds), &mut io::stdout()) {
        Ending::Over => {
            let (status, complaints) = guest.wait().map_err(QemuError::Lost)?;
            eprint!("{complaints}");
            match shooting {
                None => Ok(judge(status, &complaints)?),
                Some(shooting) => Ok(shooting.end()?.ok_or(GuestDeath::Stopped)?),
            }
        }
        Ending::Dead => {
            guest.end().map_err(QemuError::Lost)?;
            Err(GuestDeath::Dead.into())
        }
        Ending::TimeOver => {
            guest.end().map_err(QemuError::Lost)?;
            Err(QemuError::Timeout(seconds))
        }
    }
}

/// What QEMU's exit means: the exit device turns status `n` into `2n + 1`.
pub(crate) fn judge(status: ExitStatus, complaints: &str) -> Result<ExitCode, GuestDeath> {
    let is_error = |line: &&str| line.contains("qemu") && !line.contains("warning:");
    match (status.code(), complaints.lines().find(is_error)) {
        // QEMU's own failures end with 1 too, which is the exit device's "all is well".
        (Some(1), Some(line)) => Err(GuestDeath::Qemu(line.to_owned())),
        (Some(code), _) if code % 2 == 1 => {
            Ok(ExitCode::from(u8::try_from(code / 2).unwrap_or(u8::MAX)))
        }
        (Some(_), _) => Err(GuestDeath::Stopped),
        (None, _) => Err(GuestDeath::Qemu(status.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn exits_are_judged() {
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(judge(exit(1), ""), Ok(ExitCode::SUCCESS));
        assert_eq!(judge(exit(1), "qemu: warning: slow\n"), Ok(ExitCode::SUCCESS));
        assert_eq!(judge(exit(7), ""), Ok(ExitCode::from(3)));
        assert_eq!(judge(exit(0), ""), Err(GuestDeath::Stopped));
        let complaint = "qemu-system-x86_64: -m 5Q: invalid";
        assert_eq!(judge(exit(1), complaint), Err(GuestDeath::Qemu(complaint.into())));
        assert!(matches!(judge(ExitStatus::from_raw(9), ""), Err(GuestDeath::Qemu(_))));
    }
}
