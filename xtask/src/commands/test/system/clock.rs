//! The kernel measures how fast the time stamp counter runs; however busy the host is meanwhile, it
//! finds the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::lab::Lab;
use super::session::Session;
use super::{Failure, Outcome, Test, equals, unexpected};
use crate::vm::Machine;

pub(crate) const TESTS: [Test; 2] = [
    ("clock::counted_time_is_exact", counted_time),
    ("clock::a_loaded_host_does_not_matter", loaded_host),
];

/// Starts while the host is busy.
const LOADED_STARTS: usize = 3;
/// What measurements may differ by, in thousandths: the kernel's own bound is half of that.
const PER_MILLE: u64 = 1;

/// QEMU's counted time gives an instruction a nanosecond.
fn counted_time(lab: &Lab<'_>) -> Outcome {
    let megahertz = measured(lab, true)?;
    equals(&megahertz.to_string(), "1000")
}

fn loaded_host(lab: &Lab<'_>) -> Outcome {
    let quiet = measured(lab, false)?;
    let busy = AtomicBool::new(true);
    let measured = thread::scope(|scope| {
        for _ in 0..2 * thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while busy.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let measured: Result<Vec<u64>, Failure> =
            (0..LOADED_STARTS).map(|_| measured(lab, false)).collect();
        busy.store(false, Ordering::Relaxed);
        measured
    })?;
    match measured.iter().all(|loaded| loaded.abs_diff(quiet) * 1000 <= quiet * PER_MILLE) {
        true => Ok(()),
        false => Err(unexpected(format!("{quiet} MHz on a quiet host"), &format!("{measured:?}"))),
    }
}

/// What the kernel of a machine found, in MHz.
fn measured(lab: &Lab<'_>, counted: bool) -> Result<u64, Failure> {
    let machine = Machine { cores: 1, counted, ..lab.machine() };
    let said = Session::at_prompt(&machine)?.run("uptime")?;
    let megahertz = said.split_ascii_whitespace().rev().nth(1).and_then(|word| word.parse().ok());
    megahertz.ok_or_else(|| unexpected("no rate of the time stamp counter", &said))
}
