//! The network server's process: drivers, timer, programs' ends, and the loop.
//!
//! It waits at one place: for callers, for frames, for programs that have put something into their
//! rings, for its deadline. Before it waits it asks all of them to wake it, and looks once more.
//!
//! A driver is called only to attach to its card and to ask for its line, which it answers at once;
//! one that does not run answers nothing, and the call fails. Frames need no calls.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;
use core::time::Duration;

use libd3os::cap::Notification;
use libd3os::connection::Connection;
use libd3os::ends::Ends;
use libd3os::ipc::MissingGrant;
use libd3os::nic::{Consumer, Epoch, Link, Memory};
use libd3os::program::{self, grant};
use libd3os::ring::RingError;
use libd3os::server::{Event, Server, ServerError};
use libd3os::service::entropy::EntropyClient;
use libd3os::service::net::{LinkState, Net};
use libd3os::service::nic::NicClient;
use libd3os::service::supervisor::SupervisorClient;
use libd3os::service::timer::TimerClient;
use libd3os::start::{GrantKind, SIGNAL_FLAG, StartInfo};
use libd3os::time::{self, tsc};

use net::core::{Core, Progress};
use net::link::{info, link_state};
use net::options::{BadArgument, Options};
use net::service::Service;

libd3os::program! {
    main: run,
    serves: ["net"],
    calls: ["e1000e", "entropy", "log", "supervisor", "timer", "virtio-net"],
    regions: ["e1000e-tx", "net-fetch", "net-serve", "virtio-net-tx"],
    reads: ["e1000e-rx", "virtio-net-rx"],
    signals: ["e1000e-send", "net-fetch-ready", "net-serve-ready", "virtio-net-send"],
    waits: [
        "e1000e-frames",
        "net-fetch-send",
        "net-serve-send",
        "net-timer",
        "nic-up",
        "program-ended-net",
        "virtio-net-frames",
    ],
}

/// Drivers, each with its regions and the notification that wakes it.
const DRIVERS: [Names; 2] = [
    Names {
        driver: "virtio-net",
        transmit: "virtio-net-tx",
        receive: "virtio-net-rx",
        wake: "virtio-net-send",
    },
    Names { driver: "e1000e", transmit: "e1000e-tx", receive: "e1000e-rx", wake: "e1000e-send" },
];
/// Regions of programs, each with the notification that wakes its program.
const PROGRAMS: [(&str, &str); 2] =
    [("net-fetch", "net-fetch-ready"), ("net-serve", "net-serve-ready")];
/// What the timer signals.
const TIMER: &str = "net-timer";
/// How often everything is moved before the other duties get their turn.
const TURNS: u32 = 64;

#[derive(Clone, Copy, Debug)]
struct Names {
    driver: &'static str,
    transmit: &'static str,
    receive: &'static str,
    wake: &'static str,
}

type NicLink = Link<'static, Notification>;

