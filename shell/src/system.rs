//! What the shell asks of the rest of the system.
//!
//! Commands see the trait [`System`] only, so that host tests can put a made-up machine behind
//! it. [`Services`] is the real one: the clients of console, supervisor and log over whatever
//! [`Transport`] carries their calls.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use libd3os::call::{CallError, Error, MAX_BYTES, Transport};
use libd3os::connection::Connection;
use libd3os::device::PersistenceDomain;
use libd3os::observe::{Count, Happening, ObserveClient};
use libd3os::service::Page;
use libd3os::service::console::{
    ConsoleClient, ConsoleError, Graph, InputEvent, InputMode, ScreenStatus,
};
use libd3os::service::keyboard::{KeyboardClient, KeyboardError, Layout};
use libd3os::service::log::{LogClient, LogError, LogPage};
use libd3os::service::net::{InterfaceStatus, NetClient, NetError, SocketStatus};
use libd3os::service::nvdimm::{NvdimmClient, NvdimmError, RangeStatus};
use libd3os::service::platform::{
    DeviceInfo, IommuUnit, NodeInfo, PersistentRange, PlatformClient, PlatformError, TableInfo,
};
use libd3os::service::pmem::PmemError;
use libd3os::service::rtc::{RtcClient, RtcError, WallTime};
use libd3os::service::share::{self, Entry, ShareClient, ShareError};
use libd3os::service::supervisor::{
    CapabilityInfo, CoreStatus, Exit, Holding, MemoryReport, Moment, ProgramId, ProgramStatus,
    RunMode, ServiceStatus, SupervisorClient, SupervisorError, SystemInfo,
};
use libd3os::service::timer::{TimerClient, TimerError};
use libd3os::store::StoreError;

use crate::objects::Objects;

/// Bytes of output in one message: what fits behind the length that precedes them.
const CHUNK: usize = MAX_BYTES - 8;
/// How often a call is repeated whose server was busy or restarted.
const ATTEMPTS: u32 = 20;

