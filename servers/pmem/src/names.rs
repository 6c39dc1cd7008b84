//! The tree of names: every operation one transaction over the directories and the table of objects.
//!
//! An object can have several names, a directory has one, so that there are no circles. Who has a directory's
//! id can reach what is below it and nothing else. The last name of an object takes the object with it.

use libd3os_object::medium::Medium;
use libd3os_object::object::Base;
use libd3os_object::{Editor, ObjectId};

use crate::directory::{self, Directory, Target};
use crate::name::{self, Name, NameError};
use crate::owners::Principal;
use crate::pool::{self, Inside, New, Pool, PoolError};
use crate::superblock::Layout;
use crate::system::{self, Entry, Extent, Kind, System};

/// Where a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory that holds it.
    pub directory: ObjectId,
    /// The name.
    pub name: Name,
}

/// What a name or a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The object.
    pub id: ObjectId,
    /// What it is.
    pub kind: Kind,
}

/// Whether programs have an object mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nobody.
    None,
    /// Somebody: it must stay where it is for now.
    Mapped,
}

/// What has become of an object that lost a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlinked {
    /// It has others.
    Kept,
    /// It was deleted.
    Deleted,
    /// It has no name any more, and is [deleted](Pool::delete) when it is not used any more: by whoever
    /// counts its users, or when the pool is opened again.
    Orphaned,
    /// There was no such object: the pool was damaged. The name is gone.
    Dangling,
}

impl From<Target> for Found {
    fn from(target: Target) -> Self {
        Self { id: target.id(), kind: target.kind() }
    }
}

impl<M: Medium + Clone> Pool<M> {
    /// The directory above all others.
    #[must_use]
    pub const fn root(&self) -> ObjectId {
        system::root(self.layout().id)
    }

    pub(crate) fn make_root(&mut self) -> Result<(), PoolError> {
        let new = New {
            id: self.root(),
            pages: directory::PAGES,
            owner: Principal::POOL,
            base: &Directory::default(),
        };
        self.change_all(|tx, inside| {
            let mut editor = tx.edit(inside.system)?;
            pool::make(&mut editor, inside.place(), &new, Kind::Directory)?;
            change_links(&mut editor, new.id, 1).map(drop)
        })
    }

    /// What a path leads to: names with `/` between them, of which the first is in `directory`; an empty
    /// path leads to that itself. Nothing leads out of it.
    ///
    /// # Errors
    /// A name is none or not there, or what is before a slash is no directory.
    pub fn resolve(&self, directory: ObjectId, path: &str) -> Result<Found, PoolError> {
        let start = Found { id: directory, kind: Kind::Directory };
        name::names(path).try_fold(start, |above, name| {
            self.find_name(&Place { directory: above.id, name: name? })
        })
    }

    /// Where the last name of a path is, or would be.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve); the last name need not be there, but there must be one.
    pub fn locate(&self, directory: ObjectId, path: &str) -> Result<Place, PoolError> {
        let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
        let name = Name::new(last)?;
        if above.is_empty() && path.contains('/') {
            return Err(NameError::Empty.into());
        }
        let Found { id, kind } = self.resolve(directory, above)?;
        match kind {
            Kind::Directory => Ok(Place { directory: id, name }),
            Kind::Object => Err(NameError::NotDirectory.into()),
        }
    }

    /// What a name leads to.
    ///
    /// # Errors
    /// There is no such name, or no such directory.
    pub fn find_name(&self, place: &Place) -> Result<Found, PoolError> {
        let object = self.directory(place.directory)?;
        let guard = self.system().0.read(&object)?;
        let found = directory::find(&guard, object.base(), &place.name, place.directory)?;
        found.map(Found::from).ok_or(NameError::Absent.into())
    }

    /// Calls `each` with the names of a directory, in order of their bytes, from this one on, until it returns
    /// false. ([`Name::first_with`] is where those begin that begin with a text.)
    ///
    /// # Errors
    /// There is no such directory.
    pub fn list(
        &self,
        directory: ObjectId,
        from: &Name,
        mut each: impl FnMut(&Name, Found) -> bool,
    ) -> Result<(), PoolError> {
        let object = self.directory(directory)?;
        let guard = self.system().0.read(&object)?;
        Ok(directory::for_each_from(&guard, object.base(), from, |name, target| {
            each(name, (*target).into())
        })?)
    }

