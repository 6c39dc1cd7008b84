//! A program's way to persistent objects: names at the server `pmem`, objects where they lie.
//!
//! A [`Store`] is a session: it has a log of its own, in persistent memory. Objects that it opens are
//! mapped, never copied; they are read under guards and changed in transactions without the server.
//!
//! ```no_run
//! use libd3os::object::{Persist, field};
//! use libd3os::object::collections::PHashMap;
//! use libd3os::store::{Store, StoreError};
//!
//! #[derive(Default, Persist)]
//! #[repr(C)]
//! struct Ages {
//!     by_name: PHashMap<[u8; 16], u64>,
//! }
//!
//! fn count() -> Result<(), StoreError> {
//!     let mut store = Store::connect()?;
//!     let ages = store.create("ages", 8, &Ages::default())?;
//!     store.tx(|tx| {
//!         let by_name = field!(ages.base(), Ages, by_name);
//!         by_name.insert(&mut tx.edit(&ages)?, *b"Ada Lovelace\0\0\0\0", 36)
//!     })?;
//!     Ok(())
//! }
//! ```
//!
//! Who holds an object for a second while somebody else waits for it is put out: his transaction, and all that he
//! tries afterwards, fails by [`TxError::PutOut`]; what he had committed is there. He connects again, once all
//! handles are dropped.
//!
//! When the server is restarted, sessions end: calls fail with [`StoreError::Restarted`], and objects
//! must not be touched any more, for their memory is gone; a program that does faults. What was
//! committed is there: connect again, once all handles are dropped, and open it again.

pub mod near;

use alloc::string::{String, ToString};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use libd3os_object::control::{Control, ControlRef, Slot};
use libd3os_object::layout::{self, HEADER, LayoutError};
use libd3os_object::log::LogError;
use libd3os_object::map::{self, ObjectMap};
use libd3os_object::medium::{Durability, Mapped};
use libd3os_object::object::{Base, Opaque, OpenError};
use libd3os_object::persist::{Description, Persist};
use libd3os_object::session::{Busy, Patience, Withdrawn};
use libd3os_object::view::View;
use libd3os_object::{Guard, Mapping, Object, Session, Tx, TxError};
use spin::{Mutex, Once};

use crate::call::{CallError, Error, Transport};
use crate::connection::Connection;
use crate::device::PersistenceDomain;
use crate::ipc::MissingGrant;
use crate::object::durability;
use crate::persistent;
use crate::region::Rights;
use crate::service::pmem::{
    ObjectName, OpenObject, PART_MOST, Place, PmemClient, PmemError, Removed, SessionGrant, Tier,
};

/// How often a lock is looked at between two times that others get the processor.
const LOOKS: u32 = 256;
/// So often they do before the server is told that this program waits.
const YIELDS: u32 = 16;

/// How often a snapshot is asked for of an object that others hold just then.
const SNAPSHOT_ATTEMPTS: u32 = 1000;

/// Whether there is a store of each tier, and what there was in earlier ones.
static OPEN: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
static SCRATCH: Once<Mapped> = Once::new();
static EARLIER: Mutex<Vec<Weak<Mapping<Mapped>>>> = Mutex::new(Vec::new());

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The manifest does not let the program call the server.
    NotGranted,
    /// The server was restarted: this store has ended.
    Restarted,
    /// The program has a store of the tier already.
    HasOne,
    /// A handle of the object, or of any object of an earlier store, is still there.
    StillUsed,
    /// A call did not get through.
    Call(CallError),
    /// The server refused.
    Refused(PmemError),
    /// The object cannot be opened.
    Object(OpenError),
    /// The session's log cannot be used.
    Log(LogError),
    /// A transaction did not commit, or an object cannot be read now.
    Transaction(TxError),
    /// Others change the object all the time.
    Changing,
    /// What the server lent makes no sense.
    BadPlace,
}

/// A session, and the objects that it has open. A program has one of each tier at a time.
#[derive(Debug)]
pub struct Store<T: Transport = Connection> {
    client: PmemClient<T>,
    tier: Tier,
    /// Until the store is dropped.
    session: Option<Session<Mapped>>,
    durability: Durability,
    open: Vec<Arc<Mapping<Mapped>>>,
}

