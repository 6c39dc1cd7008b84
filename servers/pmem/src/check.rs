//! Whether the pool is what it should be: every page an object's or free, and nothing twice.

mod maps;
mod names;
mod owners;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use libd3os_object::heap::{self, Census};
use libd3os_object::layout::{Identity, LayoutError};
use libd3os_object::medium::Medium;
use libd3os_object::view::View;
use libd3os_object::{Guard, ObjectId, PPtr, PointerError};

use crate::names::Place;
use crate::pool::{Pool, PoolError};
use crate::space;
use crate::system::{self, Entry, Extent, System};

/// A map of the system object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapName {
    /// Objects by id.
    Objects,
    /// Free extents by their end.
    ByEnd,
    /// Free extents by their length.
    ByLength,
    /// Objects that wait to be deleted.
    Orphans,
    /// Principals by name.
    Principals,
    /// Names of principals.
    Names,
    /// What principals may do.
    Permits,
    /// Snapshots that have not got their contents.
    Pending,
}

/// Something is not as the pool leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// An extent lies where no object can lie.
    Outside(Extent),
    /// Two extents, of objects or free, have pages in common; this one begins later.
    Overlap(Extent),
    /// These pages are nobody's, and not free.
    Lost(Extent),
    /// An extent is in one of the two lists of free ones only, or they are not as many as the pool says.
    Lists,
    /// Blocks of the system object belong to nothing, or to two.
    Blocks,
    /// The heap of the system object is damaged.
    Heap(heap::Damage),
    /// An object's header is damaged.
    Object(ObjectId, LayoutError),
    /// An object's header says that it is another one, or of another type than the pool knows.
    Mistaken(ObjectId),
    /// A directory cannot be walked, or blocks of it belong to nothing, or to two.
    Directory(ObjectId),
    /// A name is none, or leads to no object, or to one that is something else.
    Name(Place),
    /// An object has more names than it says, or less; then it would be deleted too early or never.
    Links {
        /// The object.
        id: ObjectId,
        /// How many it says.
        said: u64,
        /// How many it has.
        found: u64,
    },
    /// A directory has two names, or takes another one for the one above it.
    Parent(ObjectId),
    /// A directory is not below the root.
    Unreachable(ObjectId),
    /// What waits to be deleted is not there, or has names.
    Orphan(ObjectId),
    /// Somebody is permitted something with an object that is not there, or it is damaged what.
    Permit(ObjectId),
    /// It is not known who has the session of this number.
    Holder(u64),
    /// What is known of an object is damaged; perhaps it is not even this one.
    Entry(ObjectId),
    /// A map of the system object is damaged: what is there may not be found.
    Map(MapName),
    /// A snapshot has no contents, and its origin is not known or not there.
    Snapshot(ObjectId),
    /// Principals have not each a name and a number of their own.
    Principals,
}

impl<M: Medium + Clone> Pool<M> {
    /// Looks at everything that the pool knows about itself, and at the headers of all objects.
    ///
    /// # Errors
    /// The system object is so damaged that it cannot be walked.
    pub fn check(&self) -> Result<Vec<Damage>, PoolError> {
        let (session, system) = self.system();
        let guard = session.read(system)?;
        let mut objects = Vec::new();
        self.for_each(|id, entry| objects.push((id, *entry)))?;
        let mut damage = Vec::new();
        self.check_extents(&guard, &objects, &mut damage)?;
        check_blocks(system.base(), &guard, &mut damage)?;
        maps::check(&guard, system.base(), &mut damage)?;
        self.check_names(&objects, &mut damage);
        self.check_orphans(&guard, &mut damage)?;
        self.check_pending(&guard, &objects, &mut damage)?;
        owners::check(&guard, system.base(), &mut damage)?;
        objects.iter().for_each(|(id, entry)| damage.extend(self.check_object(*id, entry)));
        Ok(damage)
    }

