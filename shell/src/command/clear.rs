//! `clear`: empties the screen.

use super::{Arguments, Background, Command, CommandError};
use crate::parser::Place;
use crate::session::{Mode, Session};

pub(super) static CLEAR: Command = Command {
    name: "clear",
    summary: "empties the screen (as ^L does)",
    arguments: &[],
    flags: &[],
    background: Background::Refused,
    help: "In a script, where there may be no screen, it does nothing.",
    run,
};

fn run(session: &mut Session<'_>, _: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    match session.mode {
        Mode::Interactive { .. } => session.print(format_args!("\x1b[H\x1b[2J")),
        Mode::Script => {}
    }
    Ok(())
}
