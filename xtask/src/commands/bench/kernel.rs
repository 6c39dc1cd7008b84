//! `bench kernel`: what the kernel's operations cost, beside seL4's figures and our own bounds, and
//! how long it works at most without letting an interrupt in.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libd3os::mark::{Operation, Phase};
use serde::Serialize;

use super::BenchError;
use super::counting::{Counted, Passed, grouped};
use super::long::Stretches;
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
/// The kernel's options: what the processor needs against speculative execution, or nothing.
const MITIGATED: &str = "quiet";
const UNMITIGATED: &str = "quiet mitigations=off";
/// What the table does not say by itself.
const LEGEND: &str = "off: all instructions with mitigations=off. An interrupt's row ends where the \
                      waiter runs; that it acknowledges it, so that the next can come, is in the \
                      line below.\n";
/// Marks that an operation passes.
pub(super) const LAPS: usize = 3;
/// Rounds between the first two marks; twice as many between the last two.
const ROUNDS: u64 = 10_000;

/// What is known about an operation before it is measured.
pub(super) struct Known {
    pub(super) name: &'static str,
    /// Of seL4 16.0.0 (MCS, release, a kernel page table of its own) on the same machine.
    sel4: u64,
    /// What ours may cost at most.
    bound: u64,
}

/// What the part of an operation is that is counted apart: not in the figures that are compared,
/// but shown in a line of its own.
const fn with_part(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::Interrupt => Some("  the same, and the interrupt acknowledged"),
        _ => None,
    }
}

pub(super) const fn known(operation: Operation) -> Known {
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
        Operation::Interrupt => ("Wait, idle, interrupt, woken", 985, 700),
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
    /// All instructions, with `mitigations=off`.
    unmitigated: u64,
    sel4: u64,
    bound: u64,
    /// With the part that is counted apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    with_part: Option<WithPart>,
}

/// An operation's cost with the part of it that is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct WithPart {
    operation: &'static str,
    instructions: u64,
    kernel: u64,
    user: u64,
    unmitigated: u64,
}

/// All of them, as the JSON file has them.
#[derive(Debug, Serialize)]
struct Report {
    unit: &'static str,
    rounds: u64,
    operations: Vec<Cost>,
    stretches: Stretches,
}

