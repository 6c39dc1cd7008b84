//! `fetch`: shows a document from a web server, or keeps it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{
    Argument, Arguments, Background, Command, CommandError, Flag, Kind, Presence, run, share,
};
use crate::parser::Place;
use crate::session::Session;

pub(super) static FETCH: Command = Command {
    name: "fetch",
    summary: "shows or keeps a document from the web",
    arguments: &[
        Argument {
            name: "URL",
            kind: Kind::Text,
            presence: Presence::Required,
            about: "its address, `http://HOST[:PORT]/PATH`",
        },
        Argument {
            name: "count",
            kind: Kind::Choice(&["count"]),
            presence: Presence::Optional,
            about: "only count its bytes, and say how far it is",
        },
    ],
    flags: &[
        Flag {
            name: "--limit",
            value: Argument {
                name: "N",
                kind: Kind::Count,
                presence: Presence::Required,
                about: "bytes that it may have, 1 MiB without this",
            },
        },
        Flag {
            name: "-o",
            value: Argument {
                name: "PATH",
                kind: Kind::Shared,
                presence: Presence::Required,
                about: "the file of the host's share that it becomes",
            },
        },
    ],
    background: Background::Possible,
    help: "Starts the program `fetch`, which sends an HTTP/1.1 request and writes the document to \
           the console; control characters in it are shown as blanks. It fails where the server's \
           status is not 200. A redirection is told, not followed. ^C ends it.\n\n\
           With -o the document becomes a file of the host's share, which is made or replaced, and \
           how far it is is told every 256 KiB.",
    run: fetch,
};

fn fetch(
    session: &mut Session<'_>,
    arguments: &Arguments<'_>,
    place: Place,
) -> Result<(), CommandError> {
    let mut words: Vec<String> = Vec::new();
    if let Some(path) = arguments.get("PATH") {
        share::present(session)?;
        words.extend(["-o".to_string(), path.to_string()]);
    }
    if arguments.get("count").is_some() {
        words.push("--count".to_string());
    }
    if let Some(limit) = arguments.count("N") {
        words.extend(["--limit".to_string(), limit.to_string()]);
    }
    words.push(arguments.required("URL").to_string());
    run::program(session, "fetch", &words, None, place)
}
