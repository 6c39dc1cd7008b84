//! `cores`: the machine's processors.

use alloc::format;

use libd3os::service::supervisor::CoreState;

use super::{Arguments, Background, Command, CommandError};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table};

pub(super) static CORES: Command = Command {
    name: "cores",
    summary: "shows the processor cores and what runs on them",
    arguments: &[],
    flags: &[],
    background: Background::Refused,
    help: "Running: the core has a kernel instance of its own. Parked: the machine has the core, \
           and it was not started.",
    run,
};

fn run(session: &mut Session<'_>, _: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let mut table =
        Table::new([Column::right("CORE"), Column::left("STATE"), Column::right("PROGRAMS")]);
    for core in session.system.cores()? {
        let role = match core.state {
            CoreState::Running => Role::Good,
            CoreState::Parked => Role::Faint,
        };
        table.row([
            format!("{}", core.core).into(),
            Cell::new(role, format!("{}", core.state)),
            format!("{}", core.programs).into(),
        ]);
    }
    session.table(&table);
    Ok(())
}
