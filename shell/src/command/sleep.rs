//! `sleep`: waits a while.

use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_US: u64 = 1_000;

pub(super) static SLEEP: Command = Command {
    name: "sleep",
    summary: "waits a while",
    arguments: &[Argument {
        name: "MS",
        kind: Kind::Count,
        presence: Presence::Required,
        about: "how long, in milliseconds",
    }],
    flags: &[],
    background: Background::Refused,
    help: "Waits for so many milliseconds; the rest of the system goes on. For scripts that look \
           at something twice.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let wait_ns = arguments.count("MS").unwrap_or(0).saturating_mul(NS_PER_MS);
    let now_ns = session.system.info()?.uptime_us.saturating_mul(NS_PER_US);
    session.flush();
    session.system.wait_until(now_ns.saturating_add(wait_ns))?;
    Ok(())
}
