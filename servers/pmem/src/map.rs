//! Objects in the pool, mapped.

use alloc::sync::Arc;

use libd3os_object::control::{ControlRef, Slot};
use libd3os_object::layout::{self, LayoutError};
use libd3os_object::log::LogError;
use libd3os_object::mapping::Mapping;
use libd3os_object::medium::Medium;
use libd3os_object::object::OpenError;
use libd3os_object::{Object, Session};

use crate::system::System;

/// The server's own session, with its own log.
pub(crate) fn session<M: Medium>(log: M) -> Result<Session<M>, LogError> {
    let slot = Slot::new(0).ok_or(LogError::Short)?;
    // SAFETY: slots of programs begin at 1, and nobody else is given this log; the system object is
    // mapped as long as the pool's medium, of which the session's log is a part.
    unsafe { Session::open(slot, log) }
}

/// The system object, which was recovered. The pool does this once.
pub(crate) fn system<M: Medium>(medium: M) -> Result<Object<System, M>, OpenError> {
    let version = layout::settled(&medium).map_err(OpenError::Layout)?;
    let mapping: Result<Mapping<M>, LayoutError> =
        // SAFETY: the object is known to the pool only, which maps it once, and of whose memory it
        // lets nobody else have this part.
        unsafe { Mapping::new(medium, ControlRef::own(version)) };
    Object::open(Arc::new(mapping?))
}
