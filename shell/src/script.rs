//! Runs a script: the shell without a person.

use crate::runner::run_line;
use crate::session::{Course, Mode, Session};
use crate::system::{System, SystemError};

/// Waits for the programs that start by themselves, runs a script's lines, all of them unless one ends
/// the machine, and then switches the machine off. Nothing but the lines' output is written. The status that the machine ends with is 0 if
/// every line succeeded.
///
/// # Errors
/// The machine cannot be switched off, for this reason.
pub fn run(system: &mut dyn System, script: &str) -> Result<(), SystemError> {
    system.ready();
    // What it finds then does not depend on how fast the machine comes up.
    system.settle()?;
    let mut session = Session::new(system, Mode::Script);
    for line in script.lines() {
        run_line(&mut session, line);
        if session.course() == Course::End {
            return Ok(());
        }
    }
    let status = session.status();
    session.system.power_off(status)
}
