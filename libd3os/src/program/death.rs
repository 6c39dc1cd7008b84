//! The ways in which the program `fault` dies: what it offers, and what the shell may ask of it.

use crate::rt::PANIC_EXIT_CODE;
use crate::service::supervisor::Exit;

/// A way to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Reads from address 0.
    Null,
    /// Divides by zero.
    Divide,
    /// Executes an instruction that does not exist.
    Illegal,
    /// Uses its stack up.
    Stack,
    /// Writes to its own constants.
    ReadOnly,
    /// Uses a capability that it does not hold.
    BadCap,
    /// Panics.
    Panic,
    /// Goes on for ever without coming back to any event loop.
    Hang,
}

impl Death {
    /// Every way.
    pub const ALL: [Self; 8] = [
        Self::Null,
        Self::Divide,
        Self::Illegal,
        Self::Stack,
        Self::ReadOnly,
        Self::BadCap,
        Self::Panic,
        Self::Hang,
    ];

    /// The word for each, in the order of [`Self::ALL`].
    pub const WORDS: [&'static str; Self::ALL.len()] = {
        let mut words = [""; Self::ALL.len()];
        let mut index = 0;
        while index < words.len() {
            words[index] = Self::ALL[index].word();
            index += 1;
        }
        words
    };

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Divide => "divide",
            Self::Illegal => "illegal",
            Self::Stack => "stack",
            Self::ReadOnly => "readonly",
            Self::BadCap => "badcap",
            Self::Panic => "panic",
            Self::Hang => "hang",
        }
    }

    /// What the program does.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Null => "reads from address 0",
            Self::Divide => "divides by zero",
            Self::Illegal => "executes an instruction that does not exist",
            Self::Stack => "calls itself until the stack is used up",
            Self::ReadOnly => "writes to its own constants",
            Self::BadCap => "uses a capability that it does not hold",
            Self::Panic => "finds a mistake of its own and ends itself",
            Self::Hang => "goes on for ever, until it is found not to answer",
        }
    }

    /// The way with this word, or `None`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|death| death.word() == word)
    }

    /// Whether a program that died in this way ends like that: by a fault; where it ended itself, by
    /// the exit code of a panic; and where it hung, by its supervisor.
    #[must_use]
    pub fn explains(self, exit: &Exit) -> bool {
        match self {
            Self::Panic => *exit == Exit::Code(PANIC_EXIT_CODE),
            Self::Hang => matches!(exit, Exit::Unresponsive(_)),
            _ => matches!(exit, Exit::Faulted(_)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back() {
        for (death, word) in Death::ALL.into_iter().zip(Death::WORDS) {
            assert_eq!(Death::from_word(word), Some(death));
            assert!(!death.about().is_empty());
        }
        assert_eq!(Death::from_word("boredom"), None);
    }

    #[test]
    fn a_panic_ends_by_its_code_and_nothing_else_does() {
        assert!(Death::Panic.explains(&Exit::Code(PANIC_EXIT_CODE)));
        assert!(!Death::Panic.explains(&Exit::Code(1)));
        assert!(!Death::Null.explains(&Exit::Code(PANIC_EXIT_CODE)));
        assert!(
            Death::Hang.explains(&Exit::Unresponsive(1)) && !Death::Hang.explains(&Exit::Killed)
        );
    }
}