/// The machine as the shell sees it. Lists come whole, however many messages they take.
///
/// Every method fails with a [`SystemError`] that names the service and its reason.
#[expect(clippy::missing_errors_doc, reason = "the trait's documentation says it for all methods")]
pub trait System: Objects {
    /// Sends bytes to the terminal.
    fn write(&mut self, bytes: &[u8]) -> Result<(), SystemError>;
    /// Waits for keys; ^C is one of them.
    fn read(&mut self) -> Result<InputEvent, SystemError>;
    /// The keys that were pressed and that nobody has taken; ^C is one of them. Does not wait.
    fn keys(&mut self) -> Result<Vec<u8>, SystemError>;
    /// Called once, when the shell is about to take its first line.
    fn ready(&mut self);
    /// Waits until every program that starts by itself has been started.
    fn settle(&mut self) -> Result<(), SystemError>;
    /// The programs of the image.
    fn programs(&mut self) -> Result<Vec<ProgramStatus>, SystemError>;
    /// Starts a program, on this core or where the manifest places it.
    fn spawn(
        &mut self,
        name: &str,
        args: &[String],
        mode: RunMode,
        core: Option<u32>,
    ) -> Result<ProgramId, SystemError>;
    /// Waits until a started program has ended.
    fn wait(&mut self, id: ProgramId) -> Result<Exit, SystemError>;
    /// Ends a program, now or at an event of its trace.
    fn kill(&mut self, name: &str, moment: Moment) -> Result<(), SystemError>;
    /// What a program holds.
    fn capabilities(&mut self, name: &str) -> Result<Vec<CapabilityInfo>, SystemError>;
    /// The memory of each core.
    fn memory(&mut self) -> Result<Vec<MemoryReport>, SystemError>;
    /// What init holds for programs.
    fn holdings(&mut self) -> Result<Vec<Holding>, SystemError>;
    /// The services of the image.
    fn services(&mut self) -> Result<Vec<ServiceStatus>, SystemError>;
    /// What the server of a service has counted since it started.
    fn counters(&mut self, service: &str) -> Result<Vec<Count>, SystemError>;
    /// The last events of a service's server, at most `count` of them, oldest first.
    fn events(&mut self, service: &str, count: u64) -> Result<Vec<Noted>, SystemError>;
    /// Waits until the machine has been up for so many nanoseconds.
    fn wait_until(&mut self, uptime_ns: u64) -> Result<(), SystemError>;
    /// The time of day: seconds since the beginning of 1970, UTC.
    fn wall_time(&mut self) -> Result<WallTime, SystemError>;
    /// The machine's cores.
    fn cores(&mut self) -> Result<Vec<CoreStatus>, SystemError>;
    /// Stops a core and all that runs on it.
    fn stop_core(&mut self, core: u32) -> Result<(), SystemError>;
    /// Stops a core and starts it anew.
    fn restart_core(&mut self, core: u32) -> Result<(), SystemError>;
    /// The system as a whole.
    fn info(&mut self) -> Result<SystemInfo, SystemError>;
    /// A part of the log.
    fn log(&mut self, from: u64) -> Result<LogPage, SystemError>;
    /// The firmware's tables.
    fn tables(&mut self) -> Result<Vec<TableInfo>, SystemError>;
    /// All bytes of a table, by its place in the list.
    fn table_bytes(&mut self, table: u32) -> Result<Vec<u8>, SystemError>;
    /// What a table says, in words.
    fn table_words(&mut self, table: u32) -> Result<Vec<String>, SystemError>;
    /// The PCI functions.
    fn devices(&mut self) -> Result<Vec<DeviceInfo>, SystemError>;
    /// The nodes.
    fn nodes(&mut self) -> Result<Vec<NodeInfo>, SystemError>;
    /// Ranges of persistent memory.
    fn persistent(&mut self) -> Result<Vec<PersistentRange>, SystemError>;
    /// The driver's ranges of persistent memory, and what of a write is safe when power fails.
    fn nvdimm(&mut self) -> Result<(Vec<RangeStatus>, Option<PersistenceDomain>), SystemError>;
    /// Bytes of persistent memory.
    fn nvdimm_read(&mut self, range: u16, offset: u64, bytes: u32) -> Result<Vec<u8>, SystemError>;
    /// Writes bytes to persistent memory.
    fn nvdimm_write(&mut self, range: u16, offset: u64, bytes: &[u8]) -> Result<(), SystemError>;
    /// The IOMMU's units.
    fn iommu(&mut self) -> Result<Vec<IommuUnit>, SystemError>;
    /// What the IOMMU kept devices from lately, in words.
    fn faults(&mut self) -> Result<Vec<String>, SystemError>;
    /// What is wrong with the machine's tables and devices, in words.
    fn problems(&mut self) -> Result<Vec<String>, SystemError>;
    /// The network's interfaces.
    fn interfaces(&mut self) -> Result<Vec<InterfaceStatus>, SystemError>;
    /// The sockets of all programs.
    fn sockets(&mut self) -> Result<Vec<SocketStatus>, SystemError>;
    /// The addresses of a name.
    fn resolve(&mut self, name: &str) -> Result<Vec<IpAddr>, SystemError>;
    /// What is in a directory of the host's share.
    fn host_files(&mut self, directory: &str) -> Result<Vec<Entry>, SystemError>;
    /// A part of a file of the host's share; nothing at its end.
    fn read_host(&mut self, path: &str, offset: u64) -> Result<Vec<u8>, SystemError>;
    /// A file of the host's share becomes this; it is made where it is not there.
    fn write_host(&mut self, path: &str, bytes: &[u8]) -> Result<(), SystemError>;
    /// Removes a file or an empty directory of the host's share.
    fn remove_host(&mut self, path: &str) -> Result<(), SystemError>;
    /// Makes a directory in the host's share.
    fn make_host_directory(&mut self, path: &str) -> Result<(), SystemError>;
    /// The screen, and the lines of text that it shows.
    fn screen(&mut self) -> Result<(ScreenStatus, Vec<String>), SystemError>;
    /// Draws a graph over cells of the terminal, if that has graphics; without values, takes it away.
    fn draw_graph(&mut self, graph: Graph) -> Result<(), SystemError>;
    /// The keyboard's layout.
    fn layout(&mut self) -> Result<Layout, SystemError>;
    /// Chooses the keyboard's layout.
    fn set_layout(&mut self, layout: Layout) -> Result<(), SystemError>;
    /// Switches the machine off; `status` is for whoever runs an emulated machine.
    fn power_off(&mut self, status: u8) -> Result<(), SystemError>;
    /// Starts the machine again.
    fn reboot(&mut self) -> Result<(), SystemError>;
}

