//! What `log::info!` and its like do: records go to the Log service.
//!
//! A program that was not granted `log` stays silent. A root task has no service to call; it
//! names a function that takes its records ([`set_sink`]).

use alloc::string::ToString;

use spin::Once;

use crate::call::{self, Error, Transport};
use crate::connection::Connection;
use crate::service::log::{LOG, Level, LogError};

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
    } else if let Ok(transport) = Connection::to(LOG.name) {
        // Nothing is left to tell of a failure with.
        let _ = append(&transport, level, target, message);
    }
}

/// What `LogClient::append` does, but with borrowed text: a panic may mean that the heap is full.
fn append(
    transport: &impl Transport,
    level: Level,
    target: &str,
    message: &str,
) -> Result<(), Error<LogError>> {
    let method = (0..).zip(LOG.operations).find(|(_, operation)| operation.name == "append");
    let (method, _) = method.ok_or(Error::Call(call::CallError::UnknownMethod))?;
    call::invoke(transport, method, &(level, target, message))
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Caller, Loopback};
    use crate::service::log::{Log, LogPage};
    use alloc::string::String;
    use alloc::vec::Vec;

    #[derive(Default)]
    struct Records(Vec<(Level, String, String)>);

    impl Log for Records {
        fn append(
            &mut self,
            _: Caller,
            level: Level,
            target: String,
            message: String,
        ) -> Result<(), LogError> {
            self.0.push((level, target, message));
            Ok(())
        }

        fn read(&mut self, _: Caller, _: u64) -> Result<LogPage, LogError> {
            Err(LogError::InTheFuture)
        }
    }

    #[test]
    fn the_longest_record_arrives() {
        let log = Loopback::new(Records::default(), Caller(1), Log::dispatch);
        let (target, message) = ("t".repeat(1000), "ü".repeat(1000));
        let (target, message) = (cut(&target, MAX_TARGET), cut(&message, MAX_MESSAGE));
        append(&log, Level::Trace, target, message).expect("it fits in a call");
        let expected = (Level::Trace, target.to_string(), message.to_string());
        assert_eq!(log.server().0, [expected]);
    }
}
