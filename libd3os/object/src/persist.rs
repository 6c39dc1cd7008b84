//! What may live in an object, and how its bytes are described.
//!
//! The bytes of an object come from another program, another time or a damaged memory: they are
//! foreign. So a type may live there only if *every* bit pattern is one of its values, and if all its
//! bytes are data. Then nothing has to be believed to read it, and what an honest program did not
//! write is a wrong number at worst, never undefined behaviour. [`Persist`] is the proof; its derive
//! refuses the rest. Meaning is checked by whoever reads: an offset against the object's end, a code
//! against its enumeration.
//!
//! [`Description`] says of a type what its bytes mean, for programs that have never seen it, and
//! [`Fingerprint`] names it.

#[expect(unsafe_code, reason = "looks at values as bytes and at bytes as values")]
mod bytes;
mod description;
mod layout;
#[expect(unsafe_code, reason = "says of the language's own types what is known of them")]
mod plain;
mod show;

pub use bytes::{bytes_of, value_at, value_of};
pub use description::{
    Described, Description, DescriptionError, Fingerprint, Kind, Member, TypeNumber,
};
pub use layout::{Field, Shape, Type};
pub use libd3os_macros::Persist;
pub use show::Shown;

/// A type whose values may live in an object.
///
/// Derive it, for a `#[repr(C)]` or `#[repr(transparent)]` structure of fields that are `Persist`
/// themselves:
///
/// ```
/// use libd3os_object::Persist;
///
/// #[derive(Persist)]
/// #[repr(C)]
/// struct Point {
///     x: f64,
///     y: f64,
/// }
/// ```
///
/// What does not compile, and why:
///
/// | in an object | because |
/// |---|---|
/// | references, `Box`, `String`, `Vec`, raw and function pointers | they lead into the memory of one program, which ends |
/// | capabilities | they are numbers in the table of one program |
/// | `bool`, `char`, enumerations, `Option`, `NonZero` | some bit patterns are no value of theirs |
/// | `usize`, `isize` | the width would be the processor's |
/// | unions | which member is meant is not written down |
/// | Rust's own layout, tuples | the compiler may arrange it otherwise tomorrow |
/// | padding | its bytes are undefined, and would be logged, summed up and shown |
/// | packed structures | their fields cannot be borrowed |
/// | `Cell`, atomics, locks | they change outside a transaction |
/// | `Drop` | nobody runs it when an object's memory is freed |
/// | more than 64 bytes' alignment | allocators and extents promise no more |
///
/// # Safety
/// Every bit pattern of the type's size is a value; there is no padding, no interior mutability and
/// nothing to drop; the alignment is at most that of a [line](crate::medium::LINE_BYTES);
/// [`TYPE`](Self::TYPE) describes this type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot live in an object",
    label = "not data that any program could read",
    note = "numbers, arrays, persistent pointers and `#[repr(C)]` structures of them can: \
            `#[derive(Persist)]`"
)]
pub unsafe trait Persist: Sized + Send + Sync + 'static {
    /// What this type consists of. Evaluating it also proves what the derive can prove only about a
    /// type without parameters: that there is no padding and nothing to drop.
    const TYPE: Type;

    /// Evaluates [`TYPE`](Self::TYPE), and refuses types without bytes, which have no place of their
    /// own. Whoever takes bytes for a value, or a value for bytes, names it in a constant.
    const CHECKED: () = assert!(Self::TYPE.bytes > 0, "what lives in an object has a size");
}

#[cfg(test)]
mod tests;
