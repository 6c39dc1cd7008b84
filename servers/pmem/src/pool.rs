//! A pool: made, opened after whatever has happened, and changed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use libd3os_object::control::Slot;
use libd3os_object::layout::Identity;
use libd3os_object::log::LogError;
use libd3os_object::medium::{LINE_BYTES, Medium, Part};
use libd3os_object::object::{self, Base, OpenError};
use libd3os_object::recovery::{self, Access, Objects, Report};
use libd3os_object::session::Busy;
use libd3os_object::view::View;
use libd3os_object::{Editor, Object, ObjectId, PointerError, Session, Tx, TxError};

use crate::directory::{Directories, Mapped};
use crate::fresh;
use crate::map;
use crate::name::NameError;
use crate::owners::{self, Principal};
use crate::sealed::Sealed;
use crate::snapshots;
use crate::space;
use crate::superblock::{self, Ground, Layout, SuperblockError, page};
use crate::system::{self, Entry, Extent, Kind, System};

/// Persistent memory divided among objects.
pub struct Pool<M: Medium + Clone> {
    medium: M,
    layout: Layout,
    session: Session<Part<M>>,
    system: Object<System, Part<M>>,
    directories: Directories<M>,
    is_read_only: bool,
}

/// Logs, with the slots of their owners.
type Logs<M> = Vec<(Slot, Part<M>)>;

/// A pool that was opened, and what recovery had to do.
pub struct Opened<M: Medium + Clone> {
    /// The pool.
    pub pool: Pool<M>,
    /// What became of the pool's own transactions.
    pub own: Report,
    /// What became of those of programs.
    pub programs: Report,
}

