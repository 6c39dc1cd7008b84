//! `kill`: ends a program.

use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;

pub(super) static KILL: Command = Command {
    name: "kill",
    summary: "ends a program",
    arguments: &[Argument {
        name: "NAME",
        kind: Kind::Program,
        presence: Presence::Required,
        about: "a running program",
    }],
    flags: &[],
    background: Background::Refused,
    help: "Takes everything from the program: its thread, its memory, its capabilities. Who waits \
           for an answer from it is told that it was restarted. The image's manifest says whether \
           it is started again; `ps` shows that.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let name = arguments.required("NAME");
    // The program may be the console.
    session.flush();
    session.system.kill(name)?;
    session.line(format_args!("`{name}` was ended"));
    Ok(())
}
