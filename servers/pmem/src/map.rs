//! Objects in the pool, mapped.

use alloc::sync::Arc;

use libd3os_object::control::{ControlRef, Slot};
use libd3os_object::layout::{self, LayoutError};
use libd3os_object::log::LogError;
use libd3os_object::mapping::Mapping;
use libd3os_object::medium::Medium;
use libd3os_object::object::OpenError;
use libd3os_object::{Object, Persist, Session, Still};

/// The server's own session, with its own log.
pub(crate) fn session<M: Medium>(log: M) -> Result<Session<M>, LogError> {
    let slot = Slot::new(0).ok_or(LogError::Short)?;
    // SAFETY: slots of programs begin at 1, and nobody else is given this log; the system object and the
    // directories are mapped as long as the pool's medium, of which the session's log is a part.
    unsafe { Session::open(slot, log) }
}

/// An object that only the pool writes, which was recovered. The pool does this once for each, or again
/// when the one before was settled and forgotten.
pub(crate) fn object<T: Persist, M: Medium>(medium: M) -> Result<Object<T, M>, OpenError> {
    let version = layout::settled(&medium).map_err(OpenError::Layout)?;
    let mapping: Result<Mapping<M>, LayoutError> =
        // SAFETY: programs cannot write the system object and the directories, and the pool maps each of
        // them once.
        unsafe { Mapping::new(medium, ControlRef::own(version)) };
    Object::open(Arc::new(mapping?))
}

/// Reads an object before the pool has a session.
pub(crate) fn still<T, M: Medium>(object: &Object<T, M>) -> Still<'_, M> {
    // SAFETY: nobody has a session in the pool yet, and recovery, once the system object was replayed,
    // changes it no more.
    unsafe { object.mapping().still() }
}
