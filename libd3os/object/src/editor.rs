//! Changing an object inside a transaction.

use core::marker::PhantomData;
use core::ops::Range;
use core::ptr::NonNull;
use core::slice;

use crate::layout::{self, HEADER, PAGES};
use crate::medium::LINE_BYTES;
use crate::object;
use crate::persist::Persist;
use crate::pointer::{PPtr, PointerError};
use crate::shadow::{Home, Shadows};
use crate::view::{self, View};

/// An object of a transaction: reads see what the transaction has changed, changes are seen by nobody
/// else before it is committed.
pub struct Editor<'t, T> {
    shadows: &'t mut Shadows,
    place: Place,
    base: PhantomData<fn() -> T>,
}

/// An object's memory, while its lock is held.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Its number in the session.
    pub(crate) number: usize,
    pub(crate) header: NonNull<u8>,
    pub(crate) end: u64,
}

impl<'t, T> Editor<'t, T> {
    pub(crate) const fn new(shadows: &'t mut Shadows, place: Place) -> Self {
        Self { shadows, place, base: PhantomData }
    }

    /// What a pointer points to, to be changed.
    ///
    /// # Errors
    /// It does not lead to a `U` in this object.
    #[inline]
    pub fn modify<U: Persist>(&mut self, pointer: PPtr<U>) -> Result<&mut U, PointerError> {
        const { U::CHECKED };
        let (bytes, align) = (size_of::<U>() as u64, align_of::<U>() as u64);
        let copy = self.copy(pointer.cast(), bytes, align, PAGES)?;
        // SAFETY: a copy of so many bytes, aligned alike, of which every pattern is a `U`; it is the
        // transaction's own, of which `self` is borrowed for as long as the reference lives.
        Ok(unsafe { copy.cast().as_mut() })
    }

    /// The array of so many elements whose first one a pointer points to, to be changed.
    ///
    /// # Errors
    /// It does not lead to so many of them in this object.
    pub fn modify_slice<U: Persist>(
        &mut self,
        pointer: PPtr<U>,
        length: usize,
    ) -> Result<&mut [U], PointerError> {
        const { U::CHECKED };
        if length == 0 {
            return Ok(&mut []);
        }
        let offset = pointer.offset();
        let bytes = (length as u64).checked_mul(size_of::<U>() as u64);
        let bytes = bytes.ok_or(PointerError::Outside { offset })?;
        let copy = self.copy(pointer.cast(), bytes, align_of::<U>() as u64, PAGES)?;
        // SAFETY: as in `modify`, for so many.
        Ok(unsafe { slice::from_raw_parts_mut(copy.cast().as_ptr(), length) })
    }

    /// Replaces what a pointer points to.
    ///
    /// # Errors
    /// It does not lead to a `U` in this object.
    pub fn set<U: Persist>(&mut self, pointer: PPtr<U>, value: U) -> Result<(), PointerError> {
        *self.modify(pointer)? = value;
        Ok(())
    }

    /// Copies so many elements to another place, which does not overlap with theirs.
    pub(crate) fn copy_elements<U: Persist>(
        &mut self,
        from: PPtr<U>,
        to: PPtr<U>,
        count: u64,
    ) -> Result<(), PointerError> {
        if count == 0 {
            return Ok(());
        }
        let (bytes, align) = (count.saturating_mul(size_of::<U>() as u64), align_of::<U>() as u64);
        let (at, to_at) = (from.offset(), to.offset());
        if at.abs_diff(to_at) < bytes {
            return Err(PointerError::Outside { offset: to_at });
        }
        view::check(from.cast(), bytes, align, self.place.end)?;
        let to = self.copy(to.cast(), bytes, align, PAGES)?;
        // Only now, as making copies may move others.
        let from = self.locate(from.cast(), bytes, align)?;
        let bytes = usize::try_from(bytes).map_err(|_| PointerError::Outside { offset: at })?;
        // SAFETY: both were located with so many bytes; the destination is the transaction's own copy.
        // They lie in different lines or, if they share one, at different places of one copy of it.
        unsafe { from.copy_to(to, bytes) };
        Ok(())
    }

