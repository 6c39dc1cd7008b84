//! Time, from the processor's counter.

use core::time::Duration;

use libd3os::{sys, time};
use platform::core::Clock;

/// Time since the machine's start.
#[derive(Debug)]
pub(crate) struct Uptime;

impl Clock for Uptime {
    fn now(&mut self) -> Duration {
        time::uptime().unwrap_or_default()
    }

    /// Gives up the rest of each period: a driver for the event timer may be what is waited for.
    fn wait_until(&mut self, time: Duration) {
        while self.now() < time {
            sys::yield_now();
        }
    }
}