/// An event of a server, and the number that it has in the server's trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Its number, from 0 at the server's start.
    pub number: u64,
    /// What it was.
    pub event: Happening,
}

/// Which service failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemError {
    /// A call did not get through.
    Call {
        /// The service called.
        service: &'static str,
        /// What happened to the call.
        error: CallError,
    },
    /// The supervisor refused.
    Supervisor(SupervisorError),
    /// The console refused.
    Console(ConsoleError),
    /// The log refused.
    Log(LogError),
    /// The network server refused.
    Net(NetError),
    /// The keyboard refused.
    Keyboard(KeyboardError),
    /// The driver of persistent memory refused.
    Nvdimm(NvdimmError),
    /// The platform server refused.
    Platform(PlatformError),
    /// The wall clock refused.
    Rtc(RtcError),
    /// The timer refused.
    Timer(TimerError),
    /// The host's share refused.
    Share(ShareError),
    /// Something about persistent objects.
    Store(StoreError),
    /// A server could not be observed.
    Observed {
        /// The service that it serves.
        service: String,
        /// What happened to the call.
        error: CallError,
    },
    /// The shell may not call this service.
    NotGranted {
        /// The service.
        service: String,
    },
    /// A list that comes in parts does not go on where it said it would.
    EndlessList {
        /// The service that answered.
        service: &'static str,
    },
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { service, error } => write!(f, "calling `{service}`: {error}"),
            Self::Supervisor(error) => error.fmt(f),
            Self::Console(error) => error.fmt(f),
            Self::Log(error) => error.fmt(f),
            Self::Net(error) => error.fmt(f),
            Self::Keyboard(error) => error.fmt(f),
            Self::Nvdimm(error) => error.fmt(f),
            Self::Platform(error) => error.fmt(f),
            Self::Rtc(error) => error.fmt(f),
            Self::Timer(error) => error.fmt(f),
            Self::Share(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Observed { service, error } => write!(f, "observing `{service}`: {error}"),
            Self::NotGranted { service } => {
                write!(f, "the shell may not call `{service}`")
            }
            Self::EndlessList { service } => write!(f, "`{service}` sent a list without an end"),
        }
    }
}

impl core::error::Error for SystemError {}

impl From<Error<SupervisorError>> for SystemError {
    fn from(error: Error<SupervisorError>) -> Self {
        match error {
            Error::Call(error) => Self::Call { service: "supervisor", error },
            Error::Service(error) => Self::Supervisor(error),
        }
    }
}

impl From<Error<ConsoleError>> for SystemError {
    fn from(error: Error<ConsoleError>) -> Self {
        match error {
            Error::Call(error) => Self::Call { service: "console", error },
            Error::Service(error) => Self::Console(error),
        }
    }
}

impl From<Error<LogError>> for SystemError {
    fn from(error: Error<LogError>) -> Self {
        match error {
            Error::Call(error) => Self::Call { service: "log", error },
            Error::Service(error) => Self::Log(error),
        }
    }
}

impl From<Error<NetError>> for SystemError {
    fn from(error: Error<NetError>) -> Self {
        match error {
            Error::Call(error) => Self::Call { service: "net", error },
            Error::Service(error) => Self::Net(error),
        }
    }
}

impl From<Error<KeyboardError>> for SystemError {
    fn from(error: Error<KeyboardError>) -> Self {
        match error {
            Error::Call(error) => Self::Call { service: "keyboard", error },
            Error::Service(error) => Self::Keyboard(error),
        }
    }
}

impl From<Error<NvdimmError>> for SystemError {
    fn from(error: Error<NvdimmError>) -> Self {
        match error {
            Error::Call(error) => Self::Call { service: "nvdimm", error },
            Error::Service(error) => Self::Nvdimm(error),
        }
    }
}

impl From<Error<PlatformError>> for SystemError {
    fn from(error: Error<PlatformError>) -> Self {
        match error {
            Error::Call(error) => Self::Call { service: "platform", error },
            Error::Service(error) => Self::Platform(error),
        }
    }
}

impl From<Error<RtcError>> for SystemError {
    fn from(error: Error<RtcError>) -> Self {
        match error {
            Error::Call(error) => Self::Call { service: "rtc", error },
            Error::Service(error) => Self::Rtc(error),
        }
    }
}

