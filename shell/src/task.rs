//! What the shell was started for: to serve a person, or to run a script.

use alloc::string::String;
use core::fmt;

use crate::system::{System, SystemError};
use crate::{interactive, script};

/// The option before a script.
const RUN: &str = "--run";

/// What the shell was started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task<'a> {
    /// To read lines from a person.
    Interactive,
    /// To run this script's lines and then switch the machine off.
    Script(&'a str),
}

/// The program's arguments make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownArguments;

impl fmt::Display for UnknownArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown arguments; usage: shell [--run SCRIPT]")
    }
}

impl core::error::Error for UnknownArguments {}

impl<'a> Task<'a> {
    /// Reads the program's arguments.
    ///
    /// # Errors
    /// They are neither none nor `--run SCRIPT`.
    pub fn from_arguments(arguments: &'a [String]) -> Result<Self, UnknownArguments> {
        match arguments {
            [] => Ok(Self::Interactive),
            [option, script] if option == RUN => Ok(Self::Script(script)),
            _ => Err(UnknownArguments),
        }
    }

    /// Does it, to its end.
    ///
    /// # Errors
    /// What the shell cannot work without has failed.
    pub fn perform(self, system: &mut dyn System) -> Result<(), SystemError> {
        match self {
            Self::Interactive => interactive::run(system),
            Self::Script(script) => script::run(system, script),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_the_task() {
        let words = |words: &[&str]| words.iter().map(|w| w.to_string()).collect::<Vec<_>>();
        assert_eq!(Task::from_arguments(&[]), Ok(Task::Interactive));
        assert_eq!(Task::from_arguments(&words(&["--run", "ps"])), Ok(Task::Script("ps")));
        assert_eq!(Task::from_arguments(&words(&["--run"])), Err(UnknownArguments));
        assert_eq!(Task::from_arguments(&words(&["ps"])), Err(UnknownArguments));
    }
}
