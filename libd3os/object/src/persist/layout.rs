//! What a type consists of, as the compiler knows it.

use core::any::TypeId;
use core::mem::{align_of, needs_drop, size_of};

use super::Persist;
use crate::medium::LINE_BYTES;

/// No type in an object asks for more alignment, in bytes.
pub(super) const MOST_ALIGNMENT: usize = LINE_BYTES;

/// A type that may live in an object.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// Which type this is, within this program.
    pub id: TypeId,
    /// Its name, without path and parameters.
    pub name: &'static str,
    /// Its size.
    pub bytes: usize,
    /// Its alignment in bytes.
    pub align: usize,
    /// What it consists of.
    pub shape: Shape,
}

/// What a type consists of. Other types are named by functions, as a type may point to itself.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A number without a sign.
    Unsigned,
    /// A number in two's complement.
    Signed,
    /// A number of IEEE 754.
    Float,
    /// So many of one type.
    Array {
        /// Each element.
        of: fn() -> &'static Type,
        /// How many.
        length: usize,
    },
    /// Fields, in the order of their offsets, without gaps.
    Structure(&'static [Field]),
    /// A persistent pointer, 8 bytes.
    Pointer {
        /// What it leads to.
        to: fn() -> &'static Type,
    },
}

/// A field of a structure.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name; a number in a tuple structure.
    pub name: &'static str,
    /// Where it begins, in bytes from the structure's beginning.
    pub at: usize,
    /// Its type.
    pub of: fn() -> &'static Type,
    bytes: usize,
}

impl Type {
    /// The structure `T`, for the derive.
    ///
    /// # Panics
    /// When `T` has padding, something to drop, or too much alignment. It is called by constants only:
    /// that is an error of the compilation.
    #[must_use]
    pub const fn structure<T: 'static>(name: &'static str, fields: &'static [Field]) -> Self {
        assert!(data_in(fields) == size_of::<T>(), "padding cannot live in an object");
        Self::new::<T>(name, Shape::Structure(fields))
    }

    /// The persistent pointer `P` to a `T`.
    ///
    /// # Panics
    /// When `P` is not 8 bytes; as [`structure`](Self::structure).
    #[must_use]
    pub const fn pointer<P: 'static, T: Persist>(name: &'static str) -> Self {
        assert!(size_of::<P>() == 8, "a persistent pointer has 8 bytes");
        Self::new::<P>(name, Shape::Pointer { to: describe::<T> })
    }

    pub(super) const fn new<T: 'static>(name: &'static str, shape: Shape) -> Self {
        assert!(!needs_drop::<T>(), "what has to be dropped cannot live in an object");
        assert!(align_of::<T>() <= MOST_ALIGNMENT, "objects align to 64 bytes at most");
        let (bytes, align) = (size_of::<T>(), align_of::<T>());
        Self { id: TypeId::of::<T>(), name, bytes, align, shape }
    }
}

impl Shape {
    pub(super) const fn array<T: Persist>(length: usize) -> Self {
        assert!(proven::<T>().checked_mul(length).is_some());
        Self::Array { of: describe::<T>, length }
    }
}

impl Field {
    /// A field of type `T`, for the derive.
    #[must_use]
    pub const fn new<T: Persist>(name: &'static str, at: usize) -> Self {
        Self { name, at, of: describe::<T>, bytes: proven::<T>() }
    }
}

/// How many bytes of a structure belong to its fields.
const fn data_in(mut fields: &[Field]) -> usize {
    let mut bytes = 0;
    while let [first, rest @ ..] = fields {
        bytes += first.bytes;
        fields = rest;
    }
    bytes
}

/// The size of a type that is part of another, once its `TYPE` has proven what a derive cannot.
const fn proven<T: Persist>() -> usize {
    T::TYPE.bytes
}

pub(super) fn describe<T: Persist>() -> &'static Type {
    const { &T::TYPE }
}
