//! `nvdimm`: persistent memory, and bytes of it.

use alloc::string::ToString;

use libd3os::device::PersistenceDomain;
use libd3os::service::nvdimm::RangeStatus;

use super::acpi::dump;
use super::arguments::Problem;
use super::lspci::answering;
use super::numa::safe;
use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table};
use crate::units::bytes;

/// Bytes that `nvdimm read` shows.
const SHOWN: u32 = 64;

const RANGE: Argument = number("RANGE", "the range, as `nvdimm` lists them");
const AT: Argument = number("AT", "where in the range, in bytes");
const TEXT: Argument = Argument {
    name: "TEXT",
    kind: Kind::Text,
    presence: Presence::Optional,
    about: "what to write there",
};

const fn number(name: &'static str, about: &'static str) -> Argument {
    Argument { name, kind: Kind::Number, presence: Presence::Optional, about }
}

pub(super) static NVDIMM: Command = Command {
    name: "nvdimm",
    summary: "shows, reads and writes persistent memory",
    arguments: &[
        Argument {
            name: "ACTION",
            kind: Kind::Choice(&["read", "write"]),
            presence: Presence::Optional,
            about: "what to do with a range",
        },
        RANGE,
        AT,
        TEXT,
    ],
    flags: &[],
    background: Background::Refused,
    help: "Persistent memory keeps what was written to it when the machine is switched off. Without \
           an argument: its ranges, whether they are armed, and what of a write is safe when power \
           fails. A range that is not armed would lose what is written, so nothing can be.\n\n\
           `nvdimm read RANGE AT` shows 64 bytes; `nvdimm write RANGE AT TEXT` writes the \
           text's bytes over whatever is there, and returns when they are safe. AT may be \
           hexadecimal, with 0x.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let Some(action) = arguments.get("ACTION") else { return show(session) };
    let range = arguments.number("RANGE").ok_or_else(|| missing(RANGE))?;
    let range = u16::try_from(range).unwrap_or(u16::MAX);
    let offset = arguments.number("AT").ok_or_else(|| missing(AT))?;
    match (action, arguments.get("TEXT")) {
        ("read", None) => read(session, range, offset),
        ("read", Some(text)) => Err(usage(Problem::TooMany(text.to_string()))),
        (_, Some(text)) => Ok(session.system.nvdimm_write(range, offset, text.as_bytes())?),
        (_, None) => Err(missing(TEXT)),
    }
}

fn missing(argument: Argument) -> CommandError {
    usage(Problem::Missing(argument))
}

fn usage(problem: Problem) -> CommandError {
    CommandError::Usage { command: &NVDIMM, problem }
}

fn read(session: &mut Session<'_>, range: u16, offset: u64) -> Result<(), CommandError> {
    let bytes = session.system.nvdimm_read(range, offset, SHOWN)?;
    dump(session, offset, &bytes);
    Ok(())
}

fn show(session: &mut Session<'_>) -> Result<(), CommandError> {
    answering(session)?;
    if session.system.persistent()?.is_empty() {
        session.line("This machine has no persistent memory.");
        return Ok(());
    }
    let (ranges, domain) = session.system.nvdimm()?;
    let mut table = Table::new([
        Column::right("RANGE"),
        Column::right("SIZE"),
        Column::right("NODE"),
        Column::left("STATE"),
        Column::elastic("SAFE WHEN POWER FAILS"),
    ]);
    for (place, range) in ranges.iter().enumerate() {
        table.row([
            Cell::new(Role::Name, place.to_string()),
            bytes(range.bytes).into(),
            range.node.map_or("?".into(), |node| node.to_string()).into(),
            state(range),
            kept(range, domain).into(),
        ]);
    }
    session.table(&table);
    Ok(())
}

fn state(range: &RangeStatus) -> Cell {
    match range.armed {
        true => "armed".into(),
        false => Cell::new(Role::Bad, "not armed"),
    }
}

fn kept(range: &RangeStatus, domain: Option<PersistenceDomain>) -> &'static str {
    if range.armed { safe(domain) } else { "nothing: it is read only" }
}
