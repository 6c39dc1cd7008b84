//! Directories: objects that hold names of others.
//!
//! A directory is an object like any other, so that a capability for one is a capability for what is below
//! it, and its names are changed by the same transactions as the table of objects. Only the pool writes
//! directories.

use alloc::collections::BTreeMap;
use core::cell::RefCell;

use libd3os_object::collections::POrderedMap;
use libd3os_object::heap::HeapError;
use libd3os_object::medium::{Medium, Part};
use libd3os_object::view::View;
use libd3os_object::{Editor, Object, ObjectId, PPtr, Persist, PointerError, TxError, field};

use crate::map;
use crate::name::{Name, NameError};
use crate::pool::PoolError;
use crate::sealed::Sealed;
use crate::system::Kind;

/// The pages of a new directory.
pub(crate) const PAGES: u64 = 4;

/// So many directories are kept mapped.
const MANY: usize = 64;

/// The base of a directory.
#[derive(Default, Persist)]
#[repr(C)]
pub(crate) struct Directory {
    /// The one that holds its only name; 0 for the root, which has none.
    parent: [u64; 2],
    entries: POrderedMap<Name, Stored>,
}

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Persist)]
#[repr(C)]
pub(crate) struct Target {
    id: [u64; 2],
    kind: u64,
}

/// A target with its name, which no damage can make another one's.
type Stored = Sealed<Target>;

impl Target {
    pub(crate) const fn new(id: ObjectId, kind: Kind) -> Self {
        Self { id: id.words(), kind: kind.number() }
    }

    pub(crate) const fn id(&self) -> ObjectId {
        ObjectId::from_words(self.id)
    }

    pub(crate) const fn kind(&self) -> Kind {
        Kind::of(self.kind)
    }
}

impl Directory {
    pub(crate) fn within(parent: ObjectId) -> Self {
        Self { parent: parent.words(), ..Self::default() }
    }
}

/// A directory that is mapped.
pub(crate) type Mapped<M> = Object<Directory, Part<M>>;
type Edit<'t> = Editor<'t, Directory>;

/// Directories that were mapped. One that the pool's session has changed and not settled stays here:
/// mapped anew, it would be taken to be as old as it is in place.
pub(crate) struct Directories<M> {
    mapped: RefCell<BTreeMap<ObjectId, Mapped<M>>>,
}

impl<M: Medium + Clone> Directories<M> {
    pub(crate) fn new() -> Self {
        Self { mapped: RefCell::default() }
    }

    pub(crate) fn find(&self, id: ObjectId) -> Option<Mapped<M>> {
        self.mapped.borrow().get(&id).cloned()
    }

    /// Maps a directory that is not mapped yet.
    pub(crate) fn add(&self, id: ObjectId, memory: Part<M>) -> Result<Mapped<M>, PoolError> {
        let mut mapped = self.mapped.borrow_mut();
        if mapped.len() >= MANY {
            // The session holds those that it has changed.
            mapped.retain(|_, object| alloc::sync::Arc::strong_count(object.mapping()) > 1);
        }
        let object: Mapped<M> = map::object(memory).map_err(|_| PoolError::Fenced(id))?;
        let is_it = object.mapping().id() == id;
        if !is_it || !verify(&map::still(&object), object.base()).unwrap_or(false) {
            return Err(PoolError::Fenced(id));
        }
        mapped.insert(id, object.clone());
        Ok(object)
    }

    /// Unmaps a directory, which was settled.
    pub(crate) fn forget(&self, id: ObjectId) {
        self.mapped.borrow_mut().remove(&id);
    }
}

const fn entries(base: PPtr<Directory>) -> PPtr<POrderedMap<Name, Stored>> {
    field!(base, Directory, entries)
}

const fn parent_of(base: PPtr<Directory>) -> PPtr<[u64; 2]> {
    field!(base, Directory, parent)
}

/// The directory above.
pub(crate) fn parent(view: &impl View, base: PPtr<Directory>) -> Result<ObjectId, PointerError> {
    Ok(ObjectId::from_words(*view.get(parent_of(base))?))
}

/// What a name means here, in this directory.
pub(crate) fn find(
    view: &impl View,
    base: PPtr<Directory>,
    name: &Name,
    directory: ObjectId,
) -> Result<Option<Target>, PoolError> {
    let found = entries(base).get(view, name)?;
    found.map(|sealed| sealed.open(name).ok_or(PoolError::Fenced(directory))).transpose()
}

/// Whether every name is found, and leads to what it did when it was made; else the directory is fenced. It
/// is done once, when a directory is mapped, and takes the time of looking all its names up.
fn verify(view: &impl View, base: PPtr<Directory>) -> Result<bool, PointerError> {
    let entries = entries(base);
    let is_whole = map::is_whole(view, entries)?;
    let mut are_right = true;
    entries.for_each(view, |name, sealed| {
        are_right &= name.as_str().is_some() && sealed.open(name).is_some();
    })?;
    Ok(is_whole && are_right)
}

/// Calls `each` with what can still be read of a damaged directory.
pub(crate) fn salvage(view: &impl View, base: PPtr<Directory>, mut each: impl FnMut(Name, Target)) {
    // As far as it can be walked.
    let _ = entries(base).for_each(view, |name, sealed| {
        if let Some(target) = sealed.open(name).filter(|_| name.as_str().is_some()) {
            each(*name, target);
        }
    });
}

/// Calls `each` with the names from this one on, in order, until it returns false.
pub(crate) fn for_each_from(
    view: &impl View,
    base: PPtr<Directory>,
    from: &Name,
    mut each: impl FnMut(&Name, &Target) -> bool,
) -> Result<(), PointerError> {
    // All of them were right when the directory was mapped.
    entries(base).for_each_from(view, from, |name, sealed| {
        sealed.open(name).is_none_or(|target| each(name, &target))
    })
}

pub(crate) fn is_empty(view: &impl View, base: PPtr<Directory>) -> Result<bool, PointerError> {
    entries(base).is_empty(view)
}

/// The blocks of its heap that a directory uses, beside its base.
pub(crate) fn blocks(
    view: &impl View,
    base: PPtr<Directory>,
) -> Result<alloc::vec::Vec<PPtr<u8>>, PointerError> {
    entries(base).blocks(view)
}

/// Adds a name.
pub(crate) fn insert(editor: &mut Edit<'_>, name: &Name, target: Target) -> Result<(), PoolError> {
    let entries = entries(editor.base_pointer());
    if entries.get(editor, name)?.is_some() {
        return Err(NameError::Taken.into());
    }
    match entries.insert(editor, *name, Sealed::new(name, target)) {
        Err(TxError::Heap(HeapError::Full { .. })) => Err(NameError::Full.into()),
        result => Ok(result.map(drop)?),
    }
}

/// Takes a name away.
pub(crate) fn remove(editor: &mut Edit<'_>, name: &Name) -> Result<(), PoolError> {
    let entries = entries(editor.base_pointer());
    if entries.remove(editor, name)? { Ok(()) } else { Err(NameError::Absent.into()) }
}

pub(crate) fn set_parent(editor: &mut Edit<'_>, parent: ObjectId) -> Result<(), PoolError> {
    Ok(editor.set(parent_of(editor.base_pointer()), parent.words())?)
}
