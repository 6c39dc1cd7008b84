//! `log`: what programs had to say.

use alloc::collections::VecDeque;
use alloc::format;

use libd3os::service::log::{Level, LogRecord};

use super::{Argument, Arguments, Background, Command, CommandError, Flag, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::system::{System, SystemError};
use crate::units::counted;
use crate::units::since_start;

/// Records shown without `-n`.
const DEFAULT_COUNT: u64 = 40;

pub(super) static LOG: Command = Command {
    name: "log",
    summary: "shows the log's latest records",
    arguments: &[],
    flags: &[
        Flag {
            name: "-n",
            value: Argument {
                name: "N",
                kind: Kind::Count,
                presence: Presence::Required,
                about: "how many records to show",
            },
        },
        Flag {
            name: "--level",
            value: Argument {
                name: "LEVEL",
                kind: Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
                presence: Presence::Required,
                about: "this level or above",
            },
        },
    ],
    background: Background::Refused,
    help: "Shows the last 40 records, or as many as `-n` says, oldest first: seconds since the \
           machine started, level, program, the part of the program, message. The log keeps a \
           limited number of records; when older ones that would have been shown are gone, the \
           first line says so.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let count = arguments.count("N").unwrap_or(DEFAULT_COUNT);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let level = arguments.get("LEVEL").and_then(Level::from_name).unwrap_or(Level::Trace);
    let excerpt = Excerpt::read(session.system, count, level)?;
    if excerpt.lost > 0 && excerpt.records.len() < count {
        let gone = counted(excerpt.lost, "older record is", "older records are");
        session.painted_line(Role::Faint, &format!("({gone} no longer kept)"));
    }
    for record in excerpt.records {
        show(session, &record);
    }
    Ok(())
}

/// The records to show.
#[derive(Default)]
struct Excerpt {
    records: VecDeque<LogRecord>,
    /// Records that the log does not keep any more and that might have been shown.
    lost: u64,
}

impl Excerpt {
    /// Reads the whole log and keeps the last `count` records of `level` or more important.
    fn read(system: &mut dyn System, count: usize, level: Level) -> Result<Self, SystemError> {
        let mut excerpt = Self::default();
        let mut from = 0;
        loop {
            let page = system.log(from)?;
            excerpt.lost += page.lost;
            let records = page.records.into_iter().filter(|record| record.level <= level);
            records.for_each(|record| excerpt.keep(record, count));
            if page.next <= from + page.lost {
                return Ok(excerpt);
            }
            from = page.next;
        }
    }

    fn keep(&mut self, record: LogRecord, count: usize) {
        if self.records.len() == count {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }
}

fn show(session: &mut Session<'_>, record: &LogRecord) {
    let LogRecord { time_us, program, level, target, message, .. } = record;
    let style = session.style();
    let level = style.paint(role(*level), level.name());
    let pad = " ".repeat(5usize.saturating_sub(record.level.name().len()));
    let time = format!("{:>12}", since_start(*time_us));
    let source = match target.is_empty() || target == program {
        true => program.clone(),
        false => format!("{program} {target}"),
    };
    let source = style.paint(Role::Name, &source);
    let message = visible(message);
    session.line(format_args!(
        "{}  {level}{pad}  {source}: {message}",
        style.paint(Role::Faint, &time)
    ));
}

/// A message on one line, without anything that a terminal would obey.
pub(super) fn visible(message: &str) -> alloc::string::String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn role(level: Level) -> Role {
    match level {
        Level::Error => Role::Bad,
        Level::Warn => Role::Warning,
        Level::Info => Role::Good,
        Level::Debug | Level::Trace => Role::Faint,
    }
}
