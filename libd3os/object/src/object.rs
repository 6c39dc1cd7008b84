//! An object whose base has a known type.

use core::fmt;
use core::marker::PhantomData;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::fot;
use crate::heap;
use crate::id::ObjectId;
use crate::layout::{self, LayoutError, PAGES};
use crate::mapping::Mapping;
use crate::medium::{LINE_BYTES, Medium};
use crate::persist::{Description, DescriptionError, Persist, bytes_of};
use crate::pointer::PPtr;

/// Where every object's base is: behind the header of the first pages of the heap.
pub(crate) const BASE: PPtr<u8> = PPtr::local(PAGES + LINE_BYTES as u64);

/// An object with a `T` as its base.
pub struct Object<T, M> {
    mapping: Arc<Mapping<M>>,
    base: PhantomData<fn() -> T>,
}

/// What an object can be made with.
pub trait Base {
    /// Its type, described.
    fn description(&self) -> Description;

    /// Its bytes.
    fn bytes(&self) -> &[u8];
}

impl<T: Persist> Base for T {
    fn description(&self) -> Description {
        const { T::CHECKED };
        Description::of::<T>()
    }

    fn bytes(&self) -> &[u8] {
        bytes_of(self)
    }
}

/// A base as another program sends it: the description of a type that this one need not have, and the
/// bytes of a value, whatever they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    description: Description,
    bytes: Vec<u8>,
}

/// What was sent is no base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Its type cannot be told.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// Values of the type have another size.
    #[error("values of the type have {expected} bytes, not {found}")]
    Size {
        /// As it is described.
        expected: u64,
        /// As it was sent.
        found: usize,
    },
}

impl Template {
    /// A base with these bytes, of the type whose encoded description this is.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn new(description: &[u8], bytes: Vec<u8>) -> Result<Self, TemplateError> {
        let description = Description::decode(description)?;
        let (expected, found) = (description.root().bytes, bytes.len());
        match u64::try_from(found) {
            Ok(size) if size == expected => Ok(Self { description, bytes }),
            _ => Err(TemplateError::Size { expected, found }),
        }
    }
}

impl Base for Template {
    fn description(&self) -> Description {
        self.description.clone()
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Makes an object of an all-zero medium, with this base; durable after the next fence. Whoever makes
/// the object known does so afterwards.
///
/// # Errors
/// The medium has no size for it.
pub fn create(medium: &impl Medium, id: ObjectId, base: &impl Base) -> Result<(), OpenError> {
    let size = layout::format_as(medium, id, &base.description())?;
    let bytes = base.bytes();
    heap::format(medium, size, bytes.len() as u64).ok_or(OpenError::Short)?;
    fot::format(medium, size);
    let at = layout::place(BASE.offset());
    medium.store(at, bytes);
    medium.flush_range(at, bytes.len());
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

/// The base of an object whose type is not known here.
#[derive(Debug)]
pub enum Opaque {}

impl<M: Medium> Object<Opaque, M> {
    /// An object of whatever type.
    #[must_use]
    pub const fn of_any_type(mapping: Arc<Mapping<M>>) -> Self {
        Self { mapping, base: PhantomData }
    }

    /// What the object says of its base's type; nothing if that was too long to be kept.
    ///
    /// # Errors
    /// It is damaged.
    pub fn description(&self) -> Result<Option<Description>, LayoutError> {
        self.mapping.identity().description(self.mapping.medium())
    }

    /// Where its base is.
    #[must_use]
    pub const fn base_bytes(&self) -> PPtr<u8> {
        BASE
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