/// An object that can be read only.
#[derive(Debug)]
pub struct Readable<B>(Object<B, Mapped>);

impl Store {
    /// Opens a session where objects are persistent, or volatile where the machine has nothing that lasts.
    ///
    /// # Errors
    /// [`StoreError::HasOne`], [`StoreError::StillUsed`], or why the server did not.
    pub fn connect() -> Result<Self, StoreError> {
        let client = PmemClient::connect().map_err(|MissingGrant { .. }| StoreError::NotGranted)?;
        let tier = client.tier()?;
        Self::over(client, tier)
    }

    /// Opens a session in a tier.
    ///
    /// # Errors
    /// As [`Store::connect`].
    pub fn connect_to(tier: Tier) -> Result<Self, StoreError> {
        let client = PmemClient::connect().map_err(|MissingGrant { .. }| StoreError::NotGranted)?;
        Self::over(client, tier)
    }
}

impl<T: Transport> Store<T> {
    /// Opens a session in a tier of the server at the other end of a client.
    ///
    /// # Errors
    /// As [`Store::connect`].
    pub fn over(client: PmemClient<T>, tier: Tier) -> Result<Self, StoreError> {
        let open = is_open(tier);
        if open.swap(true, Ordering::AcqRel) {
            return Err(StoreError::HasOne);
        }
        Self::begin(client, tier).inspect_err(|_| open.store(false, Ordering::Release))
    }

    fn begin(client: PmemClient<T>, tier: Tier) -> Result<Self, StoreError> {
        let mut earlier = EARLIER.lock();
        earlier.retain(|mapping| mapping.strong_count() > 0);
        if !earlier.is_empty() {
            return Err(StoreError::StillUsed);
        }
        let SessionGrant { slot, log, domain } = client.session(tier)?;
        let durability = of_tier(tier, domain);
        let slot = Slot::new(slot).ok_or(StoreError::BadPlace)?;
        let log = match log {
            Some(log) => memory(log, durability)?,
            None => scratch()?,
        };
        // SAFETY: the server gives a slot and a log to one session at a time. What it lends stays
        // until it ends the session; then whoever reaches for it faults, which ends the program.
        let session = unsafe { Session::open(slot, log) };
        let mut session = session.map_err(StoreError::Log)?;
        session.set_patience(|contest| {
            match contest.round % LOOKS == LOOKS - 1 {
                true => crate::sys::yield_now(),
                false => core::hint::spin_loop(),
            }
            match contest.round < LOOKS * YIELDS {
                true => Patience::Wait,
                false => Patience::GiveUp,
            }
        });
        Ok(Self { client, tier, session: Some(session), durability, open: Vec::new() })
    }

    /// What becomes of what is in it.
    #[must_use]
    pub const fn tier(&self) -> Tier {
        self.tier
    }

    /// The server, for what concerns names.
    #[must_use]
    pub const fn server(&self) -> &PmemClient<T> {
        &self.client
    }

    /// The session.
    #[must_use]
    pub fn session(&mut self) -> &mut Session<Mapped> {
        let Some(session) = &mut self.session else { unreachable!("until it is dropped") };
        session
    }

