//! Reading what lies in an object.

use core::ptr::NonNull;
use core::slice;

use crate::layout::HEADER;
use crate::medium::LINE_BYTES;
use crate::persist::Persist;
use crate::pointer::{PPtr, PointerError};

/// An object as it may be read at the moment: under a lock, or inside a transaction, which sees what it
/// has changed itself.
///
/// # Safety
/// What [`locate`](Self::locate) and [`locate_whole`](Self::locate_whole) return can be read, and does not change, while the view is borrowed.
pub unsafe trait View {
    /// Where the object ends: its size in bytes, guard page included.
    fn end(&self) -> u64;

    /// Where the object's header lies in memory. For hints only: what a transaction has changed is
    /// elsewhere.
    fn header(&self) -> NonNull<u8>;

    /// The address of `bytes` bytes that a pointer leads to, aligned to `align`, a power of two.
    ///
    /// # Errors
    /// It does not lead to so many bytes of this object.
    fn locate(
        &self,
        pointer: PPtr<u8>,
        bytes: u64,
        align: u64,
    ) -> Result<NonNull<u8>, PointerError>;

    /// As [`locate`](Self::locate), but none if some of these bytes may lie elsewhere than the others, so
    /// that they would have to be put together first.
    ///
    /// # Errors
    /// It does not lead to so many bytes of this object.
    #[inline]
    fn locate_whole(
        &self,
        pointer: PPtr<u8>,
        bytes: u64,
        align: u64,
    ) -> Result<Option<NonNull<u8>>, PointerError> {
        self.locate(pointer, bytes, align).map(Some)
    }

    /// What a pointer points to.
    ///
    /// # Errors
    /// It does not lead to a `T` in this object.
    #[inline]
    fn get<T: Persist>(&self, pointer: PPtr<T>) -> Result<&T, PointerError> {
        const { T::CHECKED };
        let found = self.locate(pointer.cast(), size_of::<T>() as u64, align_of::<T>() as u64)?;
        // SAFETY: located with the size and the alignment of a `T`, of which every pattern is one;
        // `View` promises that it does not change.
        Ok(unsafe { found.cast().as_ref() })
    }

    /// Has the line fetched in which a value begins that will be read soon, if it is there.
    #[inline]
    fn prefetch<T>(&self, pointer: PPtr<T>) {
        self.prefetch_bytes(pointer, 1);
    }

    /// Has the lines fetched of these bytes, if they are there.
    #[inline]
    fn prefetch_bytes<T>(&self, pointer: PPtr<T>, bytes: u64) {
        if let Ok(at) = check(pointer.cast(), bytes, 1, self.end()) {
            let line = LINE_BYTES as u64;
            let lines = (at / line * line..at + bytes).step_by(LINE_BYTES);
            lines.for_each(|at| prefetch(self.header(), at));
        }
    }

    /// The array of so many elements whose first one a pointer points to.
    ///
    /// # Errors
    /// It does not lead to so many of them in this object.
    #[inline]
    fn slice<T: Persist>(&self, pointer: PPtr<T>, length: u64) -> Result<&[T], PointerError> {
        const { T::CHECKED };
        if length == 0 {
            return Ok(&[]);
        }
        let (bytes, length) = array_bytes(pointer, length)?;
        let found = self.locate(pointer.cast(), bytes, align_of::<T>() as u64)?;
        // SAFETY: located with the size and the alignment of so many; the rest as in `get`.
        Ok(unsafe { slice::from_raw_parts(found.cast().as_ptr(), length) })
    }

    /// As [`slice`](Self::slice), but none where the array would have to be put together first: who looks
    /// at a few elements of it better gets those.
    ///
    /// # Errors
    /// It does not lead to so many of them in this object.
    #[inline]
    fn whole_slice<T: Persist>(
        &self,
        pointer: PPtr<T>,
        length: u64,
    ) -> Result<Option<&[T]>, PointerError> {
        const { T::CHECKED };
        if length == 0 {
            return Ok(Some(&[]));
        }
        let (bytes, length) = array_bytes(pointer, length)?;
        let found = self.locate_whole(pointer.cast(), bytes, align_of::<T>() as u64)?;
        // SAFETY: as in `slice`.
        Ok(found.map(|found| unsafe { slice::from_raw_parts(found.cast().as_ptr(), length) }))
    }
}

/// How long an array of so many elements is, in bytes and in elements.
#[inline]
fn array_bytes<T>(pointer: PPtr<T>, length: u64) -> Result<(u64, usize), PointerError> {
    let outside = PointerError::Outside { offset: pointer.offset() };
    let bytes = length.checked_mul(size_of::<T>() as u64).ok_or(outside)?;
    Ok((bytes, usize::try_from(length).map_err(|_| outside)?))
}

/// A hint to the processor that the line so many bytes behind an address will be needed, without other
/// effects.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "64-bit addresses only")]
pub(crate) fn prefetch(from: NonNull<u8>, bytes: u64) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    let line = from.as_ptr().wrapping_add(bytes as usize);
    // SAFETY: every x86_64 processor has the instruction, which may be given any address.
    unsafe { _mm_prefetch(line.cast(), _MM_HINT_T0) };
}

/// Whether a pointer leads to so many bytes of an object of `end` bytes: then it is their distance from
/// the object's header.
#[inline]
pub(crate) fn check(
    pointer: PPtr<u8>,
    bytes: u64,
    align: u64,
    end: u64,
) -> Result<u64, PointerError> {
    // Null wraps around, and other objects' pointers have high bits: one comparison sees all of them.
    let at = pointer.bits().wrapping_sub(HEADER);
    let room = end - HEADER;
    if bytes <= room && at <= room - bytes && pointer.bits() & (align - 1) == 0 {
        Ok(at)
    } else {
        Err(reason(pointer, bytes, end))
    }
}

#[cold]
fn reason(pointer: PPtr<u8>, bytes: u64, end: u64) -> PointerError {
    let offset = pointer.offset();
    let within = offset >= HEADER && offset.checked_add(bytes).is_some_and(|to| to <= end);
    match (pointer.is_null(), pointer.entry()) {
        (true, _) => PointerError::Null,
        (_, 0) if within => PointerError::Misaligned { offset },
        (_, 0) => PointerError::Outside { offset },
        (_, entry) => PointerError::Foreign { entry },
    }
}
