//! Every driver and server is killed, one after another and in random order, a hundred times, each at a
//! random event of its trace, while output, timers and network traffic go on: nothing is lost for
//! good, and nothing hangs.
//!
//! Who kills, and looks after each kill whether all is as it was, is the program `chaos` in the
//! machine: between it and the supervisor stands nobody who could be killed. The world outside keeps
//! the victims busy: datagrams and connections through both network cards, a typist at the screen, a
//! person at the serial line. Of these only the person is disturbed by what a restart swallows, and
//! asks again; nobody waits for that.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::lab::Lab;
use super::net::free_ports;
use super::nvdimm::fresh;
use super::screen::Screen;
use super::session::{Session, SessionError};
use super::share::empty;
use super::traffic::Traffic;
use super::{Case, Failure, Outcome, contains, unexpected};
use crate::progress;
use crate::qmp::{Monitor, QmpError};
use crate::vm::{Forward, Iommu, Machine, Network, NicChoice, Persistence, Share};

/// Programs killed on each machine.
const KILLS: usize = 100;
/// So many of them at an event, at least.
const FEWEST_AT_EVENTS: usize = 80;
/// Victims that there are at least: fewer would mean that drivers are missing.
const VICTIMS: usize = 14;
/// Network cards; an IOMMU's tables have a row for each of them, and one for the unit.
const CARDS: usize = 2;
/// The echo server's port in the machine.
const ECHO: u16 = 7;
/// How often what was swallowed is asked for again.
const TRIES: u32 = 12;
/// Real time after which something counts as swallowed.
const SHORT: Duration = Duration::from_secs(3);
/// Real time in which there is another kill, and other work goes on.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two keys.
const KEYSTROKE: Duration = Duration::from_millis(40);
/// Repeats a course.
const SEED: &str = "D3OS_SEED";
/// Throws away what was typed.
const CANCEL: &str = "\x03";
/// What is typed at the screen, again and again.
const TYPED: [&str; 9] = ["e", "c", "h", "o", "spc", "y", "e", "s", "ret"];

/// The tests.
pub(super) fn cases() -> [Case; 2] {
    [
        ("kills::everything_is_started_again", Iommu::Absent),
        ("kills::everything_is_started_again_behind_an_iommu", Iommu::Present),
    ]
    .map(|(name, iommu)| Case::new(name, move |lab| everything(lab, iommu)))
}

fn everything(lab: &Lab<'_>, iommu: Iommu) -> Outcome {
    let seed = seed();
    progress::step(&format!("kills: seed {seed} ({SEED} repeats it)"));
    let mut scene = Scene::begin(lab, iommu)?;
    scene.settles()?;
    let before = scene.held()?;
    if iommu == Iommu::Present && before.reach.len() <= CARDS {
        return Err(unexpected("the IOMMU's tables lack a card", &format!("{before:?}")));
    }
    scene.person.run(&format!("run chaos {KILLS} {seed} &"))?;
    let end = scene.watch()?;
    progress::step(&format!("kills: {end}"));
    scene.goes_on()?;
    check(&end)?;
    let after = scene.held()?;
    if after != before {
        return Err(unexpected(format!("before it was {before:?}"), &format!("{after:?}")));
    }
    contains(&scene.person.run("ps")?, &["serve "])
}

fn seed() -> u64 {
    let given = env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    given.unwrap_or(now.as_secs())
}

/// What `chaos` told at its end: enough kills of enough programs.
fn check(end: &str) -> Outcome {
    let mut numbers =
        end.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<usize>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(kills), Some(victims)) if kills >= FEWEST_AT_EVENTS && victims >= VICTIMS => Ok(()),
        _ => Err(unexpected("too few kills at events", end)),
    }
}

/// A machine with a device for every driver. The ports of this host lead to its network cards.
fn machine(
    lab: &Lab<'_>,
    iommu: Iommu,
    [first, second]: [u16; 2],
    monitor: &Path,
) -> Result<Machine, Failure> {
    let forward = |host| vec![Forward { host, guest: ECHO }];
    let (forwards, second) = (forward(first), forward(second));
    let network = Network { nics: NicChoice::Both, forwards, second };
    let monitor = format!("unix:{},server=on,wait=off", monitor.display());
    let extra = vec!["-qmp".into(), monitor.into()];
    let directory = empty(&lab.place("kills-share")).map_err(SessionError::from)?;
    let share = Share::new(&directory).map_err(|error| unexpected(error.to_string(), ""))?;
    let plain = lab.machine_with(lab.chaos()?);
    let machine = Machine { network, iommu, extra, share: Some(share), ..plain };
    Ok(machine.with_pmem(fresh(lab, "kills.pmem", Persistence::Adr)?)?)
}

