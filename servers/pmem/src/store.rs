//! The pool with its users: sessions of programs, and the objects that they have open.
//!
//! An object that somebody has open is mapped here, too, with a *control* that all its users share: its
//! lock, its version, its dirty lines. A control takes a page of the pool, of an object without a name
//! that the pool keeps for this; what is in it means nothing after a loss of power. So it costs no RAM,
//! and is lent like anything else.
//!
//! A session ends in two steps: first everything is withdrawn from its program, then what its log says
//! is completed. The second waits where another program holds an object that was changed; until it is
//! done, the session's slot is not given out.

pub(crate) mod contest;
mod near;

use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use libd3os::region::Rights;
use libd3os::service::pmem::{
    ObjectKind, ObjectName, ObjectStatus, OpenObject, PATH_MOST, Place, PmemError, Removed, Tier,
};
use libd3os_object::ObjectId;
use libd3os_object::control::{ControlRef, Slot};
use libd3os_object::layout::{self, Identity};
use libd3os_object::mapping::Mapping;
use libd3os_object::medium::{Medium, Part};
use libd3os_object::object::Template;
use libd3os_object::recovery::Access;
use libd3os_object::session::Patience;

use crate::errors::told;
use crate::events::{Event, Journal};
use crate::map;
use crate::name::Name;
use crate::names::{self, Found, Unlinked, Use};
use crate::owners::Principal;
use crate::pool::{New, Pool, PoolError};
use crate::rights::Rights as May;
use crate::superblock::PAGE_BYTES;
use crate::system::{Entry, Extent, Kind};

/// The object whose pages are controls.
const CONTROLS: ObjectId = ObjectId::new(u128::from_be_bytes(*b"controls in use\0"));
/// So many objects can be open at a time, in a pool that is large enough.
const MOST_OPEN: u64 = 256;
/// How often the server looks at a lock that somebody holds before it goes on with other things.
const LOOKS: u32 = 2_000;
/// Longest text about a type.
const MOST_WORDS: usize = 400;

/// What the store wants of the rest of the system.
pub trait World {
    /// Shows pages of the pool to a program, and tells their address there.
    ///
    /// # Errors
    /// [`PmemError`]; nothing is shown then.
    fn lend(&mut self, program: u16, pages: Extent, rights: Rights) -> Result<u64, PmemError>;

    /// Takes pages away from a program that it may have been shown. When this returns, it cannot reach
    /// them.
    fn withdraw(&mut self, program: u16, pages: Extent);

    /// Makes a control, for an object of this version, of a page of the pool that nobody uses.
    fn control(&mut self, page: u64, version: u64) -> ControlRef;

    /// How long the machine has run.
    fn now(&mut self) -> Duration;

    /// A number that was never drawn before.
    fn draw(&mut self) -> u128;

    /// Names of the image's programs, by their numbers, of which the first is 1.
    fn programs(&mut self) -> Vec<String>;

    /// There is no pool; the memory is looked through for somebody's data, and so many of its bytes were.
    fn looked(&mut self, bytes: u64, of: u64);
}

/// A pool, and who uses it.
pub(crate) struct Store<M: Medium + Clone> {
    pub(crate) pool: Pool<M>,
    /// What becomes of the pool.
    tier: Tier,
    controls: Extent,
    sessions: BTreeMap<u16, Session>,
    left: Vec<Left>,
    open: BTreeMap<ObjectId, Open<M>>,
    contests: BTreeMap<ObjectId, contest::Contest>,
}

/// A program's session.
struct Session {
    slot: Slot,
    principal: Principal,
    objects: BTreeMap<ObjectId, Shown>,
}

/// An object as a program was shown it.
struct Shown {
    opened: OpenObject,
    rights: Rights,
    /// Its memory, not its control, was withdrawn: until the program asks for it.
    is_withdrawn: bool,
}

