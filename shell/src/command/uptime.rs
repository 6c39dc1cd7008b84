//! `uptime`: how long the machine has been running.

use super::{Arguments, Background, Command, CommandError};
use crate::parser::Place;
use crate::session::Session;
use crate::units::microseconds;

pub(super) static UPTIME: Command = Command {
    name: "uptime",
    summary: "tells how long the machine has been running",
    arguments: &[],
    flags: &[],
    background: Background::Refused,
    help: "The time comes from the processor's time stamp counter, which the kernel measured at \
           the start.",
    run,
};

fn run(session: &mut Session<'_>, _: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let info = session.system.info()?;
    session.line(format_args!(
        "up {}, time stamp counter at {} MHz",
        microseconds(info.uptime_us),
        info.tsc_mhz
    ));
    Ok(())
}
