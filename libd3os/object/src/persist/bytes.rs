//! Values as bytes, and bytes as values.

use core::mem::{align_of, size_of};
use core::slice;

use super::Persist;

/// The bytes of a value: all of them data, none of them padding.
#[must_use]
pub const fn bytes_of<T: Persist>(value: &T) -> &[u8] {
    const { T::CHECKED };
    // SAFETY: a reference's bytes may be read; none is padding and none changes behind a shared
    // reference, as the type is `Persist` and was `CHECKED`.
    unsafe { slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// The bytes as a value, where they lie: exactly those of a `T`, aligned for it; else nothing.
#[must_use]
pub fn value_at<T: Persist>(bytes: &[u8]) -> Option<&T> {
    const { T::CHECKED };
    let start: *const T = bytes.as_ptr().cast();
    let fits = bytes.len() == size_of::<T>() && start.addr().is_multiple_of(align_of::<T>());
    // SAFETY: these are the bytes of a `T`, in its size and alignment, for as long as the slice is
    // borrowed; every bit pattern is a value, as the type is `Persist`.
    fits.then(|| unsafe { &*start })
}

/// A copy of the value with these bytes, wherever they lie; nothing if they are not as many.
#[must_use]
pub fn value_of<T: Persist + Copy>(bytes: &[u8]) -> Option<T> {
    const { T::CHECKED };
    let start: *const T = bytes.as_ptr().cast();
    // SAFETY: these are the bytes of a `T`, and every bit pattern is a value; the alignment does not
    // matter to an unaligned read.
    (bytes.len() == size_of::<T>()).then(|| unsafe { start.read_unaligned() })
}
