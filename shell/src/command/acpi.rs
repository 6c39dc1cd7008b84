//! `acpi`: the firmware's tables.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use libd3os::service::platform::TableInfo;

use super::log::visible;
use super::lspci::answering;
use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::suggest::nearest;
use crate::table::{Cell, Column, Table};

/// Bytes in a line of a dump.
const LINE: usize = 16;

pub(super) static ACPI: Command = Command {
    name: "acpi",
    summary: "lists the firmware's tables, or shows one",
    arguments: &[Argument {
        name: "NAME",
        kind: Kind::Text,
        presence: Presence::Optional,
        about: "a table to show, by its four letters",
    }],
    flags: &[],
    background: Background::Refused,
    help: "Without an argument: every table with its place, length, revision and maker, whether it \
           is sound, and below that whatever is wrong with the machine's tables and devices. A \
           table that is damaged is not used, and costs only what it describes.\n\n\
           With a table's name: what it says, for those that the system reads (FACP, APIC, MCFG, \
           HPET, SRAT, SLIT, NFIT, SPCR), and its bytes. Of several tables of one name (SSDT), all.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    answering(session)?;
    let tables = session.system.tables()?;
    match arguments.get("NAME") {
        None => overview(session, &tables),
        Some(name) => show_all(session, &tables, name),
    }
}

fn overview(session: &mut Session<'_>, tables: &[TableInfo]) -> Result<(), CommandError> {
    let mut table = Table::new([
        Column::left("TABLE"),
        Column::right("ADDRESS"),
        Column::right("BYTES"),
        Column::right("REV"),
        Column::left("MAKER"),
        Column::elastic("STATE"),
    ]);
    for info in tables {
        table.row([
            Cell::new(Role::Name, visible(&info.name)),
            format!("{:#x}", info.address).into(),
            info.bytes.to_string().into(),
            info.revision.to_string().into(),
            visible(&info.maker).into(),
            info.problem.as_deref().map_or("sound".into(), visible).into(),
        ]);
    }
    session.table(&table);
    let problems = session.system.problems()?;
    if !problems.is_empty() {
        session.line("");
        session.painted_line(Role::Title, "Problems");
    }
    for problem in problems {
        session.text(2, &visible(&problem));
    }
    Ok(())
}

fn show_all(
    session: &mut Session<'_>,
    tables: &[TableInfo],
    name: &str,
) -> Result<(), CommandError> {
    let is_named = |table: &&TableInfo| table.name.eq_ignore_ascii_case(name);
    let named: Vec<(u32, &TableInfo)> =
        (0u32..).zip(tables).filter(|(_, table)| is_named(table)).collect();
    if named.is_empty() {
        let names = tables.iter().map(|table| table.name.as_str());
        let nearest = nearest(&name.to_ascii_uppercase(), names).map(String::from);
        return Err(CommandError::NoSuchTable { name: name.to_string(), nearest });
    }
    for (number, table) in named {
        show(session, number, table)?;
    }
    Ok(())
}

fn show(session: &mut Session<'_>, number: u32, table: &TableInfo) -> Result<(), CommandError> {
    let TableInfo { name, address, bytes, .. } = table;
    let title = format!("{} at {address:#x}, {bytes} bytes", visible(name));
    session.painted_line(Role::Title, &title);
    for fact in session.system.table_words(number)? {
        session.text(2, &visible(&fact));
    }
    if table.problem.is_none() {
        let bytes = session.system.table_bytes(number)?;
        dump(session, 0, &bytes);
    }
    Ok(())
}

/// Bytes from `start` on, as numbers and as characters.
pub(super) fn dump(session: &mut Session<'_>, start: u64, bytes: &[u8]) {
    for (address, line) in (start..).step_by(LINE).zip(bytes.chunks(LINE)) {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String = line.iter().map(|&byte| letter(byte)).collect();
        session.line(format_args!("{address:06x}  {:<47}  {text}", hex.join(" ")));
    }
}

fn letter(byte: u8) -> char {
    if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' }
}
