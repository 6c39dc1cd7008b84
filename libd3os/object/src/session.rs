//! A session: what one thread of a program reads and changes objects with.
//!
//! A session has a slot, by which locks know it, and a log of its own. It serves one thing at a time:
//! any number of guards that read, or one transaction. A program with several threads opens several.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;

use crate::control::{self, Control, Slot};
use crate::guard::Guard;
use crate::id::ObjectId;
use crate::layout;
use crate::log::record::{self, Builder};
use crate::log::{Log, LogError};
use crate::mapping::Mapping;
use crate::medium::Medium;
use crate::object::Object;
use crate::place;
use crate::shadow::Shadows;
use crate::tx::{Tx, TxError};
use crate::view;

/// Somebody else holds an object's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contest {
    /// The object.
    pub id: ObjectId,
    /// Who writes it or waits to; none if others only read it.
    pub writer: Option<Slot>,
    /// How often this was asked before, in this wait.
    pub round: u32,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Look again. Whoever is asked has let some time go by.
    Wait,
    /// Give up: the caller gets [`Busy`].
    GiveUp,
}

/// An object's lock was not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy {
    /// The object.
    pub id: ObjectId,
}

/// An object's memory was withdrawn, and has to be shown again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// The object.
    pub id: ObjectId,
    /// How many withdrawals there were.
    pub withdrawals: u64,
}

/// So many objects are remembered between transactions.
const MANY: usize = 64;

type Wait = Box<dyn FnMut(Contest) -> Patience + Send>;

/// See the module.
pub struct Session<M> {
    slot: Slot,
    log: Log<M>,
    wait: RefCell<Wait>,
    reading: RefCell<Vec<Reading>>,
    withdrawn: Cell<Option<Withdrawn>>,
    gave_up: Cell<Option<Contest>>,
    is_put_out: Cell<bool>,
    pub(crate) shadows: Shadows,
    pub(crate) record: Builder,
    pub(crate) known: Vec<Known<M>>,
}

/// A lock that guards of this session hold.
struct Reading {
    id: ObjectId,
    guards: usize,
}

/// An object that this session has changed, or is about to.
pub(crate) struct Known<M> {
    pub(crate) mapping: Arc<Mapping<M>>,
    /// Whether the transaction in progress holds its lock.
    pub(crate) is_held: bool,
    /// Whether there may be records that concern it.
    is_changed: bool,
}

impl<M: Medium> Session<M> {
    /// A session with this slot and this log.
    ///
    /// # Errors
    /// The log is none, or was not recovered.
    ///
    /// # Safety
    /// Until the session ends, no other one has the same slot, in whichever program, as far as they have
    /// an object in common; nobody else writes the log. The memory of the objects that it uses stays
    /// mapped as long as it exists, unless its program ends.
    pub unsafe fn open(slot: Slot, log: M) -> Result<Self, LogError> {
        Ok(Self {
            slot,
            log: Log::open(log)?,
            wait: RefCell::new(Box::new(|_| {
                core::hint::spin_loop();
                Patience::Wait
            })),
            reading: RefCell::default(),
            withdrawn: Cell::new(None),
            gave_up: Cell::new(None),
            is_put_out: Cell::new(false),
            shadows: Shadows::new(),
            record: Builder::default(),
            known: Vec::new(),
        })
    }

    /// Makes a medium an empty log; durable when this returns.
    ///
    /// # Errors
    /// It is too short.
    pub fn format_log(medium: &M) -> Result<(), LogError> {
        Log::format(medium)
    }

    /// That a medium is a log without records.
    ///
    /// # Errors
    /// The log is none, or was not recovered.
    pub fn check_log(medium: M) -> Result<(), LogError> {
        Log::open(medium).map(drop)
    }

    /// Says what to do while somebody else holds a lock, rather than to spin. A program lets others
    /// run, and after a while tells the object server, which puts out who has died or stalls.
    pub fn set_patience(&mut self, wait: impl FnMut(Contest) -> Patience + Send + 'static) {
        self.wait = RefCell::new(Box::new(wait));
    }

