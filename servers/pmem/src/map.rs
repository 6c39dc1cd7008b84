//! Objects in the pool, mapped.

use alloc::sync::Arc;
use alloc::vec::Vec;

use libd3os_object::collections::POrderedMap;
use libd3os_object::control::{ControlRef, Slot};
use libd3os_object::layout::{self, LayoutError};
use libd3os_object::log::LogError;
use libd3os_object::mapping::Mapping;
use libd3os_object::medium::Medium;
use libd3os_object::object::OpenError;
use libd3os_object::recovery::{self, Access, Report};
use libd3os_object::session::Busy;
use libd3os_object::view::View;
use libd3os_object::{Object, ObjectId, PPtr, Persist, PointerError, Session, Still, TxError, fot};

use crate::pool::PoolError;

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

/// An object of programs, with what all who have it open share about it.
pub(crate) fn shared<M: Medium>(medium: M, control: ControlRef) -> Result<Mapping<M>, LayoutError> {
    // SAFETY: whoever is shown the object is shown the same control with it, and the pool itself
    // changes it through this mapping only.
    unsafe { Mapping::new(medium, control) }
}

/// Ends what a session has left whose program can reach neither its log nor any object any more.
pub(crate) fn evict<L: Medium, M: Medium>(
    dead: (Slot, &L),
    by: &mut Session<M>,
    find: impl FnMut(ObjectId) -> Access<Arc<Mapping<M>>>,
    mapped: &[Arc<Mapping<M>>],
) -> Result<Report, Busy> {
    // SAFETY: the caller has withdrawn all that was lent to the session's program.
    unsafe { recovery::evict(dead, by, find, mapped) }
}

/// Reads an object that only the pool's session writes, while that does not: the system object before there
/// is a session, a directory that was just mapped.
pub(crate) fn still<T, M: Medium>(object: &Object<T, M>) -> Still<'_, M> {
    // SAFETY: the pool has no session yet or does nothing with it meanwhile, and recovery, once the system
    // object was replayed, changes it no more.
    unsafe { object.mapping().still() }
}

/// Where an object ends that nobody knows, and that nobody has mapped, by what it says itself.
pub(crate) fn end_of<M: Medium>(medium: M) -> Result<u64, PoolError> {
    let mapping: Result<Mapping<M>, LayoutError> =
        // SAFETY: the mapping ends here, and writes nothing.
        unsafe { Mapping::new(medium, ControlRef::own(0)) };
    let mapping = mapping.map_err(OpenError::Layout)?;
    // SAFETY: nobody changes pages that are nobody's.
    let view = unsafe { mapping.still() };
    Ok(fot::end(&view).map_err(TxError::from)?)
}

/// Whether all that is in an ordered map is found in it.
pub(crate) fn is_whole<K: Persist + Ord + Copy, V: Persist>(
    view: &impl View,
    map: PPtr<POrderedMap<K, V>>,
) -> Result<bool, PointerError> {
    let mut keys = Vec::new();
    map.for_each(view, |key, _| keys.push(*key))?;
    let in_order = keys.is_sorted_by(|one, next| one < next);
    let mut are_found = in_order && map.len(view)? == keys.len() as u64;
    for key in &keys {
        are_found &= map.find(view, key)?.is_some();
    }
    Ok(are_found)
}