/// The pool does not do what it was asked for; it is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// There is no pool, or none can be made.
    #[error(transparent)]
    Superblock(#[from] SuperblockError),
    /// A log is damaged or too short.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An object cannot be made or opened; if it is not named, the system object.
    #[error(transparent)]
    Object(#[from] OpenError),
    /// The system object is damaged or full.
    #[error(transparent)]
    Transaction(#[from] TxError),
    /// There is such an object already.
    #[error("object {0} exists")]
    Exists(ObjectId),
    /// There is no such object.
    #[error("there is no object {0}")]
    Unknown(ObjectId),
    /// This id is the pool's own.
    #[error("object {0} cannot be made: its id is reserved")]
    Reserved(ObjectId),
    /// There are not so many free pages in one piece.
    #[error("no {pages} pages in one piece are free, of {free} in all")]
    Full {
        /// So many were asked for.
        pages: u64,
        /// So many are free.
        free: u64,
    },
    /// The pool says of these pages what cannot be: it is damaged, and has to be checked.
    #[error("the pool is damaged: it has no pages {0:?} for objects")]
    Damaged(Extent),
    /// What is known of the object is damaged, or it is not what is known of it: it is left alone until
    /// the pool was repaired.
    #[error("object {0} is damaged, and fenced")]
    Fenced(ObjectId),
    /// The pages behind the object are in use.
    #[error("object {0} cannot grow where it is")]
    Enclosed(ObjectId),
    /// The pool was opened to read it only.
    #[error("the pool can only be read")]
    ReadOnly,
    /// There are changes in the logs that are not in place, and can be put there only where the pool can be
    /// written.
    #[error("{changes} committed changes are not in place yet: the pool has to be recovered")]
    Unrecovered {
        /// So many.
        changes: u64,
    },
    /// No program can have this session, or somebody has it.
    #[error("the session of {0} is not to be had")]
    Slot(Slot),
    /// It cannot be done by this name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// An object that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct New<'b, T> {
    /// Drawn at random; ids are never given a second time.
    pub id: ObjectId,
    /// How long it is, its header included.
    pub pages: u64,
    /// Whose it is.
    pub owner: Principal,
    /// What it holds at first.
    pub base: &'b T,
}

impl<M: Medium + Clone> Pool<M> {
    /// Makes a pool, which is durable when this returns.
    ///
    /// # Errors
    /// Somebody else's data is here, or another pool, and that is not given up; or the layout does not
    /// fit. Then nothing was changed.
    pub fn create(medium: M, layout: Layout, ground: Ground) -> Result<Self, PoolError> {
        let is_zero = superblock::may_make(&medium, layout, ground)?;
        superblock::begin(&medium, layout);
        fresh::begin(&medium, layout, if is_zero { layout.data() } else { layout.pages });
        for number in 0..layout.logs {
            Session::format_log(&log(&medium, layout, number))?;
        }
        let memory = system_memory(&medium, layout);
        if !is_zero {
            erase(&memory);
        }
        object::create(&memory, system::id(layout.id), &System::default())?;
        memory.fence();
        let system = map::object(system_memory(&medium, layout))?;
        let mut pool = Self::with(medium, layout, system)?;
        let first = layout.data();
        let data = Extent { first, pages: layout.pages - first };
        pool.change(|editor| space::give(editor, data))?;
        pool.make_root()?;
        pool.session.settle().map_err(TxError::from)?;
        superblock::finish(&pool.medium, layout);
        Ok(pool)
    }

    /// Opens the pool, and recovers what was committed before power was lost: first what the pool
    /// knows of itself, then what programs have changed, as far as the principals that had the sessions
    /// could write it. It costs what the logs hold, not what the pool does. All sessions have ended then.
    ///
    /// # Errors
    /// There is none, or it is too badly damaged to be opened.
    pub fn open(medium: M) -> Result<Opened<M>, PoolError> {
        Self::open_telling(medium, &mut |_| {})
    }

    /// The same. Where there is no pool, all of the memory is looked through; `looked` is called now and
    /// then with the number of bytes that were.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_telling(medium: M, looked: &mut dyn FnMut(u64)) -> Result<Opened<M>, PoolError> {
        let layout = superblock::read(&medium, looked)?;
        superblock::mend(&medium, layout);
        let (own, system) = recover_own(&medium, layout)?;
        let mut pool = Self::with(medium, layout, system)?;
        let programs = pool.recover_programs()?;
        pool.end_sessions()?;
        pool.delete_orphans()?;
        Ok(Opened { pool, own, programs })
    }

    /// Opens the pool to read it only: nothing is written to its memory. `scratch`, which need not outlive
    /// anything, takes the place of the pool's own log.
    ///
    /// # Errors
    /// There is none, it is too badly damaged to be opened, or the power was lost while it was in use: then
    /// it has to be recovered before.
    pub fn open_to_read(medium: M, scratch: M) -> Result<Self, PoolError> {
        let layout = superblock::read(&medium, &mut |_| {})?;
        let system = survey_own(&medium, layout)?;
        let scratch = scratch.part(0, scratch.bytes());
        Session::format_log(&scratch)?;
        let mut pool = Self::with_log(medium, layout, system, scratch)?;
        pool.is_read_only = true;
        let (held, holders) = pool.held();
        is_in_place(&recovery::survey(&held, &mut Known { pool: &pool, holders }))?;
        Ok(pool)
    }

    /// Whether it was opened to be read only.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Puts what the pool itself has committed in place, so that it can be opened where it cannot be
    /// recovered.
    ///
    /// # Errors
    /// Somebody holds an object that the pool has changed.
    pub fn rest(&mut self) -> Result<(), PoolError> {
        Ok(self.session.settle()?)
    }

    fn with(medium: M, layout: Layout, system: Object<System, Part<M>>) -> Result<Self, PoolError> {
        let own = log(&medium, layout, 0);
        Self::with_log(medium, layout, system, own)
    }

    fn with_log(
        medium: M,
        layout: Layout,
        system: Object<System, Part<M>>,
        own: Part<M>,
    ) -> Result<Self, PoolError> {
        let (session, directories) = (map::session(own)?, Directories::new());
        Ok(Self { medium, layout, session, system, directories, is_read_only: false })
    }

    fn recover_programs(&self) -> Result<Report, PoolError> {
        let (held, holders) = self.held();
        Ok(recovery::recover(&held, &mut Known { pool: self, holders }))
    }

    /// The logs of programs. Those that nobody had are not looked at: whatever is there was never given to
    /// anybody.
    fn held(&self) -> (Logs<M>, BTreeMap<Slot, Principal>) {
        let (mut held, mut holders) = (Vec::new(), BTreeMap::new());
        for (slot, log) in logs(&self.medium, self.layout, 1..self.layout.logs) {
            // If it is not known any more who has it, that is told of each record.
            let holder = self.holder(slot);
            if let Some(holder) = holder.unwrap_or(Some(Principal::POOL)) {
                holders.insert(slot, holder);
                held.push((slot, log));
            }
        }
        (held, holders)
    }

    /// How it is divided.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The log of a session, by the number of its slot; none if there is no such session.
    #[must_use]
    pub fn log(&self, slot: Slot) -> Option<Part<M>> {
        let number = u64::from(slot.number());
        (number < self.layout.logs).then(|| log(&self.medium, self.layout, number))
    }

    /// Makes an object that has no name yet.
    ///
    /// # Errors
    /// The id is taken or reserved, there is no room, or the base does not fit.
    pub fn create_object<T: Base>(&mut self, new: New<'_, T>) -> Result<Entry, PoolError> {
        check_id(new.id)?;
        let (medium, layout) = (self.medium.clone(), self.layout);
        self.change(|editor| make(editor, (&medium, layout), &new, Kind::Object))
    }

    /// Deletes an object without names, which nobody has mapped any more. Its pages can be given out at
    /// once.
    ///
    /// # Errors
    /// There is none, or it has names.
    pub fn delete(&mut self, id: ObjectId) -> Result<(), PoolError> {
        self.complete(id)?;
        let layout = self.layout;
        self.change(|editor| {
            let entry = entry(editor, id)?;
            if entry.links > 0 || entry.kind() == Kind::Directory {
                return Err(NameError::Named.into());
            }
            system::orphans(editor.base_pointer()).remove(editor, &id.number())?;
            unmake(editor, layout, id, &entry)
        })
        .map(|extent| self.spoil(extent))
    }

    /// Deletes what had lost its last name while it was in use.
    fn delete_orphans(&mut self) -> Result<(), PoolError> {
        let (session, system) = self.system();
        let guard = session.read(system)?;
        let mut orphans = Vec::new();
        system::orphans(system.base()).for_each(&guard, |id, _| orphans.push(*id))?;
        drop(guard);
        for id in orphans.into_iter().map(ObjectId::new) {
            match self.delete(id) {
                // Only damage says that these are orphans.
                Err(PoolError::Unknown(_) | PoolError::Fenced(_) | PoolError::Name(_)) => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Gives an object so many pages more, behind those that it has; they are all zeros. The object
    /// takes possession of them in a transaction of its own.
    ///
    /// # Errors
    /// There is no such object, or the pages behind it are not free.
    pub fn grow(&mut self, id: ObjectId, pages: u64) -> Result<Entry, PoolError> {
        self.complete(id)?;
        let (medium, layout) = (self.medium.clone(), self.layout);
        self.change(|editor| {
            let mut entry = entry(editor, id)?;
            if pages == 0 {
                return Ok(entry);
            }
            if !space::take_behind(editor, entry.extent, pages)? {
                return Err(PoolError::Enclosed(id));
            }
            let more = Extent { first: entry.extent.end(), pages };
            if !holds(layout, more) {
                return Err(PoolError::Damaged(more));
            }
            erase_used(&medium, more, fresh::take(&medium, layout, more));
            medium.fence();
            entry.extent.pages += pages;
            system::put(editor, id, entry)?;
            Ok(entry)
        })
    }

    /// Gives an object so many pages more, where it is or elsewhere, together with what it holds. Nobody
    /// has it mapped, and it is settled.
    ///
    /// # Errors
    /// There is no such object, or no room.
    pub fn enlarge(&mut self, id: ObjectId, pages: u64) -> Result<Entry, PoolError> {
        // A directory that was mapped here would be written where it was.
        self.unmap(id)?;
        match self.grow(id, pages) {
            Err(PoolError::Enclosed(_)) => self.relocate(id, pages),
            result => result,
        }
    }

    /// The object is where it was, whole, until it is where it will be.
    fn relocate(&mut self, id: ObjectId, more: u64) -> Result<Entry, PoolError> {
        let (medium, layout) = (self.medium.clone(), self.layout);
        self.change(|editor| {
            let mut entry = entry(editor, id)?;
            let from = entry.extent;
            if !holds(layout, from) {
                return Err(PoolError::Damaged(from));
            }
            let pages = from.pages.saturating_add(more);
            entry.extent = take(editor, (&medium, layout), pages)?.extent;
            copy(&part(&medium, from), &part(&medium, entry.extent));
            system::put(editor, id, entry)?;
            space::give(editor, from)?;
            Ok((entry, from))
        })
        .map(|(entry, from)| {
            self.spoil(from);
            entry
        })
    }

    /// Spoils the header of an object that is gone, so that it is not taken for one when a pool is repaired.
    pub(crate) fn spoil(&self, extent: Extent) {
        let memory = part(&self.medium, extent);
        memory.store_word(0, 0);
        memory.flush(0);
    }

    /// What is known of an object, if there is one.
    ///
    /// # Errors
    /// The system object is damaged.
    pub fn find(&self, id: ObjectId) -> Result<Option<Entry>, PoolError> {
        let system = self.session.read(&self.system).map_err(TxError::from)?;
        system::find(&system, self.system.base(), id)
    }

    /// The memory of an object, if there is one.
    ///
    /// # Errors
    /// The system object is damaged, or what lies there is not this object: it is fenced then.
    pub fn memory(&self, id: ObjectId) -> Result<Option<Part<M>>, PoolError> {
        let Some(entry) = self.find(id)? else { return Ok(None) };
        if !self.holds(entry.extent) || entry.is_pending() {
            return Err(PoolError::Fenced(id));
        }
        let memory = part(&self.medium, entry.extent);
        let is_it = |found: Identity| found.id == id && found.fingerprint.0 == entry.fingerprint;
        let is_it = Identity::read(&memory).is_ok_and(is_it);
        if is_it { Ok(Some(memory)) } else { Err(PoolError::Fenced(id)) }
    }

    /// Calls `each` with all objects of which is known what they are, in no order.
    ///
    /// # Errors
    /// The system object is damaged.
    pub fn for_each(&self, mut each: impl FnMut(ObjectId, &Entry)) -> Result<(), PoolError> {
        let system = self.session.read(&self.system).map_err(TxError::from)?;
        let objects = system::objects(self.system.base());
        let each = |id: &u128, sealed: &Sealed<Entry>| {
            // What a division of the map has left behind is not what is found.
            let found = system::find(&system, self.system.base(), ObjectId::new(*id));
            if let (Some(entry), Ok(Some(found))) = (sealed.open(id), found)
                && entry == found
            {
                each(ObjectId::new(*id), &entry);
            }
        };
        Ok(objects.for_each(&system, each).map_err(TxError::from)?)
    }

    /// What the server does itself, it does in this session.
    pub(crate) fn session(&mut self) -> &mut Session<Part<M>> {
        &mut self.session
    }

    /// How many pages are free.
    ///
    /// # Errors
    /// The system object is damaged.
    pub fn free(&self) -> Result<u64, PoolError> {
        let system = self.session.read(&self.system).map_err(TxError::from)?;
        let free = system.get(system::free(self.system.base())).map_err(TxError::from)?;
        Ok(*free)
    }

    pub(crate) fn system(&self) -> (&Session<Part<M>>, &Object<System, Part<M>>) {
        (&self.session, &self.system)
    }

    /// The memory of these pages, which are of the pool.
    pub(crate) fn part(&self, extent: Extent) -> Part<M> {
        part(&self.medium, extent)
    }

    /// Whether these are pages that objects can have.
    pub(crate) fn holds(&self, extent: Extent) -> bool {
        extent.pages > 0 && extent.first >= self.layout.data() && extent.end() <= self.layout.pages
    }

    /// A directory, mapped.
    pub(crate) fn directory(&self, id: ObjectId) -> Result<Mapped<M>, PoolError> {
        if let Some(found) = self.directories.find(id) {
            return Ok(found);
        }
        let entry = self.find(id)?.ok_or(PoolError::Unknown(id))?;
        if entry.kind() != Kind::Directory {
            return Err(NameError::NotDirectory.into());
        }
        let damaged = PoolError::Damaged(entry.extent);
        let memory = self.holds(entry.extent).then(|| part(&self.medium, entry.extent));
        self.directories.add(id, memory.ok_or(damaged)?)
    }

    /// Settles what the pool has changed and unmaps a directory, whose pages may be given away then.
    pub(crate) fn unmap(&mut self, directory: ObjectId) -> Result<(), PoolError> {
        self.session.settle()?;
        self.directories.forget(directory);
        Ok(())
    }

    /// That the pool was not opened to be read only.
    pub(crate) const fn may_change(&self) -> Result<(), PoolError> {
        if self.is_read_only { Err(PoolError::ReadOnly) } else { Ok(()) }
    }

    /// A transaction that changes the system object and others that the pool writes.
    pub(crate) fn change_all<R>(
        &mut self,
        mut body: impl FnMut(&mut Tx<'_, Part<M>>, &Inside<'_, M>) -> Result<R, PoolError>,
    ) -> Result<R, PoolError> {
        self.may_change()?;
        let inside = Inside { medium: &self.medium, layout: self.layout, system: &self.system };
        self.session.tx(|tx| body(tx, &inside))
    }

    pub(crate) fn change<R>(
        &mut self,
        mut body: impl FnMut(&mut Editor<'_, System>) -> Result<R, PoolError>,
    ) -> Result<R, PoolError> {
        self.may_change()?;
        let system = &self.system;
        self.session.tx(|tx| body(&mut tx.edit(system)?))
    }
}

impl From<PointerError> for PoolError {
    fn from(error: PointerError) -> Self {
        Self::Transaction(error.into())
    }
}

impl From<Busy> for PoolError {
    fn from(busy: Busy) -> Self {
        Self::Transaction(busy.into())
    }
}

/// What a transaction over several objects needs beside the directories.
pub(crate) struct Inside<'p, M> {
    pub(crate) medium: &'p M,
    pub(crate) layout: Layout,
    pub(crate) system: &'p Object<System, Part<M>>,
}

/// That programs may give an object this id.
pub(crate) fn check_id(id: ObjectId) -> Result<(), PoolError> {
    if id.number() >> 127 == 0 { Ok(()) } else { Err(PoolError::Reserved(id)) }
}

/// What is known of an object that is there.
pub(crate) fn entry(editor: &Editor<'_, System>, id: ObjectId) -> Result<Entry, PoolError> {
    system::find(editor, editor.base_pointer(), id)?.ok_or(PoolError::Unknown(id))
}

/// Takes pages for an object, makes it there, and makes it known.
pub(crate) fn make<T: Base, M: Medium + Clone>(
    editor: &mut Editor<'_, System>,
    (medium, layout): (&M, Layout),
    new: &New<'_, T>,
    kind: Kind,
) -> Result<Entry, PoolError> {
    if system::find(editor, editor.base_pointer(), new.id)?.is_some() {
        return Err(PoolError::Exists(new.id));
    }
    let Taken { extent, zeros_from } = take(editor, (medium, layout), new.pages)?;
    // The pages are nobody's until this is committed.
    let memory = part(medium, extent);
    erase_used(medium, extent, zeros_from);
    object::create(&memory, new.id, new.base)?;
    memory.fence();
    let fingerprint = Identity::read(&memory).map_err(OpenError::Layout)?.fingerprint.0;
    let entry = Entry::new(extent, fingerprint, new.owner, kind);
    system::put(editor, new.id, entry)?;
    Ok(entry)
}

/// Forgets an object and gives its pages back; returns which.
pub(crate) fn unmake(
    editor: &mut Editor<'_, System>,
    layout: Layout,
    id: ObjectId,
    entry: &Entry,
) -> Result<Extent, PoolError> {
    if !holds(layout, entry.extent) {
        return Err(PoolError::Damaged(entry.extent));
    }
    owners::forget(editor, id)?;
    snapshots::forget(editor, id, entry)?;
    system::remove(editor, id)?;
    space::give(editor, entry.extent)?;
    Ok(entry.extent)
}

/// Pages that were taken.
pub(crate) struct Taken {
    pub(crate) extent: Extent,
    /// From this one on, they are zeros.
    pub(crate) zeros_from: u64,
}

/// Takes free pages, which are where objects can be. Whatever becomes of that, they do not count as zeros
/// any more.
pub(crate) fn take<M: Medium + Clone>(
    editor: &mut Editor<'_, System>,
    (medium, layout): (&M, Layout),
    pages: u64,
) -> Result<Taken, PoolError> {
    let taken = space::take(editor, pages)?;
    let extent = taken.ok_or(PoolError::Full { pages, free: space::free(editor)? })?;
    if !holds(layout, extent) {
        return Err(PoolError::Damaged(extent));
    }
    Ok(Taken { extent, zeros_from: fresh::take(medium, layout, extent) })
}

/// Recovers what the pool has written: first the system object, by which it is known where the directories
/// are, then those.
fn recover_own<M: Medium + Clone>(
    medium: &M,
    layout: Layout,
) -> Result<(Report, Object<System, Part<M>>), PoolError> {
    let own: Vec<_> = logs(medium, layout, 0..1).collect();
    let (id, memory) = (system::id(layout.id), system_memory(medium, layout));
    let first = recovery::replay(&own, &mut OnlySystem { id, memory: memory.clone() });
    let system = map::object(memory)?;
    let mut rest = recovery::recover(&own, &mut Own { medium, layout, system: &system });
    rest.applied += first.applied;
    rest.settled += first.settled;
    let new = first.findings.into_iter().filter(|finding| !rest.findings.contains(finding));
    rest.findings = new.chain(rest.findings.clone()).collect();
    Ok((rest, system))
}

/// As [`recover_own`], but that nothing may be left to do.
fn survey_own<M: Medium + Clone>(
    medium: &M,
    layout: Layout,
) -> Result<Object<System, Part<M>>, PoolError> {
    let own: Vec<_> = logs(medium, layout, 0..1).collect();
    let (id, memory) = (system::id(layout.id), system_memory(medium, layout));
    is_in_place(&recovery::survey(&own, &mut OnlySystem { id, memory: memory.clone() }))?;
    let system = map::object(memory)?;
    is_in_place(&recovery::survey(&own, &mut Own { medium, layout, system: &system }))?;
    Ok(system)
}

fn is_in_place(report: &Report) -> Result<(), PoolError> {
    match report.applied {
        0 => Ok(()),
        changes => Err(PoolError::Unrecovered { changes }),
    }
}

fn holds(layout: Layout, extent: Extent) -> bool {
    let ends = extent.first.checked_add(extent.pages).is_some_and(|end| end <= layout.pages);
    extent.pages > 0 && extent.first >= layout.data() && ends
}

fn part<M: Medium + Clone>(medium: &M, extent: Extent) -> Part<M> {
    medium.part(page(extent.first), page(extent.pages))
}

fn log<M: Medium + Clone>(medium: &M, layout: Layout, number: u64) -> Part<M> {
    part(medium, Extent { first: layout.log(number), pages: layout.log_pages })
}

/// Logs with the slots of their owners.
fn logs<M: Medium + Clone>(
    medium: &M,
    layout: Layout,
    numbers: Range<u64>,
) -> impl Iterator<Item = (Slot, Part<M>)> {
    numbers.filter_map(move |number| {
        let slot = Slot::new(u8::try_from(number).ok()?)?;
        Some((slot, log(medium, layout, number)))
    })
}

fn system_memory<M: Medium + Clone>(medium: &M, layout: Layout) -> Part<M> {
    part(medium, Extent { first: layout.system(), pages: layout.system_pages })
}

/// Makes those of the pages zeros that are not, durable as [`erase`] does it.
fn erase_used<M: Medium + Clone>(medium: &M, extent: Extent, zeros_from: u64) {
    let pages = zeros_from.saturating_sub(extent.first).min(extent.pages);
    if pages > 0 {
        erase(&part(medium, Extent { pages, ..extent }));
    }
}

/// Makes it all zeros, durable after the next fence, which must come before other stores.
fn erase(memory: &impl Medium) {
    for line in (0..memory.bytes()).step_by(LINE_BYTES) {
        memory.store_line(line, &[0; LINE_BYTES]);
    }
    memory.fence();
}

/// Copies an object to pages that are as many or more, of which the rest are zeros; durable when this
/// returns.
pub(crate) fn copy(from: &impl Medium, to: &impl Medium) {
    let mut line = [0; LINE_BYTES];
    for at in (0..to.bytes()).step_by(LINE_BYTES) {
        line.fill(0);
        if at < from.bytes() {
            from.read(at, &mut line);
        }
        to.store_line(at, &line);
    }
    to.fence();
}

/// At first, the pool's own log tells it of no other object.
struct OnlySystem<M> {
    id: ObjectId,
    memory: M,
}

impl<M: Medium + Clone> Objects for OnlySystem<M> {
    type Medium = M;

    fn access(&mut self, _owner: Slot, id: ObjectId) -> Access<M> {
        if id == self.id { Access::Write(self.memory.clone()) } else { Access::Deleted }
    }
}

/// Then, what it says of directories.
struct Own<'a, M> {
    medium: &'a M,
    layout: Layout,
    system: &'a Object<System, Part<M>>,
}

impl<M: Medium + Clone> Objects for Own<'_, M> {
    type Medium = Part<M>;

    fn access(&mut self, _owner: Slot, id: ObjectId) -> Access<Part<M>> {
        if id == system::id(self.layout.id) {
            return Access::Deleted;
        }
        match system::find(&map::still(self.system), self.system.base(), id) {
            Ok(None) => Access::Deleted,
            Ok(Some(entry))
                if entry.kind() == Kind::Directory && holds(self.layout, entry.extent) =>
            {
                Access::Write(part(self.medium, entry.extent))
            }
            _ => Access::Forbidden,
        }
    }
}

/// The pool's objects, for the logs of programs.
struct Known<'a, M: Medium + Clone> {
    pool: &'a Pool<M>,
    holders: BTreeMap<Slot, Principal>,
}

impl<M: Medium + Clone> Known<'_, M> {
    fn find(&self, slot: Slot, id: ObjectId) -> Result<Access<Part<M>>, PoolError> {
        let (session, system) = self.pool.system();
        let view = session.read(system)?;
        let Some(entry) = system::find(&view, system.base(), id)? else {
            return Ok(Access::Deleted);
        };
        if system::pending(system.base()).get(&view, &id.number())?.is_some() {
            // It is settled, and whoever could write it had its snapshot completed first.
            return Ok(Access::Deleted);
        }
        let holder = self.holders.get(&slot).copied().unwrap_or(Principal::POOL);
        let may_write = owners::may_write(&view, system.base(), id, &entry, holder)?;
        Ok(if may_write && self.pool.holds(entry.extent) {
            Access::Write(part(&self.pool.medium, entry.extent))
        } else {
            Access::Forbidden
        })
    }
}

impl<M: Medium + Clone> Objects for Known<'_, M> {
    type Medium = Part<M>;

    fn access(&mut self, owner: Slot, id: ObjectId) -> Access<Part<M>> {
        if id == system::id(self.pool.layout.id) {
            return Access::Forbidden;
        }
        self.find(owner, id).unwrap_or(Access::Forbidden)
    }
}
