//! `help`: what there is and how it is used.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Argument, Arguments, COMMANDS, Command, CommandError, Kind, Presence, find};
use crate::command::Background;
use crate::editor::columns;
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table, wrapped};

pub(super) static HELP: Command = Command {
    name: "help",
    summary: "lists the commands, or explains one",
    arguments: &[Argument {
        name: "COMMAND",
        kind: Kind::Command,
        presence: Presence::Optional,
        about: "the command to explain",
    }],
    flags: &[],
    background: Background::Refused,
    help: "Without an argument it shows every command with a summary. `COMMAND --help` does the \
           same as `help COMMAND`.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    match arguments.get("COMMAND").and_then(find) {
        Some(command) => explain(session, command),
        None => list(session),
    }
    Ok(())
}

/// Columns that the longest words on what a command does take, with the gap before them.
const SUMMARY: usize = 45;

fn list(session: &mut Session<'_>) {
    let mut table = Table::new([Column::left("COMMAND"), Column::elastic("WHAT IT DOES")]);
    let most = session.width().map_or(usize::MAX, |width| width.saturating_sub(SUMMARY));
    for command in COMMANDS {
        table.row([Cell::new(Role::Name, command.usage_within(most)), command.summary.into()]);
    }
    session.table(&table);
    session.line("");
    session.text(
        0,
        "`help COMMAND` tells more. `;` separates commands, `&&` runs the next one only after \
         success, quotes and backslashes protect blanks, `#` begins a comment. Tab completes, \
         ^R searches earlier lines, ^C ends the program in the foreground.",
    );
}

/// Columns of gaps between a name and what it stands for, with the one before the name.
const BESIDE: usize = 4;

/// Shows all that a command's declaration says.
pub fn explain(session: &mut Session<'_>, command: &Command) {
    session.painted_line(Role::Title, &command.usage());
    session.line(format_args!("  {}", command.summary));
    if !command.flags.is_empty() || !command.arguments.is_empty() {
        session.line("");
        session.table(&words(session, command));
    }
    for paragraph in command.help.split("\n\n") {
        session.line("");
        session.text(2, paragraph);
    }
}

/// Its options and arguments, of which each has as many lines as it needs.
fn words(session: &Session<'_>, command: &Command) -> Table<3> {
    let flags = command.flags.iter().map(|flag| (flag.usage(), &flag.value));
    let arguments =
        command.arguments.iter().map(|argument| (String::from(argument.name), argument));
    let words: Vec<_> = flags.chain(arguments).collect();
    let names = words.iter().map(|(name, _)| columns(name)).max().unwrap_or(0);
    let width = session.width().map_or(usize::MAX, |width| width.saturating_sub(names + BESIDE));
    let mut table = Table::new([Column::left(""), Column::left(""), Column::elastic("")]);
    for (name, argument) in words {
        let mut name = Cell::new(Role::Name, name);
        for line in wrapped(&about(argument), width) {
            table.row(["".into(), core::mem::take(&mut name), line.into()]);
        }
    }
    table
}

fn about(argument: &Argument) -> String {
    match argument.kind {
        Kind::Choice(words) => alloc::format!("{}: {}", argument.about, words.join(", ")),
        _ => argument.about.into(),
    }
}
