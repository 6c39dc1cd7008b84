//! The driver's logic over any [`Alarm`]: sans-IO, the deadlines of all clients.
//!
//! Time comes in as nanoseconds of uptime, what is due comes out. The alarm is set for the earliest
//! deadline. When that is taken back or moved away, the alarm is left as it is: it then interrupts
//! once for nothing, which costs less than setting it anew for each client that moves its deadline
//! before it is met, as network protocols do.

use alloc::vec::Vec;

use crate::alarm::{Alarm, Set};
use crate::events::{Event, Journal};
use crate::queue::{Deadlines, Full};

/// Deadlines that can be set at a time.
pub const DEADLINES: usize = 256;

/// An alarm, and the deadlines for which it is set; each has a key of type `K`.
#[derive(Debug)]
pub struct Timer<A, K> {
    alarm: A,
    deadlines: Deadlines<K, DEADLINES>,
    /// The deadline for which the alarm was set, until it interrupts.
    set_for: Option<u64>,
    journal: Journal,
}

/// What is to be done after a look at the clock.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Look<K> {
    /// The keys that are due, the earliest deadline first.
    pub due: Vec<K>,
    /// Whether to look at the clock again, at once: setting the alarm took so long that it may not
    /// interrupt any more.
    pub again: bool,
}

impl<A: Alarm, K: Ord + Clone> Timer<A, K> {
    /// No deadlines, and an alarm that is not set.
    pub fn new(alarm: A) -> Self {
        let (deadlines, journal) = (Deadlines::default(), Journal::default());
        Self { alarm, deadlines, set_for: None, journal }
    }

    /// Sets a deadline, instead of the one that its key had. Look at the clock afterwards.
    ///
    /// # Errors
    /// [`Full`] where there are [`DEADLINES`] others.
    pub fn arm(&mut self, key: K, deadline: u64, now: u64) -> Result<(), Full> {
        let set = self.deadlines.set(key, deadline);
        self.journal.note(match set {
            Ok(()) => Event::Armed(deadline.saturating_sub(now)),
            Err(Full) => Event::Full,
        });
        set
    }

    /// Takes a deadline back. Tells whether there was one.
    pub fn disarm(&mut self, key: &K) -> bool {
        let was = self.deadlines.remove(key);
        if was {
            self.journal.note(Event::Disarmed);
        }
        was
    }

    /// The alarm has interrupted. Look at the clock afterwards.
    pub fn interrupt(&mut self, now: u64) {
        self.journal.note(Event::Interrupt);
        if self.deadlines.next().is_none_or(|next| next > now) {
            self.journal.note(Event::Early);
        }
        self.set_for = None;
        if self.deadlines.next().is_none() {
            self.alarm.clear();
        }
    }

    /// Looks at the clock: takes what is due, and sets the alarm for what is next.
    pub fn look(&mut self, now: u64) -> Look<K> {
        let mut due = Vec::new();
        while let Some((deadline, key)) = self.deadlines.take_due(now) {
            self.journal.note(Event::Met(now - deadline));
            due.push(key);
        }
        let again = self.set_alarm(now) == Set::Passed;
        Look { due, again }
    }

    /// What was done so far.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The hardware.
    #[must_use]
    pub const fn alarm(&self) -> &A {
        &self.alarm
    }

    fn set_alarm(&mut self, now: u64) -> Set {
        let Some(next) = self.deadlines.next() else { return Set::Running };
        // One that is set for before that finds nothing due then, and is set for this.
        if self.set_for.is_some_and(|set_for| set_for <= next && set_for > now) {
            return Set::Running;
        }
        let after = next.saturating_sub(now);
        self.journal.note(Event::Set(after));
        let set = self.alarm.set(after);
        self.set_for = (set == Set::Running).then_some(next);
        if set == Set::Passed {
            self.journal.note(Event::Passed);
        }
        set
    }

