//! A person at the serial line: types, reads the screen, waits for what should appear.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::pty;

use super::screen::Screen;
use crate::guest;
use crate::process::{self, CommandError};
use crate::tools::ToolError;
use crate::vm::Machine;

/// Real time for anything that is waited for. Emulation on a loaded host is slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// A session did not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// No QEMU.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// QEMU could not be started.
    #[error(transparent)]
    Start(#[from] CommandError),
    /// No pseudo-terminal.
    #[error("no pseudo-terminal")]
    Terminal(#[from] io::Error),
    /// What was waited for did not appear.
    #[error("waited in vain for {what}; the screen:\n{screen}")]
    Vain {
        /// What.
        what: String,
        /// The last rows.
        screen: String,
    },
    /// QEMU ended before that.
    #[error("the machine ended while waiting for {what}; the screen:\n{screen}")]
    Ended {
        /// What was waited for.
        what: String,
        /// The last rows.
        screen: String,
    },
}

/// A machine with a person at its serial line.
pub(crate) struct Session {
    qemu: Child,
    keyboard: File,
    output: Receiver<Vec<u8>>,
    /// What QEMU says of itself: not on the terminal, in the middle of the guest's lines.
    complaints: Receiver<Vec<u8>>,
    screen: Screen,
}

impl Session {
    /// Starts the machine.
    pub(crate) fn start(machine: &Machine) -> Result<Self, SessionError> {
        let terminal = pty::openpty(None, None).map_err(io::Error::from)?;
        let mut qemu = spawn(machine.command()?, terminal.slave)?;
        let keyboard = File::from(terminal.master);
        let output = guest::pump(Some(keyboard.try_clone()?));
        let complaints = guest::pump(qemu.stderr.take());
        Ok(Self { qemu, keyboard, output, complaints, screen: Screen::new() })
    }

    /// Starts the machine and waits for the shell's prompt.
    pub(crate) fn at_prompt(machine: &Machine) -> Result<Self, SessionError> {
        let mut session = Self::start(machine)?;
        session.prompt()?;
        Ok(session)
    }

    /// Waits for the prompt.
    pub(crate) fn prompt(&mut self) -> Result<(), SessionError> {
        self.wait("the prompt", Screen::at_prompt)
    }

    /// Presses keys.
    pub(crate) fn keys(&mut self, keys: &str) -> Result<(), SessionError> {
        Ok(self.keyboard.write_all(keys.as_bytes())?)
    }

    /// Types a text and waits until it stands after the prompt.
    pub(crate) fn edit(&mut self, keys: &str, line: &str) -> Result<(), SessionError> {
        self.keys(keys)?;
        self.wait(&format!("the line {line:?}"), |screen| screen.shows_line(line))
    }

    /// Presses Enter, waits for the next prompt and returns what was printed. The line counts as run
    /// when it stands finished above the prompt. A prompt alone says nothing: for a moment there is one
    /// while a search is accepted, in the line's own row, and while a record of the log is shown above
    /// the line, in the next.
    pub(crate) fn enter(&mut self) -> Result<String, SessionError> {
        let finished = self.screen.finished_lines();
        self.keys("\r")?;
        self.wait("the next prompt", |screen| {
            screen.at_prompt() && screen.finished_lines() > finished
        })?;
        Ok(self.screen.last_output())
    }

    /// Types a line, runs it and returns what it printed.
    pub(crate) fn run(&mut self, line: &str) -> Result<String, SessionError> {
        self.edit(line, line)?;
        self.enter()
    }

    /// Waits until this text is on the screen.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), SessionError> {
        self.wait(&format!("{text:?}"), |screen| screen.text().contains(text))
    }

    /// Waits until the screen looks so.
    pub(crate) fn wait(
        &mut self,
        what: &str,
        looks: impl Fn(&Screen) -> bool,
    ) -> Result<(), SessionError> {
        self.look(PATIENCE, looks)?.map_err(|error| self.in_vain(what, error))
    }

    /// Waits for so long at most; tells whether the screen looks so.
    pub(crate) fn within(
        &mut self,
        patience: Duration,
        looks: impl Fn(&Screen) -> bool,
    ) -> Result<bool, SessionError> {
        match self.look(patience, looks)? {
            Ok(()) => Ok(true),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(error) => Err(self.in_vain("the screen to change", error)),
        }
    }

    fn look(
        &mut self,
        patience: Duration,
        looks: impl Fn(&Screen) -> bool,
    ) -> Result<Result<(), RecvTimeoutError>, SessionError> {
        let end = Instant::now() + patience;
        while !looks(&self.screen) {
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    let answer = self.screen.show(&bytes);
                    self.keyboard.write_all(&answer)?;
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Waits until QEMU ends by itself.
    pub(crate) fn end(mut self) -> Result<(ExitStatus, String), SessionError> {
        match self.wait("the machine's end", |_| false) {
            Err(SessionError::Ended { .. }) => Ok((self.qemu.wait()?, self.screen.text())),
            Err(error) => Err(error),
            // Nothing on the screen ends this wait.
            Ok(()) => Err(self.in_vain("the machine's end", RecvTimeoutError::Timeout)),
        }
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> &Screen {
        &self.screen
    }

    fn in_vain(&self, what: &str, error: RecvTimeoutError) -> SessionError {
        let complaints: Vec<u8> = self.complaints.try_iter().flatten().collect();
        let screen = self.screen.tail() + "\n" + &String::from_utf8_lossy(&complaints);
        let what = what.to_owned();
        match error {
            RecvTimeoutError::Timeout => SessionError::Vain { what, screen },
            RecvTimeoutError::Disconnected => SessionError::Ended { what, screen },
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The machine ends with the session; one that has ended needs nothing.
        let _ended = self.qemu.kill().and_then(|()| self.qemu.wait());
    }
}

/// Starts QEMU with the terminal as its standard input and output; the only copies of the terminal's end
/// are QEMU's, so that its end is seen.
fn spawn(mut qemu: Command, terminal: OwnedFd) -> Result<Child, SessionError> {
    qemu.stdin(Stdio::from(terminal.try_clone()?));
    qemu.stdout(Stdio::from(terminal));
    qemu.stderr(Stdio::piped());
    let line = process::line(&qemu);
    Ok(qemu.spawn().map_err(|source| CommandError::NotStarted { line, source })?)
}