    /// What lies in the object's state, to be changed: only for what keeps it.
    pub(crate) fn modify_state<U: Persist>(
        &mut self,
        pointer: PPtr<U>,
    ) -> Result<&mut U, PointerError> {
        let (bytes, align) = (size_of::<U>() as u64, align_of::<U>() as u64);
        let copy = self.copy(pointer.cast(), bytes, align, layout::STATE)?;
        // SAFETY: as in `modify`.
        Ok(unsafe { copy.cast().as_mut() })
    }

    #[inline]
    fn copy(
        &mut self,
        pointer: PPtr<u8>,
        bytes: u64,
        align: u64,
        from: u64,
    ) -> Result<NonNull<u8>, PointerError> {
        view::check(pointer, bytes, align, self.place.end)?;
        let offset = pointer.offset();
        if offset < from {
            return Err(PointerError::Outside { offset });
        }
        let copies = self.shadows.copies(self.place.home(offset), lines(offset, bytes));
        // SAFETY: the copies are of all lines of these bytes.
        Ok(unsafe { copies.add(within_line(offset)) })
    }

    /// The object's size in bytes, guard page included.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.place.end
    }
}

impl<T: Persist> Editor<'_, T> {
    /// Where the object's base is.
    #[must_use]
    pub const fn base_pointer(&self) -> PPtr<T> {
        object::BASE.cast()
    }

    /// The object's base.
    ///
    /// # Errors
    /// The object is too small to hold it, which it was not when it was opened.
    pub fn base(&self) -> Result<&T, PointerError> {
        self.get(self.base_pointer())
    }

    /// The object's base, to be changed.
    ///
    /// # Errors
    /// The object is too small to hold it, which it was not when it was opened.
    pub fn modify_base(&mut self) -> Result<&mut T, PointerError> {
        self.modify(self.base_pointer())
    }
}

// SAFETY: the bytes are a copy of the transaction's own or, under the lock that it holds, the
// object's; neither changes but through a unique reference to the editor.
unsafe impl<T> View for Editor<'_, T> {
    #[inline]
    fn end(&self) -> u64 {
        self.place.end
    }

    #[inline]
    fn header(&self) -> NonNull<u8> {
        self.place.header
    }

    #[inline]
    fn locate(
        &self,
        pointer: PPtr<u8>,
        bytes: u64,
        align: u64,
    ) -> Result<NonNull<u8>, PointerError> {
        view::check(pointer, bytes, align, self.place.end)?;
        let offset = pointer.offset();
        let found = self.shadows.look(self.place.home(offset), lines(offset, bytes));
        // SAFETY: all lines of these bytes are found, one behind the other.
        Ok(unsafe { found.add(within_line(offset)) })
    }

    #[inline]
    fn locate_whole(
        &self,
        pointer: PPtr<u8>,
        bytes: u64,
        align: u64,
    ) -> Result<Option<NonNull<u8>>, PointerError> {
        let at = view::check(pointer, bytes, align, self.place.end)?;
        let home = self.place.home(pointer.offset());
        let is_at_home = !self.shadows.may_have(home.object, lines(pointer.offset(), bytes));
        // SAFETY: within the object, whose memory begins at the header.
        Ok(is_at_home.then(|| unsafe { self.place.header.add(usize::try_from(at).unwrap_or(0)) }))
    }
}

impl Place {
    /// From the line in which this offset lies, which is in the object.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "there are fewer objects than 2^32")]
    fn home(self, offset: u64) -> Home {
        let at = layout::place(offset - offset % LINE_BYTES as u64);
        debug_assert!(offset >= HEADER && offset < self.end, "checked");
        // SAFETY: callers have checked that the offset is in the object.
        Home { object: self.number as u32, at: unsafe { self.header.add(at) } }
    }
}

/// The lines of these bytes, which are in the object.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "an object has fewer lines than 2^32")]
const fn lines(offset: u64, bytes: u64) -> Range<u32> {
    let line = LINE_BYTES as u64;
    let end = (offset + bytes).div_ceil(line);
    let first = offset / line;
    first as u32..if end > first { end as u32 } else { first as u32 + 1 }
}

#[expect(clippy::cast_possible_truncation, reason = "the remainder is below a line")]
const fn within_line(offset: u64) -> usize {
    (offset % LINE_BYTES as u64) as usize
}