/// Why the server cannot run.
#[derive(Debug)]
enum Failure {
    Arguments(BadArgument),
    Grant(MissingGrant<'static>),
    Server(ServerError),
    Region(&'static str, RingError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(error) => error.fmt(f),
            Self::Grant(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
            Self::Region(name, error) => write!(f, "region `{name}`: {error}"),
        }
    }
}

fn run(start: &'static StartInfo) -> Result<Infallible, Failure> {
    let options = Options::parse(&start.args).map_err(Failure::Arguments)?;
    let mut server = Server::serving("net").map_err(Failure::Server)?;
    let mut process = Process::open(options)?;
    server.observe(process.service.core.recorder());
    let bit = |name| start.signal(name).unwrap_or(0) & !SIGNAL_FLAG;
    let (nic_up, ended, timer) = (bit("nic-up"), bit("program-ended-net"), bit(TIMER));
    // What came before there was anyone to be told.
    process.fetch_ends();
    process.attach();
    loop {
        process.settle();
        match server.next() {
            Event::Request(request) => Net::dispatch(&mut process.service, request),
            Event::Signal(bits) => {
                if bits & ended != 0 {
                    process.fetch_ends();
                }
                if bits & nic_up != 0 {
                    process.attach();
                }
                if bits & timer != 0 {
                    process.armed = None;
                }
            }
            Event::Message(message) => log::warn!("a message with label {}", message.label),
        }
    }
}

/// What ports, identifiers and sequence numbers are drawn from: random bytes that nobody outside can
/// guess, or the clock's where there are none.
fn seed() -> u64 {
    let bytes = EntropyClient::connect().ok().and_then(|client| client.fill(8).ok());
    let word = bytes.and_then(|bytes| bytes.first_chunk().copied()).map(u64::from_le_bytes);
    word.unwrap_or_else(|| {
        log::warn!("no random bytes: ports and sequence numbers can be guessed");
        tsc()
    })
}

/// Time since the machine started.
fn now() -> Duration {
    time::uptime().unwrap_or_default()
}

struct Process {
    service: Service<NicLink>,
    options: Options,
    drivers: Vec<Driver>,
    programs: Vec<Notification>,
    supervisor: SupervisorClient,
    ends: Ends,
    timer: TimerClient,
    /// The deadline that the timer was told last and that has not come.
    armed: Option<Duration>,
}

/// A driver, as the server reaches it.
struct Driver {
    names: Names,
    wake: Notification,
    /// Its regions, while no link has them.
    memory: Option<Memory<'static>>,
    ticket: u64,
    /// Of the latest attachment.
    epoch: Option<Epoch>,
    /// Instances of the driver that were seen before this one.
    instance: u32,
}

impl Process {
    fn open(options: Options) -> Result<Self, Failure> {
        let mut core = Core::new(seed());
        for (region, _) in PROGRAMS {
            let memory = program::region(region).map_err(Failure::Grant)?;
            let mapping = memory.mapping().map_err(|error| Failure::Region(region, error))?;
            let added = core.add_region(region, mapping.lines());
            added.map_err(|error| Failure::Region(region, error))?;
        }
        let signals = |name| grant(GrantKind::Signals, name).map(Notification::new);
        let programs = PROGRAMS.iter().map(|(_, ready)| signals(ready)).collect::<Result<_, _>>();
        let drivers = DRIVERS.into_iter().map(Driver::open).collect::<Result<_, _>>()?;
        Ok(Self {
            service: Service::new(core, now, refresh),
            options,
            drivers,
            programs: programs.map_err(Failure::Grant)?,
            supervisor: SupervisorClient::connect().map_err(Failure::Grant)?,
            ends: Ends::default(),
            timer: TimerClient::connect().map_err(Failure::Grant)?,
            armed: None,
        })
    }

    /// Moves whatever can be moved, wakes who waits for it, and makes ready to wait.
    fn settle(&mut self) {
        for _ in 0..TURNS {
            let now = now();
            let progress = self.service.core.turn(now);
            self.service.answer();
            for region in self.service.core.rung() {
                self.programs.get(region).into_iter().for_each(|program| program.signal_later());
            }
            if progress == Progress::Quiet && !self.service.core.arm() {
                let deadline = self.service.core.deadline(now);
                return self.arm_timer(deadline);
            }
            Notification::send_kept();
        }
        // Others first; the timer brings it back at once.
        self.arm_timer(Some(now()));
    }

    /// Has the timer wake the server. A deadline that moved away is left where it is: waking once
    /// for nothing costs less than telling the timer with every packet.
    fn arm_timer(&mut self, deadline: Option<Duration>) {
        let Some(deadline) = deadline else { return };
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return;
        }
        let nanoseconds = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
        match self.timer.arm(TIMER.to_string(), nanoseconds) {
            Ok(()) => self.armed = Some(deadline),
            // One that starts anew signals, and is then told again.
            Err(error) => log::debug!("the timer: {error}"),
        }
    }

