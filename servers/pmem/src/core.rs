//! What the server decides: the interface's operations over a pool that may not be there.
//!
//! Where there is nothing but zeros, or where the making of a pool was interrupted, one is made; where
//! there is something else, it is left alone and every operation but `init` says so.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use libd3os::call::MAX_BYTES;
use libd3os::device::PersistenceDomain;
use libd3os::region::Rights;
use libd3os::service::Page;
use libd3os::service::pmem::{
    DESCRIPTION_MOST, Listing, Making, NamedObject, ObjectName, ObjectStatus, OpenObject,
    PART_MOST, PmemError, PoolStatus, Removed, SessionGrant, Tier, WorkDone, WorkPart,
};
use libd3os_object::ObjectId;
use libd3os_object::medium::Medium;
use libd3os_object::object::Template;
use libd3os_object::recovery::Report;

use crate::errors::told;
use crate::events::{Event, Journal};
use crate::pool::{Opened, Pool, PoolError};
use crate::store::{Store, World};
use crate::superblock::{Ground, Layout, SuperblockError};
use crate::system::Kind;

/// Bytes of an answer that are not names.
const OVERHEAD: usize = 64;

/// Room for names in an answer.
pub(crate) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(MAX_BYTES - OVERHEAD)
    }
}

impl Room {
    /// Whether there is room for one more, which is taken then.
    pub(crate) fn takes(&mut self, named: &NamedObject) -> bool {
        let bytes = postcard::experimental::serialized_size(named).unwrap_or(usize::MAX);
        let rest = self.0.checked_sub(bytes);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

type Done<T> = Result<T, PmemError>;

/// The server.
pub struct Core<M: Medium + Clone, W> {
    medium: M,
    domain: Option<PersistenceDomain>,
    tier: Tier,
    world: W,
    store: Done<Store<M>>,
    /// Descriptions that programs have sent, as far as they have.
    described: BTreeMap<u16, Vec<u8>>,
    journal: Journal,
    is_read_only: bool,
}

/// What was found when the server came up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// A pool, and what recovery had to do: for the pool itself, for programs.
    Opened(Report, Report),
    /// Nothing: a pool was made.
    Made,
    /// A pool that can only be read.
    ReadOnly,
    /// Something that is not ours, or is damaged.
    Refused(PmemError),
}

impl<M: Medium + Clone, W: World> Core<M, W> {
    /// Opens the pool on this medium, or makes one of zeros.
    /// Events are noted in `journal`.
    pub fn new(
        medium: M,
        domain: Option<PersistenceDomain>,
        world: W,
        journal: Journal,
    ) -> (Self, Beginning) {
        Self::opening(medium, (domain, Tier::Persistent), world, journal)
    }

    /// The same on a medium of which nothing lasts. A pool is there when the server was restarted.
    pub fn volatile(medium: M, world: W, journal: Journal) -> (Self, Beginning) {
        Self::opening(medium, (None, Tier::Volatile), world, journal)
    }

    fn opening(
        medium: M,
        (domain, tier): (Option<PersistenceDomain>, Tier),
        world: W,
        journal: Journal,
    ) -> (Self, Beginning) {
        let store = Err(PmemError::NoSession);
        let (described, is_read_only) = (BTreeMap::new(), false);
        let mut core =
            Self { medium, domain, tier, world, store, described, journal, is_read_only };
        let beginning = core.begin();
        core.rest();
        (core, beginning)
    }

    /// Opens the pool on this medium, which may only be read; `scratch` is other memory, for a log of which
    /// nothing is kept.
    pub fn reading(
        medium: M,
        scratch: M,
        domain: Option<PersistenceDomain>,
        world: W,
        journal: Journal,
    ) -> (Self, Beginning) {
        let opened = Pool::open_to_read(medium.clone(), scratch);
        let store = opened.and_then(|pool| Store::new(pool, Tier::Persistent)).map_err(told);
        let refused = store.as_ref().err().cloned();
        let (described, tier, is_read_only) = (BTreeMap::new(), Tier::Persistent, true);
        let core = Self { medium, domain, tier, world, store, described, journal, is_read_only };
        (core, refused.map_or(Beginning::ReadOnly, Beginning::Refused))
    }

    fn begin(&mut self) -> Beginning {
        let bytes = self.medium.bytes() as u64;
        let mut looked = |at| self.world.looked(at, bytes);
        let opened = match Pool::open_telling(self.medium.clone(), &mut looked) {
            Ok(opened) => self.take(opened),
            Err(PoolError::Superblock(SuperblockError::Empty)) => {
                self.make(Ground::Zeros).map(|()| Beginning::Made)
            }
            Err(PoolError::Superblock(SuperblockError::Unfinished)) => {
                self.make(Ground::GivenUp).map(|()| Beginning::Made)
            }
            Err(error) => Err(told(error)),
        };
        opened.unwrap_or_else(|error| {
            self.store = Err(error.clone());
            Beginning::Refused(error)
        })
    }

    fn take(&mut self, Opened { pool, own, programs }: Opened<M>) -> Done<Beginning> {
        self.store = Ok(Store::new(pool, self.tier).map_err(told)?);
        self.journal.note(Event::Recovered(own.applied + programs.applied));
        Ok(Beginning::Opened(own, programs))
    }

