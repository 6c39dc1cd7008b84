//! `serve`: an echo server.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence, run};
use crate::parser::Place;
use crate::session::Session;

pub(super) static SERVE: Command = Command {
    name: "serve",
    summary: "sends back what comes, over TCP and UDP",
    arguments: &[Argument {
        name: "PORT",
        kind: Kind::Count,
        presence: Presence::Optional,
        about: "where; port 7 without it",
    }],
    flags: &[],
    background: Background::Possible,
    help: "Starts the program `serve`, which takes connections and datagrams until ^C ends it, or \
           `kill serve` where it runs in the background.",
    run: serve,
};

fn serve(
    session: &mut Session<'_>,
    arguments: &Arguments<'_>,
    place: Place,
) -> Result<(), CommandError> {
    let words: Vec<_> = arguments.count("PORT").map(|port| port.to_string()).into_iter().collect();
    run::program(session, "serve", &words, None, place)
}
