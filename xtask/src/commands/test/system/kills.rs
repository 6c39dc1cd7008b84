//! Every driver and server is killed, one after another and in random order, each at a random event of
//! its trace, while a person works on: output, timers and network traffic go on, nothing is lost for
//! good, and nothing hangs.
//!
//! The victims are the programs that run at the start, init and shells aside, so a new driver is covered
//! by being in the image. What a restart may swallow, a part of the output or a few keys, is asked for
//! again; what is counted is what init says: how often each program was started again, and what is
//! held for all of them.

use std::collections::BTreeMap;
use std::env;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::lab::Lab;
use super::screen::Screen;
use super::session::Session;
use super::{Case, Failure, Outcome, Scope, unexpected};
use crate::progress;
use crate::vm::{Machine, Network, NicChoice};

/// Programs killed with `--all`; without it, each victim is killed once, which takes a minute.
const KILLS: usize = 100;
/// Victims that there are at least: fewer would mean that drivers are missing.
const VICTIMS: usize = 10;
/// Of all kills, this percentage is at an event at least. The others are killed at rest: nothing
/// that the person did made them do anything.
const AT_EVENTS_PERCENT: usize = 80;
/// How many events a victim may get further after the order.
const MOST_EVENTS: u32 = 12;
/// Lines that the person works on with until a victim has died.
const LINES: u32 = 6;
/// How often what was swallowed is asked for again.
const TRIES: u32 = 12;
/// Real time after which something counts as swallowed.
const SHORT: Duration = Duration::from_secs(3);
/// Repeats a run.
const SEED: &str = "D3OS_SEED";
/// Throws away what was typed.
const CANCEL: &str = "\x03";

/// What makes a program do something, besides output and timers, where the shell has the command.
const POKES: [(&str, &str); 6] = [
    ("platform", "lspci"),
    ("aml", "acpi"),
    ("net", "net"),
    ("virtio-net", "ping -n 1 10.0.2.2"),
    ("e1000e", "ping -n 1 10.0.3.2"),
    ("rtc", "date"),
];

/// Programs that run once when the machine has started; they are to have ended before anything is
/// compared.
const ONCE: [&str; 1] = ["aml"];
/// Work that goes on all the time, where the shell has the command.
const WORK: [&str; 2] = ["sleep 2", "ping -n 1 10.0.2.2"];

/// The test.
pub(super) fn cases(scope: Scope) -> impl Iterator<Item = Case> {
    let work = move |lab: &Lab<'_>| everything(lab, scope);
    std::iter::once(Case::new("kills::everything_is_started_again", work))
}

fn everything(lab: &Lab<'_>, scope: Scope) -> Outcome {
    let seed = seed();
    progress::step(&format!("kills: seed {seed} ({SEED} repeats it)"));
    let network = Network { nics: NicChoice::Both, forwards: Vec::new() };
    let machine = Machine { network, ..lab.machine() };
    let person = Person { session: Session::at_prompt(&machine)?, lines: 0 };
    let mut course = Course::begin(person, seed, scope)?;
    let outcome = course.run();
    let Course { at_events, at_rest, .. } = &course;
    progress::step(&format!(
        "kills: {} at events ({at_events:?}), {} at rest ({at_rest:?})",
        at_events.values().sum::<usize>(),
        at_rest.values().sum::<usize>(),
    ));
    outcome?;
    course.settle()
}

fn seed() -> u64 {
    let given = env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    given.unwrap_or(now.as_secs())
}

/// A person who asks again when nothing comes back.
struct Person {
    session: Session,
    lines: u32,
}

