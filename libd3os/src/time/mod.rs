//! Time from the processor's time stamp counter.
//!
//! The counter runs at a constant rate that the kernel measured at boot; the program was told
//! that rate, and the count at the kernel's first instruction, when it started.

mod date;
#[expect(unsafe_code, reason = "executes RDTSC")]
mod tsc;

use core::time::Duration;

pub use date::{Date, SECONDS_PER_DAY};
pub use tsc::tsc;

/// Turns counts of the time stamp counter into time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    mhz: u32,
    origin: u64,
}

impl Clock {
    /// A clock whose counter makes `mhz` ticks a microsecond and whose zero is at `origin`. A
    /// rate of 0, which no counter has, is taken as 1.
    #[must_use]
    pub const fn new(mhz: u32, origin: u64) -> Self {
        Self { mhz: if mhz == 0 { 1 } else { mhz }, origin }
    }

    /// The program's own clock, whose zero is the machine's start. `None` in a root task, which
    /// makes its clock from BootInfo.
    #[must_use]
    pub fn of_program() -> Option<Self> {
        crate::program::start_info().map(|info| Self::new(info.tsc_mhz, info.boot_tsc))
    }

    /// Time from the clock's zero to this count; nothing for counts before it.
    #[must_use]
    pub const fn since_origin(&self, count: u64) -> Duration {
        self.duration(count.saturating_sub(self.origin))
    }

    /// Time from the clock's zero until now.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.since_origin(tsc())
    }

    /// The time that so many ticks take.
    #[must_use]
    pub const fn duration(&self, ticks: u64) -> Duration {
        let mhz = self.mhz as u64;
        let a_second = mhz * 1_000_000;
        // Less than a second: fewer than 2^52 ticks for any rate, and fewer than 2^30 ns.
        let rest_ns = ticks % a_second * 1000 / mhz;
        Duration::new(ticks / a_second, truncated(rest_ns))
    }

    /// The ticks in this time, rounded down.
    #[must_use]
    pub fn ticks(&self, time: Duration) -> u64 {
        let ticks = time.as_nanos() * u128::from(self.mhz) / 1000;
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "nanoseconds of less than a second")]
const fn truncated(nanoseconds: u64) -> u32 {
    nanoseconds as u32
}

/// Time since the machine started, or `None` in a root task.
#[must_use]
pub fn uptime() -> Option<Duration> {
    Clock::of_program().map(|clock| clock.now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn durations_agree_with_wide_arithmetic(ticks: u64, mhz in 1u32..10_000) {
            let exact = u128::from(ticks) * 1000 / u128::from(mhz);
            prop_assert_eq!(Clock::new(mhz, 0).duration(ticks).as_nanos(), exact);
        }

        #[test]
        fn ticks_and_durations_invert(ticks in 0u64..1 << 50, mhz in 1u32..10_000) {
            let clock = Clock::new(mhz, 0);
            let back = clock.ticks(clock.duration(ticks));
            prop_assert!(back <= ticks && ticks - back <= u64::from(mhz).div_ceil(1000));
        }
    }

    #[test]
    fn counts_before_the_origin_are_no_time() {
        let clock = Clock::new(1000, 500);
        assert_eq!(clock.since_origin(499), Duration::ZERO);
        assert_eq!(clock.since_origin(1500), Duration::from_micros(1));
        assert_eq!(Clock::new(0, 0).duration(1), Duration::from_micros(1));
    }

    #[test]
    fn the_counter_does_not_go_back() {
        let first = tsc();
        assert!(tsc() >= first);
    }
}
