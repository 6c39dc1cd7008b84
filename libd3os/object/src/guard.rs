//! An object that is being read.

use core::ptr::NonNull;

use crate::layout::HEADER;
use crate::mapping::Mapping;
use crate::medium::Medium;
use crate::object::{self, Object};
use crate::persist::Persist;
use crate::pointer::{PPtr, PointerError};
use crate::session::Session;
use crate::view::{self, View};

/// Reads an object: nobody changes it as long as the guard lives.
#[must_use]
pub struct Guard<'s, T, M: Medium> {
    session: &'s Session<M>,
    mapping: &'s Mapping<M>,
    header: NonNull<u8>,
    end: u64,
    base: PPtr<T>,
}

impl<'s, T, M: Medium> Guard<'s, T, M> {
    pub(crate) fn new(session: &'s Session<M>, mapping: &'s Mapping<M>) -> Self {
        let (header, end) = (mapping.medium().base(), mapping.bytes());
        Self { session, mapping, header, end, base: object::BASE.cast() }
    }

    /// The object's mapping.
    #[must_use]
    pub const fn mapping(&self) -> &'s Mapping<M> {
        self.mapping
    }

    /// Whether this is a guard of this object.
    #[must_use]
    pub fn is_of<U>(&self, object: &Object<U, M>) -> bool {
        core::ptr::eq(self.mapping, &raw const **object.mapping())
    }
}

impl<T: Persist, M: Medium> Guard<'_, T, M> {
    /// The object's base.
    ///
    /// # Errors
    /// The object is too small to hold it, which it was not when it was opened.
    pub fn base(&self) -> Result<&T, PointerError> {
        self.get(self.base)
    }
}

impl<T, M: Medium> Drop for Guard<'_, T, M> {
    fn drop(&mut self) {
        self.session.end_read(self.mapping);
    }
}

// SAFETY: the bytes are within the object, which is mapped; the lock keeps everybody from changing it.
unsafe impl<T, M: Medium> View for Guard<'_, T, M> {
    #[inline]
    fn end(&self) -> u64 {
        self.end
    }

    #[inline]
    fn header(&self) -> NonNull<u8> {
        self.header
    }

    #[inline]
    fn locate(
        &self,
        pointer: PPtr<u8>,
        bytes: u64,
        align: u64,
    ) -> Result<NonNull<u8>, PointerError> {
        let at = view::check(pointer, bytes, align, self.end)?;
        debug_assert!(at + HEADER + bytes <= self.end, "checked");
        // SAFETY: within the medium, whose beginning is the header.
        Ok(unsafe { self.header.add(usize::try_from(at).unwrap_or(0)) })
    }
}

/// Reads an object that nobody changes at all: before recovery has ended and there are sessions, or in
/// memory that cannot be written.
#[derive(Debug)]
#[must_use]
pub struct Still<'m, M> {
    mapping: &'m Mapping<M>,
}

impl<M: Medium> Mapping<M> {
    /// Reads the object without a lock.
    ///
    /// # Safety
    /// Nobody changes the object while the view lives.
    pub const unsafe fn still(&self) -> Still<'_, M> {
        Still { mapping: self }
    }
}

// SAFETY: the bytes are within the object, which is mapped; whoever made the view has promised that nobody
// changes it.
unsafe impl<M: Medium> View for Still<'_, M> {
    fn end(&self) -> u64 {
        self.mapping.bytes()
    }

    fn header(&self) -> NonNull<u8> {
        self.mapping.medium().base()
    }

    fn locate(
        &self,
        pointer: PPtr<u8>,
        bytes: u64,
        align: u64,
    ) -> Result<NonNull<u8>, PointerError> {
        let at = view::check(pointer, bytes, align, self.end())?;
        // SAFETY: within the medium, whose beginning is the header.
        Ok(unsafe { self.mapping.medium().base().add(usize::try_from(at).unwrap_or(0)) })
    }
}
