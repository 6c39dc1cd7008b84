//! A value in a block of its own.

use crate::editor::Editor;
use crate::persist::Persist;
use crate::pointer::{PPtr, PointerError};
use crate::tx::TxError;
use crate::view::View;

/// A value in a block of its own, or none.
#[derive(Debug, Persist)]
#[repr(transparent)]
pub struct PBox<T> {
    value: PPtr<T>,
}

impl<T> Default for PBox<T> {
    fn default() -> Self {
        Self { value: PPtr::NULL }
    }
}

impl<T: Persist> PPtr<PBox<T>> {
    /// Where the value is; null if there is none.
    ///
    /// # Errors
    /// This pointer leads nowhere.
    pub fn target(self, view: &impl View) -> Result<PPtr<T>, PointerError> {
        Ok(view.get(self)?.value)
    }

    /// The value.
    ///
    /// # Errors
    /// There is none ([`PointerError::Null`]), or a pointer leads nowhere.
    pub fn value(self, view: &impl View) -> Result<&T, PointerError> {
        view.get(self.target(view)?)
    }

    /// Puts a value there, in the place of the one that may be there.
    ///
    /// # Errors
    /// The object is full, or damaged.
    pub fn put<B>(self, editor: &mut Editor<'_, B>, value: T) -> Result<(), TxError> {
        let target = self.target(editor)?;
        if !target.is_null() {
            return Ok(editor.set(target, value)?);
        }
        let block = editor.alloc(value)?;
        Ok(editor.set(self, PBox { value: block })?)
    }

    /// Gives the block back, if there is one.
    ///
    /// # Errors
    /// The object is damaged.
    pub fn clear<B>(self, editor: &mut Editor<'_, B>) -> Result<(), TxError> {
        let target = self.target(editor)?;
        if target.is_null() {
            return Ok(());
        }
        editor.free(target)?;
        Ok(editor.set(self, PBox::default())?)
    }
}