/// What a session has left that has ended.
struct Left {
    slot: Slot,
    principal: Principal,
    objects: BTreeMap<ObjectId, Rights>,
    /// The program that was put out, while it is still shown the objects to read and their controls: the
    /// slot is its until then.
    shown_to: Option<u16>,
    /// What it had committed is completed.
    is_complete: bool,
}

/// An object that somebody has open.
struct Open<M> {
    mapping: Arc<Mapping<Part<M>>>,
    extent: Extent,
    /// The page of its control, of the pool; none where the pool can only be read.
    control: Option<u64>,
}

impl<M> Open<M> {
    /// What programs that have it open may have been lent.
    fn lent(&self) -> impl Iterator<Item = Extent> + use<M> {
        [Some(self.extent), self.control.map(single)].into_iter().flatten()
    }
}

impl<M: Medium + Clone> Store<M> {
    /// Nobody uses the pool yet.
    pub(crate) fn new(mut pool: Pool<M>, tier: Tier) -> Result<Self, PoolError> {
        pool.session().set_patience(|contest| {
            core::hint::spin_loop();
            if contest.round < LOOKS { Patience::Wait } else { Patience::GiveUp }
        });
        let controls = match pool.find(CONTROLS)? {
            Some(entry) => entry.extent,
            None if pool.is_read_only() => Extent { first: 0, pages: 0 },
            None => make_controls(&mut pool)?.extent,
        };
        // The first page is its header.
        let Extent { first, pages } = controls;
        let controls = Extent { first: first + 1, pages: pages.saturating_sub(1) };
        let (sessions, left, open, contests) = Default::default();
        Ok(Self { pool, tier, controls, sessions, left, open, contests })
    }

    /// What programs may have been lent.
    #[cfg(test)]
    pub(crate) fn allowed(&self) -> BTreeMap<u16, Vec<Extent>> {
        let of = |session: &Session| {
            let open = session.objects.keys().filter_map(|id| self.open.get(id));
            open.flat_map(Open::lent).chain([self.log(session.slot)]).collect()
        };
        let mut allowed: BTreeMap<u16, Vec<Extent>> =
            self.sessions.iter().map(|(program, session)| (*program, of(session))).collect();
        for (program, left) in self.left.iter().filter_map(|left| Some((left.shown_to?, left))) {
            let open = left.objects.keys().filter_map(|id| self.open.get(id));
            let objects = open.flat_map(Open::lent);
            allowed.entry(program).or_default().extend(objects);
        }
        allowed
    }

    /// Whether a program has an object open.
    pub(crate) fn has_open(&self, program: u16, id: ObjectId) -> bool {
        self.sessions.get(&program).is_some_and(|session| session.objects.contains_key(&id))
    }

