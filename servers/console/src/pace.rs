//! When the screen is drawn: at once if it was not drawn just now, else a little later, so that a
//! program that writes much costs a frame now and then and not one for each of its lines.
//!
//! Times are nanoseconds since the machine's start.

/// Time between frames at least.
pub const FRAME_NS: u64 = 20_000_000;
/// Time between looks at the status at most.
pub const STATUS_NS: u64 = 1_000_000_000;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Draw.
    Draw,
    /// Nothing before this time, at which the process has to be woken.
    WakeAt(u64),
    /// Nothing: the process is woken in time.
    Nothing,
}

/// Decides when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Whether something may look other than it was drawn.
    changed: bool,
    /// When it was drawn last.
    drawn: Option<u64>,
    /// When the process is woken.
    wake: Option<u64>,
}

impl Pace {
    /// Something may look different now.
    pub fn note_change(&mut self) {
        self.changed = true;
    }

    /// The process was woken, or nobody is going to wake it.
    pub fn forget_wake(&mut self) {
        self.wake = None;
    }

    /// What is to be done now. [`Step::Draw`] is taken to be done, [`Step::WakeAt`] to be arranged.
    pub fn step(&mut self, now: u64) -> Step {
        let due = self.due();
        if due <= now {
            self.changed = false;
            self.drawn = Some(now);
            return Step::Draw;
        }
        if self.wake.is_some_and(|wake| now < wake && wake <= due) {
            return Step::Nothing;
        }
        self.wake = Some(due);
        Step::WakeAt(due)
    }

    fn due(&self) -> u64 {
        let after = if self.changed { FRAME_NS } else { STATUS_NS };
        self.drawn.map_or(0, |drawn| drawn.saturating_add(after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_first_change_is_drawn_at_once_and_the_next_after_a_while() {
        let mut pace = Pace::default();
        assert_eq!(pace.step(5 * MS), Step::Draw);
        assert_eq!(pace.step(6 * MS), Step::WakeAt(1005 * MS));
        assert_eq!(pace.step(7 * MS), Step::Nothing);
        pace.note_change();
        assert_eq!(pace.step(8 * MS), Step::WakeAt(25 * MS));
        pace.note_change();
        assert_eq!(pace.step(9 * MS), Step::Nothing);
        assert_eq!(pace.step(25 * MS), Step::Draw);
        pace.note_change();
        assert_eq!(pace.step(100 * MS), Step::Draw);
    }

    #[test]
    fn a_wake_that_does_not_come_is_asked_for_again() {
        let mut pace = Pace::default();
        pace.step(0);
        pace.note_change();
        assert_eq!(pace.step(MS), Step::WakeAt(20 * MS));
        pace.forget_wake();
        assert_eq!(pace.step(2 * MS), Step::WakeAt(20 * MS));
    }

    proptest! {
        #[test]
        fn no_change_waits_longer_than_a_frame_if_wakes_come(
            changes in prop::collection::vec(0u64..50, 1..40),
        ) {
            let (mut pace, mut now, mut wake, mut waiting) = (Pace::default(), 0, u64::MAX, None);
            for pause in changes {
                let next = now + pause * MS;
                while wake <= next {
                    now = wake;
                    wake = u64::MAX;
                    match pace.step(now) {
                        Step::Draw => waiting = None,
                        Step::WakeAt(at) => wake = at,
                        Step::Nothing => {}
                    }
                    if let Step::WakeAt(at) = pace.step(now) { wake = at; }
                }
                now = next;
                pace.note_change();
                waiting.get_or_insert(now);
                match pace.step(now) {
                    Step::Draw => waiting = None,
                    Step::WakeAt(at) => wake = at,
                    Step::Nothing => {}
                }
                let late = waiting.map_or(0, |since| now - since);
                prop_assert!(late <= FRAME_NS, "waits since {late}");
            }
        }
    }
}
