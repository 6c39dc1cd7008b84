//! `date`: the time of day.

use libd3os::time::Date;

use super::{Arguments, Background, Command, CommandError};
use crate::parser::Place;
use crate::session::Session;

pub(super) static DATE: Command = Command {
    name: "date",
    summary: "tells the date and the time of day",
    arguments: &[],
    flags: &[],
    background: Background::Refused,
    help: "What the machine's wall clock says, as UTC: year, month, day, and the time. The clock goes \
           on while the machine is off.",
    run,
};

fn run(session: &mut Session<'_>, _: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let date = Date::from_seconds(session.system.wall_time()?.seconds);
    session.line(format_args!("{date} UTC"));
    Ok(())
}
