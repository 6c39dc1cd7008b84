//! Runs a line: its commands in order, each under its condition, with errors said in words.

use alloc::format;
use alloc::string::String;

use crate::command::{Arguments, Background, CommandError, arguments, explain, find};
use crate::parser::{Condition, Place, Step, parse};
use crate::session::{Course, Session};
use crate::style::Role;

/// How a line or a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it should.
    Success,
    /// It did not, and has said why.
    Failure,
}

/// Runs a line and sends all of its output. The line fails if any of its commands does.
pub fn run_line(session: &mut Session<'_>, line: &str) -> Outcome {
    let mut outcome = match parse(line) {
        Ok(steps) => run_steps(session, &steps),
        Err(error) => {
            session.painted_line(Role::Bad, &format!("{error}"));
            Outcome::Failure
        }
    };
    if session.settle().is_err() {
        // There is nowhere to say so: the output is what failed.
        outcome = Outcome::Failure;
    }
    if outcome == Outcome::Failure {
        session.note_failure();
    }
    outcome
}

fn run_steps(session: &mut Session<'_>, steps: &[Step]) -> Outcome {
    let mut line = Outcome::Success;
    let mut last = Outcome::Success;
    for step in steps {
        if step.condition == Condition::AfterSuccess && last == Outcome::Failure {
            continue;
        }
        last = run_step(session, step);
        if last == Outcome::Failure {
            session.note_failure();
            line = last;
        }
        if session.course() == Course::End {
            break;
        }
    }
    line
}

fn run_step(session: &mut Session<'_>, step: &Step) -> Outcome {
    let Some((name, words)) = step.words.split_first() else { return Outcome::Success };
    match run_command(session, name, words, step.place) {
        Ok(()) => Outcome::Success,
        Err(error) => {
            complain(session, name, &error);
            Outcome::Failure
        }
    }
}

fn run_command(
    session: &mut Session<'_>,
    name: &str,
    words: &[String],
    place: Place,
) -> Result<(), CommandError> {
    let Some(command) = find(name) else {
        return Err(CommandError::Unknown { name: name.into() });
    };
    if words.first().is_some_and(|word| word == "--help") {
        explain(session, command);
        return Ok(());
    }
    let usage = |problem| CommandError::Usage { command, problem };
    if place == Place::Background && command.background == Background::Refused {
        return Err(usage(arguments::Problem::NotInBackground));
    }
    let arguments = Arguments::check(command, words).map_err(usage)?;
    (command.run)(session, &arguments, place)
}

fn complain(session: &mut Session<'_>, name: &str, error: &CommandError) {
    let message = match error {
        CommandError::Unknown { .. } => format!("{error}"),
        _ => format!("{name}: {error}"),
    };
    session.painted_line(Role::Bad, &message);
    if let Some(hint) = error.hint(session) {
        session.line(format_args!("  {hint}"));
    }
}
