//! The object server's process: it finds the persistent memory, lends it and takes it back, and carries out
//! the interface. `core` decides.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

#[expect(unsafe_code, reason = "makes controls of pages that are nobody's")]
mod memory;

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
use libd3os::service::persistent::PersistentClient;
use libd3os::service::pmem::{
    Listing, ObjectName, ObjectStatus, OpenObject, Pmem, PmemError, PoolStatus, Removed,
    SessionGrant, WorkDone, WorkPart,
};
use libd3os::service::supervisor::SupervisorClient;
use libd3os::start::layout::VOLATILE_RANGE;
use libd3os::start::{SIGNAL_FLAG, StartInfo};

use memory::Lending;
use pmem::core::{Beginning, Core};
use pmem::events::Journal;

libd3os::program! {
    main: run,
    serves: ["pmem"],
    calls: ["entropy", "log", "nvdimm", "persistent", "supervisor"],
    waits: ["program-ended-pmem"],
}

/// The server's state, over memory that is there.
type Opened = Core<Mapped, Lending>;

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
    let (state, memory) = open();
    let mut process = Process {
        state,
        memory,
        is_new: true,
        journal: Journal::default(),
        supervisor: SupervisorClient::connect().map_err(Failure::Grant)?,
        ends: Ends::default(),
    };
    let ended = start.signal("program-ended-pmem").unwrap_or(0) & !SIGNAL_FLAG;
    process.fetch_ends();
    loop {
        if core::mem::take(&mut process.is_new) {
            server.observe(process.journal().recorder());
        }
        match server.next() {
            Event::Request(request) => Pmem::dispatch(&mut process, request),
            Event::Signal(bits) if bits & ended != 0 => process.fetch_ends(),
            Event::Signal(bits) => log::warn!("a signal {bits:#x}, which nobody should send"),
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

/// What objects lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// The machine's persistent memory.
    Persistent,
    /// RAM, which is taken when somebody asks for objects.
    Ram,
}

/// The first range of persistent memory; a machine that has none has objects of the volatile tier.
fn open() -> (Result<Opened, PmemError>, Memory) {
    match find() {
        Ok(Some((range, domain))) => (open_persistent(range, domain), Memory::Persistent),
        Ok(None) => (Err(PmemError::NoMemory("nobody has asked for it".into())), Memory::Ram),
        Err(error) => (Err(error), Memory::Persistent),
    }
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
fn open_volatile() -> Result<Opened, PmemError> {
    let client = PersistentClient::connect().map_err(|error| no_memory(&error))?;
    let bytes = client.volatile().map_err(|error| no_memory(&error))?;
    let whole = Whole::show(&client, VOLATILE_RANGE, bytes).map_err(|error| no_memory(&error))?;
    let medium = whole.into_medium(Durability::Never);
    let (core, beginning) = Core::volatile(medium, Lending::new(client, VOLATILE_RANGE, medium));
    tell(beginning, &medium);
    Ok(core)
}

/// As far as there are places for it.
fn open_persistent(
    range: RangeStatus,
    domain: Option<PersistenceDomain>,
) -> Result<Opened, PmemError> {
    let client = PersistentClient::connect().map_err(|error| no_memory(&error))?;
    let whole = Whole::show(&client, RANGE, range.bytes).map_err(|error| no_memory(&error))?;
    tell_unused(range, whole.bytes());
    let is_armed = range.armed && whole.rights().contain(Rights::WRITE);
    let medium = whole.into_medium(durability(domain));
    let lending = Lending::new(client, RANGE, medium);
    Ok(if is_armed {
        begin(medium, domain, lending)
    } else {
        begin_to_read(medium, domain, lending)
    })
}

/// What is written to memory that is not armed would be lost.
fn begin_to_read(medium: Mapped, domain: Option<PersistenceDomain>, lending: Lending) -> Opened {
    let (core, beginning) = Core::reading(medium, scratch(), domain, lending);
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

fn begin(medium: Mapped, domain: Option<PersistenceDomain>, lending: Lending) -> Opened {
    let (core, beginning) = Core::new(medium, domain, lending);
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

/// The server, or why it has nothing to serve.
struct Process {
    state: Result<Opened, PmemError>,
    memory: Memory,
    /// Whether the state is to be observed anew.
    is_new: bool,
    /// Of a server that has nothing to serve.
    journal: Journal,
    supervisor: SupervisorClient,
    ends: Ends,
}

impl Process {
    fn journal(&self) -> &Journal {
        self.state.as_ref().map_or(&self.journal, Core::journal)
    }

    fn core(&mut self) -> Result<&mut Opened, PmemError> {
        if self.memory == Memory::Ram && self.state.is_err() {
            self.state = open_volatile();
            self.is_new = true;
        }
        self.state.as_mut().map_err(|error| error.clone())
    }

    /// Ends the sessions of programs that have ended.
    fn fetch_ends(&mut self) {
        let mut from = Some(0);
        while let Some(first) = from {
            // Init always answers; should it not, a dead program's session stays until it is back.
            let Ok(page) = self.supervisor.ends(first) else { return };
            for program in self.ends.update(first, &page.items) {
                if let (Ok(core), Ok(program)) = (&mut self.state, u16::try_from(program)) {
                    core.ended(program);
                }
            }
            from = page.next.filter(|next| *next > first);
        }
    }
}

type Done<T> = Result<T, PmemError>;

impl Pmem for Process {
    fn status(&mut self, caller: Caller) -> Done<PoolStatus> {
        self.core()?.status(caller.program())
    }

    fn init(&mut self, caller: Caller, force: bool) -> Done<PoolStatus> {
        self.core()?.init(caller.program(), force)
    }

    fn session(&mut self, caller: Caller) -> Done<SessionGrant> {
        self.core()?.session(caller.program())
    }

    fn close(&mut self, caller: Caller) -> Done<()> {
        self.core()?.close(caller.program())
    }

    fn describe(&mut self, caller: Caller, from: u32, part: Vec<u8>) -> Done<()> {
        self.core()?.describe(caller.program(), from, &part)
    }

    fn create(
        &mut self,
        caller: Caller,
        path: String,
        pages: u32,
        base: Vec<u8>,
    ) -> Done<ObjectName> {
        self.core()?.create(caller.program(), &path, pages, base)
    }

    fn make_directory(&mut self, caller: Caller, path: String) -> Done<ObjectName> {
        self.core()?.make_directory(caller.program(), &path)
    }

    fn open(
        &mut self,
        caller: Caller,
        path: String,
        rights: Rights,
        fingerprint: Option<u64>,
    ) -> Done<OpenObject> {
        self.core()?.open(caller.program(), &path, rights, fingerprint)
    }

    fn release(&mut self, caller: Caller, id: ObjectName) -> Done<()> {
        self.core()?.release(caller.program(), id)
    }

    fn renew(&mut self, caller: Caller, id: ObjectName) -> Done<OpenObject> {
        self.core()?.renew(caller.program(), id)
    }

    fn contest(&mut self, caller: Caller, id: ObjectName) -> Done<()> {
        self.core()?.contest(caller.program(), id)
    }

    fn snapshot(&mut self, caller: Caller, path: String, snapshot: String) -> Done<ObjectName> {
        self.core()?.snapshot(caller.program(), &path, &snapshot)
    }

    fn grow(&mut self, caller: Caller, path: String, pages: u32) -> Done<u64> {
        self.core()?.grow(caller.program(), &path, pages)
    }

    fn work(
        &mut self,
        caller: Caller,
        path: String,
        part: WorkPart,
        operator: Vec<u8>,
    ) -> Done<WorkDone> {
        self.core()?.work(caller.program(), &path, part, &operator)
    }

    fn permit(
        &mut self,
        caller: Caller,
        path: String,
        program: String,
        rights: Rights,
    ) -> Done<()> {
        self.core()?.permit(caller.program(), &path, &program, rights)
    }

    fn forbid(&mut self, caller: Caller, path: String, program: String) -> Done<()> {
        self.core()?.forbid(caller.program(), &path, &program)
    }

    fn link(&mut self, caller: Caller, path: String, other: String) -> Done<()> {
        self.core()?.link(caller.program(), &path, &other)
    }

    fn rename(&mut self, caller: Caller, path: String, other: String) -> Done<()> {
        self.core()?.rename(caller.program(), &path, &other)
    }

    fn remove(&mut self, caller: Caller, path: String) -> Done<Removed> {
        self.core()?.remove(caller.program(), &path)
    }

    fn list(&mut self, caller: Caller, path: String, after: String) -> Done<Listing> {
        self.core()?.list(caller.program(), &path, &after)
    }

    fn stat(&mut self, caller: Caller, path: String) -> Done<ObjectStatus> {
        self.core()?.stat(caller.program(), &path)
    }

    fn check(&mut self, caller: Caller, from: u32) -> Done<Page<String>> {
        self.core()?.check(caller.program(), from)
    }

    fn repair(&mut self, caller: Caller) -> Done<Page<String>> {
        self.core()?.repair(caller.program())
    }
}
