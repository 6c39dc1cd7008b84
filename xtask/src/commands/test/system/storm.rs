//! Calls and signals between all cores at once, none of which may be lost: the programs of
//! `shell/programs/storm`, which check every answer and tell their sums.

use super::lab::Lab;
use super::session::Session;
use super::{Failure, Outcome, Test, contains, unexpected};
use crate::vm::Machine;

pub(crate) const TESTS: [Test; 5] = [
    ("storm::four_cores_with_restarts_in_between", four_cores),
    ("storm::two_cores", two_cores),
    ("storm::eight_cores", eight_cores),
    ("storm::programs_stand_where_the_manifest_says", placement),
    ("storm::who_waits_for_a_server_hears_that_it_is_ended_for_good", ended_while_away),
];

/// Clients, and servers, of the image.
const CLIENTS: usize = 4;
/// Calls over rings and signals, each, that the storm on four cores makes at least.
const FEWEST: u64 = 100_000;
/// Calls that each client makes of each server there: three of the servers are on other cores. Twice
/// as many as needed, because the faster the machine, the fewer of them find anyone asleep.
const CALLS: u64 = 2 * FEWEST.div_ceil(CLIENTS as u64 * (CLIENTS as u64 - 1));
/// Calls of each server in the short storms.
const SHORT: u64 = 1_000;

/// What a client told at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    core: u64,
    answered: u64,
    over_rings: u64,
    rung: u64,
    heard: u64,
    restarts: u64,
    outages: u64,
}

impl Sums {
    /// From its line, if that is on the screen.
    fn find(text: &str, client: usize) -> Option<Self> {
        let line = text.split(&format!("storm-{client}: core ")).nth(1)?;
        let mut numbers = line.split_once(".")?.0.split(", ");
        let mut number = || numbers.next()?.rsplit(' ').next()?.parse().ok();
        Some(Self {
            core: number()?,
            answered: number()?,
            over_rings: number()?,
            rung: number()?,
            heard: number()?,
            restarts: number()?,
            outages: number()?,
        })
    }
}

fn four_cores(lab: &Lab<'_>) -> Outcome {
    let mut session = session(lab, 4)?;
    begin(&mut session, CALLS, |_| None)?;
    // Who is restarted begins anew; the others go on, and find its server again.
    for (part, core) in [(1, 3), (2, 1)] {
        session.text(&format!("storm-0: part {part} of 4"))?;
        session.keys(&format!("cores restart {core}\r"))?;
        session.text(&format!("core {core} was started anew"))?;
    }
    let sums = end(&mut session)?;
    for (client, sums) in sums.iter().enumerate() {
        check(sums.core == client as u64 && sums.answered == CALLS * 4, "the calls", sums)?;
        check(sums.over_rings == CALLS * 3, "the calls over rings", sums)?;
    }
    check(sums[0].restarts == 2 && sums[0].outages <= 2, "two restarts", &sums[0])?;
    let calls: u64 = sums.iter().map(|sums| sums.over_rings).sum();
    let signals: u64 = sums.iter().map(|sums| sums.rung + sums.heard).sum();
    println!("        {calls} calls over rings, {signals} signals");
    match calls >= FEWEST && signals >= FEWEST {
        true => Ok(()),
        false => Err(unexpected(format!("fewer than {FEWEST} calls or signals"), "")),
    }
}

/// On two cores half of the programs are where the manifest did not want them.
fn two_cores(lab: &Lab<'_>) -> Outcome {
    let mut session = session(lab, 2)?;
    begin(&mut session, SHORT, |_| None)?;
    for (client, sums) in end(&mut session)?.iter().enumerate() {
        // Three servers are on core 0, one on core 1.
        let (core, over_rings) = if client == 1 { (1, 3 * SHORT) } else { (0, SHORT) };
        check(sums.core == core && sums.over_rings == over_rings, "the calls over rings", sums)?;
        check(sums.answered == 4 * SHORT && sums.restarts == 0, "the calls", sums)?;
    }
    Ok(())
}

/// The clients on the cores that have no server.
fn eight_cores(lab: &Lab<'_>) -> Outcome {
    let mut session = session(lab, 8)?;
    begin(&mut session, SHORT, |client| Some(client + 4))?;
    for (client, sums) in end(&mut session)?.iter().enumerate() {
        check(sums.core == client as u64 + 4, "the core", sums)?;
        check(sums.over_rings == 4 * SHORT && sums.restarts == 0, "the calls over rings", sums)?;
    }
    Ok(())
}

