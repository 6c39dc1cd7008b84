//! `ps`: the programs and how they are doing.

use alloc::format;
use alloc::string::{String, ToString};

use libd3os::service::supervisor::ProgramState;

use super::{Arguments, Background, Command, CommandError};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table};
use crate::units::microseconds;

pub(super) static PS: Command = Command {
    name: "ps",
    summary: "shows the programs and how they are doing",
    arguments: &[],
    flags: &[],
    background: Background::Refused,
    help: "Each program of the image has a line: its thread, the core and priority it runs with, \
           the processor time it may use in each period (budget/period), what it has used since \
           the machine started, its state, and how often it was started again. init, which \
           starts the others, has a line for each of its threads; `-` is a budget that the kernel \
           set. SESSION is the terminal that a program belongs to, shown where it is not the \
           serial line.\n\n\
           States: starting, running, faulted (stopped by a fault and about to be cleared away), \
           stopped (never started, or ended), backing off (will be started again after a pause), \
           given up (ended too often within a short time).",
    run,
};

fn run(session: &mut Session<'_>, _: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let mut table = Table::new([
        Column::elastic("PROGRAM"),
        Column::elastic("THREAD"),
        Column::right("CORE"),
        Column::right("PRIO"),
        Column::right("BUDGET/PERIOD"),
        Column::right("CPU TIME"),
        Column::left("STATE"),
        Column::right("RESTARTS"),
        Column::right("SESSION").sparse(),
    ]);
    for program in session.system.programs()? {
        let share = match (program.budget_us, program.period_us) {
            (0, 0) => "-".to_string(),
            (budget, period) => format!("{}/{}", microseconds(budget), microseconds(period)),
        };
        table.row([
            Cell::new(Role::Name, program.name),
            program.thread.into(),
            format!("{}", program.core).into(),
            format!("{}", program.priority).into(),
            share.into(),
            microseconds(program.cpu_us).into(),
            state(program.state),
            restarts(program.restarts),
            session_of(program.session).into(),
        ]);
    }
    session.table(&table);
    Ok(())
}

/// A program's state as a cell.
pub(super) fn state(state: ProgramState) -> Cell {
    let role = match state {
        ProgramState::Running => Role::Good,
        ProgramState::Stopped => Role::Faint,
        ProgramState::Starting | ProgramState::BackingOff => Role::Warning,
        ProgramState::Faulted | ProgramState::GivenUp => Role::Bad,
    };
    Cell::new(role, format!("{state}"))
}

/// The serial line's session is the ordinary one.
fn session_of(session: u8) -> String {
    if session == 0 { String::new() } else { session.to_string() }
}

fn restarts(count: u32) -> Cell {
    Cell::new(if count == 0 { Role::Plain } else { Role::Warning }, format!("{count}"))
}