    /// Makes an object with this name.
    ///
    /// # Errors
    /// The name or the id is taken, there is no room, or the base does not fit.
    pub fn create_at<T: Base>(
        &mut self,
        place: &Place,
        new: New<'_, T>,
    ) -> Result<Entry, PoolError> {
        self.create_named(place, new, Kind::Object)
    }

    /// Makes a directory with this name.
    ///
    /// # Errors
    /// The name or the id is taken, or there is no room.
    pub fn create_directory(
        &mut self,
        place: &Place,
        id: ObjectId,
        owner: Principal,
    ) -> Result<Entry, PoolError> {
        let base = &Directory::within(place.directory);
        let new = New { id, pages: directory::PAGES, owner, base };
        self.create_named(place, new, Kind::Directory)
    }

    fn create_named<T: Base>(
        &mut self,
        place: &Place,
        new: New<'_, T>,
        kind: Kind,
    ) -> Result<Entry, PoolError> {
        pool::check_id(new.id)?;
        self.insert_with(place, Target::new(new.id, kind), |editor, inside| {
            pool::make(editor, inside.place(), &new, kind)?;
            change_links(editor, new.id, 1)
        })
    }

    /// Gives an object one more name.
    ///
    /// # Errors
    /// It is a directory or not there, or the name is taken.
    pub fn link(&mut self, place: &Place, id: ObjectId) -> Result<Entry, PoolError> {
        self.insert_with(place, Target::new(id, Kind::Object), |editor, _| {
            if pool::entry(editor, id)?.kind() == Kind::Directory {
                return Err(NameError::Directory.into());
            }
            system::orphans(editor.base_pointer()).remove(editor, &id.number())?;
            change_links(editor, id, 1)
        })
    }

    /// Takes the name of an object away, and the object, if that was its last one.
    ///
    /// # Errors
    /// There is no such name, or it is a directory's.
    pub fn unlink(&mut self, place: &Place, usage: Use) -> Result<Unlinked, PoolError> {
        let Found { id, kind } = self.find_name(place)?;
        if kind == Kind::Directory {
            return Err(NameError::Directory.into());
        }
        // It may go with its name.
        self.complete(id)?;
        let object = self.directory(place.directory)?;
        let (unlinked, gone) = self.change_all(|tx, inside| {
            directory::remove(&mut tx.edit(&object)?, &place.name)?;
            lose_name(&mut tx.edit(inside.system)?, inside.layout, id, usage)
        })?;
        gone.into_iter().for_each(|extent| self.spoil(extent));
        Ok(unlinked)
    }

    /// Takes an empty directory away.
    ///
    /// # Errors
    /// There is no such name, it is an object's, or there are names in the directory.
    pub fn remove_directory(&mut self, place: &Place) -> Result<(), PoolError> {
        let Found { id, kind } = self.find_name(place)?;
        if kind == Kind::Object {
            return Err(NameError::NotDirectory.into());
        }
        self.check_empty(id)?;
        // Nothing may be written back to its pages once they are another object's.
        self.unmap(id)?;
        let object = self.directory(place.directory)?;
        self.change_all(|tx, inside| {
            directory::remove(&mut tx.edit(&object)?, &place.name)?;
            let mut editor = tx.edit(inside.system)?;
            let entry = pool::entry(&editor, id)?;
            pool::unmake(&mut editor, inside.layout, id, &entry)
        })
        .map(|extent| self.spoil(extent))
    }

    fn check_empty(&self, id: ObjectId) -> Result<(), PoolError> {
        let object = self.directory(id)?;
        let guard = self.system().0.read(&object)?;
        let is_empty = directory::is_empty(&guard, object.base())?;
        if is_empty { Ok(()) } else { Err(NameError::NotEmpty.into()) }
    }

    /// Gives what has the name `from` the name `to` instead, in the same directory or in another.
    ///
    /// # Errors
    /// There is no such name, the new one is taken, or a directory would come to lie within itself.
    pub fn rename(&mut self, from: &Place, to: &Place) -> Result<(), PoolError> {
        let Found { id, kind } = self.find_name(from)?;
        if from == to {
            return Ok(());
        }
        let moves = kind == Kind::Directory && from.directory != to.directory;
        if moves {
            self.check_outside(to.directory, id)?;
        }
        let child = if moves { id } else { from.directory };
        self.with_room(to.directory, |pool| {
            let [old, new] = [pool.directory(from.directory)?, pool.directory(to.directory)?];
            let child = pool.directory(child)?;
            pool.change_all(|tx, _| {
                directory::remove(&mut tx.edit(&old)?, &from.name)?;
                directory::insert(&mut tx.edit(&new)?, &to.name, Target::new(id, kind))?;
                if moves {
                    directory::set_parent(&mut tx.edit(&child)?, to.directory)?;
                }
                Ok(())
            })
        })
    }