    /// Sessions that there are.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len() + self.left.len()
    }

    /// Begins a program's session; one that it has ends.
    pub(crate) fn begin(
        &mut self,
        program: u16,
        world: &mut impl World,
        journal: &Journal,
    ) -> Result<(Slot, Option<Place>), PmemError> {
        self.end(program, world, journal);
        let slot = self.free_slot().ok_or(PmemError::NoMoreSessions)?;
        let principal = self.principal(program, world)?;
        let log = match self.pool.is_read_only() {
            true => None,
            false => Some(self.lend_log(program, (slot, principal), world)?),
        };
        self.sessions.insert(program, Session { slot, principal, objects: BTreeMap::new() });
        journal.note(Event::Began(program, slot.number()));
        Ok((slot, log))
    }

    fn lend_log(
        &mut self,
        program: u16,
        (slot, principal): (Slot, Principal),
        world: &mut impl World,
    ) -> Result<Place, PmemError> {
        // Written down before the program can write a record.
        self.pool.begin_session(slot, principal).map_err(told)?;
        let log = self.log(slot);
        let base = world.lend(program, log, Rights::READ_WRITE);
        let base = base.inspect_err(|_| {
            let _still_its = self.pool.end_session(slot);
        })?;
        Ok(place(base, log))
    }

    /// A program's session.
    fn session(&self, program: u16) -> Result<&Session, PmemError> {
        let was_put_out = self.left.iter().any(|left| left.shown_to == Some(program));
        let none = if was_put_out { PmemError::PutOut } else { PmemError::NoSession };
        self.sessions.get(&program).ok_or(none)
    }

    fn free_slot(&self) -> Option<Slot> {
        let sessions = self.sessions.values().map(|session| session.slot);
        let taken: BTreeSet<_> = sessions.chain(self.left.iter().map(|left| left.slot)).collect();
        let last = u8::try_from(self.pool.layout().logs).unwrap_or(u8::MAX);
        (1..last).filter_map(Slot::new).find(|slot| !taken.contains(slot))
    }

    fn log(&self, slot: Slot) -> Extent {
        let layout = self.pool.layout();
        Extent { first: layout.log(slot.number().into()), pages: layout.log_pages }
    }

    /// Ends a program's session, if it has one: nothing of the pool can be reached by it when this
    /// returns, and what it had committed is completed, or will be by [`Self::tidy`].
    pub(crate) fn end(&mut self, program: u16, world: &mut impl World, journal: &Journal) {
        if let Some(session) = self.sessions.remove(&program) {
            let is_read_only = self.pool.is_read_only();
            if !is_read_only {
                world.withdraw(program, self.log(session.slot));
            }
            session.objects.keys().for_each(|id| self.withdraw(program, *id, world));
            if !is_read_only {
                self.left.push(Left::of(session, None));
            }
            journal.note(Event::Ended(program));
        }
        self.hide(program, world);
        self.tidy(journal);
    }

    fn withdraw(&self, program: u16, id: ObjectId, world: &mut impl World) {
        let open = self.open.get(&id).into_iter();
        open.flat_map(Open::lent).for_each(|pages| world.withdraw(program, pages));
    }

    /// Completes what ended sessions have left, and closes what nobody has open, as far as nobody holds
    /// the locks.
    pub(crate) fn tidy(&mut self, journal: &Journal) {
        let left = core::mem::take(&mut self.left);
        self.left = left.into_iter().filter_map(|left| self.complete(left, journal)).collect();
        let unused: Vec<_> = self.open.keys().copied().filter(|id| self.users(*id) == 0).collect();
        unused.into_iter().for_each(|id| self.close(id, journal));
    }

    /// Completes what a session has left; if that has to wait, it is given back.
    fn complete(&mut self, mut left: Left, journal: &Journal) -> Option<Left> {
        if left.is_complete {
            return left.shown_to.is_some().then_some(left);
        }
        let Self { pool, open, .. } = self;
        let log = pool.log(left.slot)?;
        // It was settled, and the session could not write it since.
        let has_pending = |id: &&ObjectId| pool.pending_of(**id) != Ok(None);
        let pending: BTreeSet<_> = left.objects.keys().filter(has_pending).copied().collect();
        let mapping = |id: &ObjectId| open.get(id).map(|open| open.mapping.clone());
        let find = |id: ObjectId| match (left.objects.get(&id), mapping(&id)) {
            (Some(_), _) if pending.contains(&id) => Access::Deleted,
            (Some(rights), Some(mapping)) if rights.contain(Rights::WRITE) => {
                Access::Write(mapping)
            }
            (Some(_), Some(_)) => Access::Forbidden,
            // What it has released is settled, and what was deleted needs nothing.
            _ => Access::Deleted,
        };
        let mapped: Vec<_> = left.objects.keys().filter_map(mapping).collect();
        match map::evict((left.slot, &log), pool.session(), find, &mapped) {
            Ok(report) => {
                journal.note(Event::Completed(left.slot.number(), report.applied));
                left.is_complete = pool.end_session(left.slot).is_ok();
                (!left.is_complete || left.shown_to.is_some()).then_some(left)
            }
            Err(_) => Some(left),
        }
    }

    fn users(&self, id: ObjectId) -> usize {
        let sessions = self.sessions.values().filter(|known| known.objects.contains_key(&id));
        let left = self.left.iter().filter(|known| known.objects.contains_key(&id));
        sessions.count() + left.count()
    }

    /// Closes an object that nobody uses, unless it is locked still; without a name, it goes.
    fn close(&mut self, id: ObjectId, journal: &Journal) {
        let Some(open) = self.open.get(&id) else { return };
        let is_read_only = self.pool.is_read_only();
        let is_settled = is_read_only || self.pool.pending_of(id) != Ok(None);
        if !is_settled && self.pool.session().settle_object(&open.mapping).is_err() {
            return;
        }
        self.open.remove(&id);
        self.contests.remove(&id);
        journal.note(Event::Closed(id));
        if !is_read_only
            && matches!(self.pool.find(id), Ok(Some(entry)) if entry.links == 0)
            && self.pool.delete(id).is_ok()
        {
            journal.note(Event::Deleted(id));
        }
    }

    /// Shows an object to a program.
    pub(crate) fn open(
        &mut self,
        program: u16,
        (path, rights, fingerprint): (&str, Rights, Option<u64>),
        world: &mut impl World,
        journal: &Journal,
    ) -> Result<OpenObject, PmemError> {
        let Found { id, kind } = self.resolve(path)?;
        if kind == Kind::Directory {
            return Err(PmemError::IsDirectory);
        }
        if self.pool.is_read_only() && rights.contain(Rights::WRITE) {
            return Err(PmemError::Unarmed);
        }
        let session = self.session(program)?;
        self.check(id, session.principal, of_mapping(rights))?;
        let entry = self.entry(id)?;
        self.check_type(id, entry.fingerprint, fingerprint)?;
        match session.objects.get(&id) {
            Some(shown) if shown.rights.contain(rights) => return self.renew(program, id, world),
            Some(_) => self.release(program, id, world, journal)?,
            None => {}
        }
        let entry = self.ready(id, rights)?;
        let opened = self.lend(program, (id, entry), rights, world);
        let opened = opened.inspect_err(|_| self.tidy(journal))?;
        if let Some(session) = self.sessions.get_mut(&program) {
            session.objects.insert(id, Shown { opened, rights, is_withdrawn: false });
        }
        journal.note(Event::Opened(program, id));
        Ok(opened)
    }

    /// Has an object's contents in its own pages, and nowhere else where it is to be changed.
    fn ready(&mut self, id: ObjectId, rights: Rights) -> Result<Entry, PmemError> {
        let entry = self.entry(id)?;
        if entry.is_snapshot() && rights.contain(Rights::WRITE) {
            return Err(PmemError::ReadOnly);
        }
        if entry.is_pending() {
            let origin = self.pool.origin_of(id).map_err(told)?;
            self.pool.complete(origin).map_err(told)?;
        }
        if rights.contain(Rights::WRITE) {
            self.pool.complete(id).map_err(told)?;
        }
        self.entry(id)
    }

    /// Shows a program an object again that it has open, where it was withdrawn from it.
    pub(crate) fn renew(
        &mut self,
        program: u16,
        id: ObjectId,
        world: &mut impl World,
    ) -> Result<OpenObject, PmemError> {
        let session = self.session(program)?;
        let shown = session.objects.get(&id).ok_or(PmemError::NotOpen)?;
        let (opened, rights) = (shown.opened, shown.rights);
        if shown.is_withdrawn {
            let entry = self.ready(id, rights)?;
            world.lend(program, entry.extent, rights)?;
            let session = self.sessions.get_mut(&program);
            if let Some(shown) = session.and_then(|session| session.objects.get_mut(&id)) {
                shown.is_withdrawn = false;
            }
        }
        Ok(opened)
    }

    /// Begins a snapshot of an object.
    pub(crate) fn snapshot(
        &mut self,
        program: u16,
        (path, name): (&str, &str),
        world: &mut impl World,
        journal: &Journal,
    ) -> Result<ObjectId, PmemError> {
        let Found { id, kind } = self.resolve(path)?;
        if kind == Kind::Directory {
            return Err(PmemError::IsDirectory);
        }
        self.may(program, id, May::READ, world)?;
        let (at, owner) = (self.locate(name)?, self.principal(program, world)?);
        if self.pool.find_name(&at).is_ok() {
            return Err(PmemError::Exists);
        }
        self.withdraw_from_writers(id, world, journal)?;
        let snapshot = self.pool.snapshot(&at, draw(world), (id, owner)).map_err(told)?;
        journal.note(Event::Snapshot(id));
        Ok(snapshot)
    }

    /// Settles an object and withdraws it from all who can write it, at a moment at which none of them uses
    /// it. They find that out under its lock, and ask for it ([`Self::renew`]).
    fn withdraw_from_writers(
        &mut self,
        id: ObjectId,
        world: &mut impl World,
        journal: &Journal,
    ) -> Result<(), PmemError> {
        self.tidy(journal);
        let is_left = |left: &Left| !left.is_complete && left.objects.contains_key(&id);
        if self.left.iter().any(is_left) {
            return Err(PmemError::Busy);
        }
        let Self { pool, open, sessions, .. } = self;
        let Some(open) = open.get(&id) else { return Ok(()) };
        let withdraw = || {
            for (program, session) in sessions {
                let shown = session.objects.get_mut(&id);
                let shown = shown.filter(|shown| shown.rights.contain(Rights::WRITE));
                if let Some(shown) = shown.filter(|shown| !shown.is_withdrawn) {
                    world.withdraw(*program, open.extent);
                    shown.is_withdrawn = true;
                }
            }
        };
        pool.session().withdraw(&open.mapping, withdraw).map_err(|_| PmemError::Busy)
    }

    fn lend(
        &mut self,
        program: u16,
        (id, entry): (ObjectId, Entry),
        rights: Rights,
        world: &mut impl World,
    ) -> Result<OpenObject, PmemError> {
        let control = self.map(id, entry, world)?.map(single);
        let lend = |control| Ok(place(world.lend(program, control, Rights::READ_WRITE)?, control));
        let lent = control.map(lend).transpose()?;
        let memory = world.lend(program, entry.extent, rights);
        let memory = memory.inspect_err(|_| {
            control.into_iter().for_each(|control| world.withdraw(program, control));
        })?;
        let memory = place(memory, entry.extent);
        Ok(OpenObject { id: ObjectName(id.number()), memory, control: lent })
    }

    /// Maps an object here, unless it is; tells the page of its control, if it has one.
    fn map(
        &mut self,
        id: ObjectId,
        entry: Entry,
        world: &mut impl World,
    ) -> Result<Option<u64>, PmemError> {
        if let Some(open) = self.open.get(&id) {
            return Ok(open.control);
        }
        let control = match self.pool.is_read_only() {
            true => None,
            false => Some(self.free_control().ok_or(PmemError::TooManyOpen)?),
        };
        let memory = self.pool.memory(id).map_err(told)?.ok_or(PmemError::NotFound)?;
        let damaged = |error: layout::LayoutError| PmemError::Damaged(error.to_string());
        let version = layout::settled(&memory).map_err(damaged)?;
        let shared = match control {
            Some(page) => world.control(page, version),
            None => ControlRef::own(version),
        };
        let mapping = map::shared(memory, shared).map_err(damaged)?;
        let mapping = Arc::new(mapping);
        if mapping.id() != id {
            return Err(PmemError::Damaged("the object says that it is another one".into()));
        }
        self.open.insert(id, Open { mapping, extent: entry.extent, control });
        Ok(control)
    }

    fn free_control(&self) -> Option<u64> {
        let taken: BTreeSet<u64> = self.open.values().filter_map(|open| open.control).collect();
        (self.controls.first..self.controls.end()).find(|page| !taken.contains(page))
    }

    /// Takes an object away from a program.
    pub(crate) fn release(
        &mut self,
        program: u16,
        id: ObjectId,
        world: &mut impl World,
        journal: &Journal,
    ) -> Result<(), PmemError> {
        self.session(program)?;
        let session = self.sessions.get_mut(&program).ok_or(PmemError::NoSession)?;
        if session.objects.remove(&id).is_some() {
            self.withdraw(program, id, world);
            if let (Some(open), Some(session)) = (self.open.get(&id), self.sessions.get(&program)) {
                // One that releases what it holds has left it in a state that it takes for whole.
                open.mapping.control().lock().put_out(session.slot);
            }
            journal.note(Event::Released(program, id));
        }
        self.tidy(journal);
        Ok(())
    }

    /// Makes an object with a name.
    pub(crate) fn create(
        &mut self,
        program: u16,
        (path, pages, template): (&str, u32, &Template),
        world: &mut impl World,
        journal: &Journal,
    ) -> Result<ObjectId, PmemError> {
        let at = self.locate(path)?;
        let (id, owner) = (draw(world), self.principal(program, world)?);
        let new = New { id, pages: pages.into(), owner, base: template };
        self.pool.create_at(&at, new).map_err(told)?;
        journal.note(Event::Created(id));
        Ok(id)
    }

    /// Makes a directory.
    pub(crate) fn make_directory(
        &mut self,
        program: u16,
        path: &str,
        world: &mut impl World,
    ) -> Result<ObjectId, PmemError> {
        let at = self.locate(path)?;
        let (id, owner) = (draw(world), self.principal(program, world)?);
        self.pool.create_directory(&at, id, owner).map_err(told)?;
        Ok(id)
    }

    /// Gives an object that nobody has open more pages, where it is or elsewhere.
    pub(crate) fn grow(
        &mut self,
        program: u16,
        path: &str,
        pages: u32,
        world: &mut impl World,
    ) -> Result<u64, PmemError> {
        let Found { id, kind } = self.resolve(path)?;
        self.may(program, id, May::WRITE, world)?;
        match kind {
            Kind::Directory => Err(PmemError::IsDirectory),
            Kind::Object if self.open.contains_key(&id) => Err(PmemError::InUse),
            Kind::Object => {
                let entry = self.pool.enlarge(id, pages.into()).map_err(told)?;
                Ok(entry.extent.pages)
            }
        }
    }

    /// Gives an object one more name.
    pub(crate) fn link(
        &mut self,
        program: u16,
        path: &str,
        other: &str,
        world: &mut impl World,
    ) -> Result<(), PmemError> {
        let Found { id, .. } = self.resolve(path)?;
        self.may(program, id, May::GRANT, world)?;
        let at = self.locate(other)?;
        self.pool.link(&at, id).map(drop).map_err(told)
    }

    /// Gives what has a name another one.
    pub(crate) fn rename(
        &mut self,
        program: u16,
        path: &str,
        other: &str,
        world: &mut impl World,
    ) -> Result<(), PmemError> {
        let id = self.resolve(path)?.id;
        self.may(program, id, May::DELETE, world)?;
        let (from, to) = (self.locate(path)?, self.locate(other)?);
        self.pool.rename(&from, &to).map_err(told)
    }

    /// Takes a name away.
    pub(crate) fn remove(
        &mut self,
        program: u16,
        path: &str,
        world: &mut impl World,
        journal: &Journal,
    ) -> Result<Removed, PmemError> {
        let at = self.locate(path)?;
        let Found { id, kind } = self.pool.find_name(&at).map_err(told)?;
        self.may(program, id, May::DELETE, world)?;
        let usage = if self.open.contains_key(&id) { Use::Mapped } else { Use::None };
        let done = match kind {
            Kind::Directory => self.pool.remove_directory(&at).map(|()| Unlinked::Deleted),
            Kind::Object => self.pool.unlink(&at, usage),
        };
        match done.map_err(told)? {
            Unlinked::Kept => Ok(Removed::Kept),
            Unlinked::Orphaned => Ok(Removed::InUse),
            Unlinked::Deleted | Unlinked::Dangling => {
                journal.note(Event::Deleted(id));
                Ok(Removed::Deleted)
            }
        }
    }

    /// Calls `each` with the names of a directory behind `after`, until it returns false.
    pub(crate) fn list(
        &self,
        path: &str,
        after: &str,
        mut each: impl FnMut(String, ObjectId) -> bool,
    ) -> Result<(), PmemError> {
        let Found { id, .. } = self.resolve(path)?;
        let from = Name::first_with(after);
        let listed = self.pool.list(id, &from, |name, found| {
            (!after.is_empty() && *name == from) || each(name.to_string(), found.id)
        });
        listed.map_err(told)
    }

    /// What is known of an object; of its type only the name, unless `in_full`.
    pub(crate) fn status(&self, id: ObjectId, in_full: bool) -> Result<ObjectStatus, PmemError> {
        let entry = self.entry(id)?;
        let holds = match entry.is_pending() {
            true => self.pool.origin_of(id).map_err(told)?,
            false => id,
        };
        let memory = self.pool.memory(holds).map_err(told)?;
        let identity = memory.as_ref().and_then(|memory| Identity::read(memory).ok());
        let described = identity.zip(memory.as_ref());
        let described =
            described.and_then(|(identity, memory)| identity.description(memory).ok()?);
        let of = described.map(|known| match in_full {
            true => known.to_string(),
            false => known.root().name.clone(),
        });
        let open = self.open.get(&id).map(|open| open.mapping.control().version());
        let settled = || memory.as_ref().and_then(|memory| layout::settled(memory).ok());
        Ok(ObjectStatus {
            id: ObjectName(id.number()),
            kind: kind(&entry),
            tier: self.tier,
            pages: entry.extent.pages,
            links: entry.links,
            fingerprint: entry.fingerprint,
            of: of.map_or_else(|| "?".into(), shortened),
            version: open.or_else(settled).unwrap_or(0),
            owner: self.owner_in_words(entry.owner),
            users: u32::try_from(self.users(id)).unwrap_or(u32::MAX),
        })
    }

    pub(crate) fn resolve(&self, path: &str) -> Result<Found, PmemError> {
        if path.len() > PATH_MOST {
            return Err(PmemError::TooLong);
        }
        self.pool.resolve(self.pool.root(), path).map_err(told)
    }

    fn locate(&self, path: &str) -> Result<names::Place, PmemError> {
        if path.len() > PATH_MOST {
            return Err(PmemError::TooLong);
        }
        self.pool.locate(self.pool.root(), path).map_err(told)
    }

    fn entry(&self, id: ObjectId) -> Result<Entry, PmemError> {
        self.pool.find(id).map_err(told)?.ok_or(PmemError::NotFound)
    }

    /// The principal of a program: its name, without the number of one of several shells.
    fn principal(&mut self, program: u16, world: &mut impl World) -> Result<Principal, PmemError> {
        let names = world.programs();
        let name = usize::from(program).checked_sub(1).and_then(|index| names.get(index));
        self.pool.principal(principal_name(name.ok_or(PmemError::Denied)?)).map_err(told)
    }

    fn check(&self, id: ObjectId, principal: Principal, rights: May) -> Result<(), PmemError> {
        let may = self.pool.rights(id, principal).map_err(told)?.contains(rights);
        if may { Ok(()) } else { Err(PmemError::Denied) }
    }

    fn may(
        &mut self,
        program: u16,
        id: ObjectId,
        rights: May,
        world: &mut impl World,
    ) -> Result<(), PmemError> {
        let principal = self.principal(program, world)?;
        self.check(id, principal, rights)
    }

    /// Permits another program something.
    pub(crate) fn permit(
        &mut self,
        program: u16,
        path: &str,
        (other, rights): (&str, Rights),
        world: &mut impl World,
    ) -> Result<(), PmemError> {
        let Found { id, .. } = self.resolve(path)?;
        self.may(program, id, May::GRANT | of_mapping(rights), world)?;
        let other = self.pool.principal(principal_name(other)).map_err(told)?;
        self.pool.permit(id, other, of_mapping(rights)).map(drop).map_err(told)
    }

    /// Takes from another program what it may do, and the object, if it has it open.
    pub(crate) fn forbid(
        &mut self,
        program: u16,
        (path, other): (&str, &str),
        world: &mut impl World,
        journal: &Journal,
    ) -> Result<(), PmemError> {
        let Found { id, .. } = self.resolve(path)?;
        self.may(program, id, May::GRANT, world)?;
        let other = self.pool.principal(principal_name(other)).map_err(told)?;
        if self.pool.find(id).map_err(told)?.is_some_and(|entry| entry.owner == other) {
            return Err(PmemError::Denied);
        }
        let has_it = |known: &Session| known.principal == other && known.objects.contains_key(&id);
        let open = self.sessions.iter().filter(|(_, known)| has_it(known));
        let open: Vec<u16> = open.map(|(program, _)| *program).collect();
        open.into_iter().for_each(|program| self.end(program, world, journal));
        let is_its = |left: &&Left| left.principal == other && left.objects.contains_key(&id);
        let shown: Vec<_> =
            self.left.iter().filter(is_its).filter_map(|left| left.shown_to).collect();
        shown.into_iter().for_each(|program| self.end(program, world, journal));
        match self.left.iter().any(|left| !left.is_complete && left.objects.contains_key(&id)) {
            // What is in its log would be refused after a loss of power.
            true => Err(PmemError::Busy),
            false => self.pool.forbid(id, other).map(drop).map_err(told),
        }
    }

    fn owner_in_words(&self, owner: Principal) -> String {
        match self.pool.name_of(owner) {
            Ok(Some(name)) => name.to_string(),
            _ => "pmem".into(),
        }
    }

    fn check_type(&self, id: ObjectId, found: u64, expected: Option<u64>) -> Result<(), PmemError> {
        match expected.filter(|expected| *expected != found) {
            None => Ok(()),
            Some(expected) => {
                let found = self.status(id, true)?.of;
                Err(PmemError::Type { expected, found })
            }
        }
    }
}

