//! Persistent objects: names, and memory of objects shown to programs. Served by `pmem`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use libd3os_object::operators::{OperatorError, Outcome};

use super::Page;
use crate::device::PersistenceDomain;
use crate::region::Rights;

/// Most bytes of a path.
pub const PATH_MOST: usize = 256;
/// Most bytes of a part of a description, and of a base.
pub const PART_MOST: usize = 512;
/// Most bytes of a description.
pub const DESCRIPTION_MOST: usize = 64 << 10;

/// Most bytes of an object on which one call does work.
pub const WORK_MOST: usize = 1 << 20;
/// Most places that one call tells of a search.
pub const PLACES_MOST: u32 = 64;

/// Objects that outlive programs and losses of power.
///
/// A path is names with `/` between them; an empty one is the directory above all others. A program
/// opens a session, by which it has a log of its own, opens objects, and then reads and changes them
/// where they lie, without this server: see [`crate::store`], which is how programs use this.
///
/// Sessions and what is opened in them end with the program, with [`Pmem::close`], and when the server
/// is restarted: then calls are answered [`PmemError::NoSession`], and whoever still reaches for an
/// object's memory faults. What was committed is there.
///
/// Each [`Tier`] is a pool of its own, with its own sessions and its own tree of names, but no name is in both but
/// those of directories: so a path leads to the same object whoever asks. Machines without persistent memory have
/// the volatile tier only.
#[crate::service(name = "pmem", version = 4)]
pub trait Pmem {
    /// The tier of objects of which nobody says what it is to be: the persistent one, if there is one.
    #[retryable]
    fn tier() -> Result<Tier, PmemError>;

    /// A tier's pool: how large, and how much of it is free.
    #[retryable]
    fn status(tier: Tier) -> Result<PoolStatus, PmemError>;

    /// Makes a pool of the persistent memory. Nobody may have a session.
    fn init(making: Making) -> Result<PoolStatus, PmemError>;

    /// Opens the caller's session in a tier; one that it has there ends first.
    #[retryable]
    fn session(tier: Tier) -> Result<SessionGrant, PmemError>;

    /// Ends the caller's session in a tier: it can reach neither its log nor any object any more. What it has
    /// committed is completed first.
    #[retryable]
    fn close(tier: Tier) -> Result<(), PmemError>;

    /// A part, from byte `from` on, of the description of the type of which the caller's next object
    /// in that tier is to be; the parts come in order, [`PART_MOST`] bytes at most in each.
    fn describe(tier: Tier, from: u32, part: Vec<u8>) -> Result<(), PmemError>;

    /// Makes an object of `pages` pages of 4 KiB, its header included, of the type that was described,
    /// with a base of these bytes, [`PART_MOST`] at most. Of the path's directories, those are made that only the
    /// other tier has.
    fn create(tier: Tier, path: String, pages: u32, base: Vec<u8>)
    -> Result<ObjectName, PmemError>;

    /// Makes a directory.
    fn make_directory(tier: Tier, path: String) -> Result<ObjectName, PmemError>;

    /// Shows an object of a tier to the caller, who needs a session there. Where a fingerprint is given, the object's
    /// must be the same. An object that the caller has open already is where it was.
    #[retryable]
    fn open(
        tier: Tier,
        path: String,
        rights: Rights,
        fingerprint: Option<u64>,
    ) -> Result<OpenObject, PmemError>;

    /// Withdraws an object from the caller, who promises not to use it any more.
    #[retryable]
    fn release(id: ObjectName) -> Result<(), PmemError>;

    /// Shows the caller again an object that it has open and that was withdrawn from it, as its control tells;
    /// it is where it was.
    #[retryable]
    fn renew(id: ObjectName) -> Result<OpenObject, PmemError>;

    /// The caller waits for the lock of an object that it has open; to be called again while it does. Whoever is
    /// seen each time to have it to write, for a second and without having committed a change of the object, is put
    /// out: what it had committed is completed, its transaction fails, its session ends.
    #[retryable]
    fn contest(id: ObjectName) -> Result<(), PmemError>;

    /// Makes an object of its own, with the name `snapshot`, of what an object holds now, at a cost that
    /// does not depend on how much that is. Nobody can change it; it may be opened to read, linked and removed like
    /// any object, and belongs to the caller, who may read the other one. The object is withdrawn from all who
    /// have it open to write, until they ask for it again ([`Pmem::renew`]): then what it holds is copied.
    fn snapshot(path: String, snapshot: String) -> Result<ObjectName, PmemError>;

    /// Gives an object that nobody has open `pages` pages more, where it is or elsewhere, and tells how
    /// many it has. A transaction takes possession of them.
    fn grow(path: String, pages: u32) -> Result<u64, PmemError>;

