//! The count, and what it was when each phase was reached first.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts from the start of phase 0; all methods may be called from any virtual processor.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    running: AtomicBool,
    executed: AtomicU64,
    reached: Mutex<Vec<(u32, u64)>>,
}

impl Counter {
    /// Counts one instruction, if the kernel has been entered.
    pub(crate) fn instruction(&self) {
        if self.running.load(Ordering::Relaxed) {
            self.executed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that a phase is reached by the instruction counted last; later times do not count.
    pub(crate) fn reach(&self, phase: u32) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if phase == 0 {
            self.running.store(true, Ordering::Relaxed);
        }
        let running = self.running.load(Ordering::Relaxed);
        if running && reached.iter().all(|(known, _)| *known != phase) {
            reached.push((phase, self.executed.load(Ordering::Relaxed)));
        }
    }

    /// The report: a line `PHASE INSTRUCTIONS` for each phase in the order of arrival.
    pub(crate) fn report(&self) -> String {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.iter().fold(String::new(), |mut text, (phase, count)| {
            // Writing to a string cannot fail.
            let _always = writeln!(text, "{phase} {count}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_begins_with_the_kernel() {
        let counter = Counter::default();
        counter.instruction();
        counter.reach(1);
        counter.reach(0);
        for _ in 0..5 {
            counter.instruction();
        }
        counter.reach(1);
        counter.instruction();
        counter.reach(1);
        counter.reach(4);
        assert_eq!(counter.report(), "0 0\n1 5\n4 6\n");
    }
}