/// Makes the object whose pages are controls: a hundredth of the pool at most.
fn make_controls<M: Medium + Clone>(pool: &mut Pool<M>) -> Result<Entry, PoolError> {
    let layout = pool.layout();
    let pages = ((layout.pages - layout.data()) / 100).clamp(4, MOST_OPEN) + 1;
    pool.create_object(New { id: CONTROLS, pages, owner: Principal::POOL, base: &0_u64 })
}

/// Bits that ids of programs' objects have clear are the pool's.
fn draw(world: &mut impl World) -> ObjectId {
    ObjectId::new(world.draw() & !(1 << 127))
}

/// Shells of several consoles are one principal: `shell-2` is `shell`.
fn principal_name(program: &str) -> &str {
    match program.rsplit_once('-') {
        Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => program,
    }
}

/// What it takes to have an object mapped so.
fn of_mapping(rights: Rights) -> May {
    match rights.contain(Rights::WRITE) {
        true => May::READ | May::WRITE,
        false => May::READ,
    }
}

fn shortened(mut words: String) -> String {
    if words.len() > MOST_WORDS {
        let end = (0..=MOST_WORDS).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
        words.truncate(end);
        words.push('…');
    }
    words
}

const fn kind(entry: &Entry) -> ObjectKind {
    match entry.kind() {
        Kind::Object if entry.is_snapshot() => ObjectKind::Snapshot,
        Kind::Object => ObjectKind::Object,
        Kind::Directory => ObjectKind::Directory,
    }
}

const fn single(page: u64) -> Extent {
    Extent { first: page, pages: 1 }
}

const fn place(base: u64, pages: Extent) -> Place {
    Place { base, bytes: pages.pages * PAGE_BYTES }
}
