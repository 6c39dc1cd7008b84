//! Transactions.
//!
//! A transaction works on copies; to commit, it writes what they differ in to the
//! session's [log](crate::log), which one fence makes durable, and only then changes the objects
//! themselves. The objects' lines are written back later, many at a time, before the log's tail moves
//! past the record. So:
//!
//! - to abort is to forget the copies: no byte that is not committed ever reaches an object, and a holder
//!   of locks that dies before its commit has nothing to take back;
//! - what is committed but not yet, or not wholly, in place is in the log, and whoever recovers puts it
//!   there, as often as needed.
//!
//! Locks are taken as objects are first touched, and held to the end. A transaction waits for a lock
//! only if the object's id is greater than those of all that it holds; else it lets go and begins
//! again with that object among those that it takes at first, in order. So nobody waits in a circle,
//! and nobody begins again more often than there are objects.

use core::fmt;

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::editor::{Editor, Place};
use crate::fot::FotError;
use crate::heap::HeapError;
use crate::id::ObjectId;
use crate::mapping::Mapping;
use crate::medium::Medium;
use crate::object::Object;
use crate::pointer::PointerError;
use crate::session::{Busy, Session};

/// A transaction does not commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxError {
    /// A pointer leads nowhere.
    Pointer(PointerError),
    /// A block cannot be taken or given back.
    Heap(HeapError),
    /// An entry for another object cannot be used.
    Fot(FotError),
    /// An object's lock was not to be had.
    Busy(Busy),
    /// An object is held by somebody for whom to wait might be to wait in a circle. The transaction
    /// begins again, whatever becomes of this error.
    Conflict(Busy),
    /// The log has to be emptied first. The transaction begins again, whatever becomes of this error.
    LogFull {
        /// Its record has so many lines.
        lines: u64,
    },
    /// It changes more than the log can hold.
    TooLarge {
        /// Its record has so many lines.
        lines: u64,
        /// The log can hold so many.
        capacity: u64,
    },
    /// An object's memory was withdrawn: nothing was done. Whoever has lent it may lend it again
    /// ([`Session::withdrawn`]); then the transaction can begin again.
    Withdrawn(ObjectId),
    /// The session was put out, as it held an object for too long while others waited: nothing was done, and
    /// nothing more can be done in it.
    PutOut,
    /// It was given up.
    Aborted,
}

/// A transaction in progress. Dropped without commit, it has done nothing.
pub struct Tx<'s, M: Medium> {
    session: &'s mut Session<M>,
    conflict: Option<Arc<Mapping<M>>>,
}

impl<'s, M: Medium> Tx<'s, M> {
    /// Begins, with the locks of these objects.
    pub(crate) fn begin(
        session: &'s mut Session<M>,
        wanted: &[Arc<Mapping<M>>],
    ) -> Result<Self, TxError> {
        let mut wanted: Vec<_> = wanted.iter().collect();
        wanted.sort_unstable_by_key(|mapping| mapping.id());
        let mut tx = Self { session, conflict: None };
        wanted.into_iter().try_for_each(|mapping| tx.hold(mapping).map(drop))?;
        Ok(tx)
    }

    /// The object that keeps this transaction from going on.
    pub(crate) fn conflict(&mut self) -> Option<Arc<Mapping<M>>> {
        self.conflict.take()
    }

    /// Reads and changes an object.
    ///
    /// # Errors
    /// Its lock was not to be had: return the error, and the transaction begins again if it should.
    pub fn edit<T>(&mut self, object: &Object<T, M>) -> Result<Editor<'_, T>, TxError> {
        let number = self.hold(object.mapping())?;
        let mapping = &self.session.known[number].mapping;
        let (header, end) = (mapping.medium().base(), mapping.bytes());
        Ok(Editor::new(&mut self.session.shadows, Place { number, header, end }))
    }

    /// Carries out a part of the transaction that can fail by itself: if `body` returns an error,
    /// everything is as it was before the part, and the transaction can go on.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn nested<R, E>(
        &mut self,
        body: impl FnOnce(&mut Tx<'_, M>) -> Result<R, E>,
    ) -> Result<R, E> {
        let savepoint = self.session.shadows.savepoint();
        let result = body(self);
        match &result {
            Ok(_) => self.session.shadows.keep(savepoint),
            Err(_) => self.session.shadows.restore(savepoint),
        }
        result
    }

    fn hold(&mut self, mapping: &Arc<Mapping<M>>) -> Result<usize, TxError> {
        let number = self.session.know(mapping);
        if self.session.known[number].is_held {
            return Ok(number);
        }
        let mut held = self.session.known.iter().filter(|known| known.is_held);
        let may_wait = held.all(|known| known.mapping.id() < mapping.id());
        match self.session.write_lock(mapping, may_wait) {
            Ok(()) => self.session.known[number].is_held = true,
            Err(busy) if self.session.withdrawn().is_some() => {
                return Err(TxError::Withdrawn(busy.id));
            }
            Err(busy) if may_wait => return Err(TxError::Busy(busy)),
            Err(busy) => {
                self.conflict = Some(Arc::clone(mapping));
                return Err(TxError::Conflict(busy));
            }
        }
        Ok(number)
    }

    /// Makes it durable, then visible.
    pub(crate) fn commit(self) -> Result<(), TxError> {
        let session = &mut *self.session;
        if session.is_put_out() || !session.holds_all() {
            return Err(TxError::PutOut);
        }
        session.compare();
        if session.record.is_empty() {
            return Ok(());
        }
        session.make_durable()?;
        session.apply();
        Ok(())
    }
}

impl<M: Medium> Drop for Tx<'_, M> {
    fn drop(&mut self) {
        self.session.release();
    }
}

impl fmt::Display for TxError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pointer(error) => error.fmt(to),
            Self::Heap(error) => error.fmt(to),
            Self::Fot(error) => error.fmt(to),
            Self::Busy(busy) | Self::Conflict(busy) => busy.fmt(to),
            Self::LogFull { .. } => to.write_str("the log has to be emptied first"),
            Self::TooLarge { lines, capacity } => {
                write!(to, "the transaction needs {lines} lines of a log of {capacity}")
            }
            Self::Withdrawn(id) => write!(to, "the memory of object {id} was withdrawn"),
            Self::PutOut => {
                to.write_str("the session was put out: it held an object while others waited")
            }
            Self::Aborted => to.write_str("the transaction was given up"),
        }
    }
}

impl core::error::Error for TxError {}

impl From<PointerError> for TxError {
    fn from(error: PointerError) -> Self {
        Self::Pointer(error)
    }
}

impl From<Busy> for TxError {
    fn from(busy: Busy) -> Self {
        Self::Busy(busy)
    }
}
