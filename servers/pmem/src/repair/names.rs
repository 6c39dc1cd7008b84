//! Mending the tree of names.
//!
//! Names that lead nowhere go. A directory that is damaged gets new pages and the names that can still be
//! read. What has no name any more, but had one, gets one in the directory `lost+found`: its id.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::vec::Vec;

use libd3os_object::ObjectId;
use libd3os_object::medium::Medium;

use crate::directory::{self, Directory, Target};
use crate::map;
use crate::name::{Name, NameError};
use crate::names::{Found, Place};
use crate::owners::Principal;
use crate::pool::{self, New, Pool, PoolError};
use crate::space;
use crate::system::{self, Entry, Kind};

const LOST: &str = "lost+found";

/// How far the tree was gone through.
#[derive(Default)]
struct Walk {
    reached: BTreeSet<ObjectId>,
    links: BTreeMap<ObjectId, u64>,
    /// Directories to look at, with the ones above them.
    left: Vec<(ObjectId, ObjectId)>,
}

impl Walk {
    fn reach(&mut self, directory: ObjectId, above: ObjectId) {
        self.reached.insert(directory);
        self.links.insert(directory, 1);
        self.left.push((directory, above));
    }
}

impl<M: Medium + Clone> Pool<M> {
    /// Makes the names a tree again, which leads to objects that are there, and to all that had names.
    pub(super) fn repair_names(&mut self) -> Result<(), PoolError> {
        let mut walk = Walk::default();
        walk.reach(self.root(), ObjectId::new(0));
        loop {
            while let Some((directory, above)) = walk.left.pop() {
                self.repair_directory(directory, above, &mut walk)?;
            }
            let Some(lost) = self.unreached(&walk)? else { break };
            let above = self.adopt(lost, Kind::Directory)?;
            if walk.reached.contains(&above) {
                walk.reach(lost, above);
            } else {
                walk.reach(above, self.root());
            }
        }
        self.repair_links(&walk)
    }