/// The machine, and everybody who keeps it busy.
struct Scene {
    person: Person,
    typist: Typist,
    traffic: Traffic,
}

impl Scene {
    fn begin(lab: &Lab<'_>, iommu: Iommu) -> Result<Self, Failure> {
        let ports = free_ports().map_err(SessionError::from)?;
        let socket = lab.place("kills.qmp");
        let mut session = Session::at_prompt(&machine(lab, iommu, ports, &socket)?)?;
        session.keys(&format!("serve {ECHO} &\r"))?;
        session.text(&format!("serving at port {ECHO}"))?;
        let mut traffic = Traffic::new();
        for (card, host) in ["virtio-net", "e1000e"].into_iter().zip(ports) {
            let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, host));
            traffic.datagrams(card, peer);
            traffic.stream(card, peer);
        }
        let mut scene =
            Self { person: Person { session, lines: 0 }, typist: Typist::begin(socket)?, traffic };
        scene.goes_on()?;
        Ok(scene)
    }

    /// Types until `chaos` has ended; tells what it says then. It is to get on meanwhile.
    fn watch(&mut self) -> Result<String, Failure> {
        let (mut last, mut end) = (String::new(), Instant::now() + PATIENCE);
        loop {
            let log = self.person.run("log -n 12")?;
            if let Some(told) = said(&log, "chaos: ends: ") {
                return Ok(told.to_owned());
            }
            if said(&log, "error  chaos: ").is_some() {
                return Err(unexpected("chaos failed", &self.person.run("log -n 40")?));
            }
            if let Some(kill) = said(&log, "chaos: kill ").filter(|kill| *kill != last) {
                (last, end) = (kill.to_owned(), Instant::now() + PATIENCE);
            }
            if Instant::now() >= end {
                return Err(unexpected("no more kills", &self.person.run("log -n 40")?));
            }
        }
    }

    /// Waits until there has been more of everything.
    fn goes_on(&mut self) -> Outcome {
        let flows = self.traffic.goes_on(PATIENCE);
        flows.map_err(|what| unexpected("the traffic stands still", &what))?;
        self.typist.goes_on()?;
        let (traffic, lines, keys) = (self.traffic.words(), self.person.lines, self.typist.keys());
        progress::step(&format!("kills: so far {traffic}; {lines} lines, {keys} keys"));
        Ok(())
    }

    /// Waits until the pool of objects is made, and who ends by himself has ended.
    fn settles(&mut self) -> Outcome {
        contains(&self.person.run("pmem check")?, &["nothing is damaged"])?;
        let end = Instant::now() + PATIENCE;
        let is_over = |row: &str| row.starts_with("aml ") && row.contains("stopped");
        while !self.person.run("ps")?.lines().any(is_over) {
            if Instant::now() >= end {
                return Err(self.person.stuck("the end of `aml`"));
            }
        }
        Ok(())
    }

    fn held(&mut self) -> Result<Held, Failure> {
        let amounts = rows(&self.person.run("mem exact")?, is_amount);
        let reach = rows(&self.person.run("iommu")?, is_reach);
        match amounts.is_empty() {
            true => Err(self.person.stuck("the table of what is held")),
            false => Ok(Held { amounts, reach }),
        }
    }
}

/// What the machine holds for its programs.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    /// By init's count.
    amounts: Vec<String>,
    /// The IOMMU's units and devices.
    reach: Vec<String>,
}

/// The latest that a record of this beginning says.
fn said<'a>(log: &'a str, beginning: &str) -> Option<&'a str> {
    log.lines().rev().find_map(|row| row.split_once(beginning)).map(|(_, rest)| rest.trim_end())
}

fn rows(screen: &str, is_row: impl Fn(&str) -> bool) -> Vec<String> {
    screen.lines().map(str::trim).filter(|row| is_row(row)).map(str::to_owned).collect()
}

/// Whether this is a row of `mem exact`.
fn is_amount(row: &str) -> bool {
    row.split_once("  ").is_some_and(|(amount, _)| amount.parse::<u64>().is_ok())
}

/// Whether this is a row of `iommu`: a unit, or a device.
fn is_reach(row: &str) -> bool {
    let is_device = |name: &str| name.contains(':') && name.contains('.');
    row.split_once("  ").is_some_and(|(name, _)| name.starts_with("0x") || is_device(name))
}

/// A person at the serial line who asks again when nothing comes back.
struct Person {
    session: Session,
    lines: u32,
}

