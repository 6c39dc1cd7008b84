//! A running machine whose serial line is read by this program, not by a terminal.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{self, CommandError};

/// How a kernel's panic begins on the serial line.
pub(crate) const PANIC: &str = "KERNEL PANIC";

/// How long a panicking kernel may take to print its backtrace.
const PANIC_GRACE: Duration = Duration::from_secs(3);

/// Why watching ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The serial line closed: QEMU has ended.
    Over,
    /// The kernel panicked.
    Panicked,
    /// It went on for longer than it may.
    TimeOver,
}

/// A started QEMU.
pub(crate) struct Guest {
    child: Child,
    output: Receiver<Vec<u8>>,
    complaints: Receiver<Vec<u8>>,
}

impl Guest {
    /// Starts QEMU with its serial line and its messages on pipes.
    pub(crate) fn start(mut qemu: Command) -> Result<Self, CommandError> {
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let line = process::line(&qemu);
        let mut child = qemu.spawn().map_err(|source| CommandError::NotStarted { line, source })?;
        let output = pump(child.stdout.take());
        let complaints = pump(child.stderr.take());
        Ok(Self { child, output, complaints })
    }

    /// Copies the serial line to `out` until it closes, the kernel panics or the time is over.
    pub(crate) fn watch(&self, time: Duration, out: &mut impl Write) -> Ending {
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
    pub(crate) fn end(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// How QEMU ended by itself, and what it complained about.
    pub(crate) fn wait(&mut self) -> io::Result<(ExitStatus, String)> {
        let status = self.child.wait()?;
        let complaints: Vec<u8> = self.complaints.iter().flatten().collect();
        Ok((status, String::from_utf8_lossy(&complaints).into_owned()))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // A machine that nobody watches must not go on; one that has ended needs nothing.
        let _ended = self.end();
    }
}

/// Reads in a thread of its own, so that waiting can have an end.
pub(crate) fn pump(source: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
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

/// Finds a text in a stream that arrives in pieces.
pub(crate) struct Watcher {
    wanted: &'static str,
    tail: Vec<u8>,
    found: bool,
}

impl Watcher {
    /// Looks for `wanted`.
    pub(crate) fn new(wanted: &'static str) -> Self {
        Self { wanted, tail: Vec::new(), found: false }
    }

    /// Takes the next piece; true when the text has just been found.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> bool {
        self.tail.extend(bytes);
        let before = self.found;
        self.found |= self.tail.windows(self.wanted.len()).any(|w| w == self.wanted.as_bytes());
        let keep = self.tail.len().min(self.wanted.len() - 1);
        self.tail.drain(..self.tail.len() - keep);
        self.found && !before
    }

    /// Whether it was there.
    pub(crate) fn found(&self) -> bool {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