    /// By which locks know the session.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Reads an object: as long as the guard lives, nobody changes it.
    ///
    /// Who holds guards already waits only for objects of greater ids, so that nobody waits in a circle;
    /// several objects are best read in this order, or inside [`tx`](Self::tx).
    ///
    /// # Errors
    /// The object is being changed, and waiting was given up or might be in a circle.
    pub fn read<'s, T>(&'s self, object: &'s Object<T, M>) -> Result<Guard<'s, T, M>, Busy> {
        self.begin_read(object.mapping())?;
        Ok(Guard::new(self, object.mapping()))
    }

    /// Why the last transaction failed, or the last guard was not to be had, if that was because an
    /// object's memory was withdrawn from under its [mapping](Mapping::lent).
    #[must_use]
    pub const fn withdrawn(&self) -> Option<Withdrawn> {
        self.withdrawn.get()
    }

    /// For whom the last transaction or guard that failed has waited in vain.
    #[must_use]
    pub const fn gave_up(&self) -> Option<Contest> {
        self.gave_up.get()
    }

    /// Whether the session was put out while it held a lock: [`TxError::PutOut`].
    #[must_use]
    pub const fn is_put_out(&self) -> bool {
        self.is_put_out.get()
    }

    /// Whether the transaction in progress still has the locks that it took.
    pub(crate) fn holds_all(&self) -> bool {
        let mut held = self.known.iter().filter(|known| known.is_held);
        held.all(|known| known.mapping.control().lock().writer() == Some(self.slot))
    }

    /// Nothing went wrong yet.
    fn begin(&self) {
        self.withdrawn.set(None);
        self.gave_up.set(None);
    }

    /// That the memory of an object, whose lock is held, is there.
    fn check_shown(&self, mapping: &Mapping<M>) -> Result<(), Busy> {
        let Some(withdrawals) = mapping.withdrawn() else { return Ok(()) };
        let id = mapping.id();
        self.withdrawn.set(Some(Withdrawn { id, withdrawals }));
        Err(Busy { id })
    }

    pub(crate) fn begin_read(&self, mapping: &Mapping<M>) -> Result<(), Busy> {
        self.begin();
        let id = mapping.id();
        if self.is_put_out() {
            return Err(Busy { id });
        }
        let mut reading = self.reading.borrow_mut();
        if let Some(reading) = reading.iter_mut().find(|reading| reading.id == id) {
            reading.guards += 1;
        } else {
            let may_wait = reading.iter().all(|reading| reading.id < id);
            self.wait_for(id, mapping.control(), may_wait, |control| {
                control.lock().try_read(self.slot)
            })?;
            let shown = self.check_shown(mapping);
            shown.inspect_err(|_| mapping.control().lock().end_read(self.slot))?;
            reading.push(Reading { id, guards: 1 });
        }
        Ok(())
    }

    /// Ends a guard.
    pub(crate) fn end_read(&self, mapping: &Mapping<M>) {
        let mut reading = self.reading.borrow_mut();
        let Some(at) = reading.iter().position(|reading| reading.id == mapping.id()) else {
            return;
        };
        reading[at].guards -= 1;
        if reading[at].guards == 0 {
            reading.swap_remove(at);
            mapping.control().lock().end_read(self.slot);
        }
    }

