//! `poweroff`: switches the machine off.

use super::{Arguments, Background, Command, CommandError};
use crate::parser::Place;
use crate::session::Session;

pub(super) static POWEROFF: Command = Command {
    name: "poweroff",
    summary: "switches the machine off",
    arguments: &[],
    flags: &[],
    background: Background::Refused,
    help: "An emulated machine that was started for a script reports to whoever started it \
           whether every line has succeeded so far.",
    run,
};

fn run(session: &mut Session<'_>, _: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    session.flush();
    let status = session.status();
    session.system.power_off(status)?;
    session.end();
    Ok(())
}