    fn make(&mut self, ground: Ground) -> Done<()> {
        let bytes = self.medium.bytes() as u64;
        let layout = Layout::usual(self.world.draw() & !(1 << 127), bytes);
        let pool = Pool::create(self.medium.clone(), layout, ground).map_err(told)?;
        self.store = Ok(Store::new(pool, self.tier).map_err(told)?);
        self.journal.note(Event::Made(layout.pages));
        Ok(())
    }

    /// What a path leads to, if it leads anywhere.
    #[must_use]
    pub fn kind_of(&self, path: &str) -> Option<Kind> {
        let store = self.store.as_ref().ok()?;
        store.resolve(path).ok().map(|found| found.kind)
    }

    /// Whether a program has an object of this pool open.
    #[must_use]
    pub fn has_open(&self, program: u16, id: ObjectName) -> bool {
        self.store.as_ref().is_ok_and(|store| store.has_open(program, ObjectId::new(id.0)))
    }

    /// A program has ended: so has its session.
    pub fn ended(&mut self, program: u16) {
        self.described.remove(&program);
        if let Ok(store) = &mut self.store {
            store.end(program, &mut self.world, &self.journal);
        }
        self.rest();
    }

    /// Does something with the pool for a program.
    fn with<T>(
        &mut self,
        program: u16,
        work: impl FnOnce(&mut Store<M>, &mut W, &Journal) -> Done<T>,
    ) -> Done<T> {
        let store = self.store.as_mut().map_err(|error| error.clone());
        let done = store.and_then(|store| work(store, &mut self.world, &self.journal));
        if done.is_err() {
            self.journal.note(Event::Refused(program));
        }
        self.rest();
        done
    }

    /// Does something to the pool for a program, which nobody can where it can only be read.
    fn change<T>(
        &mut self,
        program: u16,
        work: impl FnOnce(&mut Store<M>, &mut W, &Journal) -> Done<T>,
    ) -> Done<T> {
        let is_read_only = self.is_read_only;
        self.with(program, |store, world, journal| match is_read_only {
            true => Err(PmemError::Unarmed),
            false => work(store, world, journal),
        })
    }

    /// Where nobody uses the pool, what was committed is put in place: it can be read then where its memory
    /// is not armed any more.
    fn rest(&mut self) {
        if let Ok(store) = &mut self.store
            && store.sessions() == 0
        {
            // With nobody there, nobody holds what it would have to wait for.
            let _done = store.pool.rest();
        }
    }

    /// How the pool is. This and what follows are the operations of [`libd3os::service::pmem::Pmem`],
    /// with the caller's number.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn status(&mut self, program: u16) -> Done<PoolStatus> {
        let (domain, tier) = (self.domain, self.tier);
        self.with(program, |store, _, _| {
            let layout = store.pool.layout();
            let mut objects = 0;
            store.pool.for_each(|_, _| objects += 1).map_err(told)?;
            let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            Ok(PoolStatus {
                id: layout.id,
                pages: layout.pages,
                data: layout.pages - layout.data(),
                free: store.pool.free().map_err(told)?,
                objects,
                sessions: count(store.sessions() as u64),
                most_sessions: count(layout.logs - 1),
                domain,
                tier,
                is_read_only: store.pool.is_read_only(),
            })
        })
    }