    fn check_extents(
        &self,
        guard: &Guard<'_, System, libd3os_object::medium::Part<M>>,
        objects: &[(ObjectId, Entry)],
        damage: &mut Vec<Damage>,
    ) -> Result<(), PoolError> {
        let base = self.system().1.base();
        let (mut free, mut keys) = (Vec::new(), BTreeSet::new());
        system::by_end(base).for_each(guard, |end, first| {
            free.push(Extent { first: *first, pages: end.saturating_sub(*first) });
        })?;
        system::by_length(base).for_each(guard, |key, _| {
            keys.insert(*key);
        })?;
        let expected = free.iter().map(|extent| space::key(extent.pages, extent.first)).collect();
        let pages = free.iter().fold(0_u64, |sum, extent| sum.saturating_add(extent.pages));
        if keys != expected || pages != *guard.get(system::free(base))? {
            damage.push(Damage::Lists);
        }
        let mut all: Vec<Extent> = free;
        all.extend(objects.iter().map(|(_, entry)| entry.extent));
        all.sort_unstable();
        self.check_cover(&all, damage);
        Ok(())
    }

    /// That extents, in their order, are all pages that objects can have.
    fn check_cover(&self, all: &[Extent], damage: &mut Vec<Damage>) {
        let mut reached = self.layout().data();
        let last = Extent { first: self.layout().pages, pages: 0 };
        for extent in all.iter().chain([&last]) {
            if extent.pages > 0 && !self.holds(*extent) {
                damage.push(Damage::Outside(*extent));
            } else if extent.first < reached {
                damage.push(Damage::Overlap(*extent));
            } else if extent.first > reached {
                let pages = extent.first - reached;
                damage.push(Damage::Lost(Extent { first: reached, pages }));
            }
            reached = reached.max(extent.end());
        }
    }

    fn check_object(&self, id: ObjectId, entry: &Entry) -> Option<Damage> {
        if entry.is_pending() {
            return None;
        }
        // One that lies outside was told already.
        let memory = self.holds(entry.extent).then(|| self.part(entry.extent))?;
        match Identity::read(&memory) {
            Err(error) => Some(Damage::Object(id, error)),
            Ok(found) if found.id != id || found.fingerprint.0 != entry.fingerprint => {
                Some(Damage::Mistaken(id))
            }
            Ok(_) => None,
        }
    }
}

/// That each block of the system object's heap belongs to one of its maps.
fn check_blocks<M: Medium>(
    base: PPtr<System>,
    guard: &Guard<'_, System, M>,
    damage: &mut Vec<Damage>,
) -> Result<(), PoolError> {
    let census = match heap::census(guard) {
        Ok(census) => census,
        Err(found) => {
            damage.push(Damage::Heap(found));
            return Ok(());
        }
    };
    if !has_blocks(&census, base.offset(), &used_blocks(guard, base)?) {
        damage.push(Damage::Blocks);
    }
    Ok(())
}

/// The blocks of the system object's maps.
pub(crate) fn used_blocks(
    view: &impl View,
    base: PPtr<System>,
) -> Result<Vec<PPtr<u8>>, PointerError> {
    let mut used = system::objects(base).blocks(view)?;
    used.extend(system::rebuilt(base).blocks(view)?);
    used.extend(system::by_end(base).blocks(view)?);
    used.extend(system::by_length(base).blocks(view)?);
    used.extend(system::orphans(base).blocks(view)?);
    used.extend(system::principals(base).blocks(view)?);
    used.extend(system::names(base).blocks(view)?);
    used.extend(system::permits(base).blocks(view)?);
    used.extend(system::pending(base).blocks(view)?);
    Ok(used)
}

/// Whether a heap's blocks are these and that of the base.
fn has_blocks(census: &Census, base: u64, used: &[PPtr<u8>]) -> bool {
    let mut used: Vec<u64> = used.iter().map(|block| block.offset()).collect();
    used.push(base);
    used.sort_unstable();
    let mut taken: Vec<u64> = census.blocks.iter().map(|block| block.offset).collect();
    taken.sort_unstable();
    used == taken
}
