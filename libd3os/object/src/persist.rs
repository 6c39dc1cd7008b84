//! What may live in an object.

use core::fmt::{self, Write};

/// A type whose values may live in an object.
///
/// Derive it: `#[derive(Persist)]` on a `#[repr(C)]` struct of fields that may. What points into a
/// program's own memory (a reference, a `Box`, a `Vec`, a function), and what only a program's own
/// capability space gives a meaning, does not implement it, so that a struct with such a field does
/// not compile.
///
/// # Safety
/// Objects are written by other programs, and outlive what wrote them, so whatever bytes are found
/// there must be a value:
///
/// - every bit pattern is a value of the type;
/// - it has no padding, or what is compared and logged would not be initialised;
/// - no interior mutability: what is not logged cannot be written;
/// - dropping it does nothing;
/// - its size is not zero, its alignment at most [`LINE_BYTES`](crate::medium::LINE_BYTES).
#[expect(unsafe_code, reason = "whoever makes references into objects relies upon it")]
pub unsafe trait Persist: Sized + Send + Sync + 'static {
    /// A hash of the type's name.
    const NAME: u64;

    /// A hash of the type's name and all that it consists of. An object's base is found under this
    /// fingerprint or not at all. Of what is pointed to it has the name only.
    const FINGERPRINT: u64;

    /// Writes the type's name.
    ///
    /// # Errors
    /// `out` has no room.
    fn name(out: &mut dyn Write) -> fmt::Result;

    /// Writes what the type consists of, for tools: `Point { x: u32 @0, y: u32 @4 }`.
    ///
    /// # Errors
    /// `out` has no room.
    fn describe(out: &mut dyn Write) -> fmt::Result {
        Self::name(out)
    }

    /// Fails to compile for a type that breaks those rules that a constant can check.
    const CHECKED: () = {
        assert!(size_of::<Self>() > 0, "a persistent type has a size");
        assert!(align_of::<Self>() <= crate::medium::LINE_BYTES, "aligned to a line at most");
        assert!(!core::mem::needs_drop::<Self>(), "nothing is dropped in an object");
    };
}

/// A hash of text, for fingerprints (FNV-1a).
#[must_use]
pub const fn hash(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = mix(hash, bytes[at] as u64);
        at += 1;
    }
    hash
}

/// The fingerprint of something of which `next` is the next part.
#[must_use]
pub const fn mix(hash: u64, next: u64) -> u64 {
    let hash = (hash ^ next).wrapping_mul(0x0000_0100_0000_01b3);
    hash ^ hash.rotate_right(29)
}

macro_rules! numbers {
    ($($number:ident)*) => {$(
        // SAFETY: every pattern is a number, which has neither padding nor insides.
        #[expect(unsafe_code, reason = "a number is what the trait asks for")]
        unsafe impl Persist for $number {
            const NAME: u64 = hash(stringify!($number));
            const FINGERPRINT: u64 = Self::NAME;

            fn name(out: &mut dyn Write) -> fmt::Result {
                out.write_str(stringify!($number))
            }
        }
    )*};
}

numbers!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64);

// SAFETY: an array is its elements, without anything between them; `CHECKED` refuses the empty one.
#[expect(unsafe_code, reason = "an array of what the trait asks for is that, too")]
unsafe impl<T: Persist, const N: usize> Persist for [T; N] {
    const NAME: u64 = mix(mix(hash("array"), N as u64), T::NAME);
    const FINGERPRINT: u64 = mix(mix(hash("array"), N as u64), T::FINGERPRINT);

    fn name(out: &mut dyn Write) -> fmt::Result {
        out.write_str("[")?;
        T::name(out)?;
        write!(out, "; {N}]")
    }
}
