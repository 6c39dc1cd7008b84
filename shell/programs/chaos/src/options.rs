//! The arguments.

use alloc::string::String;
use core::fmt;

/// Kills without an argument: each driver and server of the default image some nine times.
const DEFAULT_KILLS: u32 = 100;

/// How much is to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How often.
    pub kills: u32,
    /// What the course is made from; `None` where any will do.
    pub seed: Option<u64>,
}

/// The arguments make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage;

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("usage: chaos [KILLS [SEED]]")
    }
}

impl core::error::Error for Usage {}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// [`Usage`].
    pub fn parse(arguments: &[String]) -> Result<Self, Usage> {
        let (kills, seed) = match arguments {
            [] => return Ok(Self { kills: DEFAULT_KILLS, seed: None }),
            [kills] => (kills, None),
            [kills, seed] => (kills, Some(seed.parse().map_err(|_| Usage)?)),
            _ => return Err(Usage),
        };
        Ok(Self { kills: kills.parse().map_err(|_| Usage)?, seed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn arguments() {
        let parse = |words: &[&str]| {
            Options::parse(&words.iter().map(|word| String::from(*word)).collect::<Vec<_>>())
        };
        assert_eq!(parse(&[]), Ok(Options { kills: 100, seed: None }));
        assert_eq!(parse(&["7"]), Ok(Options { kills: 7, seed: None }));
        assert_eq!(parse(&["7", "42"]), Ok(Options { kills: 7, seed: Some(42) }));
        for wrong in [&["x"][..], &["1", "x"], &["1", "2", "3"], &["-1"]] {
            assert_eq!(parse(wrong), Err(Usage));
        }
    }
}
