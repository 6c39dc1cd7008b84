//! Persistent pointers: 8 bytes that mean the same in every program and after every start.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;

use crate::persist::{Persist, Type};

/// Bits of a pointer that say where in the object; the others say which object.
const OFFSET_BITS: u32 = 40;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;

/// A pointer to a `T` in this object or in another one.
///
/// The lower 40 bits are the offset in bytes from the object's beginning (its guard page, which is
/// not stored), the upper 24 an index in the Foreign Object Table of the object in which the pointer
/// lies: 0 is that object itself. All zeros is the null pointer.
///
/// It can be copied anywhere, but says something only where it came from. Following it is checked,
/// so that the worst that a wrong one can do is to name other bytes of an object that can be read
/// anyway.
#[repr(transparent)]
pub struct PPtr<T> {
    bits: u64,
    target: PhantomData<fn() -> T>,
}

/// A pointer leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerError {
    /// It is null.
    Null,
    /// It leads out of the object, or what it points to would end outside.
    Outside {
        /// To this offset.
        offset: u64,
    },
    /// No such value lies at this offset.
    Misaligned {
        /// The offset.
        offset: u64,
    },
    /// It leads to another object, which has to be opened first: the one of this entry of the Foreign
    /// Object Table.
    Foreign {
        /// The entry.
        entry: u32,
    },
}

impl<T> PPtr<T> {
    /// The pointer to nothing.
    pub const NULL: Self = Self::from_bits(0);

    /// A pointer to this offset in its own object.
    #[must_use]
    pub const fn local(offset: u64) -> Self {
        Self::from_bits(offset & OFFSET_MASK)
    }

    /// A pointer to this offset in the object of an entry of the Foreign Object Table.
    #[must_use]
    pub const fn foreign(entry: u32, offset: u64) -> Self {
        Self::from_bits((entry as u64) << OFFSET_BITS | offset & OFFSET_MASK)
    }

    /// The pointer of these bits, whatever they are.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { bits, target: PhantomData }
    }

    /// Its bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.bits
    }

    /// The offset in its object.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.bits & OFFSET_MASK
    }

    /// The entry of the Foreign Object Table; 0 is the object itself.
    #[must_use]
    pub const fn entry(self) -> u32 {
        (self.bits >> OFFSET_BITS) as u32
    }

    /// Whether it points to nothing.
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.bits == 0
    }

    /// The same place, with something else expected there.
    #[must_use]
    pub const fn cast<U>(self) -> PPtr<U> {
        PPtr::from_bits(self.bits)
    }

    /// The place so many bytes further on. A place behind the last offset is a pointer that cannot be
    /// followed.
    #[must_use]
    pub const fn byte_add<U>(self, bytes: u64) -> PPtr<U> {
        let offset = self.offset().saturating_add(bytes);
        let offset = if offset > OFFSET_MASK { OFFSET_MASK } else { offset };
        PPtr::from_bits(self.bits & !OFFSET_MASK | offset)
    }

    /// The element of this index of an array whose first element this points to.
    #[must_use]
    pub const fn element(self, index: u64) -> Self {
        self.byte_add(index.saturating_mul(size_of::<T>() as u64))
    }

    /// A field of what this points to; [`field!`](crate::field) fills in the arguments.
    #[must_use]
    pub const fn project<U>(self, offset: usize, _field: fn(&T) -> &U) -> PPtr<U> {
        self.byte_add(offset as u64)
    }
}

/// A pointer to a field of what a pointer points to: `field!(ptr, Point, x)`.
#[macro_export]
macro_rules! field {
    ($ptr:expr, $type:ty, $field:ident) => {
        $crate::pointer::PPtr::<$type>::project(
            $ptr,
            ::core::mem::offset_of!($type, $field),
            |value: &$type| &value.$field,
        )
    };
}

impl<T> Clone for PPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for PPtr<T> {}

impl<T> PartialEq for PPtr<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits
    }
}

impl<T> Eq for PPtr<T> {}

impl<T> Hash for PPtr<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits.hash(state);
    }
}

impl<T> Default for PPtr<T> {
    fn default() -> Self {
        Self::NULL
    }
}

impl<T> fmt::Debug for PPtr<T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_null(), self.entry()) {
            (true, _) => to.write_str("null"),
            (_, 0) => write!(to, "{:#x}", self.offset()),
            (_, entry) => write!(to, "{entry}:{:#x}", self.offset()),
        }
    }
}

// SAFETY: it is a number, which is checked before it is followed.
unsafe impl<T: Persist> Persist for PPtr<T> {
    const TYPE: Type = Type::pointer::<Self, T>("PPtr");
}

impl fmt::Display for PointerError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => to.write_str("the pointer is null"),
            Self::Outside { offset } => write!(to, "{offset:#x} is outside of the object"),
            Self::Misaligned { offset } => write!(to, "no such value can lie at {offset:#x}"),
            Self::Foreign { entry } => write!(to, "leads to the object of entry {entry}"),
        }
    }
}

impl core::error::Error for PointerError {}
