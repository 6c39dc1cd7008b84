//! `resolve`: the addresses of a name.

use super::net::NET_SERVICE;
use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence, trace};
use crate::parser::Place;
use crate::session::Session;

pub(super) static RESOLVE: Command = Command {
    name: "resolve",
    summary: "asks the name server for a name's addresses",
    arguments: &[Argument {
        name: "NAME",
        kind: Kind::Text,
        presence: Presence::Required,
        about: "a host's name",
    }],
    flags: &[],
    background: Background::Refused,
    help: "Prints the IPv4 addresses, then the IPv6 addresses, one a line. The name server is the \
           one that the DHCP server named; `net` shows it.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    trace::observable(session, NET_SERVICE)?;
    for address in session.system.resolve(arguments.required("NAME"))? {
        session.line(address);
    }
    Ok(())
}
