//! What the pool knows about its objects, in an object.

use libd3os_object::collections::{PHashMap, POrderedMap};
use libd3os_object::control::Slot;
use libd3os_object::view::View;
use libd3os_object::{Editor, ObjectId, PPtr, Persist, field};

use crate::name::Name;
use crate::owners::{Permit, Principal};
use crate::pool::PoolError;
use crate::sealed::Sealed;

/// The base of the system object.
#[derive(Persist)]
#[repr(C)]
pub(crate) struct System {
    pub(crate) objects: PHashMap<u128, Sealed<Entry>>,
    /// The same while it is repaired: it takes the other's place when it is complete.
    pub(crate) rebuilt: PHashMap<u128, Sealed<Entry>>,
    /// Free extents: where each begins, by the page behind its last one.
    pub(crate) by_end: POrderedMap<u64, u64>,
    /// The same by length and beginning, together in one key; the value is the beginning.
    pub(crate) by_length: POrderedMap<u128, u64>,
    /// Pages that are free, in all.
    pub(crate) free: u64,
    /// Objects that were in use when they lost their last name: they go when the pool is opened again, if
    /// not before.
    pub(crate) orphans: POrderedMap<u128, u64>,
    /// Numbers of principals by their names.
    pub(crate) principals: POrderedMap<Name, u64>,
    /// Their names by their numbers.
    pub(crate) names: POrderedMap<u64, Name>,
    /// What principals may do with objects that are not theirs.
    pub(crate) permits: POrderedMap<Permit, Sealed<u64>>,
    /// Who has which session.
    pub(crate) holders: Holders,
    /// Objects of which a snapshot has not got the contents yet, with that snapshot.
    pub(crate) pending: POrderedMap<u128, Sealed<Words>>,
}

/// An object's id, as it is sealed.
pub(crate) type Words = [u64; 2];

impl Default for System {
    fn default() -> Self {
        Self {
            objects: PHashMap::default(),
            rebuilt: PHashMap::default(),
            by_end: POrderedMap::default(),
            by_length: POrderedMap::default(),
            free: 0,
            orphans: POrderedMap::default(),
            principals: POrderedMap::default(),
            names: POrderedMap::default(),
            permits: POrderedMap::default(),
            holders: no_holders(),
            pending: POrderedMap::default(),
        }
    }
}

/// Who has which session, by slot.
pub(crate) type Holders = [Sealed<Principal>; Slot::COUNT as usize];

pub(crate) fn no_holders() -> Holders {
    core::array::from_fn(|slot| Sealed::new(&(slot as u64), Principal::POOL))
}

/// What is known of an object, if there is one.
pub(crate) fn find(view: &impl View, base: Base, id: ObjectId) -> Result<Option<Entry>, PoolError> {
    let found = objects(base).get(view, &id.number())?;
    found.map(|sealed| sealed.open(&id.number()).ok_or(PoolError::Fenced(id))).transpose()
}

/// Makes known of an object what there is to know.
pub(crate) fn put(
    editor: &mut Editor<'_, System>,
    id: ObjectId,
    entry: Entry,
) -> Result<(), PoolError> {
    let sealed = Sealed::new(&id.number(), entry);
    objects(editor.base_pointer()).insert(editor, id.number(), sealed)?;
    Ok(())
}

/// Forgets an object. What was known of it is not left in the map's memory: a wrong bit there could bring
/// it back.
pub(crate) fn remove(editor: &mut Editor<'_, System>, id: ObjectId) -> Result<(), PoolError> {
    let objects = objects(editor.base_pointer());
    if let Some(place) = objects.find(editor, &id.number())? {
        let sealed = *editor.get(place)?;
        editor.set(place, sealed.broken())?;
    }
    objects.remove(editor, &id.number())?;
    Ok(())
}

/// What the pool knows about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Persist)]
#[repr(C)]
pub struct Entry {
    /// Where it lies.
    pub extent: Extent,
    /// The fingerprint of its base's type.
    pub fingerprint: u64,
    /// Whose it is.
    pub owner: Principal,
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

/// Beside an entry's kind: it is a snapshot, which nobody changes any more.
const SNAPSHOT: u64 = 1 << 8;
/// And it has not got the contents yet, which its origin holds still.
const PENDING: u64 = 1 << 9;

impl Entry {
    /// A snapshot, in these pages, of an object that holds its contents still.
    pub(crate) const fn snapshot(extent: Extent, origin: &Self, owner: Principal) -> Self {
        let Self { fingerprint, kind, .. } = *origin;
        Self { extent, fingerprint, owner, links: 0, kind: kind | SNAPSHOT | PENDING }
    }

    /// The same with its own contents.
    pub(crate) const fn completed(self) -> Self {
        Self { kind: self.kind & !PENDING, ..self }
    }

    /// Whether it is a snapshot: nobody writes it.
    #[must_use]
    pub const fn is_snapshot(&self) -> bool {
        self.kind & SNAPSHOT != 0
    }

    /// Whether it is a snapshot whose contents its origin holds still.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        self.kind & PENDING != 0
    }

    pub(crate) const fn new(
        extent: Extent,
        fingerprint: u64,
        owner: Principal,
        kind: Kind,
    ) -> Self {
        Self { extent, fingerprint, owner, links: 0, kind: kind.number() }
    }

    /// The same with so many names.
    pub(crate) const fn with_links(self, links: u64) -> Self {
        Self { links, ..self }
    }

    /// What it is to the pool.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        Kind::of(self.kind & !(SNAPSHOT | PENDING))
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

/// The directory of what has lost its name.
pub(crate) const fn lost(pool: u128) -> ObjectId {
    ObjectId::new((pool ^ 2) | 1 << 127)
}

type Base = PPtr<System>;

pub(crate) const fn objects(base: Base) -> PPtr<PHashMap<u128, Sealed<Entry>>> {
    field!(base, System, objects)
}

pub(crate) const fn rebuilt(base: Base) -> PPtr<PHashMap<u128, Sealed<Entry>>> {
    field!(base, System, rebuilt)
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

pub(crate) const fn principals(base: Base) -> PPtr<POrderedMap<Name, u64>> {
    field!(base, System, principals)
}

pub(crate) const fn names(base: Base) -> PPtr<POrderedMap<u64, Name>> {
    field!(base, System, names)
}

pub(crate) const fn permits(base: Base) -> PPtr<POrderedMap<Permit, Sealed<u64>>> {
    field!(base, System, permits)
}

pub(crate) const fn holders(base: Base) -> PPtr<Holders> {
    field!(base, System, holders)
}

pub(crate) const fn pending(base: Base) -> PPtr<POrderedMap<u128, Sealed<Words>>> {
    field!(base, System, pending)
}

/// Who has the session of a slot.
pub(crate) const fn holder(base: Base, slot: Slot) -> PPtr<Sealed<Principal>> {
    holders(base).cast::<Sealed<Principal>>().element(slot.number() as u64)
}
