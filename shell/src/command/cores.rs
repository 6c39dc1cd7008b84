//! `cores`: the machine's processors.

use alloc::format;
use alloc::string::{String, ToString};

use libd3os::service::supervisor::{CoreState, CoreStatus};

use super::arguments::Problem;
use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table};
use crate::units::{bytes, microseconds};

const CORE: Argument = Argument {
    name: "CORE",
    kind: Kind::Core,
    presence: Presence::Optional,
    about: "the core that it is about",
};

pub(super) static CORES: Command = Command {
    name: "cores",
    summary: "shows, stops and restarts the cores",
    arguments: &[
        Argument {
            name: "ACTION",
            kind: Kind::Choice(&["stop", "restart"]),
            presence: Presence::Optional,
            about: "what to do with a core",
        },
        CORE,
    ],
    flags: &[],
    background: Background::Refused,
    help: "Each core runs a kernel instance and an init of its own, in memory of its own. HEARD is \
           how long ago its init last said that it is alive.\n\n\
           States: running, starting, silent (not heard of for seconds), stopped (by `cores stop`), \
           failed (it did not come up, or broke down), parked (the machine has the core, and the \
           kernel does not use it).\n\n\
           `cores stop CORE` stops a core at once, with every program on it; `cores restart CORE` \
           does that, starts it anew and waits until it is up. Programs that ran there are started \
           again where the image's manifest says so. Core 0 can be neither stopped nor restarted.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let Some(action) = arguments.get("ACTION") else { return show(session) };
    let Some(core) = arguments.core("CORE") else {
        return Err(CommandError::Usage { command: &CORES, problem: Problem::Missing(CORE) });
    };
    // What was printed so far may go through a program of that core.
    session.flush();
    match action {
        "stop" => {
            session.system.stop_core(core)?;
            session.line(format_args!("core {core} was stopped"));
        }
        _ => {
            session.system.restart_core(core)?;
            session.line(format_args!("core {core} was started anew"));
        }
    }
    Ok(())
}

fn show(session: &mut Session<'_>) -> Result<(), CommandError> {
    let mut table = Table::new([
        Column::right("CORE"),
        Column::left("STATE"),
        Column::right("UP"),
        Column::right("HEARD"),
        Column::right("PROGRAMS"),
        Column::right("MEMORY"),
        Column::right("FREE"),
        Column::right("RESTARTS"),
    ]);
    for core in session.system.cores()? {
        table.row(row(&core));
    }
    session.table(&table);
    Ok(())
}

fn row(core: &CoreStatus) -> [Cell; 8] {
    let role = match core.state {
        CoreState::Running => Role::Good,
        CoreState::Starting => Role::Warning,
        CoreState::Silent | CoreState::Failed => Role::Bad,
        CoreState::Stopped | CoreState::Parked => Role::Faint,
    };
    let heard = core.heartbeat_us.map(|age| format!("{} ago", microseconds(age)));
    [
        core.core.to_string().into(),
        Cell::new(role, format!("{}", core.state)),
        present(core.uptime_us, microseconds).into(),
        heard.unwrap_or_default().into(),
        core.programs.to_string().into(),
        present(core.ram_bytes, bytes).into(),
        present(core.free_bytes, bytes).into(),
        core.restarts.to_string().into(),
    ]
}

/// A quantity, or nothing where there is none.
fn present(amount: u64, words: impl Fn(u64) -> String) -> String {
    if amount == 0 { String::new() } else { words(amount) }
}
