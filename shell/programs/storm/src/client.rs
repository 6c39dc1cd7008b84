//! The process of a client: it calls, checks, and tells the sums.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use libd3os::call::CallError;
use libd3os::connection::Connection;
use libd3os::ipc::MissingGrant;
use libd3os::ring::bell_counts;
use libd3os::start::StartInfo;
use libd3os::{println, sys};

use crate::SERVERS;
use crate::course::{Course, Flaw, Progress};
use crate::echo::EchoClient;

/// Calls of each server, unless told otherwise.
const CALLS: u64 = 1000;

/// Parts of the storm after each of which the client says so.
const PARTS: u64 = 4;

/// Why a client stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StormError {
    /// The manifest does not grant a server.
    Missing(MissingGrant<'static>),
    /// Something was lost or spoilt in the calls of this server.
    Flaw(&'static str, Flaw),
    /// An argument that says nothing.
    Argument(String),
}

impl fmt::Display for StormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(missing) => missing.fmt(f),
            Self::Flaw(service, flaw) => write!(f, "{service}: {flaw}"),
            Self::Argument(word) => {
                write!(f, "`{word}`? usage: [--calls N] [--fell SERVICE TIMES]")
            }
        }
    }
}

impl core::error::Error for StormError {}

/// What a client was told to do.
enum Task {
    /// So many calls of each server.
    Calls(u64),
    /// Make a server panic so many times, and call it once more.
    Fell(&'static str, u64),
}

/// Runs the client as its arguments say.
///
/// # Errors
/// [`StormError`].
pub fn run(start: &'static StartInfo) -> Result<(), StormError> {
    match task(&start.args)? {
        Task::Calls(calls) => storm(start, calls),
        Task::Fell(service, times) => fell(start, service, times),
    }
}

fn task(arguments: &[String]) -> Result<Task, StormError> {
    let mut words = arguments.iter().map(String::as_str);
    let unclear = |word: Option<&str>| StormError::Argument(word.unwrap_or("").into());
    let number =
        |word: Option<&str>| word.and_then(|word| word.parse().ok()).ok_or_else(|| unclear(word));
    match words.next() {
        None => Ok(Task::Calls(CALLS)),
        Some("--calls") => number(words.next()).map(Task::Calls),
        Some("--fell") => {
            let word = words.next();
            let service = SERVERS.into_iter().find(|name| Some(*name) == word);
            let service = service.ok_or_else(|| unclear(word))?;
            Ok(Task::Fell(service, number(words.next())?))
        }
        word => Err(unclear(word)),
    }
}

fn connect(service: &'static str) -> Result<EchoClient, StormError> {
    Connection::to(service).map(EchoClient::new).map_err(StormError::Missing)
}

/// A server, and the calls of it.
struct Line {
    service: &'static str,
    echo: EchoClient,
    course: Course,
}

impl Line {
    fn to(service: &'static str, salt: u64) -> Result<Self, StormError> {
        Ok(Self { service, echo: connect(service)?, course: Course::new(salt) })
    }

    /// Calls until there is an answer. A server that is away is waited for.
    fn call(&mut self) -> Result<(), StormError> {
        loop {
            let outcome = self.echo.echo(self.course.number(), self.course.bytes());
            match self.course.take(outcome).map_err(|flaw| StormError::Flaw(self.service, flaw))? {
                Progress::Answered => return Ok(()),
                Progress::Away => sys::yield_now(),
            }
        }
    }

    fn is_ring(&self) -> bool {
        matches!(self.echo.transport(), Connection::Ring(_))
    }
}

fn storm(start: &StartInfo, calls: u64) -> Result<(), StormError> {
    let own = u64::from(start.name.bytes().last().unwrap_or(0)) << 8;
    let lines = (own..).zip(SERVERS).map(|(salt, service)| Line::to(service, salt));
    let mut lines = lines.collect::<Result<Vec<_>, _>>()?;
    for part in 1..=PARTS {
        for _ in calls * (part - 1) / PARTS..calls * part / PARTS {
            lines.iter_mut().try_for_each(Line::call)?;
        }
        println!("{}: part {part} of {PARTS}", start.name);
    }
    let sum = |wanted: fn(&Line) -> u64| lines.iter().map(wanted).sum::<u64>();
    let answered = sum(|line| line.course.answered);
    let over_rings = sum(|line| if line.is_ring() { line.course.answered } else { 0 });
    let restarts = sum(|line| line.course.restarts);
    let outages = sum(|line| line.course.outages);
    let bells = bell_counts();
    println!(
        "{}: core {}, answered {answered}, over rings {over_rings}, rung {}, heard {}, \
         restarts {restarts}, outages {outages}.",
        start.name, start.core, bells.rung, bells.heard
    );
    Ok(())
}

fn fell(start: &StartInfo, service: &'static str, times: u64) -> Result<(), StormError> {
    let echo = connect(service)?;
    let mut course = Course::new(0);
    for _ in 0..times {
        while echo.fall() != Err(libd3os::call::Error::Call(CallError::Restarted)) {
            sys::yield_now();
        }
    }
    println!("{}: {service} fell {times} times", start.name);
    let outcome = echo.echo(course.number(), course.bytes());
    match &outcome {
        Err(error) => println!("{}: {service}: {error}", start.name),
        Ok(_) => println!("{}: {service} answers", start.name),
    }
    course.take(outcome).map(drop).map_err(|flaw| StormError::Flaw(service, flaw))
}