impl From<Error<TimerError>> for SystemError {
    fn from(error: Error<TimerError>) -> Self {
        match error {
            Error::Call(error) => Self::Call { service: "timer", error },
            Error::Service(error) => Self::Timer(error),
        }
    }
}

impl From<Error<ShareError>> for SystemError {
    fn from(error: Error<ShareError>) -> Self {
        match error {
            Error::Call(error) => Self::Call { service: "share", error },
            Error::Service(error) => Self::Share(error),
        }
    }
}

impl From<Error<PmemError>> for SystemError {
    fn from(error: Error<PmemError>) -> Self {
        Self::Store(error.into())
    }
}

impl From<StoreError> for SystemError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The ways to the services that the shell may call, by their names.
pub trait Ways {
    /// What carries the calls.
    type Transport: Transport;

    /// The way to a service, or `None` where the shell may not call it.
    fn to(&self, service: &str) -> Option<Self::Transport>;
}

/// The ways that the manifest grants.
#[derive(Clone, Copy, Debug)]
pub struct Granted;

impl Ways for Granted {
    type Transport = Connection;

    fn to(&self, service: &str) -> Option<Connection> {
        Connection::to(service).ok()
    }
}

/// The system's services behind their clients.
#[derive(Debug)]
pub struct Services<C, S, L, W> {
    console: ConsoleClient<C>,
    supervisor: SupervisorClient<S>,
    log: LogClient<L>,
    ways: W,
    hooks: Hooks,
}

/// What the shell tells the runtime besides calling services.
#[derive(Debug, Clone, Copy)]
pub struct Hooks {
    /// The shell is about to take its first line.
    pub ready: fn(),
    /// A server is busy: lets others run before it is asked again.
    pub pause: fn(),
}

impl<C: Transport, S: Transport, L: Transport, W: Ways> Services<C, S, L, W> {
    /// The services that these clients reach, and the others that there are ways to.
    pub fn new(
        console: ConsoleClient<C>,
        supervisor: SupervisorClient<S>,
        log: LogClient<L>,
        ways: W,
        hooks: Hooks,
    ) -> Self {
        Self { console, supervisor, log, ways, hooks }
    }

    fn observed<T>(
        &self,
        service: &str,
        ask: impl Fn(&ObserveClient<W::Transport>) -> Result<T, CallError>,
    ) -> Result<T, SystemError> {
        ask(&ObserveClient::new(self.way(service)?))
            .map_err(|error| SystemError::Observed { service: service.to_string(), error })
    }

    pub(crate) fn way(&self, service: &str) -> Result<W::Transport, SystemError> {
        let not_granted = || SystemError::NotGranted { service: service.to_string() };
        self.ways.to(service).ok_or_else(not_granted)
    }

    fn net(&self) -> Result<NetClient<W::Transport>, SystemError> {
        self.way("net").map(NetClient::new)
    }

    fn persistent_memory(&self) -> Result<NvdimmClient<W::Transport>, SystemError> {
        Ok(NvdimmClient::new(self.way("nvdimm")?))
    }

    fn keyboard(&self) -> Result<KeyboardClient<W::Transport>, SystemError> {
        Ok(KeyboardClient::new(self.way("keyboard")?))
    }

    fn share(&self) -> Result<ShareClient<W::Transport>, SystemError> {
        self.way("share").map(ShareClient::new)
    }

    /// Bytes of a file of the host's share, `most` at most; none at its end.
    pub(crate) fn read_file(
        &self,
        path: &str,
        offset: u64,
        most: usize,
    ) -> Result<Vec<u8>, SystemError> {
        let most = u32::try_from(most).unwrap_or(u32::MAX).min(share::MOST_BYTES);
        Ok(self.share()?.read(path.to_string(), offset, most)?)
    }

    /// Writes into a file of the host's share from `offset` on; at 0, it is made or emptied first.
    pub(crate) fn write_file(
        &self,
        path: &str,
        mut offset: u64,
        bytes: &[u8],
    ) -> Result<(), SystemError> {
        let share = self.share()?;
        if offset == 0 {
            share.create(path.to_string())?;
        }
        for piece in bytes.chunks(share::MOST_BYTES as usize) {
            share.write(path.to_string(), offset, piece.to_vec())?;
            offset += piece.len() as u64;
        }
        Ok(())
    }