    /// Makes an object of so many pages of 4 KiB, its header included, at a path, and opens it. It is
    /// durable when this returns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn create<B: Persist>(
        &mut self,
        path: &str,
        pages: u32,
        base: &B,
    ) -> Result<Object<B, Mapped>, StoreError> {
        let description = base.description().encode();
        for (number, part) in (0..).zip(description.chunks(PART_MOST)) {
            let from = u32::try_from(number * PART_MOST).unwrap_or(u32::MAX);
            self.client.describe(self.tier, from, part.to_vec())?;
        }
        self.client.create(self.tier, path.to_string(), pages, Base::bytes(base).to_vec())?;
        self.open(path)
    }

    /// Opens an object to read and change it; its base must be a `B`.
    ///
    /// # Errors
    /// [`StoreError`]; of another type, [`OpenError::Type`], which names both.
    pub fn open<B: Persist>(&mut self, path: &str) -> Result<Object<B, Mapped>, StoreError> {
        let mapping = self.map_as::<B>(path, Rights::READ_WRITE)?;
        Object::open(mapping).map_err(StoreError::Object)
    }

    /// Opens an object to read it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_to_read<B: Persist>(&mut self, path: &str) -> Result<Readable<B>, StoreError> {
        let mapping = self.map_as::<B>(path, Rights::READ)?;
        Object::open(mapping).map(Readable).map_err(StoreError::Object)
    }

    fn map_as<B: Persist>(
        &mut self,
        path: &str,
        rights: Rights,
    ) -> Result<Arc<Mapping<Mapped>>, StoreError> {
        let expected = Description::of::<B>();
        let fingerprint = Some(expected.fingerprint().0);
        let opened = self.client.open(self.tier, path.to_string(), rights, fingerprint);
        let opened = opened.map_err(|error| match error {
            Error::Service(PmemError::Type { found, .. }) => {
                StoreError::Object(OpenError::Type { expected: expected.to_string(), found })
            }
            error => error.into(),
        })?;
        self.mapping(opened)
    }

    /// An object's base in words, as its own description says, whatever its type is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn show(&mut self, path: &str) -> Result<String, StoreError> {
        self.of_any_type(path, Self::shown)
    }

    /// What an object consists of: its pages, what its table says of others, its pointers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn map(&mut self, path: &str) -> Result<ObjectMap, StoreError> {
        self.of_any_type(path, |store, object| {
            let description = object.description()?;
            let guard = store.read(object)?;
            Ok(map::map(&guard, description.as_ref())?)
        })
    }

    /// Reads an object whose type is not known here.
    fn of_any_type<R>(
        &mut self,
        path: &str,
        read: impl FnOnce(&Self, &Object<Opaque, Mapped>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let opened = self.client.open(self.tier, path.to_string(), Rights::READ, None)?;
        let object = Object::<Opaque, _>::of_any_type(self.mapping(opened)?);
        let read = read(self, &object);
        // What others of this program have open, too, stays.
        let _kept = self.release(object);
        read
    }

    fn shown(&self, object: &Object<Opaque, Mapped>) -> Result<String, StoreError> {
        let Some(description) = object.description()? else {
            return Ok("a type whose description was too long to be kept".into());
        };
        let guard = self.read(object)?;
        let bytes = guard.slice(object.base_bytes(), description.root().bytes);
        let bytes = bytes.map_err(TxError::from)?;
        let shown = description.show(bytes).map(|shown| alloc::format!("{shown:#?}"));
        shown.ok_or(StoreError::Object(OpenError::Short))
    }

    fn mapping(&mut self, opened: OpenObject) -> Result<Arc<Mapping<Mapped>>, StoreError> {
        let known = self.open.iter().find(|known| known.id().number() == opened.id.0);
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let memory = memory(opened.memory, self.durability)?;
        let control = match opened.control {
            Some(shared) => control(shared)?,
            // Nobody can change it, so there is nothing to share.
            None => ControlRef::own(layout::settled(&memory)?),
        };
        // SAFETY: the server shows the same control to all whom it shows the object, whose bytes are
        // changed by this library only, as far as this program is concerned.
        let mapping = unsafe { Mapping::lent(memory, control) };
        let mapping = Arc::new(mapping?);
        self.open.push(mapping.clone());
        Ok(mapping)
    }

    /// Begins a snapshot of an object, whatever its size, which nobody changes: [`Pmem::snapshot`]. What
    /// was committed before this is in it.
    ///
    /// [`Pmem::snapshot`]: crate::service::pmem::Pmem::snapshot
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn snapshot(&self, path: &str, snapshot: &str) -> Result<(), StoreError> {
        for _ in 1..SNAPSHOT_ATTEMPTS {
            match self.client.snapshot(path.to_string(), snapshot.to_string()) {
                Err(Error::Service(PmemError::Busy)) => crate::sys::yield_now(),
                done => return Ok(done.map(drop)?),
            }
        }
        Ok(self.client.snapshot(path.to_string(), snapshot.to_string()).map(drop)?)
    }

    /// Gives an object back, of which this is the last handle.
    ///
    /// # Errors
    /// [`StoreError::StillUsed`] where there are others: then it stays open.
    pub fn release<B>(&mut self, object: Object<B, Mapped>) -> Result<(), StoreError> {
        let mapping = object.mapping().clone();
        drop(object);
        while let Err(busy) = self.session().settle() {
            if !self.may_try_again() {
                return Err(busy.into());
            }
        }
        // One here, one in the list.
        if Arc::strong_count(&mapping) > 2 {
            return Err(StoreError::StillUsed);
        }
        self.open.retain(|known| !Arc::ptr_eq(known, &mapping));
        let id = ObjectName(mapping.id().number());
        drop(mapping);
        Ok(self.client.release(id)?)
    }

    /// Gives an object, of which this is the last handle, so many pages more.
    ///
    /// # Errors
    /// [`StoreError`]: the object is then to be opened again.
    pub fn enlarge<B: Persist>(
        &mut self,
        path: &str,
        object: Object<B, Mapped>,
        pages: u32,
    ) -> Result<Object<B, Mapped>, StoreError> {
        self.release(object)?;
        self.client.grow(path.to_string(), pages)?;
        let object = self.open::<B>(path)?;
        self.tx(|tx| tx.edit(&object)?.grow())?;
        Ok(object)
    }

    /// Takes a name away. An object that has no other goes when nobody has it open any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remove(&self, path: &str) -> Result<Removed, StoreError> {
        Ok(self.client.remove(path.to_string())?)
    }

    /// Carries out a transaction: [`Session::tx`].
    ///
    /// # Errors
    /// What `body` returns, or why the transaction cannot be committed.
    pub fn tx<R, E: From<TxError>>(
        &mut self,
        mut body: impl FnMut(&mut Tx<'_, Mapped>) -> Result<R, E>,
    ) -> Result<R, E> {
        loop {
            let done = self.session().tx(&mut body);
            if done.is_ok() || !self.may_try_again() {
                return done;
            }
        }
    }

    /// Whether what was just tried can be tried again: it failed as an object was withdrawn, and this has it
    /// shown again; or as somebody else holds one, and this tells the server.
    fn may_try_again(&self) -> bool {
        let Some(session) = &self.session else { return false };
        match (session.withdrawn(), session.gave_up()) {
            (Some(withdrawn), _) => self.renew(withdrawn),
            (None, Some(contest)) => {
                crate::sys::yield_now();
                self.client.contest(ObjectName(contest.id.number())).is_ok()
            }
            (None, None) => false,
        }
    }

    fn renew(&self, Withdrawn { id, withdrawals }: Withdrawn) -> bool {
        let Some(mapping) = self.open.iter().find(|known| known.id() == id) else { return false };
        let Ok(shown) = self.client.renew(ObjectName(id.number())) else { return false };
        let is_there = shown.memory.base == mapping.address() as u64
            && shown.memory.bytes + HEADER >= mapping.bytes();
        if is_there {
            // SAFETY: the server has it lent again, where it was; whoever withdraws it anew counts that.
            unsafe { mapping.shown_again(withdrawals) };
        }
        is_there
    }

    /// Reads an object: [`Session::read`].
    ///
    /// # Errors
    /// The object is being changed.
    pub fn read<'s, B>(
        &'s self,
        object: &'s Object<B, Mapped>,
    ) -> Result<Guard<'s, B, Mapped>, StoreError> {
        let session = self.session.as_ref().ok_or(StoreError::Restarted)?;
        loop {
            match session.read(object) {
                Err(_) if self.may_try_again() => {}
                Err(_) if session.is_put_out() => return Err(TxError::PutOut.into()),
                done => return Ok(done?),
            }
        }
    }

    /// Reads an object that is open for that only.
    ///
    /// # Errors
    /// The object is being changed.
    pub fn look<'s, B>(
        &'s self,
        object: &'s Readable<B>,
    ) -> Result<Guard<'s, B, Mapped>, StoreError> {
        self.read(&object.0)
    }
}

