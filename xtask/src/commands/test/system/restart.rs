//! Servers that are killed come back, and who works with them goes on.

use super::lab::Lab;
use super::session::Session;
use super::{Failure, Outcome, Test, contains, unexpected};

pub(crate) const TESTS: [Test; 5] = [
    ("restart::uart", uart),
    ("restart::console", console),
    ("restart::a_program_that_hangs_is_ended_and_started_again", hangs),
    ("restart::a_program_that_dies_again_and_again_is_given_up", dies),
    ("restart::a_program_that_is_not_kept_stays_stopped", hello),
];

fn uart(lab: &Lab<'_>) -> Outcome {
    survives(lab, "uart")
}

fn console(lab: &Lab<'_>) -> Outcome {
    survives(lab, "console")
}

fn survives(lab: &Lab<'_>, program: &str) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    session.edit(&format!("kill {program}"), &format!("kill {program}"))?;
    session.keys("\r")?;
    session.text(&format!("`{program}` was ended"))?;
    session.prompt()?;
    for round in 0..3 {
        contains(&session.run(&format!("echo round {round}"))?, &[&format!("round {round}")])?;
    }
    running_again(&session.run("ps")?, program)?;
    contains(&session.run("svc")?, &[program])
}

fn running_again(ps: &str, program: &str) -> Outcome {
    let row = ps.lines().find(|line| line.starts_with(program)).unwrap_or_default();
    match row.contains("running") && row.trim_end().ends_with('1') {
        true => Ok(()),
        false => Err(unexpected(format!("{program} does not run after one restart"), ps)),
    }
}

/// Milliseconds before each restart of a program that dies again and again, until it is given up.
const PAUSES: [u32; 8] = [10, 20, 40, 80, 160, 320, 640, 1280];

/// On either core, whoever does not answer is ended and started again, after a pause that grows; the
/// log says why. Who waits for its end is told.
fn hangs(lab: &Lab<'_>) -> Outcome {
    for core in 0..2 {
        let mut session = Session::at_prompt(&lab.machine_with(lab.storm()?))?;
        session.keys(&format!("run --core {core} stuck hang &\r"))?;
        session.text("init: error: stuck did not answer for ")?;
        for pause in &PAUSES[..2] {
            session.text(&format!(" ms and was ended; starts again in {pause} ms"))?;
            session.text("init: stuck was started again")?;
        }
    }
    let mut session = Session::at_prompt(&lab.machine())?;
    contains(&session.run("fault hang")?, &["`fault` was ended: it had not answered for "])?;
    contains(&session.run("fault null")?, &["`fault` died of: null dereference"])
}

/// It is not started for ever, and a person is told what can be done.
fn dies(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine_with(lab.storm()?))?;
    session.keys("run stuck null &\r")?;
    for pause in PAUSES {
        session.text(&format!("starts again in {pause} ms"))?;
    }
    session.text("it failed 9 times in a row and is given up")?;
    session.text("`run stuck` starts stuck again")?;
    let is_row = |line: &&str| line.starts_with("stuck ");
    let row = |ps: &str| ps.lines().find(is_row).unwrap_or_default().to_owned();
    contains(&row(&session.run("ps")?), &["given up", " 8"])?;
    // Without a kind of death it tells which there are, and ends well.
    contains(&session.run("run stuck")?, &["usage: fault KIND"])?;
    contains(&row(&session.run("ps")?), &["stopped"])
}

fn hello(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    let line = "run hello --forever &";
    session.edit(line, line)?;
    session.keys("\r")?;
    session.text("runs in the background")?;
    session.text("(2).")?;
    // It prints over the line being typed; what counts is that the line arrives.
    session.keys("kill hello\r")?;
    session.text("`hello` was ended")?;
    session.prompt()?;
    let ps = session.run("ps")?;
    let row = ps.lines().find(|line| line.starts_with("hello"));
    match row {
        Some(row) if row.contains("stopped") => Ok(()),
        _ => Err::<(), Failure>(unexpected("hello is not stopped", &ps)),
    }
}
