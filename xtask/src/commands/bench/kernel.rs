//! `bench kernel`: what the kernel's operations cost, beside seL4's figures and our own bounds.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libd3os::mark::{Operation, Phase};
use serde::Serialize;

use super::BenchError;
use super::counting::{Counted, Passed, grouped};
use super::witness::{self, Pair};
use crate::commands::build;
use crate::compile::Profile;
use crate::progress;
use crate::vm::{Boot, Machine, Platform};
use crate::workshop::Workshop;

/// Options of `bench kernel`.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// The package that repeats the operations.
const ROOT_TASK: &str = "kernel-bench";
/// RAM that seL4's figures were taken with.
const MEMORY: &str = "3G";
/// Marks that an operation passes.
const LAPS: usize = 3;
/// Rounds between the first two marks; twice as many between the last two.
const ROUNDS: u64 = 10_000;

/// What is known about an operation before it is measured.
struct Known {
    name: &'static str,
    /// Of seL4 16.0.0 (MCS, release, a kernel page table of its own) on the same machine.
    sel4: u64,
    /// What ours may cost at most.
    bound: u64,
}

const fn known(operation: Operation) -> Known {
    let (name, sel4, bound) = match operation {
        Operation::Call0 => ("Call + ReplyRecv, 0 words", 590, 420),
        Operation::Call4 => ("Call + ReplyRecv, 4 words", 634, 460),
        Operation::Call10 => ("Call + ReplyRecv, 10 words", 2_532, 700),
        Operation::Call120 => ("Call + ReplyRecv, 120 words", 3_632, 1_400),
        Operation::SignalWait => ("Signal + Wait, one thread", 853, 500),
        Operation::PingPong => ("notification ping-pong, higher-priority peer", 2_160, 1_100),
        Operation::Yield => ("Yield alone", 451, 250),
        Operation::MapUnmap => ("4 KiB page map + unmap", 1_639, 900),
        Operation::Fault => ("fault, handler replies, refault", 1_926, 1_000),
        Operation::Interrupt => ("Wait, idle, interrupt, woken, acknowledged", 985, 700),
        Operation::CopyDelete => ("CNode copy + delete", 1_841, 1_000),
        Operation::RetypeEndpoint => ("retype endpoint + delete", 2_098, 1_200),
        Operation::RetypeFrame => ("retype 4 KiB frame + delete, with zeroing", 4_431, 2_500),
    };
    Known { name, sel4, bound }
}

/// An operation's cost, in executed instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Cost {
    operation: &'static str,
    instructions: u64,
    kernel: u64,
    user: u64,
    sel4: u64,
    bound: u64,
}

/// All of them, as the JSON file has them.
#[derive(Debug, Serialize)]
struct Report {
    unit: &'static str,
    rounds: u64,
    operations: Vec<Cost>,
}

