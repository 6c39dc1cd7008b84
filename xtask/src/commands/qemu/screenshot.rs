//! `qemu --screenshot`: what the screen shows when the machine has switched itself off.
//!
//! QEMU is told to stop such a machine instead of ending, and its monitor is asked for the picture
//! then. The exit device would end QEMU before that, so the guest's status goes to a file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};

use serde_json::json;

use crate::progress;
use crate::qmp::{Monitor, QmpError};
use crate::vm::Control;
use crate::workshop::Workshop;

/// There is no picture.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScreenshotError {
    /// The monitor did not help.
    #[error(transparent)]
    Monitor(#[from] QmpError),
    /// A folder for the monitor, or the status, cannot be used.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A picture to be taken.
pub(crate) struct Screenshot {
    file: PathBuf,
    control: Control,
}

impl Screenshot {
    /// One that will be in `file`.
    ///
    /// # Errors
    /// The build folder cannot be written.
    pub(crate) fn new(workshop: &Workshop, file: &Path) -> Result<Self, ScreenshotError> {
        let folder = workshop.paths.out().join("run");
        fs::create_dir_all(&folder)
            .map_err(|source| ScreenshotError::File { path: folder.clone(), source })?;
        let place = |what: &str| folder.join(format!("{}.{what}", std::process::id()));
        let control = Control { socket: place("qmp"), verdict: place("status") };
        Ok(Self { file: file.into(), control })
    }

    /// What the machine has to be started with.
    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// Waits beside the machine, which is being started, for its end.
    pub(crate) fn begin(self) -> Shooting {
        let Self { file, control } = self;
        let socket = control.socket.clone();
        Shooting { control, thread: thread::spawn(move || shoot(&socket, &file)) }
    }
}

/// A picture that is waited for.
pub(crate) struct Shooting {
    control: Control,
    thread: JoinHandle<Result<(), QmpError>>,
}

impl Shooting {
    /// QEMU has ended: whether the picture was taken, and the status that the guest told, if it
    /// did.
    ///
    /// # Errors
    /// It was not taken.
    pub(crate) fn end(self) -> Result<Option<ExitCode>, ScreenshotError> {
        let Control { socket, verdict } = &self.control;
        let status = fs::read(verdict);
        // Left behind they only take room; QEMU may have removed its socket.
        let _left = (fs::remove_file(socket), fs::remove_file(verdict));
        // A thread that panicked has said why.
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let status =
            status.map_err(|source| ScreenshotError::File { path: verdict.clone(), source })?;
        Ok(status.first().map(|status| ExitCode::from(*status)))
    }
}

fn shoot(socket: &Path, file: &Path) -> Result<(), QmpError> {
    let mut monitor = Monitor::connect(socket)?;
    monitor.wait_for("SHUTDOWN")?;
    let taken = monitor.screenshot(file);
    monitor.execute("quit", json!({}))?;
    taken?;
    progress::step(&format!("the screen is in {}", file.display()));
    Ok(())
}