    fn platform(&self) -> Result<PlatformClient<W::Transport>, SystemError> {
        self.way("platform").map(PlatformClient::new)
    }
}

impl<C, S, L, W> System for Services<C, S, L, W>
where
    C: Transport,
    S: Transport,
    L: Transport,
    W: Ways,
{
    fn write(&mut self, bytes: &[u8]) -> Result<(), SystemError> {
        for chunk in chunks(bytes) {
            insist(self.hooks.pause, || self.console.write(chunk.to_vec()))?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<InputEvent, SystemError> {
        Ok(insist(self.hooks.pause, || self.console.read(InputMode::Raw))?)
    }

    fn keys(&mut self) -> Result<Vec<u8>, SystemError> {
        Ok(insist(self.hooks.pause, || self.console.poll())?)
    }

    fn settle(&mut self) -> Result<(), SystemError> {
        Ok(self.supervisor.settled()?)
    }

    fn ready(&mut self) {
        (self.hooks.ready)();
    }

    fn programs(&mut self) -> Result<Vec<ProgramStatus>, SystemError> {
        all_pages("supervisor", |from| self.supervisor.programs(from))
    }

    fn spawn(
        &mut self,
        name: &str,
        args: &[String],
        mode: RunMode,
        core: Option<u32>,
    ) -> Result<ProgramId, SystemError> {
        Ok(self.supervisor.spawn(name.to_string(), args.to_vec(), mode, core)?)
    }

    fn wait(&mut self, id: ProgramId) -> Result<Exit, SystemError> {
        Ok(self.supervisor.wait(id)?)
    }

    fn kill(&mut self, name: &str, moment: Moment) -> Result<(), SystemError> {
        Ok(self.supervisor.kill(name.to_string(), moment)?)
    }

    fn capabilities(&mut self, name: &str) -> Result<Vec<CapabilityInfo>, SystemError> {
        all_pages("supervisor", |from| self.supervisor.capabilities(name.to_string(), from))
    }

    fn memory(&mut self) -> Result<Vec<MemoryReport>, SystemError> {
        all_pages("supervisor", |from| self.supervisor.memory(from))
    }

    fn holdings(&mut self) -> Result<Vec<Holding>, SystemError> {
        all_pages("supervisor", |from| self.supervisor.holdings(from))
    }

    fn services(&mut self) -> Result<Vec<ServiceStatus>, SystemError> {
        all_pages("supervisor", |from| self.supervisor.services(from))
    }

    fn counters(&mut self, service: &str) -> Result<Vec<Count>, SystemError> {
        self.observed(service, ObserveClient::counters)
    }

    fn events(&mut self, service: &str, count: u64) -> Result<Vec<Noted>, SystemError> {
        let events = self.observed(service, |client| client.latest(count))?;
        Ok(events.into_iter().map(|(number, event)| Noted { number, event }).collect())
    }

    fn wait_until(&mut self, uptime_ns: u64) -> Result<(), SystemError> {
        let timer = TimerClient::new(self.way("timer")?);
        Ok(insist(self.hooks.pause, || timer.wait(uptime_ns))?)
    }

    fn wall_time(&mut self) -> Result<WallTime, SystemError> {
        let rtc = RtcClient::new(self.way("rtc")?);
        Ok(insist(self.hooks.pause, || rtc.now())?)
    }

    fn cores(&mut self) -> Result<Vec<CoreStatus>, SystemError> {
        all_pages("supervisor", |from| self.supervisor.cores(from))
    }

    fn stop_core(&mut self, core: u32) -> Result<(), SystemError> {
        Ok(self.supervisor.stop_core(core)?)
    }

    fn restart_core(&mut self, core: u32) -> Result<(), SystemError> {
        Ok(self.supervisor.restart_core(core)?)
    }

    fn info(&mut self) -> Result<SystemInfo, SystemError> {
        Ok(self.supervisor.system()?)
    }

    fn log(&mut self, from: u64) -> Result<LogPage, SystemError> {
        Ok(self.log.read(from)?)
    }

    fn tables(&mut self) -> Result<Vec<TableInfo>, SystemError> {
        let platform = self.platform()?;
        all_pages("platform", |from| platform.tables(from))
    }

    fn table_bytes(&mut self, table: u32) -> Result<Vec<u8>, SystemError> {
        let platform = self.platform()?;
        let mut bytes = Vec::new();
        loop {
            let offset = u32::try_from(bytes.len());
            let offset = offset.map_err(|_| SystemError::EndlessList { service: "platform" })?;
            let part = platform.table_bytes(table, offset)?;
            if part.is_empty() {
                return Ok(bytes);
            }
            bytes.extend(part);
        }
    }

    fn table_words(&mut self, table: u32) -> Result<Vec<String>, SystemError> {
        let platform = self.platform()?;
        all_pages("platform", |from| platform.table_words(table, from))
    }

    fn devices(&mut self) -> Result<Vec<DeviceInfo>, SystemError> {
        let platform = self.platform()?;
        all_pages("platform", |from| platform.devices(from))
    }

    fn nodes(&mut self) -> Result<Vec<NodeInfo>, SystemError> {
        let platform = self.platform()?;
        all_pages("platform", |from| platform.nodes(from))
    }

    fn persistent(&mut self) -> Result<Vec<PersistentRange>, SystemError> {
        let platform = self.platform()?;
        all_pages("platform", |from| platform.persistent(from))
    }

    fn nvdimm(&mut self) -> Result<(Vec<RangeStatus>, Option<PersistenceDomain>), SystemError> {
        let driver = self.persistent_memory()?;
        let ranges = all_pages("nvdimm", |from| driver.ranges(from))?;
        Ok((ranges, driver.domain()?))
    }

    fn nvdimm_read(&mut self, range: u16, offset: u64, bytes: u32) -> Result<Vec<u8>, SystemError> {
        Ok(self.persistent_memory()?.read(range, offset, bytes)?)
    }

    fn nvdimm_write(&mut self, range: u16, offset: u64, bytes: &[u8]) -> Result<(), SystemError> {
        Ok(self.persistent_memory()?.write(range, offset, bytes.to_vec())?)
    }

    fn iommu(&mut self) -> Result<Vec<IommuUnit>, SystemError> {
        let platform = self.platform()?;
        all_pages("platform", |from| platform.iommu(from))
    }

    fn faults(&mut self) -> Result<Vec<String>, SystemError> {
        let platform = self.platform()?;
        all_pages("platform", |from| platform.faults(from))
    }

    fn problems(&mut self) -> Result<Vec<String>, SystemError> {
        let platform = self.platform()?;
        all_pages("platform", |from| platform.problems(from))
    }

    fn interfaces(&mut self) -> Result<Vec<InterfaceStatus>, SystemError> {
        let net = self.net()?;
        all_pages("net", |from| net.interfaces(from))
    }

    fn sockets(&mut self) -> Result<Vec<SocketStatus>, SystemError> {
        let net = self.net()?;
        all_pages("net", |from| net.sockets(from))
    }

    fn resolve(&mut self, name: &str) -> Result<Vec<IpAddr>, SystemError> {
        let net = self.net()?;
        Ok(insist(self.hooks.pause, || net.resolve(name.to_string()))?)
    }

    fn host_files(&mut self, directory: &str) -> Result<Vec<Entry>, SystemError> {
        let (share, mut entries, mut from) = (self.share()?, Vec::new(), 0);
        loop {
            let part = share.list(directory.to_string(), from)?;
            match part.next {
                // A host that shows nothing and goes on would do so for ever.
                Some(_) if part.entries.is_empty() => {
                    return Err(SystemError::EndlessList { service: "share" });
                }
                Some(next) => from = next,
                None => {
                    entries.extend(part.entries);
                    return Ok(entries);
                }
            }
            entries.extend(part.entries);
        }
    }

    fn read_host(&mut self, path: &str, offset: u64) -> Result<Vec<u8>, SystemError> {
        Ok(self.share()?.read(path.to_string(), offset, share::MOST_BYTES)?)
    }

    fn write_host(&mut self, path: &str, bytes: &[u8]) -> Result<(), SystemError> {
        self.write_file(path, 0, bytes)
    }

    fn remove_host(&mut self, path: &str) -> Result<(), SystemError> {
        Ok(self.share()?.remove(path.to_string())?)
    }

    fn make_host_directory(&mut self, path: &str) -> Result<(), SystemError> {
        Ok(self.share()?.make_directory(path.to_string())?)
    }

    fn screen(&mut self) -> Result<(ScreenStatus, Vec<String>), SystemError> {
        let status = insist(self.hooks.pause, || self.console.screen())?;
        Ok((status, all_pages("console", |from| self.console.text(from))?))
    }

    fn draw_graph(&mut self, graph: Graph) -> Result<(), SystemError> {
        Ok(insist(self.hooks.pause, || self.console.draw_graph(graph.clone()))?)
    }

    fn layout(&mut self) -> Result<Layout, SystemError> {
        Ok(self.keyboard()?.layout()?)
    }

    fn set_layout(&mut self, layout: Layout) -> Result<(), SystemError> {
        Ok(self.keyboard()?.set_layout(layout)?)
    }

    fn power_off(&mut self, status: u8) -> Result<(), SystemError> {
        Ok(self.supervisor.power_off(status)?)
    }

    fn reboot(&mut self) -> Result<(), SystemError> {
        Ok(self.supervisor.reboot()?)
    }
}

/// Repeats a call whose server was busy or restarted. For output and input that is right: some
/// of it may be doubled or lost then, as the console says, but the person sees where it goes on.
fn insist<T, E>(pause: fn(), mut call: impl FnMut() -> Result<T, Error<E>>) -> Result<T, Error<E>> {
    for _ in 1..ATTEMPTS {
        match call() {
            Err(Error::Call(CallError::Restarted | CallError::Busy)) => pause(),
            settled => return settled,
        }
    }
    call()
}

/// Collects a list that comes in parts.
pub(crate) fn all_pages<T, E>(
    service: &'static str,
    mut fetch: impl FnMut(u32) -> Result<Page<T>, Error<E>>,
) -> Result<Vec<T>, SystemError>
where
    SystemError: From<Error<E>>,
{
    let mut items = Vec::new();
    let mut from = 0;
    loop {
        let page = fetch(from)?;
        items.extend(page.items);
        match page.next {
            None => return Ok(items),
            Some(next) if next > from => from = next,
            Some(_) => return Err(SystemError::EndlessList { service }),
        }
    }
}

/// Cuts output into messages, at the ends of lines where there are any.
fn chunks(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (chunk, rest) = bytes.split_at_checked(chunk_length(bytes))?;
        bytes = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn chunk_length(bytes: &[u8]) -> usize {
    let Some(fitting) = bytes.get(..CHUNK) else { return bytes.len() };
    fitting.iter().rposition(|&b| b == b'\n').map_or(CHUNK, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn lists_are_collected_over_pages() {
        let fetch = |from: u32| -> Result<_, Error<SupervisorError>> {
            Ok(Page { items: vec![from, from + 1], next: (from < 4).then_some(from + 2) })
        };
        assert_eq!(all_pages("supervisor", fetch), Ok(vec![0, 1, 2, 3, 4, 5]));
    }

    #[test]
    fn a_list_that_does_not_advance_is_refused() {
        let stuck =
            |_| -> Result<_, Error<SupervisorError>> { Ok(Page { items: vec![1], next: Some(0) }) };
        assert_eq!(
            all_pages("supervisor", stuck),
            Err(SystemError::EndlessList { service: "supervisor" })
        );
    }

    #[test]
    fn a_restarted_server_is_asked_again_but_not_for_ever() {
        let mut calls = 0;
        let result: Result<u32, Error<ConsoleError>> = insist(
            || (),
            || {
                calls += 1;
                if calls == 1 { Err(Error::Call(CallError::Restarted)) } else { Ok(calls) }
            },
        );
        assert_eq!(result, Ok(2));

        let mut calls = 0;
        let result: Result<(), Error<ConsoleError>> = insist(
            || (),
            || {
                calls += 1;
                Err(Error::Call(CallError::Busy))
            },
        );
        assert_eq!((result, calls), (Err(Error::Call(CallError::Busy)), ATTEMPTS));
    }

    #[test]
    fn chunks_end_at_line_ends() {
        let text = "line\n".repeat(CHUNK);
        assert!(chunks(text.as_bytes()).all(|chunk| chunk.ends_with(b"\n")));
    }

    proptest! {
        #[test]
        fn chunks_fit_and_lose_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
            let parts: Vec<_> = chunks(&bytes).collect();
            prop_assert!(parts.iter().all(|part| !part.is_empty() && part.len() <= CHUNK));
            prop_assert_eq!(parts.concat(), bytes);
        }
    }
}
