//! The bench's figures beside those of a second root task, which shares no code with the first but the
//! interface's numbers: what the kernel executes must be the same to within 2 %. What user space does
//! around it differs, as its stubs do, and is shown.

use libd3os::mark::Operation;

/// The package that repeats some of the operations.
pub(super) const ROOT_TASK: &str = "kernel-bench-witness";
/// What it repeats, in its order.
pub(super) const OPERATIONS: [Operation; 4] =
    [Operation::Call0, Operation::SignalWait, Operation::Yield, Operation::CopyDelete];
/// How far apart both may be.
const PERCENT: u64 = 2;

/// What one operation executes, by both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) name: &'static str,
    /// In the kernel and in user space: the bench's, the witness's.
    pub(super) bench: [u64; 2],
    pub(super) witness: [u64; 2],
}

impl Pair {
    /// Whether the kernel did the same for both.
    pub(super) fn agrees(&self) -> bool {
        let [one, two] = [self.bench[0], self.witness[0]];
        one.abs_diff(two) * 100 <= one * PERCENT
    }

    /// A line of the table.
    pub(super) fn line(&self) -> String {
        let Self { name, bench, witness, .. } = self;
        let columns = [bench[0], witness[0], bench[1], witness[1]];
        let columns: String = columns.iter().map(|number| format!("{number:>9}")).collect();
        let verdict = if self.agrees() { "" } else { "  differs" };
        format!("{name:<46}{columns}{verdict}\n")
    }
}

/// The table's first line.
pub(super) fn head() -> String {
    let columns = ["kernel", "witness", "user", "witness"].map(|text| format!("{text:>9}"));
    format!("\n{:<46}{}\n", "the same, by a second root task", columns.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_percent_are_the_limit() {
        let pair = |kernel| Pair { name: "x", bench: [500, 50], witness: [kernel, 20] };
        assert!(pair(510).agrees() && pair(490).agrees());
        assert!(!pair(511).agrees() && !pair(489).agrees());
        assert!(pair(511).line().ends_with("  differs\n"));
    }
}
