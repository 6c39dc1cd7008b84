//! Whether the names are a tree, and lead to objects that know of them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use libd3os_object::medium::{Medium, Part};
use libd3os_object::{Guard, ObjectId, heap};

use super::{Damage, has_blocks};
use crate::directory;
use crate::name::Name;
use crate::names::{Found, Place};
use crate::pool::{Pool, PoolError};
use crate::system::{self, Entry, Kind, System};

/// What was found on the way through the tree.
#[derive(Default)]
struct Walk {
    /// Directories that are below the root.
    reached: BTreeSet<ObjectId>,
    /// How many names there are of each object.
    links: BTreeMap<ObjectId, u64>,
    /// Directories whose names were not looked at yet.
    left: Vec<ObjectId>,
}

impl<M: Medium + Clone> Pool<M> {
    pub(super) fn check_names(&self, objects: &[(ObjectId, Entry)], damage: &mut Vec<Damage>) {
        let kinds: BTreeMap<_, _> = objects.iter().map(|(id, entry)| (*id, entry.kind())).collect();
        let mut walk = Walk::default();
        walk.reached.insert(self.root());
        walk.links.insert(self.root(), 1);
        walk.left.push(self.root());
        while let Some(directory) = walk.left.pop() {
            let names = self.check_directory(directory).unwrap_or_else(|_| {
                damage.push(Damage::Directory(directory));
                Vec::new()
            });
            for (name, found) in names {
                let place = Place { directory, name };
                if kinds.get(&found.id) == Some(&found.kind) && name.as_str().is_some() {
                    self.follow(&place, found, &mut walk, damage);
                } else {
                    damage.push(Damage::Name(place));
                }
            }
        }
        objects.iter().for_each(|(id, entry)| damage.extend(walk.judge(*id, entry)));
    }

    /// The names of a directory, which is whole.
    pub(crate) fn check_directory(&self, id: ObjectId) -> Result<Vec<(Name, Found)>, PoolError> {
        let object = self.directory(id)?;
        let guard = self.system().0.read(&object)?;
        let blocks = directory::blocks(&guard, object.base())?;
        let census = heap::census(&guard).map_err(|_| PoolError::Unknown(id))?;
        if !has_blocks(&census, object.base().offset(), &blocks) {
            return Err(PoolError::Unknown(id));
        }
        drop(guard);
        let mut names = Vec::new();
        self.list(id, &Name::first_with(""), |name, found| {
            names.push((*name, found));
            true
        })?;
        Ok(names)
    }

    fn follow(&self, place: &Place, found: Found, walk: &mut Walk, damage: &mut Vec<Damage>) {
        *walk.links.entry(found.id).or_default() += 1;
        if found.kind == Kind::Object {
            return;
        }
        let is_child = self.parent(found.id).is_ok_and(|parent| parent == place.directory);
        let is_new = walk.reached.insert(found.id);
        if is_new {
            walk.left.push(found.id);
        }
        if !is_new || !is_child {
            damage.push(Damage::Parent(found.id));
        }
    }

    /// That what waits to be deleted has no names.
    pub(super) fn check_orphans(
        &self,
        guard: &Guard<'_, System, Part<M>>,
        damage: &mut Vec<Damage>,
    ) -> Result<(), PoolError> {
        let mut orphans = Vec::new();
        let base = self.system().1.base();
        system::orphans(base).for_each(guard, |id, _| orphans.push(*id))?;
        for id in orphans {
            let found = system::find(guard, base, ObjectId::new(id));
            if !matches!(found, Ok(Some(Entry { links: 0, .. }))) {
                damage.push(Damage::Orphan(ObjectId::new(id)));
            }
        }
        Ok(())
    }
}

impl Walk {
    fn judge(&self, id: ObjectId, entry: &Entry) -> Option<Damage> {
        if entry.kind() == Kind::Directory && !self.reached.contains(&id) {
            return Some(Damage::Unreachable(id));
        }
        let (said, found) = (entry.links, self.links.get(&id).copied().unwrap_or(0));
        (said != found).then_some(Damage::Links { id, said, found })
    }
}