impl<B: Persist> Readable<B> {
    /// Where its base is.
    #[must_use]
    pub const fn base(&self) -> libd3os_object::PPtr<B> {
        self.0.base()
    }
}

impl<T: Transport> Drop for Store<T> {
    /// The server completes what the log says, and takes everything back.
    fn drop(&mut self) {
        self.session = None;
        EARLIER.lock().extend(self.open.iter().map(Arc::downgrade));
        self.open.clear();
        // A server that is gone has nothing to take back.
        let _gone = self.client.close(self.tier);
        is_open(self.tier).store(false, Ordering::Release);
    }
}

/// Whether there is a store of this tier.
const fn is_open(tier: Tier) -> &'static AtomicBool {
    match tier {
        Tier::Persistent => &OPEN[0],
        Tier::Volatile => &OPEN[1],
    }
}

/// What is lost in any case need not be written back.
fn of_tier(tier: Tier, domain: Option<PersistenceDomain>) -> Durability {
    match tier {
        Tier::Persistent => durability(domain),
        Tier::Volatile => Durability::Never,
    }
}

/// Memory that the server has lent.
fn memory(place: Place, durability: Durability) -> Result<Mapped, StoreError> {
    // SAFETY: the server has it lent here, to this session, until it ends; the mapping or the log that
    // is made of it is the only one, as what is open is remembered.
    let memory = unsafe { persistent::lent(place.base, place.bytes, durability) };
    memory.ok_or(StoreError::BadPlace)
}

