//! Whose objects are, and who may do what with them: what the server knows across losses of power.
//!
//! A *principal* is whoever objects belong to: a program, by the name that its manifest gives it. The
//! owner of an object may do everything with it, others what they were permitted. Which principal
//! has which session is written down before it gets the log, so that recovery knows whose
//! transactions a log holds, and lets them change what this principal could write and nothing else.

use libd3os_object::control::Slot;
use libd3os_object::medium::{Medium, Part};
use libd3os_object::view::View;
use libd3os_object::{Editor, ObjectId, PPtr, Persist, Session};

use crate::name::Name;
use crate::pool::{self, Pool, PoolError};
use crate::rights::Rights;
use crate::sealed::Sealed;
use crate::system::{self, Entry, Kind, System};

/// Whose an object is. [`Pool::principal`] gives numbers to names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Persist)]
#[repr(transparent)]
pub struct Principal(u64);

/// Who is permitted something with which object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Persist)]
#[repr(C)]
pub(crate) struct Permit {
    object: [u64; 2],
    principal: Principal,
}

impl Principal {
    /// The pool itself: no program.
    pub const POOL: Self = Self(0);

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The principal of this number, whether there is one or not.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }
}

impl Permit {
    pub(crate) const fn new(object: ObjectId, principal: Principal) -> Self {
        Self { object: object.words(), principal }
    }

    pub(crate) const fn object(&self) -> ObjectId {
        ObjectId::from_words(self.object)
    }
}

impl<M: Medium + Clone> Pool<M> {
    /// The principal of this name, now and whenever the pool is opened again.
    ///
    /// # Errors
    /// It is no name, or there is no room for one more.
    pub fn principal(&mut self, name: &str) -> Result<Principal, PoolError> {
        let name = Name::new(name)?;
        let (session, system) = self.system();
        let known = system::principals(system.base()).get(&session.read(system)?, &name)?.copied();
        if let Some(number) = known {
            let is_named = self.name_of(Principal(number))? == Some(name);
            let damaged = PoolError::Fenced(self.system().1.mapping().id());
            return if is_named { Ok(Principal(number)) } else { Err(damaged) };
        }
        let system = system.mapping().id();
        self.change(|editor| {
            let base = editor.base_pointer();
            let number = system::names(base).len(editor)?.saturating_add(1);
            let is_new = system::principals(base).insert(editor, name, number)?;
            if !is_new || !system::names(base).insert(editor, number, name)? {
                return Err(PoolError::Fenced(system));
            }
            Ok(Principal(number))
        })
    }

    /// The name of a principal.
    ///
    /// # Errors
    /// The system object is damaged.
    pub fn name_of(&self, principal: Principal) -> Result<Option<Name>, PoolError> {
        let (session, system) = self.system();
        Ok(system::names(system.base()).get(&session.read(system)?, &principal.0)?.copied())
    }

    /// What a principal may do with an object: everything with its own, else what it was permitted.
    ///
    /// # Errors
    /// The system object is damaged.
    pub fn rights(&self, id: ObjectId, principal: Principal) -> Result<Rights, PoolError> {
        let (session, system) = self.system();
        let view = session.read(system)?;
        match system::find(&view, system.base(), id)? {
            Some(entry) => rights(&view, system.base(), id, &entry, principal),
            None => Ok(Rights::empty()),
        }
    }

    /// Permits a principal these rights to an object beside those that it has; returns all of them. To be
    /// done before a program can reach the object to write: else what it commits is not recovered.
    ///
    /// # Errors
    /// There is no such object, or no room to write that down.
    pub fn permit(
        &mut self,
        id: ObjectId,
        principal: Principal,
        more: Rights,
    ) -> Result<Rights, PoolError> {
        let now = self.rights(id, principal)?;
        if now.contains(more) && self.find(id)?.is_some() {
            return Ok(now);
        }
        let all = now | more;
        self.change(|editor| {
            pool::entry(editor, id)?;
            let (permits, permit) =
                (system::permits(editor.base_pointer()), Permit::new(id, principal));
            permits.insert(editor, permit, Sealed::new(&permit, all.bits()))?;
            Ok(all)
        })
    }

