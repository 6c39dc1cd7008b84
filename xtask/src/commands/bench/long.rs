//! The longest stretch of the kernel's instructions in which it lets no interrupt in: from an entry
//! or a question whether one waits to the next question or exit.
//!
//! Operations whose work grows with what was built before are listed one by one; the last line has
//! everything else that the benchmark does. The root task lets a timer interrupt each operation
//! every 20,000 instructions or so, so that it is broken off and goes on, as often as it asks.

use libd3os::mark::{LongOperation, Operation, Phase};
use serde::Serialize;

use super::BenchError;
use super::counting::{Passed, grouped};
use super::kernel::{LAPS, known};

/// Instructions that a stretch may have.
const BOUND: u64 = 15_000;

/// What an operation's stretches may have. What the interface itself lets grow has no bound, but is
/// shown: where 64 CNodes lead to each slot that a message names, to find them is most of the work,
/// and a message cannot be left half sent. Whoever cares keeps capability spaces flat.
const fn bound(operation: LongOperation) -> Option<u64> {
    match operation {
        LongOperation::DeepMessages => None,
        _ => Some(BOUND),
    }
}

/// An operation that executes more than this is interrupted at least twice, if it ever lets an
/// interrupt in before it ends: that alone counts one.
const INTERRUPTED_FROM: u64 = 100_000;

const fn name(operation: LongOperation) -> &'static str {
    match operation {
        LongOperation::RetypeHugeFrame => "retype a 1 GiB frame",
        LongOperation::RetypeLargeFrames => "retype 256 2 MiB frames",
        LongOperation::RetypeFrames => "retype 256 4 KiB frames",
        LongOperation::RetypeThreads => "retype 256 threads",
        LongOperation::RetypeCNodes => "retype 256 CNodes",
        LongOperation::RetypeEndpoints => "retype 256 endpoints",
        LongOperation::RetypeVSpaces => "retype 256 VSpaces",
        LongOperation::Revoke => "revoke 10,000 capabilities",
        LongOperation::DeleteCNode => "delete a CNode with 10,000 capabilities",
        LongOperation::DeleteNestedCNodes => "delete 1,000 CNodes, each in the other",
        LongOperation::CancelBadgedSends => "cancel 1,000 badged sends",
        LongOperation::DeleteEndpoint => "delete an endpoint with 1,000 callers",
        LongOperation::DeleteNotification => "delete a notification with 1,000 waiters",
        LongOperation::DeletePageTable => "unmap and delete a full page table",
        LongOperation::DeleteVSpace => "delete a VSpace with 1,280 tables",
        LongOperation::DeleteAsidPool => "delete an ASID pool with 512 VSpaces",
        LongOperation::DeleteReplies => "delete a chain of 1,000 replies",
        LongOperation::Release => "1,000 threads released at one tick",
        LongOperation::QueueCaller => "queue a caller before 1,000 others",
        LongOperation::Postpone => "queue a thread for release before 1,000 others",
        LongOperation::MergeRefills => "wake a thread with 1,000 refills",
        LongOperation::DeepMessages => "answer and receive, 12 slots 64 CNodes deep",
    }
}

/// What an operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Stretch {
    operation: &'static str,
    /// The longest stretch, in executed instructions.
    longest: u64,
    bound: Option<u64>,
    /// All that the kernel executed, the interrupts' handling included.
    kernel: u64,
    /// Interrupts meanwhile, and when it was over; `None` where no timer ran.
    interrupts: Option<u64>,
    /// Of everything else: in or before which operation the longest was.
    #[serde(skip_serializing_if = "Option::is_none")]
    near: Option<&'static str>,
}

/// All of them.
#[derive(Debug, Serialize)]
pub(super) struct Stretches {
    unit: &'static str,
    operations: Vec<Stretch>,
}

impl Stretches {
    /// What the marks tell.
    ///
    /// # Errors
    /// [`BenchError::NotMeasured`] for the first operation without marks.
    pub(super) fn new(marks: &[Passed]) -> Result<Self, BenchError> {
        let mut rest = Stretch::new("everything else above", Some(BOUND), None);
        let mut found = Vec::new();
        let (mut before, mut current, mut laps) = (Passed::default(), None, 0);
        for mark in marks {
            let begins_or_ends = mark.phase == Phase::Long as u32;
            match &mut current {
                Some(current) => Stretch::add(current, before, *mark),
                None => rest.add_rest(before, *mark, next(laps, found.len())),
            }
            current = match current {
                Some(ended) if begins_or_ends => {
                    found.push(ended);
                    None
                }
                None if begins_or_ends => LongOperation::ALL
                    .get(found.len())
                    .map(|operation| Stretch::new(name(*operation), bound(*operation), Some(0))),
                other => other,
            };
            laps += usize::from(mark.phase == Phase::Lap as u32);
            before = *mark;
        }
        if let Some(missing) = LongOperation::ALL.get(found.len()) {
            return Err(BenchError::NotMeasured(name(*missing)));
        }
        found.push(rest);
        Ok(Self {
            unit: "executed instructions without letting an interrupt in",
            operations: found,
        })
    }

    /// Whether every one keeps to the bound.
    pub(super) fn hold(&self) -> bool {
        self.operations.iter().all(Stretch::holds)
    }

