//! A client of QEMU's machine protocol (QMP): one JSON object a line, answers and events mixed.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long QEMU may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// The machine's monitor cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QmpError {
    /// Nobody listens, or the line broke.
    #[error("QEMU's monitor is gone")]
    Line(#[from] io::Error),
    /// It said something that is not the protocol.
    #[error("QEMU's monitor sent `{0}`")]
    Malformed(String),
    /// It refused.
    #[error("QEMU refused `{command}`: {reason}")]
    Refused {
        /// What was asked.
        command: String,
        /// Its words.
        reason: String,
    },
}

/// A connection to a running machine's monitor.
pub(crate) struct Monitor {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    /// Events that came while an answer was waited for.
    events: Vec<String>,
}

impl Monitor {
    /// Connects to the socket that QEMU was told to listen at, as soon as it does.
    ///
    /// # Errors
    /// It does not within [`PATIENCE`], or does not speak the protocol.
    pub(crate) fn connect(socket: &Path) -> Result<Self, QmpError> {
        let end = Instant::now() + PATIENCE;
        let writer = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() >= end => return Err(error.into()),
                // There is no event for a socket that comes to be.
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let reader = BufReader::new(writer.try_clone()?);
        let mut monitor = Self { reader, writer, events: Vec::new() };
        let greeting = monitor.line()?;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Malformed(greeting.to_string()));
        }
        monitor.execute("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Has a command carried out, and returns its result.
    ///
    /// # Errors
    /// QEMU refuses, or the machine has ended.
    pub(crate) fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let request = json!({ "execute": command, "arguments": arguments });
        writeln!(self.writer, "{request}")?;
        loop {
            let mut line = self.line()?;
            if let Some(event) = event_of(&line) {
                self.events.push(event);
            } else if let Some(result) = line.get_mut("return") {
                return Ok(result.take());
            } else {
                let reason = line["error"]["desc"].as_str().unwrap_or("for no reason").to_owned();
                return Err(QmpError::Refused { command: command.to_owned(), reason });
            }
        }
    }

    /// Waits for an event of this name, if it has not come already.
    ///
    /// # Errors
    /// The machine ends without it.
    pub(crate) fn wait_for(&mut self, event: &str) -> Result<(), QmpError> {
        loop {
            if let Some(at) = self.events.iter().position(|known| known == event) {
                self.events.remove(at);
                return Ok(());
            }
            let line = self.line()?;
            self.events.extend(event_of(&line));
        }
    }

    /// Writes what the screen shows to a PNG file.
    ///
    /// # Errors
    /// There is no screen, or the file cannot be written.
    pub(crate) fn screenshot(&mut self, file: &Path) -> Result<(), QmpError> {
        let file = std::path::absolute(file)?;
        self.execute("screendump", json!({ "filename": file, "format": "png" }))?;
        Ok(())
    }

    fn line(&mut self) -> Result<Value, QmpError> {
        let mut text = String::new();
        if self.reader.read_line(&mut text)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        serde_json::from_str(&text).map_err(|_| QmpError::Malformed(text.trim().to_owned()))
    }
}

fn event_of(line: &Value) -> Option<String> {
    line.get("event")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    /// A monitor at the end of a socket pair, and what it will have been asked. The peer sends
    /// `lines`, one for each request, after its greeting.
    fn monitor(name: &str, lines: &[&str]) -> (Monitor, std::thread::JoinHandle<Vec<String>>) {
        let socket = socket(name);
        let listener = UnixListener::bind(&socket).expect("a socket");
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut requests = Vec::new();
            stream.write_all(b"{\"QMP\": {}}\r\n").expect("the greeting");
            for line in ["{\"return\": {}}\r\n".to_owned()].into_iter().chain(lines) {
                let mut request = String::new();
                reader.read_line(&mut request).expect("a request");
                requests.push(request.trim().to_owned());
                stream.write_all(line.as_bytes()).expect("an answer");
            }
            requests
        });
        let monitor = Monitor::connect(&socket).expect("a monitor");
        std::fs::remove_file(&socket).expect("the socket's file");
        (monitor, peer)
    }

    fn socket(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("qmp-{name}-{}", std::process::id()))
    }

    #[test]
    fn events_between_request_and_answer_are_kept() {
        let answer = "{\"event\": \"SHUTDOWN\"}\r\n{\"return\": {\"running\": true}}";
        let (mut monitor, peer) = monitor("events", &[answer]);
        let status = monitor.execute("query-status", json!({})).expect("an answer");
        assert_eq!(status["running"], true);
        monitor.wait_for("SHUTDOWN").expect("kept");
        let gone = monitor.wait_for("SHUTDOWN").expect_err("once only");
        assert!(matches!(gone, QmpError::Line(_)), "{gone}");
        let requests = peer.join().expect("the peer");
        assert!(requests[0].contains("qmp_capabilities") && requests[1].contains("query-status"));
    }

    #[test]
    fn refusals_have_a_reason() {
        let refusal = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no screen\"}}";
        let (mut monitor, peer) = monitor("refusals", &[refusal]);
        let error = monitor.screenshot(Path::new("screen.png")).expect_err("refused");
        assert_eq!(error.to_string(), "QEMU refused `screendump`: no screen");
        peer.join().expect("the peer");
    }

    #[test]
    fn other_servers_are_found_out() {
        let socket = socket("others");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.write_all(b"220 mail\r\n").expect("a greeting");
        });
        let error = Monitor::connect(&socket).err().expect("no monitor");
        assert!(matches!(&error, QmpError::Malformed(line) if line == "220 mail"), "{error}");
        std::fs::remove_file(&socket).expect("the socket's file");
        peer.join().expect("the peer");
    }
}