    /// Mends a directory; what is in it is to be looked at next.
    fn repair_directory(
        &mut self,
        directory: ObjectId,
        above: ObjectId,
        walk: &mut Walk,
    ) -> Result<(), PoolError> {
        let names = match self.check_directory(directory) {
            Ok(names) => names,
            Err(_) => {
                self.renew(directory, above)?;
                self.check_directory(directory)?
            }
        };
        if self.parent(directory)? != above {
            let object = self.directory(directory)?;
            self.change_all(|tx, _| directory::set_parent(&mut tx.edit(&object)?, above))?;
        }
        for (name, found) in names {
            let is_there = self.find(found.id)?.is_some_and(|entry| entry.kind() == found.kind);
            let is_second = found.kind == Kind::Directory && walk.reached.contains(&found.id);
            if !is_there || is_second {
                let object = self.directory(directory)?;
                self.change_all(|tx, _| directory::remove(&mut tx.edit(&object)?, &name))?;
            } else if found.kind == Kind::Directory {
                walk.reach(found.id, directory);
            } else {
                *walk.links.entry(found.id).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Makes a directory anew, with the names that can still be read in it.
    fn renew(&mut self, id: ObjectId, above: ObjectId) -> Result<(), PoolError> {
        let old = self.find(id)?;
        let names = old.map_or_else(Vec::new, |entry| self.salvage(&entry));
        self.unmap(id)?;
        let owner = old.map_or(Principal::POOL, |entry| entry.owner);
        let new = New { id, pages: directory::PAGES, owner, base: &Directory::within(above) };
        self.change_all(|tx, inside| {
            let mut editor = tx.edit(inside.system)?;
            system::remove(&mut editor, id)?;
            let made = (inside.medium, inside.layout);
            let entry = pool::make(&mut editor, made, &new, Kind::Directory)?;
            system::put(&mut editor, id, entry.with_links(1))?;
            // Only now, so that the new pages are others.
            old.map_or(Ok(()), |old| space::give(&mut editor, old.extent))
        })?;
        old.into_iter().for_each(|old| self.spoil(old.extent));
        names.into_iter().try_for_each(|(name, target)| self.add_name(id, name, target))
    }

    /// The names of a damaged directory, as far as it can be walked.
    fn salvage(&self, entry: &Entry) -> Vec<(Name, Target)> {
        if !self.holds(entry.extent) {
            return Vec::new();
        }
        let mut names = BTreeMap::new();
        if let Ok(object) = map::object(self.part(entry.extent)) {
            let view = map::still(&object);
            directory::salvage(&view, object.base(), |name, target| {
                names.insert(name, target);
            });
        }
        names.into_iter().collect()
    }

    fn add_name(&mut self, id: ObjectId, name: Name, target: Target) -> Result<(), PoolError> {
        self.with_room(id, |pool| {
            let object = pool.directory(id)?;
            pool.change_all(|tx, _| directory::insert(&mut tx.edit(&object)?, &name, target))
        })
    }

    /// A directory that was not reached: one that is below no other such, if there is one.
    fn unreached(&self, walk: &Walk) -> Result<Option<ObjectId>, PoolError> {
        let mut lost = BTreeSet::new();
        self.for_each(|id, entry| {
            if entry.kind() == Kind::Directory && !walk.reached.contains(&id) {
                lost.insert(id);
            }
        })?;
        let is_first = |id: &ObjectId| self.parent(*id).is_ok_and(|above| !lost.contains(&above));
        let first = lost.iter().copied().find(is_first);
        Ok(first.or(lost.first().copied()))
    }

    /// Says of objects how many names they have; one that had names and has none gets one.
    fn repair_links(&mut self, walk: &Walk) -> Result<(), PoolError> {
        let mut objects = Vec::new();
        self.for_each(|id, entry| objects.push((id, *entry)))?;
        for (id, entry) in objects {
            let found = walk.links.get(&id).copied().unwrap_or(0);
            if found == 0 && entry.links > 0 {
                self.adopt(id, Kind::Object)?;
            } else if found > 0 && found != entry.links {
                self.change(|editor| system::put(editor, id, entry.with_links(found)))?;
            }
        }
        Ok(())
    }

    /// Gives what has no name one in `lost+found`, of which it returns the id.
    fn adopt(&mut self, id: ObjectId, kind: Kind) -> Result<ObjectId, PoolError> {
        let above = self.lost_and_found()?;
        if id == above {
            return Ok(above);
        }
        let place = Place { directory: above, name: Name::new(&id.to_string())? };
        self.insert_with(&place, Target::new(id, kind), |editor, _| {
            let entry = pool::entry(editor, id)?.with_links(1);
            system::put(editor, id, entry)
        })?;
        Ok(above)
    }

    pub(super) const fn lost(&self) -> ObjectId {
        system::lost(self.layout().id)
    }

    fn lost_and_found(&mut self) -> Result<ObjectId, PoolError> {
        let place = Place { directory: self.root(), name: Name::new(LOST)? };
        match self.find_name(&place) {
            Ok(Found { id, kind: Kind::Directory }) => return Ok(id),
            Err(PoolError::Name(NameError::Absent)) => {}
            Ok(_) => return Err(NameError::Taken.into()),
            Err(error) => return Err(error),
        }
        let id = self.lost();
        let base = &Directory::within(place.directory);
        let new = New { id, pages: directory::PAGES, owner: Principal::POOL, base };
        let is_there = self.find(id)?.is_some();
        self.insert_with(&place, Target::new(id, Kind::Directory), |editor, inside| {
            if !is_there {
                let made = (inside.medium, inside.layout);
                let entry = pool::make(editor, made, &new, Kind::Directory)?;
                system::put(editor, id, entry.with_links(1))?;
            }
            Ok(id)
        })
    }
}
