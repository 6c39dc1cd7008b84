//! `echo`: prints its arguments.

use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;

pub(super) static ECHO: Command = Command {
    name: "echo",
    summary: "prints its arguments",
    arguments: &[Argument {
        name: "TEXT",
        kind: Kind::Text,
        presence: Presence::Repeated,
        about: "what to print",
    }],
    flags: &[],
    background: Background::Refused,
    help: "The arguments are separated by single blanks and end in a new line.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    session.line(arguments.rest().join(" "));
    Ok(())
}
