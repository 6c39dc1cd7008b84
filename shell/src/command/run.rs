//! `run`: starts a program.

use alloc::string::String;

use libd3os::service::supervisor::{Exit, RunMode};

use super::arguments::ON_CORE;
use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;

pub(super) static RUN: Command = Command {
    name: "run",
    summary: "starts a program and waits until it ends",
    arguments: &[
        Argument {
            name: "NAME",
            kind: Kind::Program,
            presence: Presence::Required,
            about: "a program of the image",
        },
        Argument {
            name: "ARGUMENT",
            kind: Kind::Text,
            presence: Presence::Repeated,
            about: "handed to the program as it is",
        },
    ],
    flags: &[ON_CORE],
    background: Background::Possible,
    help: "In the foreground the shell waits until the program ends; ^C ends it. It succeeds if the \
           program's exit code is 0; otherwise it says how the program ended: its exit code, \
           killed, interrupted, or the fault it died of.\n\n\
           It runs on the core that the image's manifest names, or on the one that `--core` does.\n\n\
           With `&` the program runs in the background and the shell goes on; `ps` shows how it is \
           doing and `kill` ends it.",
    run,
};

fn run(
    session: &mut Session<'_>,
    arguments: &Arguments<'_>,
    place: Place,
) -> Result<(), CommandError> {
    let (name, core) = (arguments.required("NAME"), arguments.core("N"));
    program(session, name, arguments.rest(), core, place)
}

/// Starts a program and, in the foreground, waits until it ends.
pub(super) fn program(
    session: &mut Session<'_>,
    name: &str,
    words: &[String],
    core: Option<u32>,
    place: Place,
) -> Result<(), CommandError> {
    // What was printed so far belongs before what the program prints.
    session.flush();
    if place == Place::Background {
        let id = session.system.spawn(name, words, RunMode::Background, core)?;
        session.line(format_args!("`{name}` runs in the background (run {id})"));
        return Ok(());
    }
    let id = session.system.spawn(name, words, RunMode::Foreground, core)?;
    match session.system.wait(id)? {
        Exit::Code(0) => Ok(()),
        exit => Err(CommandError::Ended { program: name.into(), exit }),
    }
}
