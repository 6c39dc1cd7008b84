//! `reboot`: starts the machine again.

use super::{Arguments, Background, Command, CommandError};
use crate::parser::Place;
use crate::session::Session;

pub(super) static REBOOT: Command = Command {
    name: "reboot",
    summary: "starts the machine again",
    arguments: &[],
    flags: &[],
    background: Background::Refused,
    help: "Programs are not asked first.",
    run,
};

fn run(session: &mut Session<'_>, _: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    session.flush();
    session.system.reboot()?;
    session.end();
    Ok(())
}
