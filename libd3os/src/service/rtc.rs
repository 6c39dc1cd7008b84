//! The time of day. Served by the driver `rtc`.

use core::fmt;

use serde::{Deserialize, Serialize};

/// The machine's wall clock, which goes on while the machine is off.
#[crate::service(name = "rtc", version = 1)]
pub trait Rtc {
    /// What the clock says.
    #[retryable]
    fn now() -> Result<WallTime, RtcError>;
}

/// What a wall clock said, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallTime {
    /// Seconds since the beginning of 1970, UTC. The clock counts whole seconds.
    pub seconds: u64,
    /// Uptime, in nanoseconds, at which the clock said it: the time since then is to be added.
    pub uptime_ns: u64,
}

impl WallTime {
    /// Seconds since the beginning of 1970, UTC, at this uptime in nanoseconds.
    #[must_use]
    pub const fn at(&self, uptime_ns: u64) -> u64 {
        self.seconds + uptime_ns.saturating_sub(self.uptime_ns) / 1_000_000_000
    }
}

/// Why there is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RtcError {
    /// The clock does not answer, or does not leave its update.
    NotResponding,
    /// Its battery was empty: it says that its time is not to be trusted.
    PowerLost,
    /// What it says is no date.
    NoDate,
}

impl fmt::Display for RtcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotResponding => "the clock does not respond",
            Self::PowerLost => "the clock's battery was empty: it has lost the time",
            Self::NoDate => "what the clock says is no date",
        })
    }
}

impl core::error::Error for RtcError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_after_the_clock_was_read() {
        let time = WallTime { seconds: 100, uptime_ns: 5_000_000_000 };
        assert_eq!((time.at(5_999_999_999), time.at(7_000_000_000), time.at(0)), (100, 102, 100));
    }
}
