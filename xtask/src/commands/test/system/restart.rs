//! Servers that are killed come back, and who works with them goes on.

use super::lab::Lab;
use super::session::Session;
use super::{Failure, Outcome, Test, contains, unexpected};

pub(crate) const TESTS: [Test; 3] = [
    ("restart::uart", uart),
    ("restart::console", console),
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
