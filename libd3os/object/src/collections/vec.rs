//! An array that grows.

use crate::editor::Editor;
use crate::persist::Persist;
use crate::pointer::{PPtr, PointerError};
use crate::tx::TxError;
use crate::view::View;

/// An array that grows at its end.
#[derive(Debug, Persist)]
#[repr(C)]
pub struct PVec<T> {
    elements: PPtr<T>,
    length: u64,
    capacity: u64,
}

impl<T> Clone for PVec<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for PVec<T> {}

impl<T> Default for PVec<T> {
    fn default() -> Self {
        Self { elements: PPtr::NULL, length: 0, capacity: 0 }
    }
}

impl<T> PVec<T> {
    /// Where the first element is; null if there never was one.
    #[must_use]
    pub const fn elements(&self) -> PPtr<T> {
        self.elements
    }

    /// How many elements there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<T: Persist> PPtr<PVec<T>> {
    /// All elements.
    ///
    /// # Errors
    /// A pointer leads nowhere.
    pub fn as_slice(self, view: &impl View) -> Result<&[T], PointerError> {
        let PVec { elements, length, .. } = *view.get(self)?;
        view.slice(elements, length)
    }

    /// Where an element is, if there are so many.
    ///
    /// # Errors
    /// This pointer leads nowhere.
    pub fn element_at(self, view: &impl View, index: u64) -> Result<Option<PPtr<T>>, PointerError> {
        let vec = view.get(self)?;
        Ok((index < vec.length).then(|| vec.elements.element(index)))
    }

    /// Adds an element at the end.
    ///
    /// # Errors
    /// The object is full, or damaged.
    pub fn push<B>(self, editor: &mut Editor<'_, B>, value: T) -> Result<(), TxError> {
        let PVec { length, .. } = *editor.get(self)?;
        let longer = length.saturating_add(1);
        self.reserve(editor, longer)?;
        let vec = editor.modify(self)?;
        vec.length = longer;
        let at = vec.elements.element(length);
        Ok(editor.set(at, value)?)
    }

    /// Takes the last element away, and returns a copy of it.
    ///
    /// # Errors
    /// A pointer leads nowhere.
    pub fn pop<B>(self, editor: &mut Editor<'_, B>) -> Result<Option<T>, TxError>
    where
        T: Copy,
    {
        let PVec { elements, length, .. } = *editor.get(self)?;
        let Some(last) = length.checked_sub(1) else { return Ok(None) };
        let value = *editor.get(elements.element(last))?;
        editor.modify(self)?.length = last;
        Ok(Some(value))
    }

    /// Adds copies of all these elements at the end.
    ///
    /// # Errors
    /// The object is full, or damaged.
    pub fn extend<B>(self, editor: &mut Editor<'_, B>, values: &[T]) -> Result<(), TxError>
    where
        T: Copy,
    {
        let PVec { length, .. } = *editor.get(self)?;
        let total = length.saturating_add(values.len() as u64);
        self.reserve(editor, total)?;
        let vec = editor.modify(self)?;
        vec.length = total;
        let at = vec.elements.element(length);
        editor.modify_slice(at, values.len())?.copy_from_slice(values);
        Ok(())
    }

    /// Keeps so many elements and forgets those behind.
    ///
    /// # Errors
    /// This pointer leads nowhere.
    pub fn truncate<B>(self, editor: &mut Editor<'_, B>, length: u64) -> Result<(), TxError> {
        if length < editor.get(self)?.length {
            editor.modify(self)?.length = length;
        }
        Ok(())
    }

    /// Forgets all elements and gives their block back.
    ///
    /// # Errors
    /// The object is damaged.
    pub fn clear<B>(self, editor: &mut Editor<'_, B>) -> Result<(), TxError> {
        let PVec { elements, .. } = *editor.get(self)?;
        if !elements.is_null() {
            editor.free(elements)?;
        }
        Ok(editor.set(self, PVec::default())?)
    }

    /// Has room for so many elements: until there are more, none is moved.
    ///
    /// # Errors
    /// The object is full, or damaged.
    pub fn reserve<B>(self, editor: &mut Editor<'_, B>, wanted: u64) -> Result<(), TxError> {
        let PVec { elements, length, capacity } = *editor.get(self)?;
        if wanted <= capacity {
            return Ok(());
        }
        let (size, align) = (size_of::<T>() as u64, align_of::<T>() as u64);
        let capacity = wanted.max(capacity.saturating_mul(2)).max(4);
        let block = editor.alloc_bytes(capacity.saturating_mul(size), align)?.cast();
        editor.copy_elements(elements, block, length)?;
        if !elements.is_null() {
            editor.free(elements)?;
        }
        Ok(editor.set(self, PVec { elements: block, length, capacity })?)
    }
}
