//! `screenshot`: what stands on the screen.

use alloc::format;

use libd3os::service::console::ScreenStatus;

use super::{Arguments, Background, Command, CommandError};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;

pub(super) static SCREENSHOT: Command = Command {
    name: "screenshot",
    summary: "tells what the machine's screen shows",
    arguments: &[],
    flags: &[],
    background: Background::Refused,
    help: "Has everything drawn that is not yet, then writes the screen's size and the text that it \
           shows, its status line last. On a machine that is reached over its serial line only, \
           this is a look at its screen.\n\n\
           As a picture it comes from outside: `cargo xtask qemu --display none --screenshot FILE` \
           takes it of the emulated machine at the end of the run.",
    run,
};

fn run(session: &mut Session<'_>, _: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let (status, text) = session.system.screen()?;
    let ScreenStatus { width, height, columns, rows, console, consoles } = status;
    session.painted_line(
        Role::Title,
        &format!(
            "{width} by {height} pixels, {columns} columns, {rows} lines, console {console} of {consoles}"
        ),
    );
    let used = text.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    for line in text.iter().take(used) {
        session.line(format!("│ {line}").trim_end());
    }
    Ok(())
}