    /// That a directory neither is nor lies within another.
    fn check_outside(&self, directory: ObjectId, other: ObjectId) -> Result<(), PoolError> {
        let mut at = directory;
        // More directories than pages are a circle, which only damage can have made.
        for _ in 0..self.layout().pages {
            if at == other {
                return Err(NameError::Circle.into());
            }
            if at == self.root() {
                return Ok(());
            }
            at = self.parent(at)?;
        }
        Err(NameError::Circle.into())
    }

    /// The directory above this one; for the root, no object's id.
    pub(crate) fn parent(&self, directory: ObjectId) -> Result<ObjectId, PoolError> {
        let object = self.directory(directory)?;
        let guard = self.system().0.read(&object)?;
        Ok(directory::parent(&guard, object.base())?)
    }

    /// Adds a name together with a change of the table of objects.
    pub(crate) fn insert_with<R>(
        &mut self,
        place: &Place,
        target: Target,
        mut also: impl FnMut(&mut Editor<'_, System>, &Inside<'_, M>) -> Result<R, PoolError>,
    ) -> Result<R, PoolError> {
        self.with_room(place.directory, |pool| {
            let object = pool.directory(place.directory)?;
            pool.change_all(|tx, inside| {
                directory::insert(&mut tx.edit(&object)?, &place.name, target)?;
                also(&mut tx.edit(inside.system)?, inside)
            })
        })
    }

    /// Does something that adds a name to a directory; if it is full, again with a longer one.
    pub(crate) fn with_room<R>(
        &mut self,
        directory: ObjectId,
        mut body: impl FnMut(&mut Self) -> Result<R, PoolError>,
    ) -> Result<R, PoolError> {
        match body(self) {
            Err(PoolError::Name(NameError::Full)) => {}
            result => return result,
        }
        // Power may have been lost between growing and taking possession of that.
        self.take_possession(directory)?;
        match body(self) {
            Err(PoolError::Name(NameError::Full)) => {}
            result => return result,
        }
        let entry = self.find(directory)?.ok_or(PoolError::Unknown(directory))?;
        self.enlarge(directory, entry.extent.pages)?;
        self.take_possession(directory)?;
        body(self)
    }

    /// Has a directory use all the pages that it has.
    fn take_possession(&mut self, directory: ObjectId) -> Result<(), PoolError> {
        let object = self.directory(directory)?;
        self.change_all(|tx, _| Ok(tx.edit(&object)?.grow()?))
    }
}

impl<'p, M> Inside<'p, M> {
    pub(crate) const fn place(&self) -> (&'p M, Layout) {
        (self.medium, self.layout)
    }
}

/// Counts one name more of an object.
pub(crate) fn change_links(
    editor: &mut Editor<'_, System>,
    id: ObjectId,
    more: u64,
) -> Result<Entry, PoolError> {
    let mut entry = pool::entry(editor, id)?;
    entry.links = entry.links.saturating_add(more);
    system::put(editor, id, entry)?;
    Ok(entry)
}

/// Counts one name less of an object, and does what follows from that; tells which pages it had, if it is
/// gone.
fn lose_name(
    editor: &mut Editor<'_, System>,
    layout: Layout,
    id: ObjectId,
    usage: Use,
) -> Result<(Unlinked, Option<Extent>), PoolError> {
    let base = editor.base_pointer();
    let Some(mut entry) = system::find(editor, base, id)? else {
        return Ok((Unlinked::Dangling, None));
    };
    entry.links = entry.links.saturating_sub(1);
    if entry.links == 0 && usage == Use::None {
        let extent = pool::unmake(editor, layout, id, &entry)?;
        return Ok((Unlinked::Deleted, Some(extent)));
    }
    system::put(editor, id, entry)?;
    if entry.links > 0 {
        return Ok((Unlinked::Kept, None));
    }
    system::orphans(base).insert(editor, id.number(), 0)?;
    Ok((Unlinked::Orphaned, None))
}