impl Person {
    /// Runs a line, once; returns what was printed, or of that what was not swallowed.
    fn run(&mut self, line: &str) -> Result<String, Failure> {
        self.lines += 1;
        let mark = format!("done-{}", self.lines);
        // The screen does not scroll, so it is cleared.
        self.edit(&format!("clear; {line}; echo {mark}"))?;
        self.session.keys("\r")?;
        let has_mark = |screen: &Screen| screen.text().lines().any(|row| row.trim_end() == mark);
        if !self.session.within(SHORT, |screen| has_mark(screen) && screen.at_prompt())? {
            self.find_prompt()?;
        }
        Ok(self.session.screen().text())
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

/// What `ps` says of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    is_running: bool,
    restarts: u32,
}

type Table = BTreeMap<String, Standing>;

/// The kills, and what should be after each.
struct Course {
    person: Person,
    random: fastrand::Rng,
    kills: usize,
    victims: Vec<String>,
    commands: String,
    work: String,
    holdings: Vec<String>,
    /// What `ps` should say.
    expected: Table,
    at_events: BTreeMap<String, usize>,
    at_rest: BTreeMap<String, usize>,
}

impl Course {
    fn begin(mut person: Person, seed: u64, scope: Scope) -> Result<Self, Failure> {
        let commands = person.run("help")?;
        let (mut ps, mut expected) = (String::new(), Table::new());
        for _ in 0..TRIES {
            ps = person.run("sleep 200; ps")?;
            // Programs that wait for others, or for their devices, start after the prompt.
            let before = std::mem::replace(&mut expected, table(&ps));
            let is_at_work = |name: &&str| expected.get(*name).is_some_and(|row| row.is_running);
            if before == expected && !ONCE.iter().any(is_at_work) {
                break;
            }
        }
        let holdings = amounts(&person.run("mem exact")?);
        let is_victim = |name: &str| name != "init" && !name.starts_with("shell");
        let running = expected.iter().filter(|(name, row)| row.is_running && is_victim(name));
        let victims: Vec<_> = running.map(|(name, _)| name.clone()).collect();
        if victims.len() < VICTIMS {
            return Err(unexpected("too little to kill", &ps));
        }
        let kills = match scope {
            Scope::Representative => victims.len(),
            Scope::All => KILLS,
        };
        let has = |line: &&str| offers(&commands, line);
        let work = WORK.into_iter().filter(has).fold(String::new(), |work, l| work + l + "; ");
        let random = fastrand::Rng::with_seed(seed);
        let (at_events, at_rest) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self {
            person,
            random,
            kills,
            victims,
            commands,
            work,
            holdings,
            expected,
            at_events,
            at_rest,
        })
    }

    fn run(&mut self) -> Outcome {
        let mut order = self.victims.clone();
        self.random.shuffle(&mut order);
        for number in 0..self.kills {
            let victim = match order.get(number) {
                Some(victim) => victim.clone(),
                None => self.victims[self.random.usize(..self.victims.len())].clone(),
            };
            let more = self.random.u32(1..=MOST_EVENTS);
            self.kill(&victim, more).map_err(|failure| {
                unexpected(format!("kill {number}, {victim} after {more}"), &failure.to_string())
            })?;
        }
        Ok(())
    }

    /// Kills one and waits until it runs again.
    fn kill(&mut self, victim: &str, more: u32) -> Outcome {
        if let Some(standing) = self.expected.get_mut(victim) {
            standing.restarts += 1;
        }
        let work = self.work_for(victim);
        let mut line = format!("kill {victim} --after {more}; {work}ps");
        for _ in 0..LINES {
            if self.is_back(victim, &line)? {
                *self.at_events.entry(victim.to_owned()).or_default() += 1;
                return Ok(());
            }
            line = format!("{work}ps");
        }
        *self.at_rest.entry(victim.to_owned()).or_default() += 1;
        line = format!("kill {victim}; ps");
        for _ in 0..LINES {
            if self.is_back(victim, &line)? {
                return Ok(());
            }
            line = "ps".to_owned();
        }
        Err(self.person.stuck("its restart"))
    }

    /// Runs a line that ends with `ps`; tells whether this program is back from its latest end.
    fn is_back(&mut self, victim: &str, line: &str) -> Result<bool, Failure> {
        let screen = self.person.run(line)?;
        let now = table(&screen);
        for (name, standing) in &now {
            if self.expected.get(name).is_some_and(|known| standing.restarts > known.restarts) {
                let log = self.person.run("log -n 30")?;
                return Err(unexpected(format!("{name} died without having been killed"), &log));
            }
        }
        Ok(now.get(victim) == self.expected.get(victim))
    }

