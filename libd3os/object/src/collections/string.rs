//! Text.

use core::fmt;
use core::str::Utf8Error;

use crate::editor::Editor;
use crate::persist::Persist;
use crate::pointer::{PPtr, PointerError};
use crate::tx::TxError;
use crate::view::View;

use super::PVec;

/// Text, as UTF-8.
#[derive(Clone, Copy, Debug, Default, Persist)]
#[repr(transparent)]
pub struct PString {
    bytes: PVec<u8>,
}

/// Text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// A pointer leads nowhere.
    Pointer(PointerError),
    /// It is not UTF-8: this library has not written it.
    Encoding(Utf8Error),
}

impl PPtr<PString> {
    /// The bytes of the text.
    #[must_use]
    pub const fn bytes(self) -> PPtr<PVec<u8>> {
        self.cast()
    }

    /// The text.
    ///
    /// # Errors
    /// A pointer leads nowhere, or it is not UTF-8.
    pub fn as_str(self, view: &impl View) -> Result<&str, TextError> {
        let bytes = self.bytes().as_slice(view).map_err(TextError::Pointer)?;
        str::from_utf8(bytes).map_err(TextError::Encoding)
    }

    /// Replaces the text.
    ///
    /// # Errors
    /// The object is full, or damaged.
    pub fn set<B>(self, editor: &mut Editor<'_, B>, text: &str) -> Result<(), TxError> {
        self.bytes().truncate(editor, 0)?;
        self.push_str(editor, text)
    }

    /// Adds text at the end.
    ///
    /// # Errors
    /// The object is full, or damaged.
    pub fn push_str<B>(self, editor: &mut Editor<'_, B>, text: &str) -> Result<(), TxError> {
        self.bytes().extend(editor, text.as_bytes())
    }

    /// Forgets the text and gives its block back.
    ///
    /// # Errors
    /// The object is damaged.
    pub fn clear<B>(self, editor: &mut Editor<'_, B>) -> Result<(), TxError> {
        self.bytes().clear(editor)
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pointer(error) => error.fmt(to),
            Self::Encoding(error) => write!(to, "not text: {error}"),
        }
    }
}

impl core::error::Error for TextError {}
