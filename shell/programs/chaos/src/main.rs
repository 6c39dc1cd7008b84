//! Kills every driver and server, one after another, each at an event of its trace, while other
//! programs and the world outside work on; after each kill it waits until all is as it was.
//!
//! Who serves a service is a victim, so a new driver is one by being in the image. Of what it sees
//! it trusts the supervisor: everybody else is killed.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use chaos::{Course, Kill, Options, Roster, Stock, Stranger, Usage};
use libd3os::call::{CallError, Error};
use libd3os::ipc::MissingGrant;
use libd3os::observe::ObserveClient;
use libd3os::println;
use libd3os::service::Page;
use libd3os::service::entropy::EntropyClient;
use libd3os::service::framebuffer::FramebufferClient;
use libd3os::service::keyboard::KeyboardClient;
use libd3os::service::net::{EchoRequest, NetClient};
use libd3os::service::nvdimm::NvdimmClient;
use libd3os::service::platform::PlatformClient;
use libd3os::service::pmem::PmemClient;
use libd3os::service::rtc::RtcClient;
use libd3os::service::share::ShareClient;
use libd3os::service::supervisor::{Exit, Moment, ProgramState, SupervisorClient};
use libd3os::service::timer::TimerClient;
use libd3os::start::StartInfo;
use libd3os::time::{self, tsc};

libd3os::program! {
    main: run,
    calls: ["console", "log", "net", "platform", "supervisor", "timer", "*"],
}

/// How long whatever is waited for may take, on an emulator of a loaded host.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);
/// How long nothing may change before the first kill: some programs start after the prompt.
const CALM: Duration = Duration::from_millis(500);
/// How long a packet may be on its way before it counts as lost, and is sent again.
const LOST_MS: u32 = 250;
/// Bytes of a packet.
const PACKET: u16 = 56;
/// A program that runs once when the machine has started: what it holds it gives back.
const ONCE: &str = "aml";

/// Why the course cannot go on.
#[derive(Debug)]
enum Failure {
    Usage(Usage),
    Grant(MissingGrant<'static>),
    /// A call failed otherwise than by the server's end.
    Call(String, String),
    /// Something else died.
    Stranger(Stranger),
    /// The victim ended, and not at an event.
    Otherwise(String, Option<Exit>),
    /// What was waited for did not come, and how it was instead.
    Vain(&'static str, String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::Grant(error) => error.fmt(f),
            Self::Call(server, error) => write!(f, "a call of {server} failed: {error}"),
            Self::Stranger(stranger) => stranger.fmt(f),
            Self::Otherwise(victim, exit) => write!(f, "{victim} ended otherwise: {exit:?}"),
            Self::Vain(what, is) => write!(f, "waited in vain for {what}; it is {is}"),
        }
    }
}

fn run(start: &'static StartInfo) -> i32 {
    match chaos(start) {
        Ok(()) => 0,
        Err(failure) => {
            log::error!("{failure}");
            println!("{failure}");
            1
        }
    }
}

fn chaos(start: &StartInfo) -> Result<(), Failure> {
    let options = Options::parse(&start.args).map_err(Failure::Usage)?;
    let seed = options.seed.unwrap_or_else(tsc);
    let mut process = Process::open()?;
    let victims = process.begin()?;
    log::info!("begins: {} kills of {} programs, seed {seed}", options.kills, victims.len());
    let mut dead: BTreeMap<&str, u32> = BTreeMap::new();
    for (number, kill) in (1..=options.kills).zip(Course::new(seed, victims.len())) {
        let Some(victim) = victims.get(kill.victim) else { continue };
        let event = process.kill(victim, kill)?;
        *dead.entry(victim).or_default() += 1;
        log::info!("kill {number} of {}: {victim} at event {event}", options.kills);
    }
    let Process { restarted, packets, .. } = process;
    let (sum, victims) = (dead.values().sum::<u32>(), dead.len());
    log::info!("{restarted} of its calls were cut short, {packets} of its packets were answered");
    log::info!("ends: {sum} kills at events, of {victims} programs, and nothing lost: {dead:?}");
    Ok(())
}

struct Process {
    supervisor: SupervisorClient,
    net: NetClient,
    platform: PlatformClient,
    timer: TimerClient,
    /// How the programs should stand.
    expected: Roster,
    /// What should be held.
    stock: Stock,
    /// Routers, one at each interface.
    routers: Vec<(String, IpAddr)>,
    /// Calls that failed because the server ended.
    restarted: u32,
    /// Packets that routers have answered.
    packets: u32,
}

