//! Names, and paths of them.
//!
//! A name is foreign text. It has no meaning but to be found: no name leads upwards or elsewhere, so what
//! is resolved from a directory lies below it.

use core::fmt;

use libd3os_object::Persist;

/// So many bytes a name has at most.
pub const MAX_NAME: usize = 127;

/// So many names a path has at most.
pub const MAX_DEPTH: usize = 64;

/// One name: UTF-8 without `/` and control characters, in order of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Persist)]
#[repr(transparent)]
pub struct Name([u8; MAX_NAME + 1]);

/// What is asked for by name is not done; everything is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no text, as before, between or after slashes.
    #[error("a name is empty")]
    Empty,
    /// It is too long.
    #[error("a name of {bytes} bytes is too long: {MAX_NAME} are the most")]
    Long {
        /// So many.
        bytes: usize,
    },
    /// It is `.` or `..`, which elsewhere mean a way and not a name.
    #[error("no name is \".\" or \"..\"")]
    Dots,
    /// It has a slash, or a character that would control a terminal.
    #[error("no name has the character {0:?}")]
    Character(char),
    /// The path is too long.
    #[error("a path has {MAX_DEPTH} names at most")]
    Depth,
    /// No such name.
    #[error("there is no such name")]
    Absent,
    /// The name is there already.
    #[error("the name is taken")]
    Taken,
    /// A directory was needed.
    #[error("it is not a directory")]
    NotDirectory,
    /// An object was needed that is no directory.
    #[error("it is a directory")]
    Directory,
    /// A directory that is to go has names in it.
    #[error("the directory is not empty")]
    NotEmpty,
    /// A directory would be below itself.
    #[error("the directory would be within itself")]
    Circle,
    /// The directory has no room, and cannot grow.
    #[error("the directory is full")]
    Full,
    /// The object has names, which would lead nowhere without it.
    #[error("the object has names")]
    Named,
}

impl Name {
    /// Makes a name of text.
    ///
    /// # Errors
    /// It is none.
    pub fn new(text: &str) -> Result<Self, NameError> {
        match text {
            "" => return Err(NameError::Empty),
            "." | ".." => return Err(NameError::Dots),
            _ => {}
        }
        if let Some(wrong) = text.chars().find(|char| *char == '/' || char.is_control()) {
            return Err(NameError::Character(wrong));
        }
        let mut bytes = [0; _];
        let room = bytes.get_mut(..text.len()).filter(|room| room.len() <= MAX_NAME);
        room.ok_or(NameError::Long { bytes: text.len() })?.copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }

    /// The text; none if a damaged directory says something else.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (text, rest) = self.0.split_at(end);
        let text = str::from_utf8(text).ok()?;
        let is_whole = rest.iter().all(|byte| *byte == 0) && Self::new(text).is_ok();
        is_whole.then_some(text)
    }

    /// Before all names that begin with this text, or with as much of it as a name can have.
    #[must_use]
    pub fn first_with(prefix: &str) -> Self {
        let mut bytes = [0; _];
        let prefix = prefix.as_bytes();
        let kept = prefix.len().min(MAX_NAME);
        bytes[..kept].copy_from_slice(&prefix[..kept]);
        Self(bytes)
    }
}

/// The names of a path, of which there are none in an empty one.
pub(crate) fn names(path: &str) -> impl Iterator<Item = Result<Name, NameError>> {
    let parts = (!path.is_empty()).then(|| path.split('/')).into_iter().flatten();
    let name = |(at, text)| if at < MAX_DEPTH { Name::new(text) } else { Err(NameError::Depth) };
    parts.enumerate().map(name)
}

impl fmt::Display for Name {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str() {
            Some(text) => to.pad(text),
            None => write!(to, "{}", self.0.escape_ascii()),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "\"{self}\"")
    }
}
