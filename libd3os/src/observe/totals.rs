//! What the library counts for the whole program, whatever the program does.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::call::CallError;
use crate::control;

/// Names of the counters that every server has.
pub mod names {
    /// Calls that reached the server's methods.
    pub const REQUESTS: &str = "requests";
    /// Signals that ended the server's wait; several that came together are one.
    pub const SIGNALS: &str = "signals";
    /// Interrupts that the program acknowledged; the bells of other cores are among them.
    pub const INTERRUPTS: &str = "interrupts";
    /// Calls that the program made.
    pub const CALLS: &str = "calls made";
    /// Those of them that a restart of their server cut short.
    pub const RESTARTS: &str = "calls cut short by a restart";
    /// Events that the program noted.
    pub const EVENTS: &str = "events";
}

static INTERRUPTS: AtomicU64 = AtomicU64::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);
static RESTARTS: AtomicU64 = AtomicU64::new(0);

/// Events that this program has noted since it started, over all of its recorders.
#[must_use]
pub fn events() -> u64 {
    control::events()
}

pub(crate) fn note_interrupt() {
    INTERRUPTS.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn note_call<T>(answer: &Result<T, CallError>) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    if matches!(answer, Err(CallError::Restarted)) {
        RESTARTS.fetch_add(1, Ordering::Relaxed);
    }
}

/// The program's counters under their names.
pub(super) fn of_program() -> [(&'static str, u64); 4] {
    let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    [
        (names::INTERRUPTS, value(&INTERRUPTS)),
        (names::CALLS, value(&CALLS)),
        (names::RESTARTS, value(&RESTARTS)),
        (names::EVENTS, events()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str) -> u64 {
        of_program().into_iter().find(|(known, _)| *known == name).map_or(0, |(_, value)| value)
    }

    /// Other tests count at the same time, so these can only say that it is not less.
    #[test]
    fn what_happens_is_counted() {
        let before = [names::CALLS, names::RESTARTS, names::INTERRUPTS, names::EVENTS].map(told);
        note_call(&Ok(()));
        note_call::<()>(&Err(CallError::Restarted));
        note_interrupt();
        control::note_event();
        let after = [names::CALLS, names::RESTARTS, names::INTERRUPTS, names::EVENTS].map(told);
        let grown = before.into_iter().zip([2, 1, 1, 1]).map(|(count, by)| count + by);
        assert!(after.into_iter().zip(grown).all(|(after, least)| after >= least));
        assert_eq!(events(), told(names::EVENTS).max(events()));
    }
}