    /// Carries out a transaction: all that `body` changes, in however many objects, becomes visible and
    /// durable at once, or nothing of it does.
    ///
    /// `body` runs again from the start if it met somebody who holds a lock that waiting for might be
    /// in a circle; so it should have no effects but those on the transaction. If it returns an error,
    /// everything is as before.
    ///
    /// # Errors
    /// What `body` returns; or the transaction cannot be committed.
    pub fn tx<R, E: From<TxError>>(
        &mut self,
        mut body: impl FnMut(&mut Tx<'_, M>) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut wanted = Vec::new();
        self.begin();
        if self.is_put_out() {
            return Err(TxError::PutOut.into());
        }
        self.make_room(self.log.capacity() / 2)?;
        self.forget().map_err(TxError::from)?;
        loop {
            let mut tx = Tx::begin(self, &wanted)?;
            let result = body(&mut tx);
            if let Some(object) = tx.conflict() {
                drop(tx);
                wanted.push(object);
                continue;
            }
            let result = result?;
            match tx.commit() {
                Ok(()) => return Ok(result),
                Err(TxError::LogFull { lines }) => self.make_room(lines)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Has everything of this session's transactions written back to the objects, so that its log is
    /// empty: recovery has nothing to do then. Transactions do this by themselves when the log fills.
    ///
    /// # Errors
    /// An object that was changed is held by somebody else, and waiting was given up.
    pub fn settle(&mut self) -> Result<(), Busy> {
        let changed = self.known.iter().filter(|known| known.is_changed);
        changed.map(|known| &known.mapping).try_for_each(|mapping| self.settle_one(mapping))?;
        self.known.clear();
        self.log.clear();
        Ok(())
    }

    /// Settles an object and calls `then`, which withdraws its memory from those to whom it was
    /// [lent](Mapping::lent), while nobody can read or change it; who takes the lock after that has it
    /// shown again before he reaches for it.
    ///
    /// # Errors
    /// It is held by somebody else, and waiting was given up.
    pub fn withdraw<R>(
        &mut self,
        mapping: &Mapping<M>,
        then: impl FnOnce() -> R,
    ) -> Result<R, Busy> {
        self.settled(mapping, |_| {
            mapping.control().withdraw();
            then()
        })
    }

    /// Makes everything durable in place that anybody has committed to an object, and says so: what logs
    /// say of it is not needed any more.
    ///
    /// # Errors
    /// It is held by somebody else, and waiting was given up.
    pub fn settle_object(&mut self, mapping: &Mapping<M>) -> Result<(), Busy> {
        self.settle_one(mapping)
    }

    fn settle_one(&self, mapping: &Mapping<M>) -> Result<(), Busy> {
        self.settled(mapping, |_| ())
    }

    /// Settles an object and calls `then` with the version, before anybody can change it.
    pub(crate) fn settled<R>(
        &self,
        mapping: &Mapping<M>,
        then: impl FnOnce(u64) -> R,
    ) -> Result<R, Busy> {
        if self.is_put_out() {
            return Err(Busy { id: mapping.id() });
        }
        self.write_lock(mapping, true)?;
        let version = mapping.control().version();
        mapping.write_back();
        layout::settle(mapping.medium(), version);
        mapping.medium().fence();
        let result = then(version);
        mapping.control().lock().end_write(self.slot);
        Ok(result)
    }

    /// Keeps the list of objects short, which is searched for each one of a transaction.
    fn forget(&mut self) -> Result<(), Busy> {
        if self.known.len() > MANY {
            self.known.retain(|known| known.is_changed);
        }
        if self.known.len() > MANY { self.settle() } else { Ok(()) }
    }

    fn make_room(&mut self, lines: u64) -> Result<(), TxError> {
        if lines > self.log.capacity() {
            return Err(TxError::TooLarge { lines, capacity: self.log.capacity() });
        }
        if self.log.free() < lines { Ok(self.settle()?) } else { Ok(()) }
    }

    /// Takes an object's lock to write. Without `may_wait`, only if that needs no waiting.
    pub(crate) fn write_lock(&self, mapping: &Mapping<M>, may_wait: bool) -> Result<(), Busy> {
        let (control, slot) = (mapping.control(), self.slot);
        self.begin();
        if !control.lock().try_write(slot) {
            self.wait_to_write(mapping, may_wait)?;
        }
        self.check_shown(mapping).inspect_err(|_| control.lock().end_write(slot))
    }

    fn wait_to_write(&self, mapping: &Mapping<M>, may_wait: bool) -> Result<(), Busy> {
        let (id, control, slot) = (mapping.id(), mapping.control(), self.slot);
        self.wait_for(id, control, may_wait, |control| control.lock().claim(slot))?;
        let gone = |control: &Control| control.lock().readers_are_gone();
        self.wait_for(id, control, may_wait, gone).inspect_err(|_| control.lock().end_write(slot))
    }

    fn wait_for(
        &self,
        id: ObjectId,
        control: &Control,
        may_wait: bool,
        mut have: impl FnMut(&Control) -> bool,
    ) -> Result<(), Busy> {
        let mut round = 0;
        while !have(control) {
            let contest = Contest { id, writer: control.lock().writer(), round };
            if !may_wait {
                return Err(Busy { id });
            }
            if (self.wait.borrow_mut())(contest) == Patience::GiveUp {
                self.gave_up.set(Some(contest));
                return Err(Busy { id });
            }
            round = round.saturating_add(1);
        }
        Ok(())
    }

    /// The number of this object in the session.
    pub(crate) fn know(&mut self, mapping: &Arc<Mapping<M>>) -> usize {
        let same = |known: &Known<M>| Arc::ptr_eq(&known.mapping, mapping);
        self.known.iter().position(same).unwrap_or_else(|| {
            let mapping = Arc::clone(mapping);
            self.known.push(Known { mapping, is_held: false, is_changed: false });
            self.known.len() - 1
        })
    }

    /// Makes a record of all words of the transaction's copies that differ from the objects, and notes
    /// which lines are about to change.
    pub(crate) fn compare(&mut self) {
        self.record.begin();
        self.shadows.sort_by_object();
        let mut object = None;
        for shadows in self.shadows.chunks() {
            // A large transaction has copied more than a processor's cache holds of their homes.
            for key in shadows.iter().map(|shadow| shadow.key) {
                view::prefetch(self.known[key.object()].mapping.line(key.line()), 0);
            }
            for shadow in shadows {
                let Some(copy) = shadow.copy() else { continue };
                let (key, known) = (shadow.key, &mut self.known[shadow.key.object()]);
                let (words, mask) = place::differences(known.mapping.line(key.line()), copy);
                shadow.changed = mask;
                if mask == 0 {
                    continue;
                }
                if object.replace(key.object()) != Some(key.object()) {
                    known.is_changed = true;
                    self.record.object(known.mapping.id(), known.mapping.control().version() + 1);
                }
                self.record.line(key.line(), mask, &words);
            }
        }
    }

    /// Writes the record.
    pub(crate) fn make_durable(&mut self) -> Result<(), TxError> {
        let words = self.record.end();
        let lines = record::lines(words.len());
        if lines > self.log.free() {
            return Err(TxError::LogFull { lines });
        }
        self.log.append(words);
        Ok(())
    }

    /// Changes the objects as the record says.
    pub(crate) fn apply(&mut self) {
        // More than an object remembers: each line is written back now, and waited for once.
        let is_large = self.shadows.count() > control::REMEMBERED as usize;
        for (shadow, copy) in self.shadows.changed() {
            let (mapping, line) = (&self.known[shadow.key.object()].mapping, shadow.key.line());
            if !is_large {
                mapping.changed(line);
            }
            place::store_copy(mapping.medium(), line, shadow.changed, copy);
            if is_large {
                mapping.flush(line);
            }
        }
        if is_large {
            self.fence_changed();
        }
        self.raise_versions();
    }

    /// Waits for what was written back of each object that the transaction has changed.
    fn fence_changed(&self) {
        let changed = self.known.iter().filter(|known| known.is_held);
        changed.for_each(|known| known.mapping.medium().fence());
    }

    /// Only now, as whoever completes this for a session that has ended goes by them.
    fn raise_versions(&self) {
        let mut last = None;
        for object in self.shadows.changed().map(|(shadow, _)| shadow.key.object()) {
            if last.replace(object) != Some(object) {
                let control = self.known[object].mapping.control();
                control.set_version(control.version() + 1);
            }
        }
    }

    /// Ends the transaction: its locks go, its copies are forgotten.
    pub(crate) fn release(&mut self) {
        if !self.holds_all() {
            self.is_put_out.set(true);
        }
        for known in self.known.iter_mut().filter(|known| known.is_held) {
            known.is_held = false;
            known.mapping.control().lock().end_write(self.slot);
        }
        self.shadows.clear();
    }
}

impl<M> fmt::Debug for Session<M> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Session").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl fmt::Display for Busy {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "object {} is in use", self.id)
    }
}

impl core::error::Error for Busy {}