    /// Carries out an operator, as its [message](crate::object::operators) says, on bytes of an object, and
    /// tells what came of it: the bytes stay where they are. [`WORK_MOST`] bytes at most, of which a
    /// search tells [`PLACES_MOST`] places, counted from the part's beginning. Who may read the object.
    ///
    /// The server works by its one thread, and keeps nothing: [`crate::store::near`] goes through a whole
    /// object part by part, so that others are answered in between.
    #[retryable]
    fn work(path: String, part: WorkPart, operator: Vec<u8>) -> Result<WorkDone, PmemError>;

    /// Permits a program something with an object, beside what it may already; who may grant.
    fn permit(path: String, program: String, rights: Rights) -> Result<(), PmemError>;

    /// Takes from a program that does not own an object what it may do with it, at once: sessions of it
    /// that have the object open end.
    fn forbid(path: String, program: String) -> Result<(), PmemError>;

    /// Gives an object a further name.
    fn link(path: String, other: String) -> Result<(), PmemError>;

    /// Gives what has one name another one instead.
    fn rename(path: String, other: String) -> Result<(), PmemError>;

    /// Takes a name away, an object's or an empty directory's. An object without a name is deleted,
    /// or when nobody has it open any more.
    fn remove(path: String) -> Result<Removed, PmemError>;

    /// The names in a directory, in order, those that come after the name `after`. A directory that both tiers
    /// have is told of once.
    #[retryable]
    fn list(path: String, after: String) -> Result<Listing, PmemError>;

    /// What a path leads to.
    #[retryable]
    fn stat(path: String) -> Result<ObjectStatus, PmemError>;

    /// Looks at all metadata, and tells what is damaged, in words, from the `from`-th damage on.
    #[retryable]
    fn check(from: u32) -> Result<Page<String>, PmemError>;

    /// Works out anew what can be worked out, and tells what is damaged still.
    fn repair() -> Result<Page<String>, PmemError>;
}

/// The identity of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectName(pub u128);

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What is known of the memory of which a pool is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Making {
    /// Nothing: it is looked through, and left alone where there is anything but zeros.
    Searched,
    /// The caller says that there are only zeros, and only the beginning is looked through, as all of it would take
    /// long. What else is there would seem to be what new objects hold.
    Believed,
    /// Whatever is there may be lost.
    Forced,
}

/// What becomes of an object when the machine is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// It is there afterwards.
    Persistent,
    /// It is lost. Programs use it in the same way, and nothing is written back.
    Volatile,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Persistent => "persistent",
            Self::Volatile => "volatile",
        })
    }
}

/// A pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Its identity.
    pub id: u128,
    /// Its pages of 4 KiB.
    pub pages: u64,
    /// Those that objects can have.
    pub data: u64,
    /// Those of them that are free.
    pub free: u64,
    /// How many objects there are, directories included.
    pub objects: u64,
    /// Sessions that are open.
    pub sessions: u32,
    /// Sessions that can be.
    pub most_sessions: u32,
    /// What the platform saves when power fails; `None` where the firmware does not say.
    pub domain: Option<PersistenceDomain>,
    /// What becomes of all that is in it.
    pub tier: Tier,
    /// Whether the memory is not armed: then objects can be read, and nothing can be written.
    pub is_read_only: bool,
}

/// Memory in the caller's address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Where it begins.
    pub base: u64,
    /// How long it is.
    pub bytes: u64,
}

/// A session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionGrant {
    /// Its number, by which locks know it.
    pub slot: u8,
    /// Its log; none where the pool can only be read.
    pub log: Option<Place>,
    /// What the platform saves when power fails; `None` where the firmware does not say.
    pub domain: Option<PersistenceDomain>,
}

/// An object that the caller can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenObject {
    /// Which.
    pub id: ObjectName,
    /// Its memory, from its header on.
    pub memory: Place,
    /// The page with what its users share about it; none where nobody can change it.
    pub control: Option<Place>,
}

/// Bytes of an object, by their offsets: as pointers count them, the object's pages begin at
/// [`PAGES`](crate::object::layout::PAGES).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkPart {
    /// The first of them.
    pub begin: u64,
    /// Behind the last of them.
    pub end: u64,
    /// How far a match may reach that begins among them, not before `end`.
    pub reach: u64,
}

/// What came of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkDone {
    /// The object that the path led to.
    pub id: ObjectName,
    /// The object's version that was worked on.
    pub version: u64,
    /// The part's outcome.
    pub outcome: Outcome,
}

