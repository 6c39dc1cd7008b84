//! Machines of several sizes.

use super::lab::Lab;
use super::session::Session;
use super::{Outcome, Test, contains};
use crate::vm::Machine;

pub(crate) const TESTS: [Test; 2] = [
    ("machines::one_core_256_mib", |lab| boots(lab, 1, "256M", &["1 core,", " MiB of RAM"])),
    ("machines::four_cores_8_gib", |lab| boots(lab, 4, "8G", &["4 cores,", " GiB of RAM"])),
];

fn boots(lab: &Lab<'_>, cores: u32, memory: &str, version: &[&str]) -> Outcome {
    let machine = Machine { cores, memory: memory.into(), ..lab.machine() };
    let mut session = Session::at_prompt(&machine)?;
    contains(&session.run("version")?, version)?;
    contains(&session.run("ps")?, &["shell", "running"])
}
