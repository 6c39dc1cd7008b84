//! An object whose base has a known type.

use core::fmt;
use core::marker::PhantomData;

use alloc::string::{String, ToString};
use alloc::sync::Arc;

use crate::fot;
use crate::heap;
use crate::id::ObjectId;
use crate::layout::{self, LayoutError, PAGES};
use crate::mapping::Mapping;
use crate::medium::{LINE_BYTES, Medium};
use crate::persist::{Description, Persist, bytes_of};
use crate::pointer::PPtr;

/// Where every object's base is: behind the header of the first pages of the heap.
pub(crate) const BASE: PPtr<u8> = PPtr::local(PAGES + LINE_BYTES as u64);

/// An object with a `T` as its base.
pub struct Object<T, M> {
    mapping: Arc<Mapping<M>>,
    base: PhantomData<fn() -> T>,
}

/// Makes an object of an all-zero medium, with this base; durable after the next fence. Whoever makes
/// the object known does so afterwards.
///
/// # Errors
/// The medium has no size for it.
pub fn create<T: Persist>(medium: &impl Medium, id: ObjectId, base: &T) -> Result<(), OpenError> {
    const { T::CHECKED };
    let size = layout::format::<T>(medium, id)?;
    heap::format(medium, size, size_of::<T>() as u64).ok_or(OpenError::Short)?;
    fot::format(medium, size);
    let at = layout::place(BASE.offset());
    medium.store(at, bytes_of(base));
    medium.flush_range(at, size_of::<T>());
    Ok(())
}

/// An object cannot be opened as what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It is damaged.
    Layout(LayoutError),
    /// Its base has another type.
    Type {
        /// What was asked for.
        expected: String,
        /// What the object says of itself.
        found: String,
    },
    /// The base does not fit into it.
    Short,
}

impl<T: Persist, M: Medium> Object<T, M> {
    /// Opens an object, whose base must be a `T`.
    ///
    /// # Errors
    /// It is not, or the object is damaged.
    pub fn open(mapping: Arc<Mapping<M>>) -> Result<Self, OpenError> {
        let identity = mapping.identity();
        let expected = Description::of::<T>();
        if identity.fingerprint != expected.fingerprint() {
            let expected = expected.to_string();
            let found = match identity.description(mapping.medium())? {
                Some(found) => found.to_string(),
                None => identity.fingerprint.to_string(),
            };
            return Err(OpenError::Type { expected, found });
        }
        if BASE.offset() + size_of::<T>() as u64 > mapping.bytes() {
            return Err(OpenError::Short);
        }
        Ok(Self { mapping, base: PhantomData })
    }

    /// Where its base is.
    #[must_use]
    pub const fn base(&self) -> PPtr<T> {
        BASE.cast()
    }
}

impl<T, M> Object<T, M> {
    /// The object's mapping.
    #[must_use]
    pub const fn mapping(&self) -> &Arc<Mapping<M>> {
        &self.mapping
    }
}

impl<T, M> Clone for Object<T, M> {
    fn clone(&self) -> Self {
        Self { mapping: Arc::clone(&self.mapping), base: PhantomData }
    }
}

impl<T, M: Medium> fmt::Debug for Object<T, M> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Object({})", self.mapping.id())
    }
}

impl From<LayoutError> for OpenError {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(error) => error.fmt(to),
            Self::Type { expected, found } => write!(to, "its base is {found}, not {expected}"),
            Self::Short => to.write_str("it is too small for its base"),
        }
    }
}

impl core::error::Error for OpenError {}