    /// Makes a pool.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn init(&mut self, program: u16, making: Making) -> Done<PoolStatus> {
        if self.is_read_only {
            self.journal.note(Event::Refused(program));
            return Err(PmemError::Unarmed);
        }
        if self.store.as_ref().is_ok_and(|store| store.sessions() > 0) {
            return Err(PmemError::InUse);
        }
        let ground = match making {
            Making::Searched => Ground::Unknown,
            Making::Believed => Ground::Believed,
            Making::Forced => Ground::GivenUp,
        };
        self.make(ground).inspect_err(|_| self.journal.note(Event::Refused(program)))?;
        self.status(program)
    }

    /// Opens a program's session.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn session(&mut self, program: u16) -> Done<SessionGrant> {
        let domain = self.domain;
        self.with(program, |store, world, journal| {
            let (slot, log) = store.begin(program, world, journal)?;
            Ok(SessionGrant { slot: slot.number(), log, domain })
        })
    }

    /// Ends it.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn close(&mut self, program: u16) -> Done<()> {
        self.ended(program);
        Ok(())
    }

    /// Takes a part of a description.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn describe(&mut self, program: u16, from: u32, part: &[u8]) -> Done<()> {
        let known = self.described.entry(program).or_default();
        if from == 0 {
            known.clear();
        }
        let fits = part.len() <= PART_MOST && known.len() + part.len() <= DESCRIPTION_MOST;
        if !fits || usize::try_from(from) != Ok(known.len()) {
            return Err(PmemError::TooLong);
        }
        known.extend_from_slice(part);
        Ok(())
    }

    /// Makes an object.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn create(
        &mut self,
        program: u16,
        path: &str,
        pages: u32,
        base: Vec<u8>,
    ) -> Done<ObjectName> {
        if base.len() > PART_MOST {
            return Err(PmemError::TooLong);
        }
        let description = self.described.remove(&program).unwrap_or_default();
        self.change(program, |store, world, journal| {
            let template = Template::new(&description, base).map_err(|_| PmemError::BadBase)?;
            let created = store.create(program, (path, pages, &template), world, journal)?;
            Ok(name_of(created))
        })
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn make_directory(&mut self, program: u16, path: &str) -> Done<ObjectName> {
        self.change(program, |store, world, _| {
            store.make_directory(program, path, world).map(name_of)
        })
    }

    /// Shows an object to a program.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn open(
        &mut self,
        program: u16,
        path: &str,
        rights: Rights,
        fingerprint: Option<u64>,
    ) -> Done<OpenObject> {
        let rights = if rights.contain(Rights::WRITE) { Rights::READ_WRITE } else { Rights::READ };
        self.with(program, |store, world, journal| {
            store.open(program, (path, rights, fingerprint), world, journal)
        })
    }

    /// Withdraws one.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn release(&mut self, program: u16, id: ObjectName) -> Done<()> {
        self.with(program, |store, world, journal| {
            store.release(program, ObjectId::new(id.0), world, journal)
        })
    }

    /// Shows an object again that was withdrawn.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn renew(&mut self, program: u16, id: ObjectName) -> Done<OpenObject> {
        self.with(program, |store, world, _| store.renew(program, ObjectId::new(id.0), world))
    }

    /// Puts out who holds an object for too long.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn contest(&mut self, program: u16, id: ObjectName) -> Done<()> {
        self.with(program, |store, world, journal| {
            store.contest(program, ObjectId::new(id.0), world, journal)
        })
    }

    /// Begins a snapshot.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn snapshot(&mut self, program: u16, path: &str, snapshot: &str) -> Done<ObjectName> {
        self.change(program, |store, world, journal| {
            store.snapshot(program, (path, snapshot), world, journal).map(name_of)
        })
    }

    /// Gives an object more pages.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn grow(&mut self, program: u16, path: &str, pages: u32) -> Done<u64> {
        self.change(program, |store, world, _| store.grow(program, path, pages, world))
    }

    /// Does work on a part of an object's bytes.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn work(
        &mut self,
        program: u16,
        path: &str,
        part: WorkPart,
        operator: &[u8],
    ) -> Done<WorkDone> {
        self.with(program, |store, world, journal| {
            store.work(program, (path, part, operator), world, journal)
        })
    }

    /// Permits another program something with an object.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn permit(&mut self, program: u16, path: &str, other: &str, rights: Rights) -> Done<()> {
        self.change(program, |store, world, _| store.permit(program, path, (other, rights), world))
    }

    /// Takes that away.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn forbid(&mut self, program: u16, path: &str, other: &str) -> Done<()> {
        self.change(program, |store, world, journal| {
            store.forbid(program, (path, other), world, journal)
        })
    }

    /// Gives an object one more name.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn link(&mut self, program: u16, path: &str, other: &str) -> Done<()> {
        self.change(program, |store, world, _| store.link(program, path, other, world))
    }

    /// Gives what has a name another one.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn rename(&mut self, program: u16, path: &str, other: &str) -> Done<()> {
        self.change(program, |store, world, _| store.rename(program, path, other, world))
    }

    /// Takes a name away.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn remove(&mut self, program: u16, path: &str) -> Done<Removed> {
        self.change(program, |store, world, journal| store.remove(program, path, world, journal))
    }

    /// The names of a directory.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn list(&mut self, program: u16, path: &str, after: &str) -> Done<Listing> {
        self.with(program, |store, _, _| {
            let (mut found, mut more) = (Vec::new(), false);
            let mut room = Room::default();
            store.list(path, after, |name, id| {
                // What cannot be told does not keep the others from being told.
                let Ok(status) = store.status(id, false) else { return true };
                let named = NamedObject { name, status };
                more |= !room.takes(&named);
                if !more {
                    found.push(named);
                }
                !more
            })?;
            Ok(Listing { names: found, more })
        })
    }

    /// What a path leads to.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn stat(&mut self, program: u16, path: &str) -> Done<ObjectStatus> {
        self.with(program, |store, _, _| {
            let found = store.resolve(path)?;
            store.status(found.id, true)
        })
    }

    /// What is damaged.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn check(&mut self, program: u16, from: u32) -> Done<Page<String>> {
        self.with(program, |store, _, journal| {
            let damage = store.pool.check().map_err(told)?;
            journal.note(Event::Checked(damage.len()));
            Ok(Page::fill(from, damage.iter().map(ToString::to_string)))
        })
    }

    /// Works out anew what can be, and tells what is damaged still.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn repair(&mut self, program: u16) -> Done<Page<String>> {
        self.change(program, |store, _, _| {
            let damage = store.pool.repair().map_err(told)?;
            Ok(Page::fill(0, damage.iter().map(ToString::to_string)))
        })
    }
}

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod tests;

fn name_of(id: ObjectId) -> ObjectName {
    ObjectName(id.number())
}
