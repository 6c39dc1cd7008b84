//! What `ping` says, without its process.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

/// Bytes of a request.
pub const BYTES: u16 = 56;
/// Requests sent without `-n`.
const DEFAULT_COUNT: u32 = 4;

/// What to ping, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A name or an address.
    pub host: String,
    /// Requests.
    pub count: u32,
}

/// The arguments make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage;

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("usage: ping HOST [COUNT]")
    }
}

impl core::error::Error for Usage {}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// [`Usage`].
    pub fn parse(arguments: &[String]) -> Result<Self, Usage> {
        let (host, count) = match arguments {
            [host] => (host, DEFAULT_COUNT),
            [host, count] => (host, count.parse().ok().filter(|n| *n > 0).ok_or(Usage)?),
            _ => return Err(Usage),
        };
        Ok(Self { host: host.to_string(), count })
    }
}

/// What came of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    sent: u32,
    /// Microseconds of each answer.
    fastest: Option<u64>,
    slowest: u64,
    total: u64,
    answered: u32,
}

impl Statistics {
    /// A request was answered after so many microseconds, or not.
    pub fn note(&mut self, time_us: Option<u64>) {
        self.sent += 1;
        let Some(time) = time_us else { return };
        self.answered += 1;
        self.fastest = Some(self.fastest.map_or(time, |fastest| fastest.min(time)));
        self.slowest = self.slowest.max(time);
        self.total = self.total.saturating_add(time);
    }

    /// Whether any request was answered.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.answered > 0
    }

    /// What is said at the end.
    #[must_use]
    pub fn summary(&self) -> String {
        let lost = u64::from(self.sent - self.answered) * 100 / u64::from(self.sent.max(1));
        let counts = format!("{} sent, {} answered, {lost} % lost", self.sent, self.answered);
        let Some(fastest) = self.fastest else { return counts };
        let average = self.total / u64::from(self.answered.max(1));
        let [fastest, average, slowest] = [fastest, average, self.slowest].map(milliseconds);
        format!("{counts}; {fastest} to {slowest} ms, {average} ms on average")
    }
}

/// Microseconds as milliseconds.
#[must_use]
pub fn milliseconds(us: u64) -> String {
    format!("{}.{:03}", us / 1000, us % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn parse(words: &[&str]) -> Result<Options, Usage> {
        Options::parse(&words.iter().map(|word| word.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn arguments() {
        let host = String::from("10.0.2.2");
        assert_eq!(parse(&["10.0.2.2"]), Ok(Options { host: host.clone(), count: 4 }));
        assert_eq!(parse(&["10.0.2.2", "9"]), Ok(Options { host, count: 9 }));
        for wrong in [&[][..], &["a", "0"], &["a", "x"], &["a", "1", "2"]] {
            assert_eq!(parse(wrong), Err(Usage));
        }
    }

    #[test]
    fn statistics() {
        let mut statistics = Statistics::default();
        assert!(!statistics.any());
        statistics.note(None);
        assert_eq!(statistics.summary(), "1 sent, 0 answered, 100 % lost");
        statistics.note(Some(1500));
        statistics.note(Some(500));
        let said = "3 sent, 2 answered, 33 % lost; 0.500 to 1.500 ms, 1.000 ms on average";
        assert_eq!(statistics.summary(), said);
    }
}
