//! Damage in words.

use core::fmt;

use crate::check::Damage;
use crate::system::Extent;

impl fmt::Display for Extent {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} pages from page {}", self.pages, self.first)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(extent) => write!(to, "no object can have {extent}"),
            Self::Overlap(extent) => write!(to, "{extent} are given out twice"),
            Self::Lost(extent) => write!(to, "{extent} are nobody's, and not free"),
            Self::Lists => to.write_str("the lists of free pages do not agree"),
            Self::Blocks => to.write_str("blocks of the table of objects are lost, or used twice"),
            Self::Heap(damage) => write!(to, "the heap of the table of objects: {damage:?}"),
            Self::Object(id, error) => write!(to, "object {id}: {error}"),
            Self::Mistaken(id) => write!(to, "object {id} says that it is another one"),
            Self::Directory(id) => write!(to, "directory {id} is damaged"),
            Self::Name(place) => {
                write!(to, "the name {:?} in directory {} is wrong", place.name, place.directory)
            }
            Self::Links { id, said, found } => {
                write!(to, "object {id} says that it has {said} names, and has {found}")
            }
            Self::Parent(id) => write!(to, "directory {id} does not know the one above it"),
            Self::Unreachable(id) => write!(to, "directory {id} is not below the root"),
            Self::Permit(id) => {
                write!(to, "somebody may do something with object {id}, which is not there")
            }
            Self::Principals => {
                to.write_str("the names of principals do not agree with their numbers")
            }
            Self::Holder(slot) => write!(to, "session {slot} is nobody's that is known"),
            Self::Entry(id) => write!(to, "what is known of object {id} cannot be"),
            Self::Map(map) => write!(to, "the map of {map:?} is damaged"),
            Self::Snapshot(id) => write!(to, "snapshot {id} has lost the object that it is of"),
            Self::Orphan(id) => write!(to, "object {id} waits to be deleted, and is not there"),
        }
    }
}
