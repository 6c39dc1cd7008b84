//! The HPET as an alarm: comparator 0, once, by an edge at an input of the IOAPIC.
//!
//! The comparator interrupts when the counter equals it. It compares 32 bits, also where there are
//! 64: then a counter with 32 bits and one with 64 are the same, reading it is one access, and
//! what a wrap does is the same everywhere. Waits are kept below half of the range, so that what
//! is ahead and what has passed can be told apart.
//!
//! A comparator that is written after the counter has gone by stays silent until the counter has
//! wrapped. Chips also take some ticks until what was written counts. So the counter is read
//! again after writing, and what is not ahead by a margin then is said to have passed.

use crate::alarm::{Alarm, Set, ticks};
use crate::regs::{Configuration, Hpet, HpetRegisters, TimerConfiguration};

/// Longest wait, in ticks.
const MOST_TICKS: u32 = 1 << 31;
/// Shortest wait, in ticks: 9 µs at the usual 14.3 MHz.
const LEAST_TICKS: u32 = 128;
/// What must be left of the wait when the comparator has been written, in ticks.
const MARGIN: u32 = 32;
/// Longest period that the specification allows, in femtoseconds.
const LONGEST_PERIOD: u32 = 100_000_000;
/// Mask of the number of the last comparator in the capabilities, and where it stands.
const LAST_COMPARATOR: (u32, u32) = (0x1f, 8);

/// Why the HPET cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HpetError {
    /// Its registers say that it has no sensible period: nothing is there.
    NoChip,
    /// Comparator 0 cannot be connected to this input.
    NoRoute(u32),
}

impl core::fmt::Display for HpetError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoChip => f.write_str("its registers make no sense"),
            Self::NoRoute(input) => {
                write!(f, "its comparator cannot be connected to interrupt input {input}")
            }
        }
    }
}

/// Comparator 0 of an HPET.
#[derive(Debug)]
pub struct HpetAlarm<R> {
    registers: R,
    /// Femtoseconds for each tick.
    period: u32,
    least_ticks: u32,
    configuration: u32,
    interrupts: bool,
}

#[cfg(test)]
impl<R> HpetAlarm<R> {
    pub(crate) fn registers(&mut self) -> &mut R {
        &mut self.registers
    }
}

impl<R: HpetRegisters> HpetAlarm<R> {
    /// Stops all comparators and connects comparator 0 to `input` of the IOAPIC. Ticks between
    /// interrupts are at least `minimum_tick`, which the firmware's table tells.
    ///
    /// # Errors
    /// [`HpetError`].
    pub fn new(mut registers: R, input: u32, minimum_tick: u16) -> Result<Self, HpetError> {
        let period = registers.read_high(Hpet::Capabilities);
        if period == 0 || period > LONGEST_PERIOD {
            return Err(HpetError::NoChip);
        }
        registers.write(Hpet::Configuration, 0);
        stop_all(&mut registers);
        let configuration = connect(&mut registers, input)?;
        registers.write(Hpet::Configuration, Configuration::ENABLE.bits());
        let least_ticks = LEAST_TICKS.max(minimum_tick.into());
        Ok(Self { registers, period, least_ticks, configuration, interrupts: false })
    }

    /// Lets comparator 0 interrupt or not.
    fn let_interrupt(&mut self, interrupts: bool) {
        if self.interrupts != interrupts {
            let flag = if interrupts { TimerConfiguration::INTERRUPTS.bits() } else { 0 };
            self.registers.write(Hpet::TimerConfiguration(0), self.configuration | flag);
            self.interrupts = interrupts;
        }
    }
}

impl<R: HpetRegisters> Alarm for HpetAlarm<R> {
    fn name(&self) -> &'static str {
        "HPET"
    }

    fn set(&mut self, after_ns: u64) -> Set {
        let wait = ticks(after_ns, self.period.into(), MOST_TICKS).max(self.least_ticks);
        let start = self.registers.read(Hpet::Counter);
        self.registers.write(Hpet::Comparator(0), start.wrapping_add(wait));
        // Only now: the old value must not interrupt when the gate opens.
        self.let_interrupt(true);
        let gone = self.registers.read(Hpet::Counter).wrapping_sub(start);
        if gone.saturating_add(MARGIN) < wait { Set::Running } else { Set::Passed }
    }

    fn clear(&mut self) {
        self.let_interrupt(false);
    }
}

