//! Memory that programs share: it outlives them, and who may only read it cannot write it.

use super::lab::Lab;
use super::session::Session;
use super::{Outcome, Test, contains, unexpected};

pub(crate) const TESTS: [Test; 2] =
    [("shared::memory_outlives_its_users", outlives), ("shared::a_reader_cannot_write", read_only)];

const BOTH: [&str; 2] = ["slate says 'first' and 'first'", "large-slate says 'first' and 'first'"];

fn outlives(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine_with(lab.slate()?))?;
    let empty = ["slate says '' and ''", "large-slate says '' and ''"];
    contains(&session.run("run reader")?, &empty)?;
    let shared = |mem: &str| mem.lines().find(|line| line.contains("shared ")).map(str::to_owned);
    let before = shared(&session.run("mem")?);
    contains(&session.run("run scribe first die")?, &["wrote on slate", "died"])?;
    contains(&session.run("run reader")?, &BOTH)?;
    // Its writer dies again, and again: what it was made of is the same memory.
    for _ in 0..3 {
        contains(&session.run("run scribe first die")?, &["wrote on large-slate"])?;
    }
    contains(&session.run("run reader")?, &BOTH)?;
    let after = session.run("mem")?;
    match before {
        Some(line) if shared(&after).as_ref() == Some(&line) => {}
        _ => return Err(unexpected(format!("not {before:?}, which was shared"), &after)),
    }
    contains(&session.run("caps reader")?, &["slate, 16 KiB at 0x400000000000", "4096 KiB"])
}

fn read_only(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine_with(lab.slate()?))?;
    contains(&session.run("run scribe first")?, &["wrote on slate", "wrote on large-slate"])?;
    let refused = "the region does not give this right";
    contains(&session.run("run reader write")?, &[refused])?;
    contains(&session.run("run reader force")?, &["died", "tried to write"])?;
    contains(&session.run("run reader")?, &BOTH)
}
