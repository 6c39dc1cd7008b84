//! `version`: what is running on what.

use super::{Arguments, Background, Command, CommandError};
use crate::parser::Place;
use crate::session::Session;
use crate::units::{bytes, counted};

pub(super) static VERSION: Command = Command {
    name: "version",
    summary: "tells the system, image and machine",
    arguments: &[],
    flags: &[],
    background: Background::Refused,
    help: "The second line is the command line that the boot loader gave to the kernel, if there \
           was one.",
    run,
};

fn run(session: &mut Session<'_>, _: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let info = session.system.info()?;
    session.line(format_args!(
        "D3OS {}, image `{}`, {}, {} of RAM",
        info.version,
        info.image,
        counted(u64::from(info.cores_present), "core", "cores"),
        bytes(info.ram_bytes)
    ));
    if !info.command_line.is_empty() {
        session.line(format_args!("kernel options: {}", info.command_line));
    }
    Ok(())
}
