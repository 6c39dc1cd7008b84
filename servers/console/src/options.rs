//! The arguments with which the console is started.

use alloc::string::String;
use core::fmt;

use libd3os::service::log::Level;

use crate::core::Shown;

/// What the arguments say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which log records are shown (`--level NAME`, `--quiet`).
    pub shown: Shown,
    /// The first log record to show (`--log-from NUMBER`).
    pub log_from: u64,
}

/// An argument that the console does not know, or a value that it does not understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadArgument(pub String);

impl fmt::Display for BadArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the console cannot be started with `{}`", self.0)
    }
}

impl core::error::Error for BadArgument {}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// [`BadArgument`] with the argument.
    pub fn parse(arguments: &[String]) -> Result<Self, BadArgument> {
        let mut options = Self { shown: Shown::UpTo(Level::Info), log_from: 0 };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let bad = || BadArgument(argument.clone());
            match argument.as_str() {
                "--quiet" => options.shown = Shown::Nothing,
                "--level" => {
                    let level = rest.next().and_then(|name| Level::from_name(name));
                    options.shown = Shown::UpTo(level.ok_or_else(bad)?);
                }
                "--log-from" => {
                    let number = rest.next().and_then(|number| number.parse().ok());
                    options.log_from = number.ok_or_else(bad)?;
                }
                _ => return Err(bad()),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    fn parse(arguments: &str) -> Result<Options, BadArgument> {
        Options::parse(&arguments.split_whitespace().map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn reads_what_init_passes() {
        let plain = Options { shown: Shown::UpTo(Level::Info), log_from: 0 };
        assert_eq!(parse(""), Ok(plain));
        let from = Options { log_from: 12, ..plain };
        assert_eq!(parse("--log-from 12"), Ok(from));
        assert_eq!(parse("--log-from 12 --quiet"), Ok(Options { shown: Shown::Nothing, ..from }));
        let debug = Options { shown: Shown::UpTo(Level::Debug), ..plain };
        assert_eq!(parse("--level debug"), Ok(debug));
    }

    #[test]
    fn refuses_the_rest() {
        for wrong in ["--level", "--level loud", "--log-from x", "--log-from", "hello"] {
            let first = wrong.split(' ').next().expect("not empty");
            assert_eq!(parse(wrong), Err(BadArgument(first.to_string())));
        }
    }
}
