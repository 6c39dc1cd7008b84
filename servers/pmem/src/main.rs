//! The object server's process: it finds the persistent memory, lends it and takes it back, and carries out
//! the interface. `core` and `tiers` decide.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

#[expect(unsafe_code, reason = "makes controls of pages that are nobody's")]
mod memory;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use libd3os::call::{CallError, Caller, Error};
use libd3os::device::PersistenceDomain;
use libd3os::ends::Ends;
use libd3os::ipc::MissingGrant;
use libd3os::object::medium::{Durability, Mapped};
use libd3os::object::{durability, recovery::Report};
use libd3os::persistent::{Whole, scratch};
use libd3os::region::Rights;
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::Page;
use libd3os::service::nvdimm::{NvdimmClient, RangeStatus};
use libd3os::service::persistent::{PersistentClient, PersistentError};
use libd3os::service::pmem::{
    Listing, Making, ObjectName, ObjectStatus, OpenObject, Pmem, PmemError, PoolStatus, Removed,
    SessionGrant, Tier, WorkDone, WorkPart,
};
use libd3os::service::supervisor::SupervisorClient;
use libd3os::start::layout::{VOLATILE_PLACES, VOLATILE_RANGE};
use libd3os::start::{SIGNAL_FLAG, StartInfo};

use memory::Lending;
use pmem::core::{Beginning, Core};
use pmem::events::Journal;
use pmem::tiers::Tiers;

libd3os::program! {
    main: run,
    serves: ["pmem"],
    calls: ["entropy", "log", "nvdimm", "persistent", "supervisor"],
    waits: ["program-ended-pmem"],
}

/// The server's state, over memory that is there.
type Opened = Core<Mapped, Lending>;

/// All that the server serves.
type Pools = Tiers<Mapped, Lending, Box<dyn FnMut() -> Result<Opened, PmemError>>>;

/// The range of persistent memory that is used.
const RANGE: u16 = 0;

/// Why the server cannot run.
#[derive(Debug)]
enum Failure {
    Server(ServerError),
    Grant(MissingGrant<'static>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::Grant(error) => error.fmt(f),
        }
    }
}