    /// Attaches to every driver that runs, anew where it was attached: one of them has just
    /// started, and a link does not tell which.
    fn attach(&mut self) {
        let Self { service, options, drivers, .. } = self;
        for driver in drivers {
            driver.attach(&mut service.core, options);
        }
    }

    /// Closes the sockets of programs that have ended.
    fn fetch_ends(&mut self) {
        let mut from = Some(0);
        while let Some(first) = from {
            // Init always answers; should it not, a dead program's sockets stay until it is back.
            let Ok(page) = self.supervisor.ends(first) else { return };
            for program in self.ends.update(first, &page.items) {
                self.service.core.ended(program);
            }
            from = page.next.filter(|next| *next > first);
        }
    }
}

impl Driver {
    fn open(names: Names) -> Result<Self, Failure> {
        let region = |name| program::region(name).map_err(Failure::Grant);
        let memory = Memory::of_regions(region(names.transmit)?, region(names.receive)?);
        let memory = memory.map_err(|error| Failure::Region(names.transmit, error))?;
        let wake = grant(GrantKind::Signals, names.wake).map_err(Failure::Grant)?;
        let wake = Notification::new(wake);
        Ok(Self { names, wake, memory: Some(memory), ticket: tsc(), epoch: None, instance: 0 })
    }

    fn attach(&mut self, core: &mut Core<NicLink>, options: &Options) {
        self.recover(core);
        let Some(client) = client(self.names.driver) else { return };
        let Some(memory) = self.memory.take() else { return };
        self.ticket = self.ticket.wrapping_add(1).max(1);
        memory.ticket(self.ticket);
        let attachment = match client.attach(Consumer::Net, self.ticket) {
            Ok(attachment) => attachment,
            Err(error) => {
                log::debug!("{}: {error}", self.names.driver);
                self.memory = Some(memory);
                return;
            }
        };
        match Link::new(memory, self.wake, &attachment) {
            Ok(link) => {
                // An instance numbers its attachments in a row.
                let is_same = self.epoch.is_none_or(|epoch| epoch.next() == attachment.epoch);
                self.instance += u32::from(!is_same);
                self.epoch = Some(attachment.epoch);
                self.plug(core, link, options, info(&attachment.card, self.instance));
            }
            Err((error, memory)) => {
                log::warn!("{}: {error}", self.names.driver);
                self.memory = Some(memory);
            }
        }
    }

    fn plug(
        &mut self,
        core: &mut Core<NicLink>,
        link: NicLink,
        options: &Options,
        info: net::interface::CardInfo,
    ) {
        let name = self.names.driver;
        match core.attach_card(name, link, info, options.addressing(name), now()) {
            Ok(()) => log::debug!("{name}: attached"),
            Err(link) => {
                log::warn!("{name}: the driver says of its card what cannot be: {info:?}");
                self.memory = link.close().ok();
            }
        }
    }

    /// Takes the memory of the link that there was.
    fn recover(&mut self, core: &mut Core<NicLink>) {
        if let Some(link) = core.lose_card(self.names.driver) {
            match link.close() {
                Ok(memory) => self.memory = Some(memory),
                Err(_) => log::error!("{}: frames are missing", self.names.driver),
            }
        }
    }
}

/// The driver of this name.
fn client(driver: &'static str) -> Option<NicClient> {
    Connection::to(driver).ok().map(NicClient::new)
}

/// Asks the drivers how their lines are.
fn refresh(core: &mut Core<NicLink>) {
    let known: Vec<String> = core.interfaces().map(|interface| interface.name).collect();
    for driver in DRIVERS.iter().map(|names| names.driver) {
        if !known.iter().any(|name| name == driver) {
            continue;
        }
        let state = client(driver).and_then(|client| client.link().ok());
        core.set_link(driver, state.map_or(LinkState::NoDriver, |state| link_state(state.line)));
    }
}