/// A log for a session that can change nothing: it stays empty. There is one store at a time.
fn scratch() -> Result<Mapped, StoreError> {
    let scratch = *SCRATCH.call_once(persistent::scratch);
    Session::format_log(&scratch).map_err(StoreError::Log)?;
    Ok(scratch)
}

/// What the users of an object share.
fn control(place: Place) -> Result<ControlRef, StoreError> {
    let base = usize::try_from(place.base).map_err(|_| StoreError::BadPlace)?;
    let pointer = core::ptr::with_exposed_provenance::<Control>(base);
    let fits = pointer.is_aligned() && place.bytes >= size_of::<Control>() as u64;
    if base == 0 || !fits {
        return Err(StoreError::BadPlace);
    }
    // SAFETY: the server has made a control there, which is of atomic words only, and lent its page, to
    // this session; who reaches for it when that has ended faults, which ends the program.
    Ok(ControlRef::Shared(unsafe { &*pointer }))
}

impl From<Error<PmemError>> for StoreError {
    fn from(error: Error<PmemError>) -> Self {
        match error {
            Error::Service(PmemError::NoSession) | Error::Call(CallError::Restarted) => {
                Self::Restarted
            }
            Error::Service(error) => Self::Refused(error),
            Error::Call(error) => Self::Call(error),
        }
    }
}

impl From<TxError> for StoreError {
    fn from(error: TxError) -> Self {
        Self::Transaction(error)
    }
}

impl From<Busy> for StoreError {
    fn from(busy: Busy) -> Self {
        Self::Transaction(busy.into())
    }
}

impl From<LayoutError> for StoreError {
    fn from(error: LayoutError) -> Self {
        Self::Object(error.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted => f.write_str("the program may not call `pmem`"),
            Self::Restarted => f.write_str("the object server was restarted"),
            Self::HasOne => f.write_str("the program has a store already"),
            Self::StillUsed => f.write_str("the program still uses the object"),
            Self::Call(error) => write!(f, "calling `pmem`: {error}"),
            Self::Refused(error) => error.fmt(f),
            Self::Object(error) => error.fmt(f),
            Self::Log(error) => error.fmt(f),
            Self::Transaction(error) => error.fmt(f),
            Self::Changing => f.write_str("others change the object all the time"),
            Self::BadPlace => f.write_str("the object server lent what cannot be"),
        }
    }
}

impl core::error::Error for StoreError {}
