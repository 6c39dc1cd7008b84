//! Objects of both tiers, by paths that do not tell which.
//!
//! Each tier is a pool of its own ([`Core`]) with its own names, of which none is in both but directories'. So a
//! path leads to one object, whoever asks, and what is volatile needs no place in what is persistent: it
//! is gone with its names. A volatile object's directories are made with it, where only the other
//! tier has them.
//!
//! The volatile pool is opened when somebody asks for it first: until then it takes no memory.

use alloc::string::String;
use alloc::vec::Vec;

use libd3os::region::Rights;
use libd3os::service::Page;
use libd3os::service::pmem::{
    Listing, NamedObject, ObjectName, OpenObject, PmemError, PoolStatus, SessionGrant, Tier,
};
use libd3os_object::medium::Medium;

use crate::core::{Core, Room};
use crate::store::World;
use crate::system::Kind;

type Done<T> = Result<T, PmemError>;

/// Damage of the volatile pool is told from this number on.
const VOLATILE_DAMAGE: u32 = 1 << 31;

/// The pools of a machine.
pub struct Tiers<M: Medium + Clone, W, O> {
    /// None where the machine has no persistent memory.
    persistent: Option<Done<Core<M, W>>>,
    volatile: Option<Core<M, W>>,
    open: O,
}

impl<M: Medium + Clone, W: World, O: FnMut() -> Done<Core<M, W>>> Tiers<M, W, O> {
    /// The persistent pool, why there is none, or nothing where the machine has no memory for it; `open` opens
    /// the volatile one.
    pub const fn new(persistent: Option<Done<Core<M, W>>>, open: O) -> Self {
        Self { persistent, volatile: None, open }
    }

    /// The tier of objects of which nobody says what it is to be.
    #[must_use]
    pub const fn usual(&self) -> Tier {
        if self.persistent.is_some() { Tier::Persistent } else { Tier::Volatile }
    }

    /// A tier's pool; the volatile one is opened.
    ///
    /// # Errors
    /// Why there is none.
    pub fn at(&mut self, tier: Tier) -> Done<&mut Core<M, W>> {
        match (tier, &mut self.persistent) {
            (Tier::Persistent, Some(core)) => core.as_mut().map_err(|error| error.clone()),
            (Tier::Persistent, None) => Err(PmemError::NoMemory("the machine has none".into())),
            (Tier::Volatile, _) => match &mut self.volatile {
                Some(core) => Ok(core),
                closed => Ok(closed.insert((self.open)()?)),
            },
        }
    }

    /// The pools that are there.
    fn each(&mut self) -> impl Iterator<Item = &mut Core<M, W>> {
        self.persistent.iter_mut().flatten().chain(&mut self.volatile)
    }

    /// What a path leads to in a tier, if it leads anywhere there.
    fn kind_of(&self, tier: Tier, path: &str) -> Option<Kind> {
        let core = match tier {
            Tier::Persistent => self.persistent.as_ref()?.as_ref().ok()?,
            Tier::Volatile => self.volatile.as_ref()?,
        };
        core.kind_of(path)
    }

    /// The tier of what a path leads to; the usual one where it leads nowhere.
    fn tier_of(&self, path: &str) -> Tier {
        let leads = |tier| self.kind_of(tier, path).is_some();
        match leads(Tier::Volatile) && !leads(Tier::Persistent) {
            true => Tier::Volatile,
            false => self.usual(),
        }
    }

    /// The pool of what a path leads to.
    ///
    /// # Errors
    /// As [`Self::at`].
    pub fn of(&mut self, path: &str) -> Done<&mut Core<M, W>> {
        self.at(self.tier_of(path))
    }

    /// The pool of an object that a program has open.
    ///
    /// # Errors
    /// As [`Self::at`].
    pub fn with(&mut self, program: u16, id: ObjectName) -> Done<&mut Core<M, W>> {
        let is_volatile = self.volatile.as_ref().is_some_and(|core| core.has_open(program, id));
        self.at(if is_volatile { Tier::Volatile } else { self.usual() })
    }

    /// A program has ended.
    pub fn ended(&mut self, program: u16) {
        self.each().for_each(|core| core.ended(program));
    }