impl Args {
    /// Measures, prints the table, writes the JSON. Fails where a bound is exceeded.
    #[expect(clippy::unused_self, reason = "siblings have options")]
    pub(crate) fn run(self) -> Result<ExitCode, BenchError> {
        let workshop = Workshop::open()?;
        let kernel = build::kernel(&workshop, Profile::Release)?;
        let module = build::root_task(&workshop, ROOT_TASK)?;
        progress::step("counting the kernel's operations");
        let report = Report::measured(&workshop, &kernel, module)?;
        print!("{}{}", report.table(), report.stretches.table());
        let module = build::root_task(&workshop, witness::ROOT_TASK)?;
        let marks = count(&workshop, &kernel, module, MITIGATED, Phase::Measured)?;
        let pairs = report.pairs(&marks)?;
        print!("{}{}", witness::head(), pairs.iter().map(Pair::line).collect::<String>());
        let agree = pairs.iter().all(Pair::agrees);
        let path = workshop.paths.out().join("bench/kernel.json");
        build::write(&path, serde_json::to_string_pretty(&report)?.as_bytes())?;
        println!("{}", path.display());
        Ok(if report.holds() && agree { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The marks up to `last` that a root task passes on this kernel with these options.
fn count(
    workshop: &Workshop,
    kernel: &Path,
    module: PathBuf,
    options: &str,
    last: Phase,
) -> Result<Vec<Passed>, BenchError> {
    let boot = Boot::Direct { kernel: kernel.into(), module, command_line: options.into() };
    let platform = Platform::Reference;
    let machine = Machine { platform, memory: MEMORY.into(), ..Machine::new(boot) };
    Counted::new(workshop, machine, last as u32)?.run()
}

/// What these operations cost, which were measured one after the other: with the mitigations, and
/// by other marks without.
fn costs(
    operations: &[Operation],
    marks: &[Passed],
    unmitigated: &[Passed],
) -> Result<Vec<Cost>, BenchError> {
    let laps = |marks: &[Passed]| -> Vec<Passed> {
        marks.iter().copied().filter(|mark| mark.phase == Phase::Lap as u32).collect()
    };
    let (laps, unmitigated) = (laps(marks), laps(unmitigated));
    let mut pairs = laps.chunks_exact(LAPS).zip(unmitigated.chunks_exact(LAPS));
    let costs = operations.iter().map(|operation| {
        let name = known(*operation).name;
        let found = pairs.next().map(|(laps, without)| cost(*operation, laps, without));
        found.ok_or(BenchError::NotMeasured(name))
    });
    costs.collect()
}

impl Report {
    /// Runs the machine with the mitigations and without.
    fn measured(workshop: &Workshop, kernel: &Path, module: PathBuf) -> Result<Self, BenchError> {
        let marks = count(workshop, kernel, module.clone(), MITIGATED, Phase::LongMeasured)?;
        progress::step("counting them with mitigations=off");
        let unmitigated = count(workshop, kernel, module, UNMITIGATED, Phase::Measured)?;
        Self::new(&marks, &unmitigated)
    }

    fn new(marks: &[Passed], unmitigated: &[Passed]) -> Result<Self, BenchError> {
        let operations = costs(&Operation::ALL, marks, unmitigated)?;
        let stretches = Stretches::new(marks)?;
        let unit = "executed instructions per operation";
        Ok(Self { unit, rounds: ROUNDS, operations, stretches })
    }

    fn holds(&self) -> bool {
        self.operations.iter().all(Cost::holds) && self.stretches.hold()
    }

    /// What the witness repeated, beside the same here.
    fn pairs(&self, marks: &[Passed]) -> Result<Vec<Pair>, BenchError> {
        let theirs = costs(&witness::OPERATIONS, marks, marks)?;
        let ours = |name| self.operations.iter().find(move |cost| cost.operation == name);
        let pairs = theirs.iter().filter_map(|cost| {
            let bench = ours(cost.operation)?;
            let [bench, witness] = [bench, cost].map(|cost| [cost.kernel, cost.user]);
            Some(Pair { name: cost.operation, bench, witness })
        });
        Ok(pairs.collect())
    }

    fn table(&self) -> String {
        let head = ["ours", "kernel", "user", "off", "at most", "seL4"];
        let lines: String = self.operations.iter().map(Cost::lines).collect();
        let head = head.map(|text| format!("{text:>9}")).concat();
        format!("{:<46}{head}\n{lines}{LEGEND}", "operation")
    }
}

impl Cost {
    fn holds(&self) -> bool {
        self.instructions <= self.bound
    }

    /// A line, or two where a part is counted apart.
    fn lines(&self) -> String {
        let Self { instructions, kernel, user, unmitigated, bound, sel4, .. } = *self;
        let verdict = if self.holds() { "" } else { "  exceeds" };
        let numbers = columns(&[instructions, kernel, user, unmitigated, bound, sel4]);
        let second = self.with_part.as_ref().map_or(String::new(), WithPart::line);
        format!("{:<46}{numbers}{verdict}\n{second}", self.operation)
    }
}

impl WithPart {
    fn line(&self) -> String {
        let Self { operation, instructions, kernel, user, unmitigated } = *self;
        format!("{operation:<46}{}\n", columns(&[instructions, kernel, user, unmitigated]))
    }
}

fn columns(numbers: &[u64]) -> String {
    numbers.iter().map(|number| format!("{:>9}", grouped(*number))).collect()
}

/// What a round of an operation costs, with the mitigations and without.
fn cost(operation: Operation, laps: &[Passed], unmitigated: &[Passed]) -> Cost {
    let [all, off] = [laps, unmitigated].map(|laps| per_round(laps, |lap| lap.executed));
    let kernel = per_round(laps, |lap| lap.kernel);
    let [apart, apart_off] = [laps, unmitigated].map(|laps| per_round(laps, |lap| lap.apart[0]));
    let apart_kernel = per_round(laps, |lap| lap.apart[1]);
    let (instructions, in_kernel) =
        (all.saturating_sub(apart), kernel.saturating_sub(apart_kernel));
    let with_part = with_part(operation).map(|operation| WithPart {
        operation,
        instructions: all,
        kernel,
        user: all.saturating_sub(kernel),
        unmitigated: off,
    });
    let Known { name, sel4, bound } = known(operation);
    Cost {
        operation: name,
        instructions,
        kernel: in_kernel,
        user: instructions.saturating_sub(in_kernel),
        unmitigated: off.saturating_sub(apart_off),
        sel4,
        bound,
        with_part,
    }
}

/// What a round adds to a count: the second loop has `ROUNDS` more than the first.
fn per_round(laps: &[Passed], count: fn(&Passed) -> u64) -> u64 {
    let at: Vec<u64> = laps.iter().map(count).collect();
    let (first, second) = (at[1] - at[0], at[2] - at[1]);
    (second.saturating_sub(first) + ROUNDS / 2) / ROUNDS
}

#[cfg(test)]
mod tests {
    use libd3os::mark::LongOperation;

    use super::*;

    fn laps(round: u64, kernel: u64, rest: u64) -> [Passed; LAPS] {
        let lap = |rounds: u64, loops: u64| Passed {
            phase: Phase::Lap as u32,
            executed: rounds * round + loops * rest,
            kernel: rounds * kernel + loops * rest,
            apart: [rounds * 50, rounds * 40],
            longest: 0,
        };
        [lap(0, 0), lap(ROUNDS, 1), lap(3 * ROUNDS, 2)]
    }

    /// Marks of long operations, which took no time.
    fn long() -> impl Iterator<Item = Passed> {
        let mark = Passed { phase: Phase::Long as u32, ..Passed::default() };
        LongOperation::ALL.into_iter().flat_map(move |_| [mark, mark])
    }

    #[test]
    fn what_happens_once_does_not_count() {
        let cost = cost(Operation::Call0, &laps(450, 340, 12_345), &laps(440, 340, 1));
        assert_eq!((cost.instructions, cost.kernel, cost.user), (400, 300, 100));
        assert_eq!((cost.unmitigated, cost.with_part), (390, None));
        assert!(cost.holds());
        assert!(!Cost { instructions: 421, ..cost }.holds());
    }

    #[test]
    fn what_is_counted_apart_has_a_line_of_its_own() {
        let cost = cost(Operation::Interrupt, &laps(450, 340, 5), &laps(440, 340, 5));
        let with = cost.with_part.expect("the acknowledgement");
        assert_eq!((cost.instructions, with.instructions, with.kernel), (400, 450, 340));
        assert_eq!((with.user, with.unmitigated), (110, 440));
        assert_eq!(cost.lines().lines().count(), 2, "{}", cost.lines());
    }

    #[test]
    fn an_operation_without_marks_is_named() {
        let marks: Vec<Passed> = (1..13).flat_map(|n| laps(100 * n, 50 * n, 0)).collect();
        let error = Report::new(&marks, &marks).expect_err("twelve of thirteen");
        assert!(matches!(error, BenchError::NotMeasured(name) if name.contains("frame")));
    }

    #[test]
    fn the_table_says_what_exceeds_its_bound() {
        let marks: Vec<Passed> = (1..14).flat_map(|_| laps(550, 490, 7)).chain(long()).collect();
        let report = Report::new(&marks, &marks).expect("all");
        let table = report.table();
        let line = "0 words                           500      450       50      500      420      590  exceeds\n";
        assert!(table.contains(line), "{table}");
        assert_eq!(table.matches("exceeds").count(), 3, "{table}");
        assert!(!report.holds());
        assert!(report.stretches.hold());
    }
}
