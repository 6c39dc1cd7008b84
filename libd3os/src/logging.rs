//! What `log::info!` and its like do: records go to the Log service.
//!
//! A program that was not granted `log` stays silent. A root task has no service to call; it
//! names a function that takes its records ([`set_sink`]).

use alloc::borrow::ToOwned;
use alloc::string::ToString;

use spin::Once;

use crate::service::log::{Level, LogClient};

/// Takes a record: level, target, message.
pub type Sink = fn(Level, &str, &str);

static SINK: Once<Sink> = Once::new();
static LOGGER: Logger = Logger;

/// Longest part of a target and of a message that is sent, in bytes. Together they fit in one
/// call.
const MAX_TARGET: usize = 100;
const MAX_MESSAGE: usize = 800;

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        deliver(record.level().into(), record.target(), &record.args().to_string());
    }

    fn flush(&self) {}
}

/// Lets the `log` macros work, from level `Info` up. The runtime calls it before `main`.
pub fn start() {
    // An error only says that a logger is set already.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(log::LevelFilter::Info);
}

/// Has a root task's records go to this function. Only the first call counts.
pub fn set_sink(sink: Sink) {
    SINK.call_once(|| sink);
}

/// Tells something without going through the `log` macros: for the panic handler.
#[cfg(target_os = "none")]
pub(crate) fn emergency(message: &str) {
    deliver(Level::Error, "panic", message);
}

fn deliver(level: Level, target: &str, message: &str) {
    let (target, message) = (cut(target, MAX_TARGET), cut(message, MAX_MESSAGE));
    if let Some(sink) = SINK.get() {
        sink(level, target, message);
    } else if let Ok(log) = LogClient::connect() {
        // Nothing is left to tell of a failure with.
        let _ = log.append(level, target.to_owned(), message.to_owned());
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::encode;
    use alloc::string::String;

    #[test]
    fn the_longest_record_fits_in_a_call() {
        let (target, message) = ("t".repeat(1000), "ü".repeat(1000));
        let arguments: (Level, String, String) = (
            Level::Trace,
            cut(&target, MAX_TARGET).to_owned(),
            cut(&message, MAX_MESSAGE).to_owned(),
        );
        assert!(encode(&arguments).is_ok());
    }
}
