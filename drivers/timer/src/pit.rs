//! The 8254 as an alarm: counter 0 in mode 0.
//!
//! In mode 0 the output falls when a count is written and rises, once, when it has run down: that
//! edge is the interrupt. A count of 16 bits is 55 ms; longer waits are made of several.

use crate::alarm::{Alarm, Set, ticks};
use crate::regs::{PIT_LATCH, PIT_ONE_SHOT, PIT_PERIOD, Pit, PitRegisters};

/// Longest count: 0 would stand for one more.
const MOST_TICKS: u32 = 0xffff;

/// Reads of the count after which a chip that does not count is taken for none.
const LOOKS: usize = 64;

/// Nothing counts at these ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoChip;

/// Counter 0 of an 8254.
#[derive(Debug)]
pub struct PitAlarm<R>(R);

#[cfg(test)]
impl<R> PitAlarm<R> {
    pub(crate) fn registers(&mut self) -> &mut R {
        &mut self.0
    }
}

impl<R: PitRegisters> PitAlarm<R> {
    /// Puts counter 0 into mode 0.
    ///
    /// # Errors
    /// [`NoChip`] where it does not count.
    pub fn new(mut registers: R) -> Result<Self, NoChip> {
        registers.write(Pit::Control, PIT_ONE_SHOT);
        let mut alarm = Self(registers);
        alarm.write_count([0xff, 0xff]);
        let first = alarm.count();
        if (0..LOOKS).all(|_| alarm.count() == first) {
            return Err(NoChip);
        }
        alarm.clear();
        Ok(alarm)
    }

    fn write_count(&mut self, count: [u8; 2]) {
        count.into_iter().for_each(|byte| self.0.write(Pit::Counter0, byte));
    }

    fn count(&mut self) -> u16 {
        self.0.write(Pit::Control, PIT_LATCH);
        u16::from_le_bytes([self.0.read(Pit::Counter0), self.0.read(Pit::Counter0)])
    }
}

impl<R: PitRegisters> Alarm for PitAlarm<R> {
    fn name(&self) -> &'static str {
        "PIT"
    }

    fn set(&mut self, after_ns: u64) -> Set {
        let [low, high, ..] = ticks(after_ns, PIT_PERIOD, MOST_TICKS).max(1).to_le_bytes();
        self.write_count([low, high]);
        Set::Running
    }

    /// A control word stops the counter until a count is written.
    fn clear(&mut self) {
        self.0.write(Pit::Control, PIT_ONE_SHOT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Clock, PitChip};

    #[test]
    fn an_absent_chip_is_found_out() {
        assert!(matches!(PitAlarm::new(PitChip::absent(Clock::default())), Err(NoChip)));
    }

    #[test]
    fn it_interrupts_once_and_not_early() {
        let clock = Clock::default();
        let mut alarm = PitAlarm::new(PitChip::new(clock.clone())).expect("the model counts");
        clock.advance(100_000_000);
        assert!(!alarm.0.take_edge(), "it was not set");
        let start = clock.now();
        assert_eq!(alarm.set(1_000_000), Set::Running);
        clock.set(start + 999_999);
        assert!(!alarm.0.take_edge());
        clock.set(start + 1_010_000);
        assert!(alarm.0.take_edge());
        clock.advance(1_000_000_000);
        assert!(!alarm.0.take_edge());
    }

    #[test]
    fn a_long_wait_is_cut() {
        let clock = Clock::default();
        let mut alarm = PitAlarm::new(PitChip::new(clock.clone())).expect("the model counts");
        alarm.set(u64::MAX);
        clock.advance(55_000_000);
        assert!(alarm.0.take_edge());
    }
}