    /// The table, with a line for each.
    pub(super) fn table(&self) -> String {
        let head = ["longest", "at most", "kernel"].map(|text| format!("{text:>12}")).concat();
        let title = "longest stretch without letting an interrupt in";
        let lines: String = self.operations.iter().map(Stretch::line).collect();
        format!("\n{title:<48}{head}  interrupts\n{lines}")
    }
}

/// What is measured, or prepared, when so many laps and long operations are over.
fn next(laps: usize, long: usize) -> Option<&'static str> {
    let operation = Operation::ALL.get(laps / LAPS).map(|operation| known(*operation).name);
    operation.or_else(|| LongOperation::ALL.get(long).map(|operation| name(*operation)))
}

impl Stretch {
    const fn new(operation: &'static str, bound: Option<u64>, interrupts: Option<u64>) -> Self {
        Self { operation, longest: 0, bound, kernel: 0, interrupts, near: None }
    }

    /// What happened between two marks in or before something else.
    fn add_rest(&mut self, before: Passed, mark: Passed, near: Option<&'static str>) {
        if mark.longest > self.longest {
            self.near = near;
        }
        self.add(before, mark);
    }

    /// What happened between two marks.
    fn add(&mut self, before: Passed, mark: Passed) {
        self.longest = self.longest.max(mark.longest);
        self.kernel += mark.kernel.saturating_sub(before.kernel);
        let interrupted = u64::from(mark.phase == Phase::Interrupted as u32);
        self.interrupts = self.interrupts.map(|so_far| so_far + interrupted);
    }

    /// Whether it really was interrupted, if it took long enough for that.
    fn was_interrupted(&self) -> bool {
        self.kernel < INTERRUPTED_FROM || self.interrupts.is_none_or(|number| number > 1)
    }

    fn is_short_enough(&self) -> bool {
        self.bound.is_none_or(|bound| self.longest <= bound)
    }

    fn holds(&self) -> bool {
        self.is_short_enough() && self.was_interrupted()
    }

    fn line(&self) -> String {
        let or_none = |number: Option<u64>| number.map_or("-".into(), grouped);
        let numbers = [Some(self.longest), self.bound, Some(self.kernel), self.interrupts];
        let columns: String = numbers.map(|n| format!("{:>12}", or_none(n))).concat();
        let verdict = match (self.is_short_enough(), self.was_interrupted()) {
            (true, true) if self.bound.is_none() => "",
            (true, true) => "  met",
            (true, false) => "  never interrupted",
            (false, _) => "  exceeds",
        };
        let near = self.near.map_or(String::new(), |near| format!(" in or before: {near}"));
        format!("{:<48}{columns}{verdict}{near}\n", self.operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marks, with the kernel's count and the longest stretch before each.
    fn marks(of: &[(Phase, u64, u64)]) -> Vec<Passed> {
        of.iter()
            .map(|&(phase, kernel, longest)| Passed {
                phase: phase as u32,
                executed: kernel,
                kernel,
                longest,
                ..Passed::default()
            })
            .collect()
    }

    fn all_like(one: &[(Phase, u64, u64)]) -> Vec<Passed> {
        LongOperation::ALL.iter().flat_map(|_| marks(one)).collect()
    }

    #[test]
    fn what_is_between_two_marks_belongs_to_the_operation() {
        use Phase::{Interrupted, Lap, Long};
        let one =
            [(Lap, 10, 7), (Long, 20, 8), (Interrupted, 30, 12_000), (Long, 50, 90), (Lap, 60, 9)];
        let stretches = Stretches::new(&all_like(&one)).expect("all");
        let (rest, operations) = stretches.operations.split_last().expect("some");
        assert_eq!((rest.longest, rest.interrupts), (9, None));
        assert_eq!(rest.near, next(1, 0), "the lap after the first long operation");
        for stretch in operations {
            let Stretch { longest, kernel, interrupts, .. } = *stretch;
            assert_eq!((longest, kernel, interrupts), (12_000, 30, Some(1)));
        }
        assert!(stretches.hold());
    }

    #[test]
    fn a_stretch_beyond_the_bound_is_told() {
        use Phase::Long;
        let stretches = Stretches::new(&all_like(&[(Long, 0, 0), (Long, 20_000, 15_001)]));
        let stretches = stretches.expect("all");
        assert!(!stretches.hold());
        assert_eq!(stretches.table().matches("exceeds").count(), LongOperation::ALL.len() - 1);
    }

    #[test]
    fn an_operation_that_lets_no_interrupt_in_is_told() {
        use Phase::{Interrupted, Long};
        let ends_only = [(Long, 0, 0), (Interrupted, 200_000, 500), (Long, 200_000, 0)];
        let stretches = Stretches::new(&all_like(&ends_only)).expect("all");
        assert!(!stretches.hold());
        assert!(stretches.table().contains("never interrupted"), "{}", stretches.table());
    }

    #[test]
    fn an_operation_without_marks_is_named() {
        let error = Stretches::new(&[]).expect_err("nothing was measured");
        assert!(matches!(error, BenchError::NotMeasured(name) if name.contains("1 GiB")));
    }
}
