//! A log record as the console shows it.

use alloc::format;
use alloc::string::String;

use libd3os::service::log::{Level, LogRecord};

/// Colour of errors, and back.
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// The line for a record: seconds since the machine started, program, message. Further lines of
/// the message are indented; control characters in it are shown as `?`, so that a program cannot
/// steer the terminal through the log.
#[must_use]
pub fn line(record: &LogRecord) -> String {
    let (seconds, rest) = (record.time_us / 1_000_000, record.time_us % 1_000_000);
    let level = match record.level {
        Level::Info => String::new(),
        level => format!("{level}: "),
    };
    let message = harmless(&record.message);
    let text = format!("[{seconds:5}.{rest:06}] {}: {level}{message}", harmless(&record.program));
    if record.level == Level::Error { format!("{RED}{text}{PLAIN}\n") } else { format!("{text}\n") }
}

/// What is shown in place of records that were overwritten before the console read them.
#[must_use]
pub fn lost(count: u64) -> String {
    format!("[ {count} log records were lost ]\n")
}

fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.trim_end().chars() {
        match character {
            '\n' => shown.push_str("\n    "),
            '\t' => shown.push(' '),
            control if control.is_control() => shown.push('?'),
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(level: Level, message: &str) -> LogRecord {
        LogRecord {
            seq: 0,
            time_us: 12_000_345,
            program: String::from("uart"),
            level,
            target: String::from("uart::device"),
            message: String::from(message),
        }
    }

    #[test]
    fn shows_time_program_and_message() {
        assert_eq!(line(&record(Level::Info, "ready")), "[   12.000345] uart: ready\n");
        assert_eq!(line(&record(Level::Warn, "late")), "[   12.000345] uart: warn: late\n");
    }

    #[test]
    fn errors_stand_out() {
        let shown = line(&record(Level::Error, "gone"));
        assert_eq!(shown, "\x1b[31m[   12.000345] uart: error: gone\x1b[0m\n");
    }

    #[test]
    fn messages_cannot_steer_the_terminal() {
        let shown = line(&record(Level::Info, "a\x1b[2J\r\nb\n"));
        assert_eq!(shown, "[   12.000345] uart: a?[2J?\n    b\n");
    }
}