impl Process {
    fn open() -> Result<Self, Failure> {
        Ok(Self {
            supervisor: SupervisorClient::connect().map_err(Failure::Grant)?,
            net: NetClient::connect().map_err(Failure::Grant)?,
            platform: PlatformClient::connect().map_err(Failure::Grant)?,
            timer: TimerClient::connect().map_err(Failure::Grant)?,
            expected: Roster::default(),
            stock: Stock::default(),
            routers: Vec::new(),
            restarted: 0,
            packets: 0,
        })
    }

    /// Waits until the machine has come up, and looks how all is then. Tells whom to kill.
    fn begin(&mut self) -> Result<Vec<String>, Failure> {
        self.until("the programs to come up", |process| {
            let now = process.roster()?;
            let before = core::mem::replace(&mut process.expected, now);
            let is_calm = before == process.expected && !before.runs(ONCE);
            process.pause(CALM)?;
            Ok(holds(is_calm, "in motion"))
        })?;
        self.routers = self.until("routers", Self::find_routers)?;
        self.stock = self.stock()?;
        self.victims()
    }

    /// The programs that serve something.
    fn victims(&mut self) -> Result<Vec<String>, Failure> {
        let services = all_pages("init", |from| self.supervisor.services(from))?;
        let runs = services.into_iter().filter(|service| service.state == ProgramState::Running);
        let mut victims: Vec<_> =
            runs.map(|service| service.program).filter(|name| name != "init").collect();
        victims.sort_unstable();
        victims.dedup();
        Ok(victims)
    }

    /// Kills a program and waits until all is as it was. Tells the number of its last event.
    fn kill(&mut self, victim: &str, kill: Kill) -> Result<u64, Failure> {
        self.expected.expect_restart(victim);
        let ordered = self.supervisor.kill(victim.to_string(), Moment::AfterEvents(kill.more));
        ordered.map_err(|error| failed("init", &error))?;
        self.until("its end", |process| {
            process.poke(victim)?;
            let now = process.roster()?;
            let has_ended = process.expected.has_ended(&now, victim);
            Ok(holds(has_ended, "alive"))
        })?;
        let event = self.last_event(victim)?;
        self.until("its restart", |process| process.is_back(victim))?;
        self.observe(victim)?;
        for (interface, router) in self.routers.clone() {
            self.until("an answer from the network", |process| process.ping(&interface, router))?;
        }
        self.until("what it held", |process| {
            let stock = process.stock()?;
            Ok(holds(stock == process.stock, alloc::format!("{stock:?}")))
        })?;
        Ok(event)
    }

    /// Has the victim do some of its work; it may end at that. Work comes from elsewhere, too: frames,
    /// keys, output, deadlines.
    fn poke(&mut self, victim: &str) -> Result<(), Failure> {
        let outcome = match victim {
            "console" | "uart" => {
                println!("chaos waits for the end of {victim}");
                Ok(())
            }
            "entropy" => answered(EntropyClient::connect().map_err(Failure::Grant)?.fill(64)),
            "framebuffer" => answered(FramebufferClient::connect().map_err(Failure::Grant)?.mode()),
            "keyboard" => answered(KeyboardClient::connect().map_err(Failure::Grant)?.layout()),
            "net" => answered(self.net.interfaces(0)),
            "nvdimm" => answered(NvdimmClient::connect().map_err(Failure::Grant)?.read(0, 0, 64)),
            "platform" => answered(self.platform.devices(0)),
            "pmem" => answered(PmemClient::connect().map_err(Failure::Grant)?.check(0)),
            "rtc" => answered(RtcClient::connect().map_err(Failure::Grant)?.now()),
            "share" => {
                let root = String::new();
                answered(ShareClient::connect().map_err(Failure::Grant)?.list(root, 0))
            }
            _ => Ok(()),
        };
        self.settle(victim, outcome)?;
        self.pause(PAUSE)?;
        self.observe(victim)
    }

    /// Asks a server for what it has counted: it takes that at the same place as calls.
    fn observe(&mut self, server: &str) -> Result<(), Failure> {
        let client = ObserveClient::connect(server).map_err(|error| failed(server, &error))?;
        self.settle(server, client.counters().map(drop))
    }

    /// A server's end is an answer, too.
    fn settle(&mut self, server: &str, outcome: Result<(), CallError>) -> Result<(), Failure> {
        match outcome {
            Ok(()) => Ok(()),
            Err(CallError::Restarted) => {
                self.restarted += 1;
                Ok(())
            }
            Err(error) => Err(failed(server, &error)),
        }
    }

