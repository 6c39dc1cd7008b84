//! `help`: what there is and how it is used.

use super::{Argument, Arguments, COMMANDS, Command, CommandError, Kind, Presence, find};
use crate::command::Background;
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table};

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

/// Shows all that a command's declaration says.
pub fn explain(session: &mut Session<'_>, command: &Command) {
    session.painted_line(Role::Title, &command.usage());
    session.line(format_args!("  {}", command.summary));
    let flags = command.flags.iter().map(|flag| (flag.usage(), &flag.value));
    let arguments = command.arguments.iter().map(|argument| (argument.name.into(), argument));
    let mut table = Table::new([Column::left(""), Column::left(""), Column::elastic("")]);
    for (name, argument) in flags.chain(arguments) {
        table.row(["".into(), Cell::new(Role::Name, name), about(argument).into()]);
    }
    if !command.flags.is_empty() || !command.arguments.is_empty() {
        session.line("");
        session.table(&table);
    }
    for paragraph in command.help.split("\n\n") {
        session.line("");
        session.text(2, paragraph);
    }
}

fn about(argument: &Argument) -> alloc::string::String {
    match argument.kind {
        Kind::Choice(words) => alloc::format!("{}: {}", argument.about, words.join(", ")),
        _ => argument.about.into(),
    }
}
