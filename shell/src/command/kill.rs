//! `kill`: ends a program.

use libd3os::service::supervisor::Moment;

use super::{Argument, Arguments, Background, Command, CommandError, Flag, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;
use crate::units::counted;

pub(super) static KILL: Command = Command {
    name: "kill",
    summary: "ends a program",
    arguments: &[Argument {
        name: "NAME",
        kind: Kind::Program,
        presence: Presence::Required,
        about: "a running program",
    }],
    flags: &[AFTER],
    background: Background::Refused,
    help: "Takes everything from the program: its thread, its memory, its capabilities. Who waits \
           for an answer from it is told that it was restarted. The image's manifest says whether \
           it is started again; `ps` shows that.\n\n\
           With `--after N` the program goes on until it has noted N more events in its trace \
           (`trace NAME`), and ends in the middle of what it does at the last of them. The log says \
           when that was.",
    run,
};

const AFTER: Flag = Flag {
    name: "--after",
    value: Argument {
        name: "N",
        kind: Kind::Count,
        presence: Presence::Required,
        about: "how many more events of its trace come first",
    },
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let name = arguments.required("NAME");
    // The program may be the console.
    session.flush();
    match arguments.count("N") {
        None => {
            session.system.kill(name, Moment::Now)?;
            session.line(format_args!("`{name}` was ended"));
        }
        Some(count) => {
            let events = u32::try_from(count).unwrap_or(u32::MAX);
            session.system.kill(name, Moment::AfterEvents(events))?;
            let more = counted(events.into(), "more event", "more events");
            session.line(format_args!("`{name}` ends after {more} of its trace"));
        }
    }
    Ok(())
}
