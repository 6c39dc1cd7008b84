//! Snapshots: what an object held, as an object of its own that nobody changes.
//!
//! To begin one is one transaction, whatever the object's size: pages are taken for it, and the table says that
//! its contents are the *origin's* still. It is *pending* then. Before the origin may change, or go, or the
//! snapshot is read, the contents are copied, and a second transaction says so. So who has an object open to
//! write is withdrawn it when a snapshot begins, and is shown it again when the snapshot is complete; and as
//! logs cannot speak of later versions of an object that has a pending snapshot, recovery leaves it alone.
//!
//! A snapshot of an object that has a pending one is the same, by one more name.

use alloc::vec::Vec;

use libd3os_object::layout::Identity;
use libd3os_object::medium::Medium;
use libd3os_object::object::OpenError;
use libd3os_object::view::View;
use libd3os_object::{Editor, ObjectId};

use crate::check::Damage;
use crate::directory::Target;
use crate::map;
use crate::name::NameError;
use crate::names::{Place, change_links};
use crate::owners::Principal;
use crate::pool::{self, Pool, PoolError};
use crate::repair;
use crate::sealed::Sealed;
use crate::superblock::Layout;
use crate::system::{self, Entry, Kind, System};

impl<M: Medium + Clone> Pool<M> {
    /// Begins a snapshot of an object, of this id and with this name; returns its id, which is another
    /// one if there is one already of what the object holds. Nobody can write the object when this is
    /// called, and it is settled.
    ///
    /// # Errors
    /// There is no such object, it is a directory, the name or the id is taken, or there is no room.
    pub fn snapshot(
        &mut self,
        place: &Place,
        id: ObjectId,
        (origin, owner): (ObjectId, Principal),
    ) -> Result<ObjectId, PoolError> {
        pool::check_id(id)?;
        let entry = self.find(origin)?.ok_or(PoolError::Unknown(origin))?;
        if entry.kind() == Kind::Directory {
            return Err(NameError::Directory.into());
        }
        if let Some(same) = self.same_as(origin, &entry, owner)? {
            return self.link(place, same).map(|_| same);
        }
        self.complete(origin)?;
        self.insert_with(place, Target::new(id, Kind::Object), |editor, inside| {
            begin(editor, inside.place(), (origin, id), owner)?;
            change_links(editor, id, 1)
        })
        .map(|_| id)
    }

    /// An owner's snapshot that holds what this object holds.
    fn same_as(
        &self,
        origin: ObjectId,
        entry: &Entry,
        owner: Principal,
    ) -> Result<Option<ObjectId>, PoolError> {
        if entry.is_snapshot() {
            return Ok(Some(origin).filter(|_| entry.owner == owner));
        }
        let Some(pending) = self.pending_of(origin)? else { return Ok(None) };
        let is_its = self.find(pending)?.is_some_and(|entry| entry.owner == owner);
        Ok(Some(pending).filter(|_| is_its))
    }

    /// The snapshot whose contents an object holds still.
    pub(crate) fn pending_of(&self, origin: ObjectId) -> Result<Option<ObjectId>, PoolError> {
        let (session, system) = self.system();
        let view = session.read(system)?;
        let sealed = system::pending(system.base()).get(&view, &origin.number())?;
        let open = |sealed: &Sealed<system::Words>| {
            sealed.open(&origin.number()).ok_or(PoolError::Fenced(origin))
        };
        Ok(sealed.map(open).transpose()?.map(ObjectId::from_words))
    }

    /// The object that holds a pending snapshot's contents.
    pub(crate) fn origin_of(&self, snapshot: ObjectId) -> Result<ObjectId, PoolError> {
        let (session, system) = self.system();
        let origin = origin(&session.read(system)?, system.base(), snapshot)?;
        origin.ok_or(PoolError::Fenced(snapshot))
    }

    /// Gives an object's pending snapshot, if there is one, its contents: then the object may change or
    /// go. Whether there was one.
    ///
    /// # Errors
    /// The object is damaged, or what is known of the snapshot.
    pub fn complete(&mut self, origin: ObjectId) -> Result<bool, PoolError> {
        let Some(id) = self.pending_of(origin)? else { return Ok(false) };
        self.may_change()?;
        let entry = self.find(id)?.filter(|entry| entry.is_pending() && self.holds(entry.extent));
        let entry = entry.ok_or(PoolError::Fenced(id))?;
        let from = self.memory(origin)?.ok_or(PoolError::Unknown(origin))?;
        let to = self.part(entry.extent);
        if from.bytes() != to.bytes() {
            return Err(PoolError::Fenced(id));
        }
        pool::copy(&from, &to);
        Identity::rename(&to, id).map_err(OpenError::Layout)?;
        to.fence();
        self.change(|editor| {
            system::pending(editor.base_pointer()).remove(editor, &origin.number())?;
            let entry = pool::entry(editor, id)?;
            system::put(editor, id, entry.completed())
        })?;
        Ok(true)
    }