    /// How a tier's pool is. To tell it of the volatile one beside a persistent one, that is not opened.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn status(&mut self, program: u16, tier: Tier) -> Done<PoolStatus> {
        if (tier, self.usual()) == (Tier::Volatile, Tier::Persistent) && self.volatile.is_none() {
            return Err(PmemError::NoRam("nobody has asked for any yet".into()));
        }
        self.at(tier)?.status(program)
    }

    /// Opens a program's session in a tier.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn session(&mut self, program: u16, tier: Tier) -> Done<SessionGrant> {
        self.at(tier)?.session(program)
    }

    /// Makes an object, and those of its directories that only the other tier has.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn create(
        &mut self,
        program: u16,
        tier: Tier,
        (path, pages, base): (&str, u32, Vec<u8>),
    ) -> Done<ObjectName> {
        self.prepare(program, tier, path)?;
        self.is_free(tier, path, Kind::Object)?;
        self.at(tier)?.create(program, path, pages, base)
    }

    /// Makes a directory, and those above it that only the other tier has.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn make_directory(&mut self, program: u16, tier: Tier, path: &str) -> Done<ObjectName> {
        self.prepare(program, tier, path)?;
        self.is_free(tier, path, Kind::Directory)?;
        self.at(tier)?.make_directory(program, path)
    }

    /// Makes the directories above a path that only the other tier has.
    fn prepare(&mut self, program: u16, tier: Tier, path: &str) -> Done<()> {
        let other = other(tier);
        for (end, _) in path.match_indices('/') {
            let above = path.get(..end).unwrap_or_default();
            let is_there = self.kind_of(other, above) == Some(Kind::Directory);
            if is_there && self.kind_of(tier, above).is_none() {
                self.at(tier)?.make_directory(program, above)?;
            }
        }
        Ok(())
    }

    /// That the other tier has nothing by this name that would be hidden, or hide it.
    fn is_free(&self, tier: Tier, path: &str, kind: Kind) -> Done<()> {
        match self.kind_of(other(tier), path) {
            Some(found) if found != Kind::Directory || kind != Kind::Directory => {
                Err(PmemError::Exists)
            }
            _ => Ok(()),
        }
    }

    /// Shows an object of a tier to a program.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn open(
        &mut self,
        program: u16,
        tier: Tier,
        (path, rights, fingerprint): (&str, Rights, Option<u64>),
    ) -> Done<OpenObject> {
        match self.kind_of(other(tier), path) {
            Some(Kind::Object) => Err(PmemError::OtherTier(other(tier))),
            _ => self.at(tier)?.open(program, path, rights, fingerprint),
        }
    }

    /// Does something that gives what one path leads to another name, too.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn naming<T>(
        &mut self,
        (path, name): (&str, &str),
        work: impl FnOnce(&mut Core<M, W>) -> Done<T>,
    ) -> Done<T> {
        let tier = self.tier_of(path);
        self.is_free(tier, name, Kind::Object)?;
        work(self.at(tier)?)
    }

    /// The names of a directory, of both tiers.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn list(&mut self, program: u16, path: &str, after: &str) -> Done<Listing> {
        let usual = self.at(self.usual()).and_then(|core| core.list(program, path, after));
        let other = match (self.usual(), &mut self.volatile) {
            (Tier::Persistent, Some(core)) => core.list(program, path, after),
            _ => return usual,
        };
        match (usual, other) {
            (Ok(usual), Ok(other)) => Ok(merged(usual, other)),
            (usual, Err(_)) => usual,
            (Err(_), other) => other,
        }
    }

    /// What is damaged, of both tiers.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn check(&mut self, program: u16, from: u32) -> Done<Page<String>> {
        if let Some(from) = from.checked_sub(VOLATILE_DAMAGE) {
            let page = self.at(Tier::Volatile)?.check(program, from)?;
            return Ok(Page { next: page.next.map(|next| next | VOLATILE_DAMAGE), ..page });
        }
        let mut page = self.at(self.usual())?.check(program, from)?;
        if self.usual() == Tier::Persistent && self.volatile.is_some() {
            page.next = page.next.or(Some(VOLATILE_DAMAGE));
        }
        Ok(page)
    }

    /// Repairs both pools; tells what is damaged still.
    ///
    /// # Errors
    /// [`PmemError`].
    pub fn repair(&mut self, program: u16) -> Done<Page<String>> {
        let page = self.at(self.usual())?.repair(program)?;
        match (&mut self.volatile, page.items.is_empty(), &self.persistent) {
            (Some(core), true, Some(_)) => core.repair(program),
            _ => Ok(page),
        }
    }
}

const fn other(tier: Tier) -> Tier {
    match tier {
        Tier::Persistent => Tier::Volatile,
        Tier::Volatile => Tier::Persistent,
    }
}

/// Names of both lists, in order, as far as both tell of all and an answer holds them. Of a name that is in
/// both, which is a directory's, the first one's is told.
fn merged(first: Listing, second: Listing) -> Listing {
    let end =
        |list: &Listing| list.names.last().filter(|_| list.more).map(|last| last.name.clone());
    let end = [end(&first), end(&second)].into_iter().flatten().min();
    let mut more = first.more || second.more;
    let mut all: Vec<NamedObject> = first.names.into_iter().chain(second.names).collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all.dedup_by(|later, earlier| later.name == earlier.name);
    all.retain(|named| end.as_ref().is_none_or(|end| named.name <= *end));
    let mut room = Room::default();
    let fits = all.iter().take_while(|named| room.takes(named)).count();
    more |= fits < all.len();
    all.truncate(fits);
    Listing { names: all, more }
}

#[cfg(test)]
mod tests;
