//! `qemu --run`: shell lines go in with the image, their output comes out, and the exit status
//! tells how they went.
//!
//! The guest ends QEMU with a status through the exit device. Any other end is a death of the
//! guest: a kernel's panic, a reset, the end of the time.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use libd3os::image::BootConfig;

use super::QemuError;
use crate::commands::build::{self, BuildError};
use crate::process::{self, CommandError};
use crate::vm::{EXIT_PORT, Machine};
use crate::workshop::Workshop;

/// Seconds that lines may take unless told otherwise.
pub(crate) const DEFAULT_TIMEOUT: u64 = 300;

/// How a kernel's panic begins on the serial line.
pub(crate) const PANIC: &str = "KERNEL PANIC";

/// How long a panicking kernel may take to print its backtrace.
const PANIC_GRACE: Duration = Duration::from_secs(3);

/// The guest ended without saying how its lines went.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GuestDeath {
    /// The kernel panicked.
    #[error("the kernel panicked")]
    Panic,
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
pub(crate) fn run(machine: &Machine, seconds: u64) -> Result<ExitCode, QemuError> {
    let mut guest = Guest::start(machine.command()?)?;
    let ending = guest.watch(Duration::from_secs(seconds), &mut io::stdout());
    if ending == Ending::Over {
        return guest.verdict();
    }
    guest.end()?;
    match ending {
        Ending::Panicked => Err(GuestDeath::Panic.into()),
        Ending::Over | Ending::TimeOver => Err(QemuError::Timeout(seconds)),
    }
}

/// Why watching ended.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Over,
    Panicked,
    TimeOver,
}

struct Guest {
    child: Child,
    output: Receiver<Vec<u8>>,
    complaints: Receiver<Vec<u8>>,
}

impl Guest {
    fn start(mut qemu: Command) -> Result<Self, CommandError> {
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let line = process::line(&qemu);
        let mut child = qemu.spawn().map_err(|source| CommandError::NotStarted { line, source })?;
        let output = pump(child.stdout.take());
        let complaints = pump(child.stderr.take());
        Ok(Self { child, output, complaints })
    }

    /// Copies the serial line to `out` until it closes, the kernel panics or the time is over.
    fn watch(&self, time: Duration, out: &mut impl Write) -> Ending {
        let mut end = Instant::now() + time;
        let mut panic = Watcher::new(PANIC);
        loop {
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    // Nobody reading our output is no reason to stop the guest.
                    let _unread = out.write_all(&bytes).and_then(|()| out.flush());
                    if panic.feed(&bytes) {
                        end = end.min(Instant::now() + PANIC_GRACE);
                    }
                }
                Err(RecvTimeoutError::Timeout) if panic.found() => return Ending::Panicked,
                Err(RecvTimeoutError::Timeout) => return Ending::TimeOver,
                Err(RecvTimeoutError::Disconnected) if panic.found() => return Ending::Panicked,
                Err(RecvTimeoutError::Disconnected) => return Ending::Over,
            }
        }
    }

    /// Ends the machine if it still runs.
    fn end(&mut self) -> Result<(), QemuError> {
        self.child.kill().and_then(|()| self.child.wait()).map(drop).map_err(QemuError::Lost)
    }

    fn verdict(&mut self) -> Result<ExitCode, QemuError> {
        let status = self.child.wait().map_err(QemuError::Lost)?;
        let complaints: Vec<u8> = self.complaints.iter().flatten().collect();
        let complaints = String::from_utf8_lossy(&complaints);
        eprint!("{complaints}");
        Ok(judge(status, &complaints)?)
    }
}

/// Reads in a thread of its own, so that waiting can have an end.
fn pump(source: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(source) = source {
        thread::spawn(move || copy(source, &sender));
    }
    receiver
}

fn copy(mut source: impl Read, sender: &Sender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = source.read(&mut buffer) {
        if sender.send(buffer[..n].to_vec()).is_err() {
            return;
        }
    }
}

/// What QEMU's exit means: the exit device turns status `n` into `2n + 1`.
fn judge(status: ExitStatus, complaints: &str) -> Result<ExitCode, GuestDeath> {
    let complaint =
        complaints.lines().find(|line| line.contains("qemu") && !line.contains("warning:"));
    match (status.code(), complaint) {
        // QEMU's own failures end with 1 too, which is the exit device's "all is well".
        (Some(1), Some(line)) => Err(GuestDeath::Qemu(line.to_owned())),
        (Some(code), _) if code % 2 == 1 => {
            Ok(ExitCode::from(u8::try_from(code / 2).unwrap_or(u8::MAX)))
        }
        (Some(_), _) => Err(GuestDeath::Stopped),
        (None, _) => Err(GuestDeath::Qemu(status.to_string())),
    }
}

/// Finds a text in a stream that arrives in pieces.
struct Watcher {
    wanted: &'static str,
    tail: Vec<u8>,
    found: bool,
}

impl Watcher {
    fn new(wanted: &'static str) -> Self {
        Self { wanted, tail: Vec::new(), found: false }
    }

    /// Takes the next piece; true when the text has just been found.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        self.tail.extend(bytes);
        let before = self.found;
        self.found |= self.tail.windows(self.wanted.len()).any(|w| w == self.wanted.as_bytes());
        let keep = self.tail.len().min(self.wanted.len() - 1);
        self.tail.drain(..self.tail.len() - keep);
        self.found && !before
    }

    fn found(&self) -> bool {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn guest(script: &str) -> Guest {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        Guest::start(shell).expect("a shell")
    }

    #[test]
    fn output_is_copied_until_the_end() {
        let mut out = Vec::new();
        let ending = guest("printf 'one\\ntwo'").watch(Duration::from_secs(30), &mut out);
        assert_eq!((ending, out.as_slice()), (Ending::Over, &b"one\ntwo"[..]));
    }

    #[test]
    fn a_panic_is_noticed_even_in_pieces() {
        let mut watcher = Watcher::new(PANIC);
        assert!(!watcher.feed(b"... KERNEL"));
        assert!(watcher.feed(b" PANIC: no"));
        assert!(!watcher.feed(b"KERNEL PANIC"), "told once");
        let ending = guest("echo KERNEL PANIC").watch(Duration::from_secs(30), &mut Vec::new());
        assert_eq!(ending, Ending::Panicked);
    }

    #[test]
    fn time_ends() {
        let mut guest = guest("exec sleep 60");
        assert_eq!(guest.watch(Duration::from_millis(50), &mut Vec::new()), Ending::TimeOver);
        guest.end().expect("it can be ended");
    }

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