/// What has become of an object that lost a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removed {
    /// It has others.
    Kept,
    /// It is deleted.
    Deleted,
    /// It will be deleted when nobody has it open any more.
    InUse,
}

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectKind {
    /// Data.
    Object,
    /// Further names.
    Directory,
    /// What another object held.
    Snapshot,
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatus {
    /// Which.
    pub id: ObjectName,
    /// What it is.
    pub kind: ObjectKind,
    /// What becomes of it.
    pub tier: Tier,
    /// Its pages of 4 KiB, the header included.
    pub pages: u64,
    /// How many names it has.
    pub links: u64,
    /// The fingerprint of its base's type.
    pub fingerprint: u64,
    /// The type of its base, as far as the object tells.
    pub of: String,
    /// The number of changes committed, as far as they are in place.
    pub version: u64,
    /// The program that made it.
    pub owner: String,
    /// Programs that have it open.
    pub users: u32,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedObject {
    /// The name.
    pub name: String,
    /// What it leads to.
    pub status: ObjectStatus,
}

/// A part of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Names, in order.
    pub names: Vec<NamedObject>,
    /// Whether there are more after the last of them.
    pub more: bool,
}

/// Why the server refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PmemError {
    /// The memory is not armed: what is written would be lost.
    Unarmed,
    /// The memory cannot be had, and why.
    NoMemory(String),
    /// No RAM for volatile objects can be had, and why.
    NoRam(String),
    /// There is no pool that could be used, and why.
    NoPool(String),
    /// The caller has no session: it never opened one, or the server was restarted since.
    NoSession,
    /// All sessions are taken.
    NoMoreSessions,
    /// No more objects can be open at a time.
    TooManyOpen,
    /// Somebody has a session, or the object open.
    InUse,
    /// No such name.
    NotFound,
    /// The name is taken.
    Exists,
    /// It is not a directory.
    NotDirectory,
    /// It is a directory.
    IsDirectory,
    /// There are names in the directory.
    NotEmpty,
    /// It cannot be done by this name, and why.
    Name(String),
    /// The object's base is of another type.
    Type {
        /// What was asked for.
        expected: u64,
        /// What it is.
        found: String,
    },
    /// What was described is no type, or the base not one of it.
    BadBase,
    /// A message has more bytes, or other ones, than the interface allows.
    TooLong,
    /// There are not so many free pages in one piece.
    Full {
        /// So many were asked for.
        pages: u64,
        /// So many are free.
        free: u64,
    },
    /// The pages behind the object are in use.
    Enclosed,
    /// The caller has not opened the object so that it could do this.
    NotOpen,
    /// Another program holds the object just now.
    Busy,
    /// The caller runs on a core to which the memory cannot be lent.
    Elsewhere,
    /// The program may not do this with the object.
    Denied,
    /// The pool or the object is damaged, and how.
    Damaged(String),
    /// Init could not lend the memory; the log tells more.
    NotLent,
    /// There is no such work.
    Operator(OperatorError),
    /// The object has no such bytes.
    NoSuchBytes,
    /// It is a snapshot.
    ReadOnly,
    /// The caller's session ended, as it held an object for too long while others waited.
    PutOut,
    /// The path leads to an object of another tier.
    OtherTier(Tier),
}

impl fmt::Display for PmemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory(why) => write!(f, "no persistent memory: {why}"),
            Self::NoRam(why) => write!(f, "no memory for volatile objects: {why}"),
            Self::NoPool(why) => write!(f, "there is no pool: {why}"),
            Self::Name(why) | Self::Damaged(why) => f.write_str(why),
            Self::Operator(error) => error.fmt(f),
            Self::OtherTier(tier) => write!(f, "the object is {tier}"),
            Self::Type { expected, found } => {
                write!(f, "the object is a {found}, not of the type {expected:016x}")
            }
            Self::Full { pages, free } => write!(
                f,
                "the pool is full: no {pages} pages in one piece are free, of {free} in all"
            ),
            _ => f.write_str(self.words()),
        }
    }
}

impl PmemError {
    const fn words(&self) -> &'static str {
        match self {
            Self::Unarmed => "the memory is not armed: what is written would be lost",
            Self::NoSession => "there is no session, or it ended with a restart of the server",
            Self::NoMoreSessions => "all sessions are taken",
            Self::TooManyOpen => "no more objects can be open at a time",
            Self::InUse => "programs use it",
            Self::NotFound => "there is no such name",
            Self::Exists => "the name is taken",
            Self::NotDirectory => "it is not a directory",
            Self::IsDirectory => "it is a directory",
            Self::NotEmpty => "the directory is not empty",
            Self::BadBase => "what was described is no type, or the base not one of it",
            Self::TooLong => "a part is too long, or not the next one",
            Self::Enclosed => "the object cannot grow where it is",
            Self::NotOpen => "the program has not opened the object for that",
            Self::Denied => "the program may not do that with the object",
            Self::Busy => "another program holds the object",
            Self::Elsewhere => "persistent memory is for programs of core 0",
            Self::NoSuchBytes => "the object has no such bytes",
            Self::PutOut => "the session was put out: it held an object while others waited",
            Self::ReadOnly => "it is a snapshot, which nobody changes",
            Self::NotLent => "init could not lend the memory",
            _ => "",
        }
    }
}

impl core::error::Error for PmemError {}