    #[cfg(test)]
    fn alarm_mut(&mut self) -> &mut A {
        &mut self.alarm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpet::HpetAlarm;
    use crate::model::{Clock, HpetChip, PitChip};
    use crate::pit::PitAlarm;
    use crate::regs::{HpetRegisters, PitRegisters};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// What a test needs of a modelled chip.
    trait Model: Alarm {
        fn next_edge(&mut self) -> Option<u64>;
        fn take_edge(&mut self) -> bool;
    }

    impl Model for HpetAlarm<HpetChip> {
        fn next_edge(&mut self) -> Option<u64> {
            self.registers().next_edge()
        }

        fn take_edge(&mut self) -> bool {
            self.registers().take_edge()
        }
    }

    impl Model for PitAlarm<PitChip> {
        fn next_edge(&mut self) -> Option<u64> {
            self.registers().next_edge()
        }

        fn take_edge(&mut self) -> bool {
            self.registers().take_edge()
        }
    }

    /// A driver in modelled time, and what is expected of it.
    struct Bench<A> {
        clock: Clock,
        timer: Timer<A, u8>,
        expected: BTreeMap<u8, u64>,
        /// Longest time from an edge to the driver's look at the clock.
        latency: u64,
    }

    impl<A: Model> Bench<A> {
        fn new(clock: Clock, alarm: A) -> Self {
            Self { clock, timer: Timer::new(alarm), expected: BTreeMap::new(), latency: 0 }
        }

        fn arm(&mut self, key: u8, after: u64) {
            let deadline = self.clock.now() + after;
            self.timer.arm(key, deadline, self.clock.now()).expect("keys are few");
            self.expected.insert(key, deadline);
            self.look();
        }

        fn disarm(&mut self, key: u8) {
            assert_eq!(self.timer.disarm(&key), self.expected.remove(&key).is_some());
            self.look();
        }

        fn look(&mut self) {
            loop {
                let now = self.clock.now();
                let look = self.timer.look(now);
                for key in look.due {
                    let deadline = self.expected.remove(&key).expect("armed, and not yet met");
                    assert!(deadline <= now, "met early");
                }
                let overdue = self.expected.values().any(|deadline| *deadline <= now);
                assert!(!overdue, "what is due is found");
                if !look.again {
                    return;
                }
            }
        }

        /// Lets time pass until `until`, with the interrupts that come.
        fn run(&mut self, until: u64) {
            while self.clock.now() < until {
                if !self.timer.alarm_mut().take_edge() {
                    let edge = self.timer.alarm_mut().next_edge();
                    let edge = edge.filter(|edge| *edge <= until);
                    self.clock.set(edge.unwrap_or(until).max(self.clock.now()));
                    continue;
                }
                self.clock.advance(self.latency);
                self.timer.interrupt(self.clock.now());
                self.look();
            }
        }

        /// Every deadline is met in its time, give or take what reading the chip and the chip's
        /// own clock are off.
        fn run_to_the_end(&mut self) -> Result<(), TestCaseError> {
            while let Some(deadline) = self.expected.values().min().copied() {
                let before = self.expected.len();
                let wait = deadline.saturating_sub(self.clock.now());
                self.run(deadline + wait / 1000 + 1_000_000);
                prop_assert!(self.expected.len() < before, "a deadline was lost");
            }
            Ok(())
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm(u8, u64),
        Disarm(u8),
        Run(u64),
        Slow(u64),
    }

    fn span() -> impl Strategy<Value = u64> {
        prop_oneof![0u64..2_000, 0u64..100_000_000, 0u64..3_000_000_000, Just(400_000_000_000)]
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0u8..12, span()).prop_map(|(key, after)| Step::Arm(key, after)),
            1 => (0u8..12).prop_map(Step::Disarm),
            3 => (0u64..2_000_000_000).prop_map(Step::Run),
            1 => (0u64..30_000).prop_map(Step::Slow),
        ];
        prop::collection::vec(step, 0..40)
    }

    fn check<A: Model>(mut bench: Bench<A>, steps: Vec<Step>) -> Result<(), TestCaseError> {
        for step in steps {
            match step {
                Step::Arm(key, after) => bench.arm(key, after),
                Step::Disarm(key) => bench.disarm(key),
                Step::Run(ns) => bench.run(bench.clock.now() + ns),
                Step::Slow(ns) => bench.latency = ns,
            }
        }
        bench.run_to_the_end()
    }

