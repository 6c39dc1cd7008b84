//! The count, and what it was when each phase was reached.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Phases from this number on are noted each time they are reached.
const FIRST_REPEATED: u32 = 0x100;

/// Whose instruction it is, by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The lower half of the address space.
    User,
    /// The upper half.
    Kernel,
}

/// A phase reached, and instructions executed before.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    phase: u32,
    user: u64,
    kernel: u64,
}

/// Counts from the start of phase 0; all methods may be called from any virtual processor.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    running: AtomicBool,
    user: AtomicU64,
    kernel: AtomicU64,
    reached: Mutex<Vec<Arrival>>,
}

impl Counter {
    /// Counts one instruction, if the kernel has been entered.
    pub(crate) fn instruction(&self, side: Side) {
        let counter = match side {
            Side::User => &self.user,
            Side::Kernel => &self.kernel,
        };
        if self.running.load(Ordering::Relaxed) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that a phase is reached by the instruction counted last; of most phases only the first
    /// time counts.
    pub(crate) fn reach(&self, phase: u32) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if phase == 0 {
            self.running.store(true, Ordering::Relaxed);
        }
        let running = self.running.load(Ordering::Relaxed);
        let counts = phase >= FIRST_REPEATED || reached.iter().all(|known| known.phase != phase);
        if running && counts {
            let user = self.user.load(Ordering::Relaxed);
            let kernel = self.kernel.load(Ordering::Relaxed);
            reached.push(Arrival { phase, user, kernel });
        }
    }

    /// The report: a line `PHASE INSTRUCTIONS KERNEL` for each phase in the order of arrival: all
    /// instructions, and how many of them the kernel's.
    pub(crate) fn report(&self) -> String {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        reached.iter().fold(String::new(), |mut text, Arrival { phase, user, kernel }| {
            // Writing to a string cannot fail.
            let _always = writeln!(text, "{phase} {} {kernel}", user + kernel);
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
        counter.instruction(Side::Kernel);
        counter.reach(1);
        counter.reach(0);
        for _ in 0..5 {
            counter.instruction(Side::Kernel);
        }
        counter.reach(1);
        counter.instruction(Side::User);
        counter.reach(1);
        counter.reach(4);
        assert_eq!(counter.report(), "0 0 0\n1 5 5\n4 6 5\n");
    }

    #[test]
    fn laps_count_each_time() {
        let counter = Counter::default();
        counter.reach(0);
        counter.reach(FIRST_REPEATED);
        counter.instruction(Side::User);
        counter.reach(FIRST_REPEATED);
        assert_eq!(counter.report(), "0 0 0\n256 0 0\n256 1 0\n");
    }
}