fn run(start: &'static StartInfo) -> Result<Infallible, Failure> {
    let mut server = Server::serving("pmem").map_err(Failure::Server)?;
    let journal = Journal::default();
    let mut process = Process {
        tiers: open(&journal),
        supervisor: SupervisorClient::connect().map_err(Failure::Grant)?,
        ends: Ends::default(),
    };
    server.observe(journal.recorder());
    let ended = start.signal("program-ended-pmem").unwrap_or(0) & !SIGNAL_FLAG;
    process.fetch_ends();
    loop {
        match server.next() {
            Event::Request(request) => Pmem::dispatch(&mut process, request),
            Event::Signal(bits) if bits & ended != 0 => process.fetch_ends(),
            Event::Signal(bits) => log::warn!("a signal {bits:#x}, which nobody should send"),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

/// The pools: the persistent one, where the machine has persistent memory, and the volatile one, which is there
/// if somebody has asked for it before a restart.
fn open(journal: &Journal) -> Pools {
    let persistent = match find() {
        Ok(found) => found.map(|(range, domain)| open_persistent(range, domain, journal)),
        Err(error) => Some(Err(error)),
    };
    if let Some(Err(error)) = &persistent {
        log::warn!("{error}");
    }
    let noted = journal.clone();
    let mut tiers: Pools = Tiers::new(persistent, Box::new(move || open_volatile(&noted)));
    let is_set_aside = || PersistentClient::connect().ok()?.volatile(false).ok();
    if is_set_aside().is_some_and(|bytes| bytes > 0)
        && let Err(error) = tiers.at(Tier::Volatile)
    {
        log::error!("the volatile objects are lost: {error}");
    }
    tiers
}

/// The first range, and what the platform saves; nothing where there is no driver, as the machine has none.
fn find() -> Result<Option<(RangeStatus, Option<PersistenceDomain>)>, PmemError> {
    let nvdimm = NvdimmClient::connect().map_err(|error| no_memory(&error))?;
    let ranges = match nvdimm.ranges(0) {
        Err(Error::Call(CallError::Unavailable)) => return Ok(None),
        ranges => ranges.map_err(|error| no_memory(&error))?,
    };
    let domain = nvdimm.domain().map_err(|error| no_memory(&error))?;
    Ok(ranges.items.first().map(|range| (*range, domain)))
}

fn no_memory(why: &dyn fmt::Display) -> PmemError {
    PmemError::NoMemory(why.to_string())
}

/// Opens the pool in RAM that init has set aside, or makes it there.
fn open_volatile(journal: &Journal) -> Result<Opened, PmemError> {
    let refused = |error: Error<PersistentError>| PmemError::NoRam(error.to_string());
    let client = PersistentClient::connect().map_err(|error| no_memory(&error))?;
    let bytes = client.volatile(true).map_err(refused)?;
    let whole = Whole::show(&client, (VOLATILE_RANGE, bytes), VOLATILE_PLACES).map_err(refused)?;
    let medium = whole.into_medium(Durability::Never);
    let lending = Lending::new(client, VOLATILE_RANGE, medium);
    let (core, beginning) = Core::volatile(medium, lending, journal.clone());
    tell(beginning, &medium);
    Ok(core)
}

/// As far as there are places for it.
fn open_persistent(
    range: RangeStatus,
    domain: Option<PersistenceDomain>,
    journal: &Journal,
) -> Result<Opened, PmemError> {
    let client = PersistentClient::connect().map_err(|error| no_memory(&error))?;
    let places = 0..VOLATILE_PLACES.start;
    let whole = Whole::show(&client, (RANGE, range.bytes), places);
    let whole = whole.map_err(|error| no_memory(&error))?;
    tell_unused(range, whole.bytes());
    let is_armed = range.armed && whole.rights().contain(Rights::WRITE);
    let medium = whole.into_medium(durability(domain));
    let lending = Lending::new(client, RANGE, medium);
    Ok(if is_armed {
        begin(medium, domain, lending, journal)
    } else {
        begin_to_read(medium, domain, lending, journal)
    })
}

/// What is written to memory that is not armed would be lost.
fn begin_to_read(
    medium: Mapped,
    domain: Option<PersistenceDomain>,
    lending: Lending,
    journal: &Journal,
) -> Opened {
    let (core, beginning) = Core::reading(medium, scratch(), domain, lending, journal.clone());
    match beginning {
        Beginning::Refused(error) => log::warn!("the persistent memory is not armed; {error}"),
        _ => log::warn!("the persistent memory is not armed: objects can only be read"),
    }
    core
}

fn tell_unused(range: RangeStatus, used: usize) {
    let unused = range.bytes.saturating_sub(used as u64) >> 20;
    if unused > 0 {
        log::info!("{unused} MiB of the persistent memory are out of reach");
    }
}

fn begin(
    medium: Mapped,
    domain: Option<PersistenceDomain>,
    lending: Lending,
    journal: &Journal,
) -> Opened {
    let (core, beginning) = Core::new(medium, domain, lending, journal.clone());
    tell(beginning, &medium);
    core
}

fn tell(beginning: Beginning, medium: &Mapped) {
    match beginning {
        Beginning::ReadOnly => {}
        Beginning::Made => log::info!("made a pool of {} MiB", medium_mib(medium)),
        Beginning::Refused(error) => log::warn!("{error}"),
        Beginning::Opened(own, programs) => tell_recovery(&own, &programs),
    }
}

fn medium_mib(medium: &Mapped) -> usize {
    libd3os::object::medium::Medium::bytes(medium) >> 20
}

fn tell_recovery(own: &Report, programs: &Report) {
    let records = own.records + programs.records;
    let applied = own.applied + programs.applied;
    log::info!("opened the pool: {records} records in its logs, {applied} changes put in place");
    for finding in own.findings.iter().chain(&programs.findings) {
        log::warn!("recovery: {finding:?}");
    }
}

/// The server.
struct Process {
    tiers: Pools,
    supervisor: SupervisorClient,
    ends: Ends,
}

impl Process {
    /// Ends the sessions of programs that have ended.
    fn fetch_ends(&mut self) {
        let mut from = Some(0);
        while let Some(first) = from {
            // Init always answers; should it not, a dead program's session stays until it is back.
            let Ok(page) = self.supervisor.ends(first) else { return };
            for program in self.ends.update(first, &page.items) {
                if let Ok(program) = u16::try_from(program) {
                    self.tiers.ended(program);
                }
            }
            from = page.next.filter(|next| *next > first);
        }
    }
}

type Done<T> = Result<T, PmemError>;

impl Pmem for Process {
    fn tier(&mut self, _: Caller) -> Done<Tier> {
        Ok(self.tiers.usual())
    }

    fn status(&mut self, caller: Caller, tier: Tier) -> Done<PoolStatus> {
        self.tiers.status(caller.program(), tier)
    }

    fn init(&mut self, caller: Caller, making: Making) -> Done<PoolStatus> {
        self.tiers.at(self.tiers.usual())?.init(caller.program(), making)
    }

    fn session(&mut self, caller: Caller, tier: Tier) -> Done<SessionGrant> {
        self.tiers.session(caller.program(), tier)
    }

    fn close(&mut self, caller: Caller, tier: Tier) -> Done<()> {
        self.tiers.at(tier)?.close(caller.program())
    }

    fn describe(&mut self, caller: Caller, tier: Tier, from: u32, part: Vec<u8>) -> Done<()> {
        self.tiers.at(tier)?.describe(caller.program(), from, &part)
    }

    fn create(
        &mut self,
        caller: Caller,
        tier: Tier,
        path: String,
        pages: u32,
        base: Vec<u8>,
    ) -> Done<ObjectName> {
        self.tiers.create(caller.program(), tier, (&path, pages, base))
    }

    fn make_directory(&mut self, caller: Caller, tier: Tier, path: String) -> Done<ObjectName> {
        self.tiers.make_directory(caller.program(), tier, &path)
    }

    fn open(
        &mut self,
        caller: Caller,
        tier: Tier,
        path: String,
        rights: Rights,
        fingerprint: Option<u64>,
    ) -> Done<OpenObject> {
        self.tiers.open(caller.program(), tier, (&path, rights, fingerprint))
    }

    fn release(&mut self, caller: Caller, id: ObjectName) -> Done<()> {
        self.tiers.with(caller.program(), id)?.release(caller.program(), id)
    }

    fn renew(&mut self, caller: Caller, id: ObjectName) -> Done<OpenObject> {
        self.tiers.with(caller.program(), id)?.renew(caller.program(), id)
    }

    fn contest(&mut self, caller: Caller, id: ObjectName) -> Done<()> {
        self.tiers.with(caller.program(), id)?.contest(caller.program(), id)
    }

    fn snapshot(&mut self, caller: Caller, path: String, snapshot: String) -> Done<ObjectName> {
        let program = caller.program();
        self.tiers.naming((&path, &snapshot), |core| core.snapshot(program, &path, &snapshot))
    }

    fn grow(&mut self, caller: Caller, path: String, pages: u32) -> Done<u64> {
        self.tiers.of(&path)?.grow(caller.program(), &path, pages)
    }

    fn work(
        &mut self,
        caller: Caller,
        path: String,
        part: WorkPart,
        operator: Vec<u8>,
    ) -> Done<WorkDone> {
        self.tiers.of(&path)?.work(caller.program(), &path, part, &operator)
    }

    fn permit(
        &mut self,
        caller: Caller,
        path: String,
        program: String,
        rights: Rights,
    ) -> Done<()> {
        self.tiers.of(&path)?.permit(caller.program(), &path, &program, rights)
    }

    fn forbid(&mut self, caller: Caller, path: String, program: String) -> Done<()> {
        self.tiers.of(&path)?.forbid(caller.program(), &path, &program)
    }

    fn link(&mut self, caller: Caller, path: String, other: String) -> Done<()> {
        let program = caller.program();
        self.tiers.naming((&path, &other), |core| core.link(program, &path, &other))
    }

    fn rename(&mut self, caller: Caller, path: String, other: String) -> Done<()> {
        let program = caller.program();
        self.tiers.naming((&path, &other), |core| core.rename(program, &path, &other))
    }

    fn remove(&mut self, caller: Caller, path: String) -> Done<Removed> {
        self.tiers.of(&path)?.remove(caller.program(), &path)
    }

    fn list(&mut self, caller: Caller, path: String, after: String) -> Done<Listing> {
        self.tiers.list(caller.program(), &path, &after)
    }

    fn stat(&mut self, caller: Caller, path: String) -> Done<ObjectStatus> {
        self.tiers.of(&path)?.stat(caller.program(), &path)
    }

    fn check(&mut self, caller: Caller, from: u32) -> Done<Page<String>> {
        self.tiers.check(caller.program(), from)
    }

    fn repair(&mut self, caller: Caller) -> Done<Page<String>> {
        self.tiers.repair(caller.program())
    }
}
