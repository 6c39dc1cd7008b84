//! Colours, or none.
//!
//! A role says what a piece of text means; the style decides how that looks. Output that is not
//! read by a person at a terminal has no escape sequences at all.

use alloc::borrow::Cow;
use alloc::format;

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Ordinary text.
    #[default]
    Plain,
    /// A column title or a section's name.
    Title,
    /// A name one could type.
    Name,
    /// Everything is as it should be.
    Good,
    /// Something to look at.
    Warning,
    /// Something failed.
    Bad,
    /// Text of less interest.
    Faint,
}

impl Role {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Title => Some("1"),
            Self::Name => Some("36"),
            Self::Good => Some("32"),
            Self::Warning => Some("33"),
            Self::Bad => Some("31"),
            Self::Faint => Some("2"),
        }
    }
}

/// How roles look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// No escape sequences.
    Plain,
    /// ECMA-48 colours.
    Coloured,
}

impl Style {
    /// The text as it is sent to the terminal.
    pub fn paint(self, role: Role, text: &str) -> Cow<'_, str> {
        match (self, role.code()) {
            (Self::Coloured, Some(code)) if !text.is_empty() => {
                Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m"))
            }
            _ => Cow::Borrowed(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_has_no_escapes() {
        assert_eq!(Style::Plain.paint(Role::Bad, "dead"), "dead");
        assert_eq!(Style::Coloured.paint(Role::Bad, "dead"), "\x1b[31mdead\x1b[0m");
        assert_eq!(Style::Coloured.paint(Role::Plain, "text"), "text");
    }
}