impl Person {
    /// Runs a line until all of its output is on the screen; returns what is there.
    fn run(&mut self, line: &str) -> Result<String, Failure> {
        for _ in 0..TRIES {
            self.lines += 1;
            let mark = format!("done-{}", self.lines);
            // The screen does not scroll, so it is cleared.
            self.edit(&format!("clear; {line}; echo {mark}"))?;
            self.session.keys("\r")?;
            let has_mark =
                |screen: &Screen| screen.text().lines().any(|row| row.trim_end() == mark);
            if self.session.within(SHORT, |screen| has_mark(screen) && screen.at_prompt())? {
                return Ok(self.session.screen().text());
            }
            self.find_prompt()?;
        }
        Err(self.stuck(&format!("the output of {line:?}")))
    }

    /// Types a line until it stands there as it should: keys may be swallowed.
    fn edit(&mut self, line: &str) -> Outcome {
        for _ in 0..TRIES {
            self.session.keys(line)?;
            if self.session.within(SHORT, |screen| screen.shows_line(line))? {
                return Ok(());
            }
            self.session.keys(CANCEL)?;
            self.find_prompt()?;
        }
        Err(self.stuck(&format!("the line {line:?}")))
    }

    /// Presses Enter until there is a prompt: at an empty line that does nothing else.
    fn find_prompt(&mut self) -> Outcome {
        for _ in 0..TRIES {
            if self.session.within(SHORT, Screen::at_prompt)? {
                return Ok(());
            }
            self.session.keys("\r")?;
        }
        Err(self.stuck("a prompt"))
    }

    fn stuck(&self, what: &str) -> Failure {
        unexpected(format!("{what} does not come"), &self.session.screen().tail())
    }
}

/// Somebody who types at the screen until it is dropped.
struct Typist {
    shared: Arc<Keys>,
    thread: Option<JoinHandle<Result<(), QmpError>>>,
}

#[derive(Default)]
struct Keys {
    is_over: AtomicBool,
    pressed: AtomicU64,
}

impl Typist {
    /// Types by the monitor at this socket.
    fn begin(socket: PathBuf) -> Result<Self, Failure> {
        let monitor = Monitor::connect(&socket)?;
        let shared = Arc::<Keys>::default();
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || theirs.press(monitor));
        Ok(Self { shared, thread: Some(thread) })
    }

    fn keys(&self) -> u64 {
        self.shared.pressed.load(Ordering::Relaxed)
    }

    /// Fails where the typist has stopped.
    fn goes_on(&mut self) -> Outcome {
        match self.thread.take_if(|thread| thread.is_finished()).map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(Err(error))) => Err(error.into()),
            Some(_) => Err(unexpected("the typist stopped", "")),
        }
    }
}

impl Keys {
    fn press(&self, mut monitor: Monitor) -> Result<(), QmpError> {
        for key in TYPED.iter().cycle().take_while(|_| !self.is_over.load(Ordering::Relaxed)) {
            let keys = json!({ "keys": [{ "type": "qcode", "data": key }] });
            monitor.execute("send-key", keys)?;
            self.pressed.fetch_add(1, Ordering::Relaxed);
            thread::sleep(KEYSTROKE);
        }
        Ok(())
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // How it went was asked before.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_from_what_is_around_them() {
        let screen = " AMOUNT  OF WHAT\n1048576  bytes free\n      7  handlers\ndone-3\nd3os> ";
        assert_eq!(rows(screen, is_amount), ["1048576  bytes free", "7  handlers"]);
        let screen = "UNIT  BITS\n0xfed90000    39  2 entries\n\nDEVICE  REACHES\n00:02.0  1 MiB\n";
        assert_eq!(rows(screen, is_reach), ["0xfed90000    39  2 entries", "00:02.0  1 MiB"]);
    }

    #[test]
    fn the_latest_record_counts() {
        let log = "   1.2  info   chaos: kill 1 of 2: uart at event 3\n\
                   [    1.3] init: uart was started again\n\
                   \x20  1.4  info   chaos: kill 2 of 2: net at event 9  \n";
        assert_eq!(said(log, "chaos: kill "), Some("2 of 2: net at event 9"));
        assert_eq!(said(log, "chaos: ends: "), None);
    }

    #[test]
    fn a_course_is_judged_by_its_numbers() {
        assert!(check(&format!("100 kills at events, of {VICTIMS} programs, and more")).is_ok());
        assert!(check(&format!("79 kills at events, of {VICTIMS} programs")).is_err());
        assert!(check(&format!("100 kills at events, of {} programs", VICTIMS - 1)).is_err());
        assert!(check("").is_err());
    }
}
