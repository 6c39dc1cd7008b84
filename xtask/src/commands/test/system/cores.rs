//! Four cores: programs on each, and cores that are stopped and started anew.

use super::lab::Lab;
use super::session::Session;
use super::{Failure, Outcome, Test, contains, unexpected};
use crate::vm::Machine;

pub(crate) const TESTS: [Test; 5] = [
    ("cores::a_program_runs_on_another_core", runs_elsewhere),
    ("cores::a_fault_on_another_core_is_told", faults_elsewhere),
    ("cores::a_program_on_another_core_is_killed", killed_elsewhere),
    ("cores::a_restart_leaves_the_others_alone", restart),
    ("cores::a_stopped_core_is_shown_and_takes_nothing", stop),
];

fn session(lab: &Lab<'_>) -> Result<Session, Failure> {
    Ok(Session::at_prompt(&Machine { cores: 4, ..lab.machine() })?)
}

fn runs_elsewhere(lab: &Lab<'_>) -> Outcome {
    let mut session = session(lab)?;
    for core in 0..4 {
        let output = session.run(&format!("run --core {core} hello"))?;
        contains(&output, &[&format!("Hello from hello on core {core} (1)")])?;
    }
    contains(&session.run("run --core 4 hello")?, &["no kernel runs on a core 4"])?;
    let cores = session.run("cores")?;
    for core in 0..4 {
        row(&cores, core, "running")?;
    }
    contains(&session.run("mem")?, &["   3  untyped"])
}

fn faults_elsewhere(lab: &Lab<'_>) -> Outcome {
    let mut session = session(lab)?;
    let report = session.run("fault --core 2 null")?;
    contains(&report, &["`fault` died of: null dereference", "in fault"])?;
    contains(&session.run("run --core 2 hello")?, &["on core 2"])
}

fn killed_elsewhere(lab: &Lab<'_>) -> Outcome {
    let mut session = session(lab)?;
    start_for_ever(&mut session, 3)?;
    session.keys("kill hello\r")?;
    session.text("`hello` was ended")?;
    session.prompt()?;
    let ps = session.run("ps")?;
    match ps.lines().find(|line| line.starts_with("hello")) {
        Some(row) if row.contains("stopped") => Ok(()),
        _ => Err(unexpected("hello is not stopped", &ps)),
    }
}

fn restart(lab: &Lab<'_>) -> Outcome {
    let mut session = session(lab)?;
    start_for_ever(&mut session, 1)?;
    session.keys("cores restart 2\r")?;
    session.text("core 2 was started anew")?;
    // Greetings that come after the restart.
    session.text("on core 1 (")?;
    session.keys("kill hello\r")?;
    session.text("`hello` was ended")?;
    session.prompt()?;
    let cores = session.run("cores")?;
    let restarted = row(&cores, 2, "running")?;
    match restarted.trim_end().ends_with('1') {
        true => contains(&session.run("run --core 2 hello")?, &["on core 2"]),
        false => Err(unexpected("core 2 was not restarted once", &cores)),
    }
}

fn stop(lab: &Lab<'_>) -> Outcome {
    let mut session = session(lab)?;
    start_for_ever(&mut session, 3)?;
    session.keys("cores stop 3\r")?;
    session.text("core 3 was stopped")?;
    session.prompt()?;
    row(&session.run("cores")?, 3, "stopped")?;
    contains(&session.run("run --core 3 hello")?, &["core 3 does not run"])?;
    contains(&session.run("cores stop 0")?, &["init on core 0"])?;
    contains(&session.run("run --core 2 hello")?, &["on core 2"])
}

fn start_for_ever(session: &mut Session, core: u32) -> Outcome {
    session.keys(&format!("run --core {core} hello --forever &\r"))?;
    session.text("runs in the background")?;
    session.text("(2).")?;
    Ok(())
}

/// The line of a core, which says that it is in this state.
fn row(cores: &str, core: u32, state: &str) -> Result<String, Failure> {
    let start = format!("{core:4}  {state}");
    let line = cores.lines().find(|line| line.starts_with(&start));
    line.map(str::to_owned).ok_or_else(|| unexpected(format!("core {core} is not {state}"), cores))
}
