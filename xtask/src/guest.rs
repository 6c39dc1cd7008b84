//! A running machine whose serial line is read by this program, not by a terminal.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{self, CommandError};

/// What kernel and init say when the system cannot go on.
const LAST_WORDS: [&str; 3] = ["D3OS kernel panic", "D3OS cannot start", "the system cannot start"];

/// How long a dying system may take to say why, with its backtrace.
const GRACE: Duration = Duration::from_secs(3);

/// Why watching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The serial line closed: QEMU has ended.
    Over,
    /// The guest said that it cannot go on, and stands still.
    Dead,
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

    /// Copies the serial line to `out` until it closes, the guest dies or the time is over.
    pub(crate) fn watch(&self, time: Duration, out: &mut impl Write) -> Ending {
        let mut end = Instant::now() + time;
        let mut death = Watcher::new(&LAST_WORDS);
        loop {
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    // Nobody reading our output is no reason to stop the guest.
                    let _unread = out.write_all(&bytes).and_then(|()| out.flush());
                    if death.feed(&bytes) {
                        end = end.min(Instant::now() + GRACE);
                    }
                }
                Err(RecvTimeoutError::Timeout) if death.found() => return Ending::Dead,
                Err(RecvTimeoutError::Timeout) => return Ending::TimeOver,
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

/// Finds one of several texts in a stream that arrives in pieces.
struct Watcher {
    wanted: &'static [&'static str],
    tail: Vec<u8>,
    found: bool,
}

impl Watcher {
    fn new(wanted: &'static [&'static str]) -> Self {
        Self { wanted, tail: Vec::new(), found: false }
    }

    /// Takes the next piece; true when a text has just been found.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        self.tail.extend(bytes);
        let before = self.found;
        self.found |= self.wanted.iter().any(|text| contains(&self.tail, text.as_bytes()));
        let longest = self.wanted.iter().map(|text| text.len()).max().unwrap_or(1);
        let kept = self.tail.len().min(longest - 1);
        self.tail.drain(..self.tail.len() - kept);
        self.found && !before
    }

    fn found(&self) -> bool {
        self.found
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
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
    fn last_words_are_noticed_even_in_pieces() {
        let mut watcher = Watcher::new(&LAST_WORDS);
        assert!(!watcher.feed(b"... D3OS kernel"));
        assert!(watcher.feed(b" panic: no"));
        assert!(!watcher.feed(b"D3OS kernel panic"), "told once");
        let standing = guest("echo D3OS cannot start: no memory; exec sleep 60");
        assert_eq!(standing.watch(Duration::from_secs(30), &mut Vec::new()), Ending::Dead);
    }

    #[test]
    fn time_ends() {
        let mut guest = guest("exec sleep 60");
        assert_eq!(guest.watch(Duration::from_millis(50), &mut Vec::new()), Ending::TimeOver);
        guest.end().expect("it can be ended");
    }
}
