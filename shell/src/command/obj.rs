//! `obj`: persistent objects.

mod edit;
mod map;
mod near;
mod transfer;

use alloc::format;
use alloc::string::{String, ToString};

use libd3os::service::pmem::{NamedObject, ObjectKind, ObjectStatus, Removed, Tier};

use super::arguments::Problem;
use super::log::visible;
use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence, pmem};
use crate::objects::NEW_PAGES;
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table};
use crate::units::{bytes, bytes_of, counted};

const PAGE_BYTES: u64 = 4096;

const PATH: Argument = Argument {
    name: "PATH",
    kind: Kind::Object,
    presence: Presence::Optional,
    about: "names with `/` between them",
};

const TEXT: Argument = Argument {
    name: "TEXT",
    kind: Kind::Object,
    presence: Presence::Repeated,
    about: "what `put` writes, `search` and `count` look for; how to `reduce`; a size; a path",
};

/// Before the path of what is to be made: it is not to last.
const VOLATILE: &str = "--volatile";

const SIZE: Argument = Argument {
    name: "SIZE",
    kind: Kind::Text,
    presence: Presence::Optional,
    about: "such as 64K, 8M or 2G",
};

pub(super) static OBJ: Command = Command {
    name: "obj",
    summary: "works with persistent objects",
    arguments: &[
        Argument {
            name: "ACTION",
            kind: Kind::Choice(&[
                "ls", "new", "put", "edit", "get", "show", "stat", "map", "search", "count",
                "reduce", "import", "export", "mkdir", "snap", "link", "mv", "rm",
            ]),
            presence: Presence::Required,
            about: "what to do",
        },
        PATH,
        TEXT,
    ],
    flags: &[],
    background: Background::Refused,
    help: "Objects lie in persistent memory and are used there; what was changed is whole after every \
           loss of power. `obj new --volatile PATH` and `obj mkdir --volatile PATH` make what lies in RAM, is used \
           in the same way, and lost when the machine is switched off. A machine without persistent memory has \
           such objects only.\n\n\
           `obj ls [PATH]` lists a directory, `obj mkdir PATH` makes one. `obj new PATH` makes an object \
           with an empty text, as large as `obj new PATH 8M` says; `obj put PATH TEXT` replaces the text, \
           `obj edit PATH` shows it on the terminal to be changed, `obj get PATH` prints it. \
           `obj show PATH` prints what any object begins with, by the description of its type that it \
           carries; `obj stat PATH` tells its size, type, version, owner and users. \
           `obj map PATH` shows what its pages are for, what its table says of other objects, and its pointers, \
           on the screen as a picture first.\n\n\
           `obj search PATH TEXT` tells where a text is in an object's text, `obj count PATH TEXT` how often, \
           overlapping places counted each; `obj reduce PATH HOW` adds its words of 8 bytes up (`sum`), or \
           tells the least or the greatest. Of an object without a text all pages count, the free ones, too. \
           The object server does the work where the bytes lie, on its core, and only the result travels.\n\n\
           `obj snap PATH OTHER` keeps what an object holds now as another one, which nobody changes; it \
           takes no longer for a large one.\n\n\
           `obj import PATH HOST` makes an object of a file of the host's share, or a directory of objects of a \
           directory; `obj export PATH HOST` goes the other way, and replaces files. HOST is the whole share \
           if it is left out. A file that is a text of 64 KiB at most becomes a text, every other one a File. \
           An object has its name when it is whole.\n\n\
           `obj link PATH OTHER` gives an object one more name, `obj mv PATH OTHER` another one instead, \
           `obj rm PATH` takes a name away: an object without a name is deleted, once nobody uses it. An \
           empty directory goes the same way.\n\n\
           `pmem` tells of the memory that they lie in.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let (path, words) = (arguments.get("PATH"), arguments.rest());
    let action = arguments.required("ACTION");
    let (tier, path, words) = match (action, path, words) {
        ("new" | "mkdir", Some(VOLATILE), words) => {
            let words = words.split_first();
            let path = words.map(|(path, _)| path.as_str());
            (Some(Tier::Volatile), path, words.map_or(&[][..], |(_, words)| words))
        }
        (_, path, words) => (None, path, words),
    };
    let required = || path.ok_or_else(|| missing(PATH));
    let other = || words.first().map(String::as_str).ok_or_else(|| missing(TEXT));
    let most = match action {
        "put" | "search" | "count" => usize::MAX,
        "snap" | "link" | "mv" | "reduce" | "import" | "export" | "new" => 1,
        _ => 0,
    };
    if let Some(word) = words.get(most) {
        return Err(usage(Problem::TooMany(word.clone())));
    }
    pmem::present(session)?;
    match action {
        "ls" => list(session, path.unwrap_or_default()),
        "new" => make(session, (required()?, tier), words.first()),
        "put" => {
            let text = words.join(" ");
            Ok(session.system.set_text(required()?, &text)?)
        }
        "get" => get(session, required()?),
        "show" => show(session, required()?),
        "stat" => stat(session, required()?),
        "edit" => edit::run(session, required()?),
        "map" => map::run(session, required()?),
        "search" | "count" | "reduce" => near::run(session, required()?, action, words),
        "import" => transfer::import(session, required()?, words.first()),
        "export" => transfer::export(session, required()?, words.first()),
        "mkdir" => Ok(session.system.make_object_directory(required()?, tier)?),
        "snap" => Ok(session.system.snapshot_object(required()?, other()?)?),
        "link" => Ok(session.system.link_object(required()?, other()?)?),
        "mv" => Ok(session.system.rename_object(required()?, other()?)?),
        _ => remove(session, required()?),
    }
}