    /// That pending snapshots and their origins know of each other.
    pub(crate) fn check_pending(
        &self,
        view: &impl View,
        objects: &[(ObjectId, Entry)],
        damage: &mut Vec<Damage>,
    ) -> Result<(), PoolError> {
        let base = self.system().1.base();
        let find = |id| objects.iter().find(|(known, _)| *known == id).map(|(_, entry)| entry);
        let (mut known, mut pairs) = (Vec::new(), Vec::new());
        system::pending(base).for_each(view, |origin, sealed| {
            pairs.push((ObjectId::new(*origin), sealed.open(origin).map(ObjectId::from_words)));
        })?;
        for (origin, snapshot) in pairs {
            let entries = snapshot.and_then(|id| find(id).zip(find(origin)));
            let is_right = entries.is_some_and(|(snapshot, origin)| {
                snapshot.is_pending() && snapshot.extent.pages == origin.extent.pages
            });
            damage.extend((!is_right).then_some(Damage::Snapshot(snapshot.unwrap_or(origin))));
            known.extend(snapshot);
        }
        let lost = objects.iter().filter(|(id, entry)| entry.is_pending() && !known.contains(id));
        damage.extend(lost.map(|(id, _)| Damage::Snapshot(*id)));
        Ok(())
    }

    /// Makes the map of pending snapshots anew, if it is damaged, of what is right in it. Contents that are not
    /// there cannot be made.
    pub(crate) fn repair_pending(&mut self) -> Result<(), PoolError> {
        let (session, system) = self.system();
        let base = system.base();
        let view = session.read(system)?;
        let mut pairs = Vec::new();
        let walked = system::pending(base).for_each(&view, |origin, sealed| {
            pairs.push((*origin, *sealed));
        });
        let is_whole = walked.is_ok() && map::is_whole(&view, system::pending(base)) == Ok(true);
        drop(view);
        let before = pairs.len();
        pairs.retain(|(origin, sealed)| {
            sealed.open(origin).is_some_and(|id| self.is_pending(ObjectId::from_words(id)))
        });
        if is_whole && pairs.len() == before {
            return Ok(());
        }
        self.change(|editor| {
            repair::reset_list(editor, system::pending)?;
            pairs.iter().try_for_each(|(origin, sealed)| {
                let pending = system::pending(editor.base_pointer());
                Ok(pending.insert(editor, *origin, *sealed).map(drop)?)
            })
        })
    }

    fn is_pending(&self, id: ObjectId) -> bool {
        self.find(id).ok().flatten().is_some_and(|entry| entry.is_pending())
    }
}

fn begin<M: Medium + Clone>(
    editor: &mut Editor<'_, System>,
    place: (&M, Layout),
    (origin, id): (ObjectId, ObjectId),
    owner: Principal,
) -> Result<(), PoolError> {
    if system::find(editor, editor.base_pointer(), id)?.is_some() {
        return Err(PoolError::Exists(id));
    }
    let of = pool::entry(editor, origin)?;
    let extent = pool::take(editor, place, of.extent.pages)?.extent;
    system::put(editor, id, Entry::snapshot(extent, &of, owner))?;
    let sealed = Sealed::new(&origin.number(), id.words());
    system::pending(editor.base_pointer()).insert(editor, origin.number(), sealed)?;
    Ok(())
}

fn origin(
    view: &impl View,
    base: libd3os_object::PPtr<System>,
    snapshot: ObjectId,
) -> Result<Option<ObjectId>, PoolError> {
    let mut found = None;
    system::pending(base).for_each(view, |origin, sealed| {
        if sealed.open(origin) == Some(snapshot.words()) {
            found = Some(ObjectId::new(*origin));
        }
    })?;
    Ok(found)
}

/// Forgets a pending snapshot that goes.
pub(crate) fn forget(
    editor: &mut Editor<'_, System>,
    id: ObjectId,
    entry: &Entry,
) -> Result<(), PoolError> {
    if entry.is_pending()
        && let Some(origin) = origin(editor, editor.base_pointer(), id)?
    {
        system::pending(editor.base_pointer()).remove(editor, &origin.number())?;
    }
    Ok(())
}
