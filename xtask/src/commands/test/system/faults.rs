//! Programs that die: the fault is told, and the system goes on.

use super::lab::Lab;
use super::session::Session;
use super::{Outcome, Test, contains, equals};

pub(crate) const TESTS: [Test; 1] = [("faults::every_kind_is_told", every_kind_is_told)];

const KINDS: [&str; 6] = ["null", "divide", "illegal", "stack", "readonly", "badcap"];

fn every_kind_is_told(lab: &Lab<'_>) -> Outcome {
    let mut session = Session::at_prompt(&lab.machine())?;
    for kind in KINDS {
        let report = session.run(&format!("fault {kind}"))?;
        contains(&report, &["`fault` died of: ", "address 0x", "in fault"])?;
        equals(&session.run("echo alive")?, "alive")?;
    }
    let ps = session.run("ps")?;
    contains(&ps, &["fault", "shell", "running"])
}
