//! `trace`: what the server of a service has counted, and what it did last.

use alloc::format;
use alloc::string::{String, ToString};

use libd3os::observe::Count;
use libd3os::service::supervisor::{ProgramState, ServiceStatus};

use super::log::visible;
use super::{Argument, Arguments, Background, Command, CommandError, Flag, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;
use crate::suggest::nearest;
use crate::system::Noted;
use crate::table::{Column, Table};
use crate::units::since_start;

/// Events that are shown if nothing else is asked for.
const SHOWN_EVENTS: u64 = 16;

pub(super) static TRACE: Command = Command {
    name: "trace",
    summary: "shows what a server counted and did last",
    arguments: &[SERVICE],
    flags: &[Flag {
        name: "-n",
        value: Argument {
            name: "N",
            kind: Kind::Count,
            presence: Presence::Required,
            about: "how many of the last events to show; 16 if not given",
        },
    }],
    background: Background::Refused,
    help: "Every server counts what it does and remembers its last events; the library counts \
           requests, signals, interrupts and calls for all of them. Counters and the numbers of \
           events begin at 0 when the program starts. The shell can observe the services that its \
           manifest entry lets it call.",
    run,
};

/// The argument that names a service to observe.
pub(super) const SERVICE: Argument = Argument {
    name: "NAME",
    kind: Kind::Service,
    presence: Presence::Required,
    about: "a service",
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let name = arguments.required("NAME");
    observable(session, name)?;
    let counters = session.system.counters(name)?;
    let noted = session.system.events(name, arguments.count("N").unwrap_or(SHOWN_EVENTS))?;
    show_counters(session, &counters);
    session.line("");
    show_events(session, &noted);
    Ok(())
}

/// The service of this name, whose program runs: a call of one that does not run would wait until
/// it does.
pub(super) fn observable(
    session: &mut Session<'_>,
    name: &str,
) -> Result<ServiceStatus, CommandError> {
    let service = find(session, name)?;
    match service.state {
        ProgramState::Running => Ok(service),
        state => Err(CommandError::NotServed { program: service.program, state }),
    }
}

/// The service of this name.
pub(super) fn find(session: &mut Session<'_>, name: &str) -> Result<ServiceStatus, CommandError> {
    let services = session.system.services()?;
    let names = services.iter().map(|service| service.name.as_str());
    let nearest = nearest(name, names).map(String::from);
    let named = services.into_iter().find(|service| service.name == name);
    named.ok_or_else(|| CommandError::NoSuchService { name: name.to_string(), nearest })
}

/// Writes counters as a table.
pub(super) fn show_counters(session: &mut Session<'_>, counters: &[Count]) {
    let mut table = Table::new([Column::right("COUNT"), Column::left("SINCE ITS START")]);
    for Count { name, value } in counters {
        table.row([format!("{value}").into(), visible(name).into()]);
    }
    session.table(&table);
}

/// Writes events as a table.
fn show_events(session: &mut Session<'_>, noted: &[Noted]) {
    let titles = [Column::right("EVENT"), Column::right("TIME"), Column::elastic("LATEST")];
    let mut table = Table::new(titles);
    for Noted { number, event } in noted {
        let time = since_start(event.at_us);
        table.row([format!("{number}").into(), time.into(), visible(&event.what).into()]);
    }
    session.table(&table);
}
