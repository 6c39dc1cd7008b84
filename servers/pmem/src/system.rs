//! What the pool knows about its objects, in an object.

use libd3os_object::collections::{PHashMap, POrderedMap};
use libd3os_object::{ObjectId, PPtr, Persist, field};

/// The base of the system object.
#[derive(Default, Persist)]
#[repr(C)]
pub(crate) struct System {
    pub(crate) objects: PHashMap<u128, Entry>,
    /// Free extents: where each begins, by the page behind its last one.
    pub(crate) by_end: POrderedMap<u64, u64>,
    /// The same by length and beginning, together in one key; the value is the beginning.
    pub(crate) by_length: POrderedMap<u128, u64>,
    /// Pages that are free, in all.
    pub(crate) free: u64,
    /// Objects that were in use when they lost their last name: they go when the pool is opened again, if
    /// not before.
    pub(crate) orphans: POrderedMap<u128, u64>,
    /// What keeps the structure free of padding.
    pub(crate) reserved: u64,
}

/// What the pool knows about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Persist)]
#[repr(C)]
pub struct Entry {
    /// Where it lies.
    pub extent: Extent,
    /// The fingerprint of its base's type.
    pub fingerprint: u64,
    /// Whose it is: a number that the server gives programs.
    pub owner: u64,
    /// How many names it has.
    pub links: u64,
    kind: u64,
}

/// What an object is to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An object of programs, who write it.
    Object,
    /// A directory, which only the pool writes.
    Directory,
}

impl Kind {
    pub(crate) const fn number(self) -> u64 {
        self as u64
    }

    pub(crate) const fn of(number: u64) -> Self {
        if number == Self::Directory.number() { Self::Directory } else { Self::Object }
    }
}

impl Entry {
    pub(crate) const fn new(extent: Extent, fingerprint: u64, owner: u64, kind: Kind) -> Self {
        Self { extent, fingerprint, owner, links: 0, kind: kind.number() }
    }

    /// What it is to the pool.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        Kind::of(self.kind)
    }
}

/// Pages that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Persist)]
#[repr(C)]
pub struct Extent {
    /// The first one.
    pub first: u64,
    /// How many.
    pub pages: u64,
}

impl Extent {
    /// The page behind the last one. Extents are within pools, which are far shorter than a word can say;
    /// what is read from a damaged pool is checked before.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.first.saturating_add(self.pages)
    }
}

/// The system object of this pool. No other object has this id: those that the server gives have their
/// highest bit clear.
pub(crate) const fn id(pool: u128) -> ObjectId {
    ObjectId::new(pool | 1 << 127)
}

/// The root of the names. Its highest bit is set as well, so that programs cannot make it.
pub(crate) const fn root(pool: u128) -> ObjectId {
    ObjectId::new((pool ^ 1) | 1 << 127)
}

type Base = PPtr<System>;

pub(crate) const fn objects(base: Base) -> PPtr<PHashMap<u128, Entry>> {
    field!(base, System, objects)
}

pub(crate) const fn by_end(base: Base) -> PPtr<POrderedMap<u64, u64>> {
    field!(base, System, by_end)
}

pub(crate) const fn by_length(base: Base) -> PPtr<POrderedMap<u128, u64>> {
    field!(base, System, by_length)
}

pub(crate) const fn free(base: Base) -> PPtr<u64> {
    field!(base, System, free)
}

pub(crate) const fn orphans(base: Base) -> PPtr<POrderedMap<u128, u64>> {
    field!(base, System, orphans)
}
