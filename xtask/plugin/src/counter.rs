//! The count, and what it was when each phase was reached.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Phases from this number on are noted each time they are reached.
pub(crate) const FIRST_REPEATED: u32 = 0x100;
/// Begins and ends a part that is counted apart; not noted.
pub(crate) const APART: u32 = 0x105;

/// Whose instruction it is, by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The lower half of the address space.
    User,
    /// The upper half.
    Kernel,
}

/// Instructions of both halves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    user: u64,
    kernel: u64,
}

impl Counts {
    const fn all(self) -> u64 {
        self.user + self.kernel
    }

    const fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, kernel: self.kernel - before.kernel }
    }

    const fn with(self, more: Self) -> Self {
        Self { user: self.user + more.user, kernel: self.kernel + more.kernel }
    }
}

/// A phase reached, and what was counted before.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    phase: u32,
    counts: Counts,
    apart: Counts,
    /// Of the stretches that ended since the arrival before.
    longest: u64,
}

/// What is known beside the running count.
#[derive(Debug, Default)]
struct Notes {
    reached: Vec<Arrival>,
    /// Counted apart so far.
    apart: Counts,
    /// What the count was when the part began that is being counted apart.
    apart_since: Option<Counts>,
    /// What the count of the kernel's was when its current stretch began; `None`: it still boots.
    stretch_from: Option<u64>,
    longest: u64,
}

/// Counts from the start of the first phase. One virtual processor calls it: another's instructions could
/// be lost.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    /// The phase with which counting begins.
    first: u32,
    running: AtomicBool,
    user: AtomicU64,
    kernel: AtomicU64,
    notes: Mutex<Notes>,
}

impl Counter {
    /// A count that begins when this phase is reached.
    pub(crate) fn beginning(first: u32) -> Self {
        Self { first, ..Self::default() }
    }

    /// Counts one instruction, if counting has begun.
    pub(crate) fn instruction(&self, side: Side) {
        let counter = match side {
            Side::User => &self.user,
            Side::Kernel => &self.kernel,
        };
        if self.running.load(Ordering::Relaxed) {
            // Not `fetch_add`, which costs more than all the rest here.
            counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Ends a stretch of the kernel's instructions; the next begins. What ends first is boot, and no
    /// stretch.
    pub(crate) fn end_stretch(&self) {
        let now = self.counts().kernel;
        self.with_notes(|notes| {
            if let Some(from) = notes.stretch_from.replace(now) {
                notes.longest = notes.longest.max(now - from);
            }
        });
    }

    /// Notes that a phase is reached by the instruction counted last; of most phases only the first
    /// time counts.
    pub(crate) fn reach(&self, phase: u32) {
        if phase == self.first {
            self.running.store(true, Ordering::Relaxed);
        }
        let counts = self.counts();
        if !self.running.load(Ordering::Relaxed) {
            return;
        }
        self.with_notes(|notes| match phase {
            APART => notes.turn_apart(counts),
            _ => notes.arrive(phase, counts),
        });
    }

    /// The report: a line `PHASE INSTRUCTIONS KERNEL APART APART_KERNEL LONGEST` for each phase in
    /// the order of arrival: all instructions, how many of them the kernel's, how many of both were
    /// counted apart, and the kernel's longest stretch since the line before.
    pub(crate) fn report(&self) -> String {
        self.with_notes(|notes| {
            notes.reached.iter().fold(String::new(), |mut text, arrival| {
                let Arrival { phase, counts, apart, longest } = arrival;
                let (all, kernel) = (counts.all(), counts.kernel);
                let (apart, apart_kernel) = (apart.all(), apart.kernel);
                // Writing to a string cannot fail.
                let _always =
                    writeln!(text, "{phase} {all} {kernel} {apart} {apart_kernel} {longest}");
                text
            })
        })
    }

    fn counts(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts { user: load(&self.user), kernel: load(&self.kernel) }
    }

    fn with_notes<T>(&self, look: impl FnOnce(&mut Notes) -> T) -> T {
        look(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Notes {
    fn arrive(&mut self, phase: u32, counts: Counts) {
        if phase >= FIRST_REPEATED || self.reached.iter().all(|known| known.phase != phase) {
            let longest = std::mem::take(&mut self.longest);
            self.reached.push(Arrival { phase, counts, apart: self.apart, longest });
        }
    }

    fn turn_apart(&mut self, counts: Counts) {
        self.apart_since = match self.apart_since {
            None => Some(counts),
            Some(since) => {
                self.apart = self.apart.with(counts.since(since));
                None
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execute(counter: &Counter, side: Side, times: usize) {
        (0..times).for_each(|_| counter.instruction(side));
    }

    #[test]
    fn counting_begins_with_the_kernel() {
        let counter = Counter::default();
        counter.instruction(Side::Kernel);
        counter.reach(1);
        counter.reach(0);
        execute(&counter, Side::Kernel, 5);
        counter.reach(1);
        counter.instruction(Side::User);
        counter.reach(1);
        counter.reach(4);
        assert_eq!(counter.report(), "0 0 0 0 0 0\n1 5 5 0 0 0\n4 6 5 0 0 0\n");
    }

    #[test]
    fn counting_may_begin_with_another_phase() {
        let counter = Counter::beginning(FIRST_REPEATED);
        execute(&counter, Side::Kernel, 5);
        counter.reach(4);
        counter.reach(FIRST_REPEATED);
        execute(&counter, Side::Kernel, 3);
        counter.reach(FIRST_REPEATED);
        assert_eq!(counter.report(), "256 0 0 0 0 0\n256 3 3 0 0 0\n");
    }

    #[test]
    fn laps_count_each_time() {
        let counter = Counter::default();
        counter.reach(0);
        counter.reach(FIRST_REPEATED);
        counter.instruction(Side::User);
        counter.reach(FIRST_REPEATED);
        assert_eq!(counter.report(), "0 0 0 0 0 0\n256 0 0 0 0 0\n256 1 0 0 0 0\n");
    }

    #[test]
    fn a_part_is_counted_apart_as_well() {
        let counter = Counter::default();
        counter.reach(0);
        execute(&counter, Side::User, 2);
        counter.reach(APART);
        execute(&counter, Side::User, 3);
        execute(&counter, Side::Kernel, 4);
        counter.reach(APART);
        execute(&counter, Side::Kernel, 5);
        counter.reach(FIRST_REPEATED);
        assert_eq!(counter.report(), "0 0 0 0 0 0\n256 14 9 7 4 0\n");
    }

    #[test]
    fn the_longest_stretch_since_the_last_mark_is_told() {
        let counter = Counter::default();
        counter.reach(0);
        execute(&counter, Side::Kernel, 100);
        counter.end_stretch();
        execute(&counter, Side::User, 1);
        for stretch in [7, 9, 8] {
            execute(&counter, Side::Kernel, stretch);
            counter.end_stretch();
        }
        execute(&counter, Side::User, 20);
        counter.reach(FIRST_REPEATED);
        execute(&counter, Side::Kernel, 3);
        counter.end_stretch();
        counter.reach(FIRST_REPEATED);
        assert_eq!(counter.report(), "0 0 0 0 0 0\n256 145 124 0 0 9\n256 148 127 0 0 3\n");
    }
}