fn stop_all(registers: &mut impl HpetRegisters) {
    let (mask, shift) = LAST_COMPARATOR;
    let last = registers.read(Hpet::Capabilities) >> shift & mask;
    // Five bits.
    for number in 0..=u8::try_from(last).unwrap_or(0) {
        registers.write(Hpet::TimerConfiguration(number), 0);
    }
}

/// Connects comparator 0. What it cannot do does not stay written (section 2.3.8).
fn connect(registers: &mut impl HpetRegisters, input: u32) -> Result<u32, HpetError> {
    let possible = registers.read_high(Hpet::TimerConfiguration(0));
    if possible.checked_shr(input).is_none_or(|inputs| inputs & 1 == 0) {
        return Err(HpetError::NoRoute(input));
    }
    let route = input << TimerConfiguration::INPUT_SHIFT;
    let configuration = TimerConfiguration::NARROW.bits() | route;
    registers.write(Hpet::TimerConfiguration(0), configuration);
    let kept = registers.read(Hpet::TimerConfiguration(0)) & TimerConfiguration::INPUT_MASK;
    if kept == route { Ok(configuration) } else { Err(HpetError::NoRoute(input)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Clock, HpetChip};

    const INPUT: u32 = 20;

    fn alarm(chip: HpetChip) -> HpetAlarm<HpetChip> {
        HpetAlarm::new(chip, INPUT, 0).expect("the model is one")
    }

    #[test]
    fn what_is_not_there_or_cannot_be_connected_is_found_out() {
        let absent = HpetAlarm::new(HpetChip::absent(), INPUT, 0);
        assert_eq!(absent.err(), Some(HpetError::NoChip));
        for input in [3, 31, 32, 99] {
            let chip = HpetChip::new(Clock::default(), 0);
            let refused = HpetAlarm::new(chip, input, 0).err();
            assert_eq!(refused, Some(HpetError::NoRoute(input)));
        }
    }

    #[test]
    fn it_interrupts_once_and_not_early() {
        let clock = Clock::default();
        let mut alarm = alarm(HpetChip::new(clock.clone(), 0));
        assert_eq!(alarm.registers.input(), Some(INPUT));
        let start = clock.now();
        assert_eq!(alarm.set(1_000_000), Set::Running);
        clock.set(start + 999_999);
        assert!(!alarm.registers.take_edge());
        clock.set(start + 1_010_000);
        assert!(alarm.registers.take_edge());
        clock.advance(1_000_000);
        assert!(!alarm.registers.take_edge());
    }

    #[test]
    fn a_wrap_of_the_counter_is_no_matter() {
        for ahead in [1, 5_000, 14_000] {
            let clock = Clock::default();
            let mut alarm = alarm(HpetChip::new(clock.clone(), u32::MAX - ahead));
            assert_eq!(alarm.set(1_000_000), Set::Running);
            assert!(!alarm.registers.take_edge());
            clock.advance(1_010_000);
            assert!(alarm.registers.take_edge());
        }
    }

    #[test]
    fn a_comparator_that_is_set_too_late_says_so() {
        let clock = Clock::default();
        let mut alarm = alarm(HpetChip::new(clock.clone(), 0));
        clock.costs(50_000);
        assert_eq!(alarm.set(1_000), Set::Passed);
        clock.costs(10);
        assert_eq!(alarm.set(1_000), Set::Running);
    }

    #[test]
    fn once_cleared_it_is_silent() {
        let clock = Clock::default();
        let mut alarm = alarm(HpetChip::new(clock.clone(), 0));
        alarm.set(1_000_000);
        alarm.clear();
        clock.advance(2_000_000);
        assert!(!alarm.registers.take_edge());
    }
}
