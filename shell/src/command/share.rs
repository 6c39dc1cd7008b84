//! `share`: files of the directory that the host shares.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use libd3os::service::share::{Entry, FileKind};
use libd3os::service::supervisor::ProgramState;
use libd3os::time::Date;

use super::arguments::Problem;
use super::log::visible;
use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence, trace};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table};
use crate::units::{bytes, counted};

/// The service of the host's share.
pub const SHARE_SERVICE: &str = "share";
/// Bytes of a file that are shown.
const MOST_SHOWN: usize = 64 << 10;

const PATH: Argument = Argument {
    name: "PATH",
    kind: Kind::Shared,
    presence: Presence::Optional,
    about: "names with `/` between them",
};

pub(super) static SHARE: Command = Command {
    name: "share",
    summary: "works with files of the host's share",
    arguments: &[
        Argument {
            name: "ACTION",
            kind: Kind::Choice(&["ls", "get", "put", "rm", "mkdir"]),
            presence: Presence::Required,
            about: "what to do",
        },
        PATH,
        Argument {
            name: "TEXT",
            kind: Kind::Text,
            presence: Presence::Repeated,
            about: "what `put` writes",
        },
    ],
    flags: &[],
    background: Background::Refused,
    help: "`share ls [PATH]` lists a directory, `share get PATH` prints a file's text, the first \
           64 KiB of it, with blanks for control characters. `share put PATH TEXT` makes a file, \
           or replaces it, of the words and a line end. `share rm PATH` removes a file or an empty \
           directory, `share mkdir PATH` makes a directory.\n\n\
           The share is a directory of the machine that runs the emulator: `cargo xtask qemu \
           --share DIR`. Links in it are not followed, and no path leads out of it.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let path = arguments.get("PATH");
    let required = || path.ok_or_else(|| usage(Problem::Missing(PATH)));
    let words = arguments.rest();
    let action = arguments.required("ACTION");
    if action != "put"
        && let Some(word) = words.first()
    {
        return Err(usage(Problem::TooMany(word.clone())));
    }
    present(session)?;
    match action {
        "ls" => list(session, path.unwrap_or_default()),
        "get" => get(session, required()?),
        "put" => {
            let text = format!("{}\n", words.join(" "));
            Ok(session.system.write_host(required()?, text.as_bytes())?)
        }
        "rm" => Ok(session.system.remove_host(required()?)?),
        _ => Ok(session.system.make_host_directory(required()?)?),
    }
}

fn usage(problem: Problem) -> CommandError {
    CommandError::Usage { command: &SHARE, problem }
}

/// Fails where the machine has no share, which early on is waited for to be known, or its driver is
/// not started again. A driver that is being started is waited for by those who call it.
pub(super) fn present(session: &mut Session<'_>) -> Result<(), CommandError> {
    let mut service = trace::find(session, SHARE_SERVICE)?;
    if service.state == ProgramState::BackingOff {
        session.system.settle()?;
        service = trace::find(session, SHARE_SERVICE)?;
    }
    match service.state {
        ProgramState::Stopped => Err(CommandError::NoShare),
        state @ ProgramState::GivenUp => {
            Err(CommandError::NotServed { program: service.program, state })
        }
        _ => Ok(()),
    }
}

fn list(session: &mut Session<'_>, directory: &str) -> Result<(), CommandError> {
    let mut entries = session.system.host_files(directory)?;
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let mut table = Table::new([
        Column::right("SIZE"),
        Column::left("CHANGED (UTC)"),
        Column::left("KIND"),
        Column::elastic("NAME"),
    ]);
    entries.iter().for_each(|entry| table.row(row(entry)));
    session.table(&table);
    Ok(())
}

fn row(Entry { name, status }: &Entry) -> [Cell; 4] {
    let (size, role) = match status.kind {
        FileKind::File => (bytes(status.bytes), Role::Plain),
        _ => (String::new(), Role::Name),
    };
    let changed = format!("{}", Date::from_seconds(status.modified));
    [size.into(), changed.into(), format!("{}", status.kind).into(), Cell::new(role, visible(name))]
}

fn get(session: &mut Session<'_>, path: &str) -> Result<(), CommandError> {
    let mut text: Vec<u8> = Vec::new();
    while text.len() < MOST_SHOWN {
        let part = session.system.read_host(path, text.len() as u64)?;
        if part.is_empty() {
            break;
        }
        text.extend(part);
    }
    let more = text.len() >= MOST_SHOWN;
    text.truncate(MOST_SHOWN);
    String::from_utf8_lossy(&text).lines().for_each(|line| session.line(visible(line)));
    if more {
        let shown = counted(MOST_SHOWN as u64, "byte", "bytes");
        session.painted_line(Role::Faint, &format!("(the first {shown})"));
    }
    Ok(())
}
