//! What was asked for, how often, and how often it was carried out.

use d3os_abi::{Label, Syscall};
use std::collections::BTreeMap;
use std::fmt;

/// Asked for and carried out.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    asked: u64,
    done: u64,
}

/// Counts of a run. A step is a kernel entry of a thread that runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) steps: u64,
    pub(super) complete_checks: u64,
    pub(super) instances: u64,
    /// By label; those that are none together.
    invocations: BTreeMap<Option<u64>, Count>,
    calls: BTreeMap<i64, Count>,
    events: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn invocation(&mut self, label: u64, done: bool) {
        let count =
            self.invocations.entry(Label::from_number(label).map(Label::number)).or_default();
        count.asked += 1;
        count.done += u64::from(done);
    }

    pub(super) fn call(&mut self, number: i64, done: bool) {
        let count = self.calls.entry(number).or_default();
        count.asked += 1;
        count.done += u64::from(done);
    }

    pub(super) fn event(&mut self, name: &'static str) {
        self.events(name, 1);
    }

    pub(super) fn events(&mut self, name: &'static str, count: u64) {
        *self.events.entry(name).or_default() += count;
    }

    /// How often an event happened.
    pub(super) fn count_of(&self, name: &str) -> u64 {
        self.events.get(name).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.complete_checks += other.complete_checks;
        self.instances += other.instances;
        for (label, count) in &other.invocations {
            self.invocations.entry(*label).or_default().add(*count);
        }
        for (number, count) in &other.calls {
            self.calls.entry(*number).or_default().add(*count);
        }
        for (name, count) in &other.events {
            *self.events.entry(name).or_default() += count;
        }
    }

    /// Invocations that were never carried out, of those that can be.
    pub(super) fn never_done(&self) -> Vec<Label> {
        let done =
            |label: &Label| self.invocations.get(&Some(label.number())).is_some_and(|c| c.done > 0);
        let possible = |label: &Label| *label != Label::IrqControlGet;
        Label::ALL.into_iter().filter(possible).filter(|label| !done(label)).collect()
    }

    /// System calls between threads that never came to their end.
    pub(super) fn never_called(&self) -> Vec<Syscall> {
        let done = |call: &Syscall| self.calls.get(&call.number()).is_some_and(|c| c.done > 0);
        super::instance::CALLS.into_iter().filter(|call| !done(call)).collect()
    }

    /// Of a hundred invocations, how many were carried out.
    pub(super) fn percent_done(&self) -> u64 {
        let (asked, done) = self.invocations();
        done * 100 / asked.max(1)
    }

    fn invocations(&self) -> (u64, u64) {
        let sum = |pick: fn(&Count) -> u64| self.invocations.values().map(pick).sum();
        (sum(|count| count.asked), sum(|count| count.done))
    }
}

impl Count {
    fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.done += other.done;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.done * 100 / self.asked.max(1);
        write!(f, "{} of {} ({percent} %)", self.done, self.asked)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (asked, done) = self.invocations();
        writeln!(
            f,
            "{} steps on {} instances, {} complete checks; invocations carried out: {}",
            self.steps,
            self.instances,
            self.complete_checks,
            Count { asked, done }
        )?;
        for (label, count) in &self.invocations {
            match label.and_then(Label::from_number) {
                Some(label) => writeln!(f, "  {label:?}: {count}")?,
                None => writeln!(f, "  labels that are none, also to other threads: {count}")?,
            }
        }
        for (number, count) in &self.calls {
            match Syscall::from_number(*number) {
                Some(call) => writeln!(f, "  {call:?}: {count}")?,
                None => writeln!(f, "  system call {number}: {count}")?,
            }
        }
        write!(f, "  {:?}", self.events)
    }
}