fn placement(lab: &Lab<'_>) -> Outcome {
    let on = |ps: &str, program: &str, core: u32| {
        let row = ps.lines().find(|line| line.starts_with(program)).unwrap_or_default();
        match row.split_whitespace().nth(2) == Some(&core.to_string()) {
            true => Ok(()),
            false => Err(unexpected(format!("{program} is not on core {core}"), ps)),
        }
    };
    let ps = session(lab, 4)?.run("ps")?;
    (0..4).try_for_each(|core| on(&ps, &format!("echo-{core}"), core))?;
    let mut session = session(lab, 2)?;
    let ps = session.run("ps")?;
    [(0, 0), (1, 1), (2, 0), (3, 0)]
        .into_iter()
        .try_for_each(|(number, core)| on(&ps, &format!("echo-{number}"), core))?;
    let log = session.run("log -n 40")?;
    contains(&log, &["echo-3 belongs on core 3, which is not there: core 0 takes it"])
}

/// A server on another core that fails often pauses for long. Once it has been ended in such a pause,
/// who calls it there by its endpoint is told.
fn ended_while_away(lab: &Lab<'_>) -> Outcome {
    let mut session = session(lab, 2)?;
    contains(&session.run("run storm-1 --fell echo-1 8")?, &["storm-1: echo-1 answers"])?;
    // The first ends a run and the second the pause after it, unless that is over so soon.
    let mut kills = (0..20).map(|_| session.run("kill echo-1"));
    let is_over = |output: &Result<String, _>| match output {
        Ok(output) => output.contains("is not running"),
        Err(_) => true,
    };
    match kills.find(is_over) {
        Some(ended) => drop(ended?),
        None => return Err(unexpected("echo-1 was not ended for good", "")),
    }
    let outcome = session.run("run storm-1 --fell echo-1 0")?;
    contains(&outcome, &["storm-1: echo-1: the program that serves it does not run"])
}

fn session(lab: &Lab<'_>, cores: u32) -> Result<Session, Failure> {
    let machine = lab.machine_with(lab.storm()?);
    Ok(Session::at_prompt(&Machine { cores, ..machine })?)
}

/// Starts all clients, each where `core` says or else the manifest.
fn begin(session: &mut Session, calls: u64, core: impl Fn(usize) -> Option<usize>) -> Outcome {
    for client in 0..CLIENTS {
        let place = core(client).map(|core| format!("--core {core} ")).unwrap_or_default();
        session.keys(&format!("run {place}storm-{client} --calls {calls} &\r"))?;
        session.text(&format!("`storm-{client}` runs in the background"))?;
    }
    Ok(())
}

/// Waits until all clients have told their sums.
fn end(session: &mut Session) -> Result<[Sums; CLIENTS], Failure> {
    let mut all = [Sums::default(); CLIENTS];
    for (client, sums) in all.iter_mut().enumerate() {
        for part in 1..=4 {
            session.text(&format!("storm-{client}: part {part} of 4"))?;
        }
        let told = |text: &str| Sums::find(text, client);
        session.wait("the sums of a client", |screen| told(&screen.text()).is_some())?;
        let text = session.screen().text();
        *sums = told(&text).ok_or_else(|| unexpected("sums are gone", &text))?;
    }
    Ok(all)
}

fn check(holds: bool, what: &str, sums: &Sums) -> Outcome {
    if holds { Ok(()) } else { Err(unexpected(format!("not {what}"), &format!("{sums:?}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_from_the_screen() {
        let text = "d3os> storm-1: part 4 of 4\nstorm-1: core 3, answered 400, over rings 300, \
                    rung 294, heard 31, restarts 2, outages 1.\nd3os> ";
        let sums = Sums {
            core: 3,
            answered: 400,
            over_rings: 300,
            rung: 294,
            heard: 31,
            restarts: 2,
            outages: 1,
        };
        assert_eq!(Sums::find(text, 1), Some(sums));
        assert_eq!(Sums::find(text, 2), None);
        assert_eq!(Sums::find("storm-1: core 3, answered 4", 1), None);
    }
}
