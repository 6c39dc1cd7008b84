//! How the programs stand, and how they should.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

use libd3os::service::supervisor::{ProgramState, ProgramStatus};

/// Every program but init: how it is doing, and how often it was started again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster(BTreeMap<String, (ProgramState, u32)>);

/// A program that ended though nobody killed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Its name.
    pub name: String,
    /// How it is doing.
    pub state: ProgramState,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ended without having been killed, and is {}", self.name, self.state)
    }
}

impl Roster {
    /// What the supervisor tells.
    pub fn new(statuses: impl IntoIterator<Item = ProgramStatus>) -> Self {
        let programs = statuses.into_iter().filter(|status| status.name != "init");
        Self(programs.map(|known| (known.name, (known.state, known.restarts))).collect())
    }

    /// Whether the program runs.
    #[must_use]
    pub fn runs(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|(state, _)| *state == ProgramState::Running)
    }

    /// The program is going to be started once more.
    pub fn expect_restart(&mut self, name: &str) {
        if let Some((_, restarts)) = self.0.get_mut(name) {
            *restarts += 1;
        }
    }

    /// Whether, by what the supervisor tells now, this program has ended since it was expected to be
    /// started once more: it may be back already.
    #[must_use]
    pub fn has_ended(&self, now: &Self, name: &str) -> bool {
        now.0.get(name).is_some_and(|(state, restarts)| {
            let expected = self.0.get(name).map(|(_, restarts)| *restarts);
            *state != ProgramState::Running || Some(*restarts) == expected
        })
    }

    /// Whether this program stands as expected.
    #[must_use]
    pub fn agrees(&self, now: &Self, name: &str) -> bool {
        self.0.get(name) == now.0.get(name)
    }

    /// A program besides the victim that does not stand as it did.
    #[must_use]
    pub fn stranger(&self, now: &Self, victim: &str) -> Option<Stranger> {
        let mut others = self.0.iter().filter(|(name, _)| name.as_str() != victim);
        let (name, _) = others.find(|(name, _)| !self.agrees(now, name))?;
        let state = now.0.get(name).map_or(ProgramState::Stopped, |(state, _)| *state);
        Some(Stranger { name: name.clone(), state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProgramState::{BackingOff, Running, Stopped};
    use libd3os::service::supervisor::ProgramId;

    fn status((name, state, restarts): (&str, ProgramState, u32)) -> ProgramStatus {
        ProgramStatus {
            id: ProgramId(1),
            name: name.into(),
            thread: "main".into(),
            core: 0,
            session: 0,
            priority: 100,
            budget_us: 0,
            period_us: 0,
            cpu_us: 0,
            state,
            restarts,
            uptime_us: 0,
        }
    }

    fn roster(rows: &[(&str, ProgramState, u32)]) -> Roster {
        Roster::new(rows.iter().copied().map(status))
    }

    #[test]
    fn a_victim_is_followed_through_its_end() {
        let mut expected =
            roster(&[("init", Running, 0), ("net", Running, 2), ("aml", Stopped, 0)]);
        assert!(expected.runs("net") && !expected.runs("aml") && !expected.runs("init"));
        expected.expect_restart("net");
        let alive = roster(&[("net", Running, 2), ("aml", Stopped, 0)]);
        let gone = roster(&[("net", BackingOff, 2), ("aml", Stopped, 0)]);
        let back = roster(&[("net", Running, 3), ("aml", Stopped, 0)]);
        let seen = [alive, gone, back];
        assert_eq!(seen.each_ref().map(|now| expected.has_ended(now, "net")), [false, true, true]);
        assert_eq!(seen.each_ref().map(|now| expected.agrees(now, "net")), [false, false, true]);
        assert!(seen.iter().all(|now| expected.stranger(now, "net").is_none()));
    }

    #[test]
    fn who_ends_without_having_been_killed_is_found() {
        let expected = roster(&[("net", Running, 0), ("serve", Running, 0), ("uart", Running, 0)]);
        let stopped = roster(&[("net", Running, 1), ("serve", Stopped, 0), ("uart", Running, 0)]);
        let stranger = expected.stranger(&stopped, "net").expect("one ended");
        assert_eq!(stranger, Stranger { name: "serve".into(), state: Stopped });
        let back = roster(&[("net", Running, 0), ("serve", Running, 0), ("uart", Running, 1)]);
        let stranger = expected.stranger(&back, "net").expect("one ended");
        let words = alloc::format!("{stranger}");
        assert_eq!(words, "uart ended without having been killed, and is running");
    }
}