impl Args {
    /// Measures, prints the table, writes the JSON. Fails where a bound is exceeded.
    #[expect(clippy::unused_self, reason = "siblings have options")]
    pub(crate) fn run(self) -> Result<ExitCode, BenchError> {
        let workshop = Workshop::open()?;
        let kernel = build::kernel(&workshop, Profile::Release)?;
        let module = build::root_task(&workshop, ROOT_TASK)?;
        progress::step("counting the kernel's operations");
        let report = Report::new(&count(&workshop, &kernel, module)?)?;
        print!("{}", report.table());
        let module = build::root_task(&workshop, witness::ROOT_TASK)?;
        let pairs = report.pairs(&count(&workshop, &kernel, module)?)?;
        print!("{}{}", witness::head(), pairs.iter().map(Pair::line).collect::<String>());
        let agree = pairs.iter().all(Pair::agrees);
        let path = workshop.paths.out().join("bench/kernel.json");
        build::write(&path, serde_json::to_string_pretty(&report)?.as_bytes())?;
        println!("{}", path.display());
        Ok(if report.holds() && agree { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The marks that a root task passes on this kernel.
fn count(workshop: &Workshop, kernel: &Path, module: PathBuf) -> Result<Vec<Passed>, BenchError> {
    let boot = Boot::Direct { kernel: kernel.into(), module, command_line: "quiet".into() };
    let platform = Platform::Reference;
    let machine = Machine { platform, memory: MEMORY.into(), ..Machine::new(boot) };
    Counted::new(workshop, machine, Phase::Measured as u32)?.run()
}

/// What these operations cost, which were measured one after the other.
fn costs(operations: &[Operation], marks: &[Passed]) -> Result<Vec<Cost>, BenchError> {
    let laps: Vec<Passed> =
        marks.iter().copied().filter(|mark| mark.phase == Phase::Lap as u32).collect();
    let mut laps = laps.chunks_exact(LAPS);
    let costs = operations.iter().map(|operation| {
        let name = known(*operation).name;
        laps.next().map(|laps| cost(*operation, laps)).ok_or(BenchError::NotMeasured(name))
    });
    costs.collect()
}

impl Report {
    fn new(marks: &[Passed]) -> Result<Self, BenchError> {
        let operations = costs(&Operation::ALL, marks)?;
        Ok(Self { unit: "executed instructions per operation", rounds: ROUNDS, operations })
    }

    fn holds(&self) -> bool {
        self.operations.iter().all(Cost::holds)
    }

    /// What the witness repeated, beside the same here.
    fn pairs(&self, marks: &[Passed]) -> Result<Vec<Pair>, BenchError> {
        let theirs = costs(&witness::OPERATIONS, marks)?;
        let ours = |name| self.operations.iter().find(move |cost| cost.operation == name);
        let pairs = theirs.iter().filter_map(|cost| {
            let bench = ours(cost.operation)?;
            let [bench, witness] = [bench, cost].map(|cost| [cost.kernel, cost.user]);
            Some(Pair { name: cost.operation, bench, witness })
        });
        Ok(pairs.collect())
    }

    fn table(&self) -> String {
        let head = ["ours", "kernel", "user", "at most", "seL4"].map(|text| format!("{text:>9}"));
        let mut text = format!("{:<46}{}\n", "operation", head.concat());
        for cost in &self.operations {
            let Cost { instructions, kernel, user, bound, sel4, .. } = *cost;
            let numbers = [instructions, kernel, user, bound, sel4];
            let columns: String = numbers.map(|number| format!("{:>9}", grouped(number))).concat();
            let verdict = if cost.holds() { "" } else { "  exceeds" };
            text += &format!("{:<46}{columns}{verdict}\n", cost.operation);
        }
        text
    }
}

impl Cost {
    fn holds(&self) -> bool {
        self.instructions <= self.bound
    }
}

/// What a round costs: the second loop has `ROUNDS` more than the first.
fn cost(operation: Operation, laps: &[Passed]) -> Cost {
    let per_round = |count: fn(&Passed) -> u64| {
        let at: Vec<u64> = laps.iter().map(count).collect();
        let (first, second) = (at[1] - at[0], at[2] - at[1]);
        (second.saturating_sub(first) + ROUNDS / 2) / ROUNDS
    };
    let (instructions, kernel) = (per_round(|lap| lap.executed), per_round(|lap| lap.kernel));
    let Known { name, sel4, bound } = known(operation);
    let user = instructions.saturating_sub(kernel);
    Cost { operation: name, instructions, kernel, user, sel4, bound }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laps(round: u64, kernel: u64, rest: u64) -> [Passed; LAPS] {
        let lap = |rounds: u64, loops: u64| Passed {
            phase: Phase::Lap as u32,
            executed: rounds * round + loops * rest,
            kernel: rounds * kernel + loops * rest,
        };
        [lap(0, 0), lap(ROUNDS, 1), lap(3 * ROUNDS, 2)]
    }

    #[test]
    fn what_happens_once_does_not_count() {
        let cost = cost(Operation::Call0, &laps(400, 300, 12_345));
        assert_eq!((cost.instructions, cost.kernel, cost.user), (400, 300, 100));
        assert!(cost.holds());
        assert!(!Cost { instructions: 421, ..cost }.holds());
    }

    #[test]
    fn an_operation_without_marks_is_named() {
        let marks: Vec<Passed> = (1..13).flat_map(|n| laps(100 * n, 50 * n, 0)).collect();
        let error = Report::new(&marks).expect_err("twelve of thirteen");
        assert!(matches!(error, BenchError::NotMeasured(name) if name.contains("frame")));
    }

    #[test]
    fn the_table_says_what_exceeds_its_bound() {
        let marks: Vec<Passed> = (1..14).flat_map(|_| laps(500, 450, 7)).collect();
        let report = Report::new(&marks).expect("all");
        let table = report.table();
        assert!(table.contains("0 words                           500      450       50      420      590  exceeds\n"), "{table}");
        assert_eq!(table.matches("exceeds").count(), 3, "{table}");
        assert!(!report.holds());
    }
}