    #[test]
    fn deadlines_are_bounded_and_those_that_are_set_can_be_moved() {
        let clock = Clock::default();
        let chip = PitAlarm::new(PitChip::new(clock)).expect("the model counts");
        let mut timer = Timer::<_, usize>::new(chip);
        (0..DEADLINES).for_each(|key| timer.arm(key, 10, 0).expect("room"));
        assert_eq!(timer.arm(DEADLINES, 10, 0), Err(Full));
        assert_eq!(timer.arm(0, 20, 0), Ok(()));
        assert_eq!(timer.journal().totals().refused.get(), 1);
        assert_eq!(timer.look(10).due.len(), DEADLINES - 1);
        assert_eq!(timer.look(20).due, [0]);
    }

    #[test]
    fn what_has_passed_is_due_at_once() {
        let clock = Clock::default();
        let chip = PitAlarm::new(PitChip::new(clock.clone())).expect("the model counts");
        let mut timer = Timer::new(chip);
        timer.arm(1, 0, clock.now()).expect("room");
        assert_eq!(timer.look(clock.now()), Look { due: vec![1], again: false });
    }

    #[test]
    fn a_deadline_that_is_moved_away_again_and_again_does_not_set_the_hardware() {
        let clock = Clock::default();
        let chip = HpetAlarm::new(HpetChip::new(clock.clone(), 0), 20, 0).expect("one");
        let mut bench = Bench::new(clock, chip);
        (0..100).for_each(|_| bench.arm(1, 1_000_000_000));
        assert_eq!(bench.timer.journal().totals().set.get(), 1);
        bench.run_to_the_end().expect("met");
    }

    proptest! {
        #[test]
        fn with_a_pit_no_deadline_is_lost_or_early(steps in steps()) {
            let clock = Clock::default();
            let chip = PitAlarm::new(PitChip::new(clock.clone())).expect("the model counts");
            check(Bench::new(clock, chip), steps)?;
        }

        #[test]
        fn with_an_hpet_no_deadline_is_lost_or_early(
            steps in steps(),
            counter: u32,
            off_ppm in -500i64..500,
            cost in 0u64..3_000,
        ) {
            let clock = Clock::default();
            clock.costs(cost);
            let chip = HpetChip::new(clock.clone(), counter).off_by(off_ppm);
            let chip = HpetAlarm::new(chip, 20, 0).expect("one");
            check(Bench::new(clock, chip), steps)?;
        }

        /// Whatever the chips answer, the driver goes on, and setting them ends.
        #[test]
        fn no_chip_stops_the_driver(answers in prop::collection::vec(any::<u32>(), 1..40), spans in prop::collection::vec(any::<u64>(), 0..20)) {
            let mut chip = Nonsense(answers.into_iter().cycle());
            if let Ok(alarm) = HpetAlarm::new(&mut chip, 20, 0) {
                let mut timer = Timer::new(alarm);
                for span in &spans {
                    timer.arm(1, *span, 0).expect("room");
                    let _ = timer.look(span / 2);
                    timer.interrupt(*span);
                }
            }
            if let Ok(mut alarm) = PitAlarm::new(&mut chip) {
                spans.iter().for_each(|span| assert_eq!(alarm.set(*span), Set::Running));
            }
        }
    }

    struct Nonsense<I>(I);

    impl<I: Iterator<Item = u32>> HpetRegisters for &mut Nonsense<I> {
        fn read(&mut self, _: crate::regs::Hpet) -> u32 {
            self.0.next().expect("endless")
        }

        fn read_high(&mut self, _: crate::regs::Hpet) -> u32 {
            self.0.next().expect("endless")
        }

        fn write(&mut self, _: crate::regs::Hpet, _: u32) {}
    }

    impl<I: Iterator<Item = u32>> PitRegisters for &mut Nonsense<I> {
        fn read(&mut self, _: crate::regs::Pit) -> u8 {
            self.0.next().expect("endless").to_le_bytes()[0]
        }

        fn write(&mut self, _: crate::regs::Pit, _: u8) {}
    }
}
