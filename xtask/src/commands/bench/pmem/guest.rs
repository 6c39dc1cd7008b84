//! What persistent objects cost in this system, in executed instructions: a program asks the object
//! server over IPC, and changes an object where it lies.

use std::fs;

use libd3os::mark::Phase;
use libd3os::mark::pmem::{OPERATIONS, ROUNDS};
use serde::Serialize;

use crate::commands::bench::BenchError;
use crate::commands::bench::counting::{Counted, Passed, grouped};
use crate::commands::build;
use crate::commands::qemu::script::Module;
use crate::compile::Profile;
use crate::progress;
use crate::vm::{Boot, Machine, Persistence, Store};
use crate::workshop::Workshop;

/// The image with the program, and what its shell is given to run.
const IMAGE: &str = "crash";
const LINE: &str = "run ledger measured";
/// The size of the NVDIMM, which is new for each run.
const BYTES: &str = "256M";
/// Marks that an operation passes.
const LAPS: usize = 3;

/// What an operation takes.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Cost {
    operation: &'static str,
    /// Executed instructions: those of the program, of the server and of the kernel.
    instructions: u64,
    /// Of them, the kernel's.
    kernel: u64,
}

impl Cost {
    /// A line of the table.
    pub(super) fn line(&self) -> String {
        let [all, kernel] = [self.instructions, self.kernel].map(grouped);
        format!("{:<58}{all:>10}{kernel:>10} (kernel)\n", self.operation)
    }
}

/// Counts them.
pub(super) fn measure(workshop: &Workshop) -> Result<Vec<Cost>, BenchError> {
    progress::step("counting persistent objects in the guest");
    let kernel = build::kernel(workshop, Profile::Release)?;
    // Removed when dropped: the machine reads it when it starts.
    let module = Module::write(workshop, IMAGE, LINE.to_owned())?;
    let boot =
        Boot::Direct { kernel, module: module.path().into(), command_line: "quiet".to_owned() };
    let file = workshop.paths.out().join(format!("run/{}.pmem", std::process::id()));
    let store: Store = format!("{}:{BYTES}", file.display()).parse()?;
    let machine = Machine::new(boot).with_pmem(store.open(Persistence::Adr)?)?;
    let marks = Counted::new(workshop, machine, Phase::Measured as u32)?.run();
    // Left behind it only takes room.
    let _left = fs::remove_file(&file);
    costs(&marks?)
}

fn costs(marks: &[Passed]) -> Result<Vec<Cost>, BenchError> {
    let laps: Vec<_> = marks.iter().filter(|mark| mark.phase == Phase::Lap as u32).collect();
    let mut laps = laps.chunks_exact(LAPS);
    let cost = |operation| {
        let laps = laps.next().ok_or(BenchError::NotMeasured(operation))?;
        let per = |count: fn(&Passed) -> u64| per_operation([0, 1, 2].map(|lap| count(laps[lap])));
        let (instructions, kernel) = (per(|mark| mark.executed), per(|mark| mark.kernel));
        Ok(Cost { operation, instructions, kernel })
    };
    OPERATIONS.into_iter().map(cost).collect()
}

/// The second lap has twice as many operations: what the laps themselves take drops out.
const fn per_operation([first, second, third]: [u64; LAPS]) -> u64 {
    third.saturating_sub(second).saturating_sub(second.saturating_sub(first)) / ROUNDS.rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_become_costs() {
        let lap = |executed| {
            let phase = Phase::Lap as u32;
            Passed { phase, executed, kernel: executed / 4, ..Passed::default() }
        };
        // 400 instructions an operation, and 7 a lap.
        let rounds = ROUNDS.rounds;
        let laps = [0, 400 * rounds + 7, 1200 * rounds + 14];
        let marks: Vec<_> = OPERATIONS.iter().flat_map(|_| laps.map(lap)).collect();
        let found = costs(&marks).expect("all marks");
        assert!(found.iter().all(|cost| cost.instructions == 400 && cost.kernel == 100));
        assert!(matches!(costs(&marks[1..]), Err(BenchError::NotMeasured(_))));
    }
}
