//! Whether a program is alive: the question that init asks as often as the manifest says.
//!
//! Init signals [`libd3os::start::HEARTBEAT`], and a program that comes back to its event loop counts it in
//! its [control block](libd3os::control). A program is unresponsive when it has let [`MOST_MISSED`]
//! questions in a row go by. That is counted in looks, not in time: where init itself did not run
//! (an emulator that stood still), all that passed is one look. A program that waits for the answer to
//! a call is not late: the one who owes the answer is, if anyone.

use libd3os::control::Reading;

/// Questions in a row that a program may leave unanswered, less one. The first may fall into the end of
/// something long, and a program that others keep from the processor gets there by the second.
pub const MOST_MISSED: u32 = 2;

/// A program's pulse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    period_us: u64,
    looked_us: u64,
    /// The program's answers at the last look, if it has been asked; and since when it owes one.
    asked: Option<(u64, u64)>,
    missed: u32,
}

/// What is to be done after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ask again.
    Ask,
    /// End the program: it has not answered for so many microseconds.
    Unresponsive(u64),
}

impl Pulse {
    /// That of a program which starts now, to be asked once per period; never with a period of 0.
    #[must_use]
    pub const fn of_a_start(period_us: u64, now_us: u64) -> Self {
        Self { period_us, looked_us: now_us, asked: None, missed: 0 }
    }

    /// Whether it is time to look.
    #[must_use]
    pub const fn is_due(&self, now_us: u64) -> bool {
        self.period_us != 0 && now_us >= self.looked_us.saturating_add(self.period_us)
    }

    /// Looks at a program, which runs: to be called when it is due.
    pub fn look(&mut self, now_us: u64, reading: Reading) -> Verdict {
        self.looked_us = now_us;
        let silent_since = self.asked.filter(|(answers, _)| *answers == reading.beats);
        let Some((_, since_us)) = silent_since.filter(|_| !reading.is_calling) else {
            self.asked = Some((reading.beats, now_us));
            self.missed = 0;
            return Verdict::Ask;
        };
        self.missed += 1;
        if self.missed < MOST_MISSED {
            return Verdict::Ask;
        }
        Verdict::Unresponsive(now_us.saturating_sub(since_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PERIOD: u64 = 2_000_000;

    fn answered(beats: u64) -> Reading {
        Reading { beats, ..Reading::default() }
    }

    #[test]
    fn a_program_that_answers_lives_for_ever() {
        let mut pulse = Pulse::of_a_start(PERIOD, 7);
        for beats in 0..100 {
            let now = 7 + PERIOD * (beats + 1);
            assert!(pulse.is_due(now) && !pulse.is_due(now - 1));
            assert_eq!(pulse.look(now, answered(beats)), Verdict::Ask);
        }
    }

    #[test]
    fn two_questions_without_an_answer_are_too_many() {
        let mut pulse = Pulse::of_a_start(PERIOD, 0);
        assert_eq!(pulse.look(PERIOD, answered(0)), Verdict::Ask);
        assert_eq!(pulse.look(2 * PERIOD, answered(1)), Verdict::Ask);
        assert_eq!(pulse.look(3 * PERIOD, answered(1)), Verdict::Ask);
        let silent = Verdict::Unresponsive(2 * PERIOD);
        assert_eq!(pulse.look(4 * PERIOD, answered(1)), silent);
    }

    #[test]
    fn a_late_answer_and_a_call_excuse() {
        let mut pulse = Pulse::of_a_start(PERIOD, 0);
        let calling = Reading { is_calling: true, ..answered(0) };
        let looks = [answered(0), answered(0), calling, answered(0), answered(1), answered(1)];
        for (number, reading) in (1..).zip(looks) {
            assert_eq!(pulse.look(number * PERIOD, reading), Verdict::Ask, "look {number}");
        }
        assert_eq!(pulse.look(7 * PERIOD, answered(1)), Verdict::Unresponsive(2 * PERIOD));
    }

    #[test]
    fn time_in_which_nobody_looked_is_one_look() {
        let mut pulse = Pulse::of_a_start(PERIOD, 0);
        assert_eq!(pulse.look(PERIOD, answered(0)), Verdict::Ask);
        assert_eq!(pulse.look(100 * PERIOD, answered(0)), Verdict::Ask);
        assert!(!pulse.is_due(101 * PERIOD - 1));
        assert_eq!(pulse.look(101 * PERIOD, answered(1)), Verdict::Ask);
    }

    #[test]
    fn a_program_without_a_heartbeat_is_never_asked() {
        assert!(!Pulse::of_a_start(0, 0).is_due(u64::MAX));
    }

    proptest! {
        /// Nobody is ended within two periods of an answer, a call or the start, and nobody who is
        /// silent for four looks lives on.
        #[test]
        fn the_silent_are_found_and_no_one_else(steps in prop::collection::vec((1..4 * PERIOD, any::<bool>(), any::<bool>()), 1..80)) {
            let mut pulse = Pulse::of_a_start(PERIOD, 0);
            let (mut now, mut beats, mut alive_us) = (0, 0, 0);
            let mut looks_in_silence = 0;
            for (passed, answers, is_calling) in steps {
                now += passed;
                if answers {
                    beats += 1;
                }
                // A call counts when somebody looks.
                if answers || is_calling && pulse.is_due(now) {
                    (alive_us, looks_in_silence) = (now, 0);
                }
                if !pulse.is_due(now) {
                    continue;
                }
                looks_in_silence += 1;
                let verdict = pulse.look(now, Reading { is_calling, ..answered(beats) });
                if let Verdict::Unresponsive(silent_us) = verdict {
                    prop_assert!(now - alive_us >= 2 * PERIOD && silent_us >= 2 * PERIOD);
                    return Ok(());
                }
                prop_assert!(looks_in_silence < 4);
            }
        }
    }
}