    /// Takes all rights to an object from a principal that is not its owner; whether it had any. No session of
    /// the principal can reach the object any more, and it was settled: what is only in a log would be
    /// refused after a loss of power.
    ///
    /// # Errors
    /// The system object is damaged.
    pub fn forbid(&mut self, id: ObjectId, principal: Principal) -> Result<bool, PoolError> {
        self.change(|editor| {
            let permits = system::permits(editor.base_pointer());
            Ok(permits.remove(editor, &Permit::new(id, principal))?)
        })
    }

    /// Gives a principal a session: its log, which is empty. Durable when this returns.
    ///
    /// # Errors
    /// There is no such session, or somebody has it.
    pub fn begin_session(
        &mut self,
        slot: Slot,
        principal: Principal,
    ) -> Result<Part<M>, PoolError> {
        let log = self.log(slot).filter(|_| slot.number() > 0).ok_or(PoolError::Slot(slot))?;
        if self.holder(slot)?.is_some() {
            return Err(PoolError::Slot(slot));
        }
        // What somebody has left there, who could write what he liked, is nobody's.
        if Session::check_log(log.clone()).is_err() {
            Session::format_log(&log)?;
        }
        self.set_holder(slot, principal)?;
        Ok(log)
    }

    /// Takes a session back. What its log says was completed before.
    ///
    /// # Errors
    /// The system object is damaged.
    pub fn end_session(&mut self, slot: Slot) -> Result<(), PoolError> {
        self.set_holder(slot, Principal::POOL)
    }

    /// Who has a session.
    ///
    /// # Errors
    /// The system object is damaged.
    pub fn holder(&self, slot: Slot) -> Result<Option<Principal>, PoolError> {
        let (session, system) = self.system();
        let view = session.read(system)?;
        let sealed = view.get(system::holder(system.base(), slot))?;
        let holder = sealed.open(&u64::from(slot.number()));
        let holder = holder.ok_or(PoolError::Fenced(system.mapping().id()))?;
        Ok((holder != Principal::POOL).then_some(holder))
    }

    fn set_holder(&mut self, slot: Slot, principal: Principal) -> Result<(), PoolError> {
        self.change(|editor| {
            let place = system::holder(editor.base_pointer(), slot);
            let sealed = Sealed::new(&u64::from(slot.number()), principal);
            Ok(editor.set(place, sealed)?)
        })
    }

    /// No session outlives the opening of the pool.
    pub(crate) fn end_sessions(&mut self) -> Result<(), PoolError> {
        self.change(|editor| {
            let place = system::holders(editor.base_pointer());
            // What is not changed by that is not logged.
            Ok(editor.set(place, system::no_holders())?)
        })
    }
}

/// What a principal may do with an object that is there.
pub(crate) fn rights(
    view: &impl View,
    base: PPtr<System>,
    id: ObjectId,
    entry: &Entry,
    principal: Principal,
) -> Result<Rights, PoolError> {
    if entry.owner == principal && principal != Principal::POOL {
        return Ok(Rights::all());
    }
    let permit = Permit::new(id, principal);
    let permitted = system::permits(base).get(view, &permit)?;
    let bits = permitted.map(|sealed| sealed.open(&permit).ok_or(PoolError::Fenced(id)));
    Ok(bits.transpose()?.map_or(Rights::empty(), Rights::from_bits_truncate))
}

/// Whether what a log says of an object is put in place: its holder could write it.
pub(crate) fn may_write(
    view: &impl View,
    base: PPtr<System>,
    id: ObjectId,
    entry: &Entry,
    principal: Principal,
) -> Result<bool, PoolError> {
    let is_programs = entry.kind() == Kind::Object && !entry.is_snapshot();
    let is_programs = is_programs && principal != Principal::POOL;
    Ok(is_programs && rights(view, base, id, entry, principal)?.contains(Rights::WRITE))
}

/// Forgets who was permitted what with an object that is gone.
pub(crate) fn forget(editor: &mut Editor<'_, System>, id: ObjectId) -> Result<(), PoolError> {
    let permits = system::permits(editor.base_pointer());
    let mut of_object = alloc::vec::Vec::new();
    permits.for_each_from(editor, &Permit::new(id, Principal(0)), |permit, _| {
        let is_of = permit.object() == id;
        of_object.extend(is_of.then_some(*permit));
        is_of
    })?;
    of_object.iter().try_for_each(|permit| Ok(permits.remove(editor, permit).map(drop)?))
}
