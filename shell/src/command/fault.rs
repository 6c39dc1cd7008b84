//! `fault`: lets a program die and shows that the system goes on.

use alloc::string::{String, ToString};

use libd3os::program::Death;
use libd3os::service::supervisor::{Exit, RunMode};

use super::arguments::ON_CORE;
use super::error::ending;
use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;

/// The program that dies in the way its argument says.
const PROGRAM: &str = "fault";

pub(super) static FAULT: Command = Command {
    name: "fault",
    summary: "lets a program die of a fault",
    arguments: &[Argument {
        name: "KIND",
        kind: Kind::Choice(&Death::WORDS),
        presence: Presence::Required,
        about: "its end",
    }],
    flags: &[ON_CORE],
    background: Background::Refused,
    help: "Runs the program `fault`, which dereferences a null pointer (null), divides by zero \
           (divide), executes an illegal instruction (illegal), overflows its stack (stack), \
           writes to read-only memory (readonly), uses a capability that it does not hold \
           (badcap), panics (panic: it ends itself, with an exit code) or hangs (hang: it is ended \
           when it has not answered for two of its heartbeats).\n\n\
           The program's death is the expected result: the command succeeds if the program died \
           as it was told to, and fails if it ended in any other way.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    session.flush();
    let kind: [String; 1] = [arguments.required("KIND").to_string()];
    let core = arguments.core("N");
    let death = Death::from_word(&kind[0]);
    let id = session.system.spawn(PROGRAM, &kind, RunMode::Foreground, core)?;
    match session.system.wait(id)? {
        exit if death.is_some_and(|death| death.explains(&exit)) => {
            session.painted_line(Role::Warning, &ending(PROGRAM, &exit));
            Ok(())
        }
        Exit::Code(code) => Err(CommandError::Survived { program: PROGRAM.into(), code }),
        exit => Err(CommandError::Ended { program: PROGRAM.into(), exit }),
    }
}