    /// Everything runs, nothing was lost, and most victims were killed in the middle of something.
    fn settle(&mut self) -> Outcome {
        let mut ps = String::new();
        let is_as_expected = |now: &Table, expected: &Table| {
            expected.iter().all(|(name, standing)| now.get(name) == Some(standing))
        };
        let settled = (0..TRIES).try_fold(false, |settled, _| match settled {
            true => Ok::<_, Failure>(true),
            false => {
                ps = self.person.run("ps")?;
                Ok(is_as_expected(&table(&ps), &self.expected))
            }
        })?;
        if !settled {
            return Err(unexpected(format!("not as expected: {:?}", self.expected), &ps));
        }
        let holdings = amounts(&self.person.run("mem exact")?);
        if holdings != self.holdings {
            return Err(unexpected(
                format!("before it was {:?}", self.holdings),
                &format!("{holdings:?}"),
            ));
        }
        let at_events: usize = self.at_events.values().sum();
        let at_rest: usize = self.at_rest.values().sum();
        match at_events + at_rest == self.kills && at_events * 100 >= self.kills * AT_EVENTS_PERCENT
        {
            true => Ok(()),
            false => Err(unexpected("too few kills at events", &format!("{:?}", self.at_rest))),
        }
    }

    /// What the person does while this victim is about to die.
    fn work_for(&self, victim: &str) -> String {
        let poke =
            POKES.iter().find(|(name, line)| *name == victim && offers(&self.commands, line));
        let poke = poke.map(|(_, line)| format!("{line}; ")).unwrap_or_default();
        // Whoever observes a server gives it something to do, too.
        format!("echo tick; {}{poke}trace -n 1 {victim}; ", self.work)
    }
}

/// Whether the list of commands has that of this line.
fn offers(commands: &str, line: &str) -> bool {
    let name = line.split(' ').next().unwrap_or_default();
    commands.lines().any(|row| row.split_whitespace().next() == Some(name))
}

/// The rows of `mem exact`.
fn amounts(screen: &str) -> Vec<String> {
    let is_row = |row: &&str| row.split(' ').next().is_some_and(|word| word.parse::<u64>().is_ok());
    screen.lines().map(str::trim).filter(is_row).map(str::to_owned).collect()
}

/// What `ps` printed, as far as its rows are whole.
fn table(screen: &str) -> Table {
    let rows = screen.lines().filter_map(row);
    rows.filter(|(name, _)| name != "init").collect()
}

/// A row of `ps`: name, thread, core, priority, share, time in two words, state in one or two, restarts,
/// and perhaps a session.
fn row(line: &str) -> Option<(String, Standing)> {
    const STATES: [&str; 7] =
        ["starting", "running", "faulted", "stopped", "backing off", "given up", "waiting"];
    let (state, at) =
        STATES.iter().find_map(|state| Some((*state, line.find(&format!(" {state} "))?)))?;
    let (before, after) = line.split_at(at);
    let words: Vec<_> = before.split_whitespace().collect();
    let [name, "main", core, ..] = words[..] else { return None };
    core.parse::<u32>().ok()?;
    let rest = after.trim_start().strip_prefix(state)?;
    let restarts = rest.split_whitespace().next()?.parse().ok()?;
    Some((name.to_owned(), Standing { is_running: state == "running", restarts }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_ps_are_read() {
        let screen = "\
PROGRAM  THREAD  CORE  PRIO  BUDGET/PERIOD  CPU TIME  STATE        RESTARTS  SESSION
init     main       0   255              -  225.4 ms  running             0
uart     main       0   200     5 ms/10 ms   12.7 ms  backing off         3
shell-1  main       0   100     5 ms/10 ms      0 µs  running             1        1
console  ma[    1.2] init: uart was started again
hello    main       0    90    10 ms/10 ms      0 µs  stopped             0";
        let standing = |is_running, restarts| Standing { is_running, restarts };
        let expected = [
            ("hello", standing(false, 0)),
            ("shell-1", standing(true, 1)),
            ("uart", standing(false, 3)),
        ];
        assert_eq!(table(screen), expected.map(|(name, row)| (name.to_owned(), row)).into());
    }

    #[test]
    fn amounts_are_told_from_what_is_around_them() {
        let screen = " AMOUNT  OF WHAT\n1048576  bytes free\n      7  handlers\ndone-3\nd3os> ";
        assert_eq!(amounts(screen), ["1048576  bytes free", "7  handlers"]);
    }

    #[test]
    fn commands_are_found_in_the_help() {
        let help = "  sleep MS       waits a while\n  ps   shows the programs";
        assert!(offers(help, "sleep 5") && offers(help, "ps") && !offers(help, "ping 10.0.2.2"));
    }
}
