//! `pmem`: the memory that persistent objects lie in.

use alloc::format;
use alloc::string::{String, ToString};

use libd3os::device::PersistenceDomain;
use libd3os::service::pmem::{Making, PoolStatus, Tier};
use libd3os::service::supervisor::ProgramState;

use super::arguments::Problem;
use super::numa::safe;
use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence, trace};
use crate::objects::PMEM_SERVICE;
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Column, Table};
use crate::units::{bytes, counted};

const PAGE_BYTES: u64 = 4096;

const FORCE: Argument = Argument {
    name: "HOW",
    kind: Kind::Choice(&["--empty", "--force"]),
    presence: Presence::Optional,
    about: "with `init`: what is there is nothing, or may be lost",
};

pub(super) static PMEM: Command = Command {
    name: "pmem",
    summary: "shows, checks or makes the pool of objects",
    arguments: &[
        Argument {
            name: "ACTION",
            kind: Kind::Choice(&["check", "init", "repair"]),
            presence: Presence::Optional,
            about: "what to do with the pool",
        },
        FORCE,
    ],
    flags: &[],
    background: Background::Refused,
    help: "Without an argument: how large the pool is, and what of it is in use.\n\n\
           `pmem check` looks at all metadata: that every page is an object's or free and nothing \
           twice, all headers, all names. It fails where something is damaged, and says what. \
           `pmem repair` works out anew what can be: which pages are free.\n\n\
           `pmem init` makes a pool. Where there is anything but zeros it refuses, unless it is told \
           `--force`; then what is there is lost. On an empty memory the first start makes a pool by \
           itself, unless it is too large to be looked through then: `pmem init` looks through all of it, and with \
           `--empty` believes you behind the first 4 GiB. What else is there would seem to be what objects hold.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    let (action, force) = (arguments.get("ACTION"), arguments.get(FORCE.name));
    if let Some(word) = force.filter(|_| action != Some("init")) {
        let problem = Problem::TooMany(word.to_string());
        return Err(CommandError::Usage { command: &PMEM, problem });
    }
    present(session)?;
    match action {
        None => status(session),
        Some("check") => check(session),
        Some("repair") => repair(session),
        Some(_) => {
            let pool = session.system.make_pool(making(force))?;
            session.line(format!("made a pool of {}", bytes(pool.pages * PAGE_BYTES)));
            Ok(())
        }
    }
}

/// Fails where the machine has no persistent memory, or its server is not started again. A server that
/// is being started is waited for by those who call it.
pub(super) fn present(session: &mut Session<'_>) -> Result<(), CommandError> {
    let service = trace::find(session, PMEM_SERVICE)?;
    match service.state {
        ProgramState::Stopped => Err(CommandError::NoPersistentMemory),
        state @ ProgramState::GivenUp => {
            Err(CommandError::NotServed { program: service.program, state })
        }
        _ => Ok(()),
    }
}

fn making(how: Option<&str>) -> Making {
    match how {
        Some("--empty") => Making::Believed,
        Some(_) => Making::Forced,
        None => Making::Searched,
    }
}

fn status(session: &mut Session<'_>) -> Result<(), CommandError> {
    for pool in session.system.pools()? {
        tell_pool(session, pool);
    }
    Ok(())
}

fn tell_pool(session: &mut Session<'_>, pool: PoolStatus) {
    let PoolStatus {
        id,
        pages,
        data,
        free,
        objects,
        sessions,
        most_sessions,
        domain,
        tier,
        is_read_only,
    } = pool;
    let access = if is_read_only { "read only: the memory is not armed" } else { "read and write" };
    let used = data.saturating_sub(free);
    let rows = [
        ("pool", format!("{id:032x}")),
        ("size", bytes(pages * PAGE_BYTES)),
        ("for objects", bytes(data * PAGE_BYTES)),
        (
            "in use",
            format!("{} by {}", bytes(used * PAGE_BYTES), counted(objects, "object", "objects")),
        ),
        ("free", bytes(free * PAGE_BYTES)),
        ("tier", tier.to_string()),
        ("access", access.to_string()),
        ("sessions", format!("{sessions} of {most_sessions}")),
        ("safe when power fails", kept(tier, domain).to_string()),
    ];
    let mut table = Table::new([Column::left("PROPERTY"), Column::elastic("VALUE")]);
    rows.into_iter().for_each(|(name, value)| table.row([name.into(), value.into()]));
    session.table(&table);
}

/// What is there when the machine is switched on again.
const fn kept(tier: Tier, domain: Option<PersistenceDomain>) -> &'static str {
    match tier {
        Tier::Persistent => safe(domain),
        Tier::Volatile => "nothing: the objects lie in RAM",
    }
}

fn check(session: &mut Session<'_>) -> Result<(), CommandError> {
    let damage = session.system.check_pool()?;
    if damage.is_empty() {
        let objects = session.system.pools()?.iter().map(|pool| pool.objects).sum();
        session
            .line(format!("{} checked, nothing is damaged", counted(objects, "object", "objects")));
        return Ok(());
    }
    tell(session, damage)
}

fn repair(session: &mut Session<'_>) -> Result<(), CommandError> {
    let left = session.system.repair_pool()?;
    if left.is_empty() {
        session.line("nothing is damaged any more");
        return Ok(());
    }
    tell(session, left)
}

fn tell(session: &mut Session<'_>, damage: alloc::vec::Vec<String>) -> Result<(), CommandError> {
    damage.iter().for_each(|words| session.painted_line(Role::Bad, words));
    Err(CommandError::Damaged { count: damage.len() })
}