    /// The number of the event at which the victim ended.
    fn last_event(&self, victim: &str) -> Result<u64, Failure> {
        let exit = self.supervisor.last_exit(victim.to_string());
        match exit.map_err(|error| failed("init", &error))? {
            Some(Exit::KilledAt(event)) => Ok(event),
            exit => Err(Failure::Otherwise(victim.to_string(), exit)),
        }
    }

    fn is_back(&mut self, victim: &str) -> Result<Result<(), String>, Failure> {
        let now = self.roster()?;
        if let Some(stranger) = self.expected.stranger(&now, victim) {
            return Err(Failure::Stranger(stranger));
        }
        Ok(holds(self.expected.agrees(&now, victim), "gone"))
    }

    /// A router at each interface that has any address.
    fn find_routers(&mut self) -> Result<Result<Vec<(String, IpAddr)>, String>, Failure> {
        let interfaces = all_pages("net", |from| self.net.interfaces(from))?;
        let routers = interfaces.iter().map(|interface| {
            let router = interface.routers.iter().find(|router| router.is_ipv4());
            router.map(|router| (interface.name.clone(), *router)).ok_or(&interface.name)
        });
        let found: Result<Vec<_>, _> = routers.collect();
        Ok(found.map_err(|name| alloc::format!("unknown at {name}")))
    }

    /// Sends a packet through an interface. One that is lost is sent again by whoever waits.
    fn ping(&mut self, name: &str, destination: IpAddr) -> Result<Result<(), String>, Failure> {
        let request = EchoRequest { destination, bytes: PACKET, timeout_ms: LOST_MS };
        match self.net.ping(request) {
            Ok(_) => {
                self.packets += 1;
                Ok(Ok(()))
            }
            Err(Error::Call(CallError::Restarted)) => Ok(Err("cut short".to_string())),
            Err(Error::Call(error)) => Err(failed("net", &error)),
            Err(Error::Service(error)) => Ok(Err(alloc::format!("{name}: {error}"))),
        }
    }

    fn roster(&self) -> Result<Roster, Failure> {
        all_pages("init", |from| self.supervisor.programs(from)).map(Roster::new)
    }

    fn stock(&self) -> Result<Stock, Failure> {
        let holdings = all_pages("init", |from| self.supervisor.holdings(from))?;
        let units = all_pages("platform", |from| self.platform.iommu(from))?;
        let sockets = all_pages("net", |from| self.net.sockets(from))?;
        Ok(Stock::new(holdings, units, sockets))
    }

    /// Looks until there is what is waited for.
    fn until<T>(
        &mut self,
        what: &'static str,
        mut look: impl FnMut(&mut Self) -> Result<Result<T, String>, Failure>,
    ) -> Result<T, Failure> {
        let end = now() + PATIENCE;
        loop {
            match look(self)? {
                Ok(found) => return Ok(found),
                Err(is) if now() >= end => return Err(Failure::Vain(what, is)),
                Err(_) => self.pause(PAUSE)?,
            }
        }
    }

    /// Waits so long by the timer, or until that ends.
    fn pause(&mut self, time: Duration) -> Result<(), Failure> {
        let deadline = u64::try_from((now() + time).as_nanos()).unwrap_or(u64::MAX);
        let outcome = answered(self.timer.wait(deadline));
        self.settle("timer", outcome)
    }
}

/// What a look has found: what was waited for, or how it is instead.
fn holds(is_so: bool, otherwise: impl Into<String>) -> Result<(), String> {
    is_so.then_some(()).ok_or_else(|| otherwise.into())
}

fn now() -> Duration {
    time::uptime().unwrap_or_default()
}

fn failed(server: &str, error: &dyn fmt::Display) -> Failure {
    Failure::Call(server.to_string(), error.to_string())
}

/// A server that says no has answered.
fn answered<T, E>(outcome: Result<T, Error<E>>) -> Result<(), CallError> {
    match outcome {
        Err(Error::Call(error)) => Err(error),
        Ok(_) | Err(Error::Service(_)) => Ok(()),
    }
}

/// Collects a list that comes in parts.
fn all_pages<T, E: fmt::Display>(
    server: &'static str,
    mut fetch: impl FnMut(u32) -> Result<Page<T>, Error<E>>,
) -> Result<Vec<T>, Failure> {
    let (mut items, mut from) = (Vec::new(), Some(0));
    while let Some(first) = from {
        let page = fetch(first).map_err(|error| failed(server, &error))?;
        items.extend(page.items);
        from = page.next.filter(|next| *next > first);
    }
    Ok(items)
}
