//! The process: fetches the tables from `platform`, evaluates them once, reports, and ends.
//!
//! It is given no device. If it panics, what it had reported stands, and its next instance says only that
//! there is no more; if it never ends, it does so at its low priority.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;

use aml::evaluate::{Finding, LoadError, evaluate};
use aml::machine::Machine;
use libd3os::call::Error;
use libd3os::ipc::MissingGrant;
use libd3os::service::platform::{PciAddress, PlatformClient, PlatformError, Route, TableInfo};
use libd3os::service::supervisor::{SupervisorClient, SupervisorError};
use libd3os::start::StartInfo;
use libd3os::time;

libd3os::program! {
    main: run,
    calls: ["log", "platform", "supervisor"],
}

/// Routes in one call: they take 20 bytes at most.
const ROUTES_AT_A_TIME: usize = 32;

/// Why the bytecode is not evaluated.
enum Failure {
    /// The manifest does not give what this program needs.
    Grant(MissingGrant<'static>),
    /// The platform server does not answer.
    Platform(Error<PlatformError>),
    /// The supervisor does not answer.
    Supervisor(Error<SupervisorError>),
    /// The machine has no sound table with bytecode.
    NoTable,
    /// The bytecode cannot be loaded.
    Load(LoadError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(error) => error.fmt(f),
            Self::Platform(error) => write!(f, "the platform server: {error}"),
            Self::Supervisor(error) => write!(f, "the supervisor: {error}"),
            Self::NoTable => f.write_str("the firmware has no sound table with bytecode"),
            Self::Load(error) => error.fmt(f),
        }
    }
}

impl From<MissingGrant<'static>> for Failure {
    fn from(error: MissingGrant<'static>) -> Self {
        Self::Grant(error)
    }
}

impl From<Error<PlatformError>> for Failure {
    fn from(error: Error<PlatformError>) -> Self {
        Self::Platform(error)
    }
}

fn run(start: &'static StartInfo) -> i32 {
    let platform = match PlatformClient::connect() {
        Ok(platform) => platform,
        Err(error) => return fail(&error.into()),
    };
    let outcome = match is_first(start) {
        Ok(true) => report(&platform),
        Ok(false) => {
            log::warn!("the firmware's bytecode could not be evaluated to its end");
            Ok(())
        }
        Err(failure) => Err(failure),
    };
    // Devices wait for routes until it is said that there are no more.
    let told = platform.report_routes(Vec::new(), true).map_err(Failure::from);
    match outcome.and(told) {
        Ok(()) => 0,
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &Failure) -> i32 {
    log::error!("{failure}");
    1
}

/// Whether this is the first instance: the next would panic where the one before did.
fn is_first(start: &StartInfo) -> Result<bool, Failure> {
    let supervisor = SupervisorClient::connect()?;
    let mut from = Some(0);
    while let Some(first) = from {
        let page = supervisor.programs(first).map_err(Failure::Supervisor)?;
        if let Some(own) = page.items.iter().find(|program| program.name == start.name) {
            return Ok(own.restarts == 0);
        }
        from = page.next;
    }
    Ok(true)
}

fn report(platform: &PlatformClient) -> Result<(), Failure> {
    let tables = tables(platform)?;
    let number = |name: &str| {
        let sound = |table: &&(u32, TableInfo)| table.1.name == name && table.1.problem.is_none();
        tables.iter().filter(sound).map(|(number, _)| *number).collect::<Vec<u32>>()
    };
    let main = *number("DSDT").first().ok_or(Failure::NoTable)?;
    let main = bytes(platform, main)?;
    let further: Result<Vec<Vec<u8>>, Failure> =
        number("SSDT").into_iter().map(|table| bytes(platform, table)).collect();
    let machine = Rc::new(Remote(PlatformClient::connect()?));
    let mut lost = None;
    let tell = |finding| {
        if let Err(error) = hand_on(platform, finding) {
            lost = Some(error);
        }
    };
    // What the interpreter says of its own progress is nobody's news.
    let level = log::max_level();
    log::set_max_level(log::LevelFilter::Warn);
    let evaluated = evaluate(&main, &further?, machine, tell);
    log::set_max_level(level);
    let refused = evaluated.map_err(Failure::Load)?;
    log::debug!(
        "kept from the bytecode: {} accesses to memory, {} to ports, {} writes to configuration space",
        refused.memory,
        refused.ports,
        refused.configuration
    );
    lost.map_or(Ok(()), |error| Err(error.into()))
}

fn hand_on(platform: &PlatformClient, finding: Finding) -> Result<(), Error<PlatformError>> {
    match finding {
        Finding::SleepTypes(a, b) => platform.report_sleep_types(a, b),
        Finding::Routes(routes) => {
            let mut parts = routes.chunks(ROUTES_AT_A_TIME);
            parts.try_for_each(|part: &[Route]| platform.report_routes(part.to_vec(), false))
        }
        Finding::Problem(problem) => {
            log::warn!("{problem}");
            Ok(())
        }
    }
}

/// All tables with their numbers.
fn tables(platform: &PlatformClient) -> Result<Vec<(u32, TableInfo)>, Failure> {
    let mut all = Vec::new();
    let mut from = Some(0);
    while let Some(first) = from {
        let page = platform.tables(first)?;
        all.extend((first..).zip(page.items));
        from = page.next;
    }
    Ok(all)
}

fn bytes(platform: &PlatformClient, table: u32) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    loop {
        let offset = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let part = platform.table_bytes(table, offset)?;
        if part.is_empty() {
            return Ok(bytes);
        }
        bytes.extend(part);
    }
}

/// The machine as the platform server tells of it.
struct Remote(PlatformClient);

impl Machine for Remote {
    fn configuration(&self, address: PciAddress, offset: u16) -> u32 {
        self.0.configuration(address, offset).unwrap_or(u32::MAX)
    }

    fn now(&self) -> u64 {
        time::uptime().map_or(0, |uptime| u64::try_from(uptime.as_nanos()).unwrap_or(u64::MAX))
    }
}
