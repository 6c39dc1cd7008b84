//! `caps`: what a program may do.

use alloc::format;

use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table};

pub(super) static CAPS: Command = Command {
    name: "caps",
    summary: "lists the capabilities that a program holds",
    arguments: &[Argument {
        name: "NAME",
        kind: Kind::Program,
        presence: Presence::Required,
        about: "a program",
    }],
    flags: &[],
    background: Background::Refused,
    help: "A program can do what its capabilities let it do, and nothing else. Each line is a slot \
           of the program's capability space: the kind of object, which one it is, and the \
           rights: r read, w write, g grant capabilities, p grant a reply. Slot `-` is what init \
           keeps for the program outside that space, such as its thread.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let mut table = Table::new([
        Column::right("SLOT"),
        Column::left("KIND"),
        Column::left("RIGHTS"),
        Column::elastic("WHICH"),
    ]);
    for held in session.system.capabilities(arguments.required("NAME"))? {
        let slot = match held.slot {
            0 => Cell::new(Role::Faint, "-"),
            slot => format!("{slot}").into(),
        };
        table.row([slot, Cell::new(Role::Name, held.kind), held.rights.into(), held.detail.into()]);
    }
    session.table(&table);
    Ok(())
}
