//! A person at the machine's screen: presses keys by QEMU's monitor, and reads the screen off its
//! picture.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::lab::Lab;
use super::picture::Picture;
use super::{Failure, Outcome, unexpected};
use crate::qmp::Monitor;
use crate::vm::Machine;

/// Real time for anything that is waited for. Emulation on a loaded host is slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at the screen, which tells nobody when it changes.
const PAUSE: Duration = Duration::from_millis(300);

/// The way to a machine's screen and keyboard.
pub(crate) struct Sight {
    monitor: Monitor,
    picture: PathBuf,
}

impl Sight {
    /// Has the machine started so that [`Self::of`] finds it by this name.
    pub(crate) fn prepare(lab: &Lab<'_>, name: &str, machine: &mut Machine) {
        let socket = lab.place(&format!("{name}.qmp"));
        machine.extra.push("-qmp".into());
        machine.extra.push(format!("unix:{},server=on,wait=off", socket.display()).into());
    }

    /// The screen of a machine that was just started.
    pub(crate) fn of(lab: &Lab<'_>, name: &str) -> Result<Self, Failure> {
        let monitor = Monitor::connect(&lab.place(&format!("{name}.qmp")))?;
        Ok(Self { monitor, picture: lab.place(&format!("{name}.ppm")) })
    }

    /// Presses keys together, by QEMU's names for them.
    pub(crate) fn press(&mut self, keys: &[&str]) -> Outcome {
        let keys: Vec<_> = keys.iter().map(|key| json!({ "type": "qcode", "data": key })).collect();
        self.monitor.execute("send-key", json!({ "keys": keys }))?;
        Ok(())
    }

    /// Types small letters, digits, blanks, `-` and `.` on an American keyboard, and Enter at the
    /// end.
    pub(crate) fn enter(&mut self, line: &str) -> Outcome {
        for character in line.chars() {
            match character {
                ' ' => self.press(&["spc"])?,
                '-' => self.press(&["minus"])?,
                '.' => self.press(&["dot"])?,
                other => self.press(&[&other.to_string()])?,
            }
        }
        self.press(&["ret"])
    }

    /// What the screen shows.
    pub(crate) fn look(&mut self) -> Result<Picture, Failure> {
        self.monitor.execute("screendump", json!({ "filename": self.picture }))?;
        let picture = fs::read(&self.picture).ok().as_deref().and_then(Picture::parse);
        picture.ok_or_else(|| unexpected("no picture", &self.picture.display().to_string()))
    }

    /// Waits until the text on the screen is so, and tells it.
    pub(crate) fn wait(
        &mut self,
        what: &str,
        is: impl Fn(&str) -> bool,
    ) -> Result<String, Failure> {
        Ok(self.wait_for_picture(what, |picture| is(&picture.text()))?.text())
    }

    /// Waits until the screen looks so, and tells how.
    pub(crate) fn wait_for_picture(
        &mut self,
        what: &str,
        is: impl Fn(&Picture) -> bool,
    ) -> Result<Picture, Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            let picture = self.look()?;
            if is(&picture) {
                return Ok(picture);
            }
            if Instant::now() >= end {
                let what = format!("waited in vain for {what} on the screen");
                return Err(unexpected(what, &picture.text()));
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Whether a line of the text is this.
pub(crate) fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|shown| shown == line)
}
