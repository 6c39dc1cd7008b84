//! Who dies next, and at which event.

use alloc::vec::Vec;

use fastrand::Rng;

/// How many events a victim may get further after the order, at most.
pub const MOST_EVENTS: u32 = 32;

/// A kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The victim, by its place in the list of them.
    pub victim: usize,
    /// Which event from now on is its last, counted from 1.
    pub more: u32,
}

/// Kills without an end: each victim once, in random order, and again.
#[derive(Clone, Debug)]
pub struct Course {
    random: Rng,
    victims: usize,
    /// Who is still to die in this round.
    round: Vec<usize>,
}

impl Course {
    /// The course that this seed makes of so many victims.
    #[must_use]
    pub fn new(seed: u64, victims: usize) -> Self {
        Self { random: Rng::with_seed(seed), victims, round: Vec::new() }
    }
}

/// Ends only where there are no victims.
impl Iterator for Course {
    type Item = Kill;

    fn next(&mut self) -> Option<Kill> {
        if self.round.is_empty() {
            self.round = (0..self.victims).collect();
            self.random.shuffle(&mut self.round);
        }
        let victim = self.round.pop()?;
        Some(Kill { victim, more: self.random.u32(1..=MOST_EVENTS) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_round_kills_each_once(seed: u64, victims in 1usize..20) {
            let kills: Vec<Kill> = Course::new(seed, victims).take(3 * victims).collect();
            for round in kills.chunks(victims) {
                let mut dead: Vec<_> = round.iter().map(|kill| kill.victim).collect();
                dead.sort_unstable();
                prop_assert_eq!(dead, (0..victims).collect::<Vec<_>>());
                prop_assert!(round.iter().all(|kill| (1..=MOST_EVENTS).contains(&kill.more)));
            }
            let again: Vec<Kill> = Course::new(seed, victims).take(3 * victims).collect();
            prop_assert_eq!(kills, again);
        }
    }

    #[test]
    fn nobody_is_killed_where_there_is_nobody() {
        assert_eq!(Course::new(1, 0).next(), None);
    }
}
