//! `ping`: sends echo requests.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Argument, Arguments, Background, Command, CommandError, Flag, Kind, Presence, run};
use crate::parser::Place;
use crate::session::Session;

pub(super) static PING: Command = Command {
    name: "ping",
    summary: "measures the way to a host and back",
    arguments: &[Argument {
        name: "HOST",
        kind: Kind::Text,
        presence: Presence::Required,
        about: "a name or an address",
    }],
    flags: &[Flag {
        name: "-n",
        value: Argument {
            name: "N",
            kind: Kind::Count,
            presence: Presence::Required,
            about: "how many requests to send",
        },
    }],
    background: Background::Possible,
    help: "Starts the program `ping`, which sends four requests, or as many as -n says, one a \
           second, and says which were lost. ^C ends it. It succeeds if there was any answer.",
    run: ping,
};

fn ping(
    session: &mut Session<'_>,
    arguments: &Arguments<'_>,
    place: Place,
) -> Result<(), CommandError> {
    let mut words = Vec::from([arguments.required("HOST").to_string()]);
    words.extend(arguments.count("N").map(|count| count.to_string()));
    run::program(session, "ping", &words, None, place)
}
