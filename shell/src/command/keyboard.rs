//! `keyboard`: the keyboard's layout.

use libd3os::service::keyboard::Layout;

use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;

pub(super) static KEYBOARD: Command = Command {
    name: "keyboard",
    summary: "tells or chooses the keyboard's layout",
    arguments: &[Argument {
        name: "LAYOUT",
        kind: Kind::Choice(&["us", "de"]),
        presence: Presence::Optional,
        about: "the layout to choose",
    }],
    flags: &[],
    background: Background::Refused,
    help: "The layout says which characters the keys of the machine's own keyboard type: us \
           (American) or de (German). It holds for all consoles of the screen until the driver is \
           restarted. What is typed at the serial line comes as the terminal there sends it.\n\n\
           Alt with F1 to F4 shows another console, Shift with Page Up and Page Down what has left \
           the screen.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    match arguments.get("LAYOUT").and_then(Layout::from_name) {
        Some(layout) => session.system.set_layout(layout)?,
        None => {
            let layout = session.system.layout()?;
            session.line(format_args!("layout `{layout}`"));
        }
    }
    Ok(())
}
