//! Hardware that interrupts once, some time from now.

/// An alarm that is set anew for each interrupt.
pub trait Alarm {
    /// What it is, for the log.
    fn name(&self) -> &'static str;

    /// Interrupts once, `after_ns` nanoseconds from now; sooner where that is longer than it can
    /// wait. What it was set to before is forgotten, though an interrupt of that may be on its way.
    fn set(&mut self, after_ns: u64) -> Set;

    /// Does not interrupt any more until it is set.
    fn clear(&mut self);
}

/// What became of setting an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// It will interrupt.
    Running,
    /// It may not: the time had passed when it was set.
    Passed,
}

impl<A: Alarm + ?Sized> Alarm for alloc::boxed::Box<A> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn set(&mut self, after_ns: u64) -> Set {
        (**self).set(after_ns)
    }

    fn clear(&mut self) {
        (**self).clear();
    }
}

/// Ticks of a clock in a span of time, rounded up; at most `most`.
#[must_use]
pub fn ticks(ns: u64, femtoseconds_per_tick: u64, most: u32) -> u32 {
    let ticks = (u128::from(ns) * 1_000_000).div_ceil(u128::from(femtoseconds_per_tick.max(1)));
    u32::try_from(ticks).map_or(most, |ticks| ticks.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ticks_are_never_too_few(ns: u64, period in 1u64..1_000_000_000, most: u32) {
            let ticks = ticks(ns, period, most);
            let time = u128::from(ticks) * u128::from(period);
            prop_assert!(ticks == most || time >= u128::from(ns) * 1_000_000);
            prop_assert!(time < u128::from(ns) * 1_000_000 + u128::from(period));
        }
    }
}