fn missing(argument: Argument) -> CommandError {
    usage(Problem::Missing(argument))
}

fn usage(problem: Problem) -> CommandError {
    CommandError::Usage { command: &OBJ, problem }
}

/// Pages for an object of which was said how large it is to be.
fn pages(size: &str) -> Option<u32> {
    u32::try_from(bytes_of(size)?.div_ceil(PAGE_BYTES)).ok()
}

fn make(
    session: &mut Session<'_>,
    (path, tier): (&str, Option<Tier>),
    size: Option<&String>,
) -> Result<(), CommandError> {
    let misfit = |word: &String| usage(Problem::Misfit { argument: SIZE, word: word.clone() });
    let pages = match size {
        Some(size) => pages(size).ok_or_else(|| misfit(size))?,
        None => NEW_PAGES,
    };
    Ok(session.system.make_text(path, pages, tier)?)
}

fn list(session: &mut Session<'_>, directory: &str) -> Result<(), CommandError> {
    let names = session.system.objects(directory)?;
    let mut table = Table::new([
        Column::right("SIZE"),
        Column::right("VERSION"),
        Column::right("NAMES"),
        Column::left("TIER"),
        Column::left("OWNER"),
        Column::left("TYPE"),
        Column::elastic("NAME"),
    ]);
    names.iter().for_each(|named| table.row(row(named)));
    session.table(&table);
    let is_volatile = |named: &NamedObject| named.status.tier == Tier::Volatile;
    if names.iter().any(is_volatile) && !core::mem::replace(&mut session.knows_volatile, true) {
        session.line("Volatile objects are lost when the machine is switched off.");
    }
    Ok(())
}

fn row(NamedObject { name, status }: &NamedObject) -> [Cell; 7] {
    let (of, role) = match status.kind {
        ObjectKind::Object => (status.of.as_str(), Role::Plain),
        ObjectKind::Directory => ("directory", Role::Name),
        ObjectKind::Snapshot => (status.of.as_str(), Role::Faint),
    };
    [
        bytes(status.pages * PAGE_BYTES).into(),
        status.version.to_string().into(),
        status.links.to_string().into(),
        status.tier.to_string().into(),
        visible(&status.owner).into(),
        visible(of).into(),
        Cell::new(role, visible(name)),
    ]
}

fn get(session: &mut Session<'_>, path: &str) -> Result<(), CommandError> {
    let text = session.system.text(path)?;
    text.lines().for_each(|line| session.line(visible(line)));
    Ok(())
}

fn show(session: &mut Session<'_>, path: &str) -> Result<(), CommandError> {
    let shown = session.system.show_object(path)?;
    shown.lines().for_each(|line| session.line(visible(line)));
    Ok(())
}

fn stat(session: &mut Session<'_>, path: &str) -> Result<(), CommandError> {
    let ObjectStatus { id, kind, tier, pages, links, fingerprint, of, version, owner, users } =
        session.system.object(path)?;
    let what = match kind {
        ObjectKind::Object => "object",
        ObjectKind::Directory => "directory",
        ObjectKind::Snapshot => "snapshot",
    };
    let rows = [
        ("what", what.to_string()),
        ("id", id.to_string()),
        ("tier", tier.to_string()),
        ("size", format!("{}, {}", bytes(pages * PAGE_BYTES), counted(pages, "page", "pages"))),
        ("type", format!("{} ({fingerprint:016x})", visible(&of))),
        ("version", version.to_string()),
        ("owner", visible(&owner).to_string()),
        ("names", links.to_string()),
        ("users", users.to_string()),
    ];
    let mut table = Table::new([Column::left("PROPERTY"), Column::elastic("VALUE")]);
    rows.into_iter().for_each(|(name, value)| table.row([name.into(), value.into()]));
    session.table(&table);
    Ok(())
}

fn remove(session: &mut Session<'_>, path: &str) -> Result<(), CommandError> {
    if session.system.remove_object(path)? == Removed::InUse {
        session.line("It is deleted when nobody has it open any more.");
    }
    Ok(())
}
