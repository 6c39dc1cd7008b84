//! What the server notes and counts of what it does, for whoever observes it.

use core::fmt;

use libd3os::observe::Tally;
use libd3os_object::ObjectId;

/// What the server did; programs by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pool was made, of so many pages.
    Made(u64),
    /// A pool was opened; so many changes of objects were put in place.
    Recovered(u64),
    /// A program opened a session, with this slot.
    Began(u16, u8),
    /// A program's session has ended.
    Ended(u16),
    /// What a session had left was completed: so many changes.
    Completed(u8, u64),
    /// An object was made.
    Created(ObjectId),
    /// A program held this object while others waited, for too long: its session ended.
    PutOut(u16, ObjectId),
    /// A snapshot of an object was begun.
    Snapshot(ObjectId),
    /// An object was deleted.
    Deleted(ObjectId),
    /// A program was shown an object.
    Opened(u16, ObjectId),
    /// An object was withdrawn from a program.
    Released(u16, ObjectId),
    /// Nobody has an object open any more.
    Closed(ObjectId),
    /// The pool was looked through; so much is damaged.
    Checked(usize),
    /// Work was done on so many bytes for a program.
    Worked(u16, u64),
    /// A program was refused something.
    Refused(u16),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made(pages) => write!(f, "made a pool of {pages} pages"),
            Self::Recovered(changes) => write!(f, "opened the pool, recovered {changes} changes"),
            Self::Began(program, slot) => write!(f, "program {program} has session {slot}"),
            Self::Ended(program) => write!(f, "the session of program {program} ended"),
            Self::Completed(slot, changes) => {
                write!(f, "session {slot} was completed, by {changes} changes")
            }
            Self::Created(id) => write!(f, "made object {id}"),
            Self::PutOut(program, id) => {
                write!(f, "program {program} was put out, which held {id}")
            }
            Self::Snapshot(id) => write!(f, "began a snapshot of {id}"),
            Self::Deleted(id) => write!(f, "deleted object {id}"),
            Self::Opened(program, id) => write!(f, "program {program} opened {id}"),
            Self::Released(program, id) => write!(f, "program {program} released {id}"),
            Self::Closed(id) => write!(f, "nobody has {id} open"),
            Self::Checked(damaged) => write!(f, "checked the pool, {damaged} damaged"),
            Self::Worked(program, bytes) => {
                write!(f, "worked on {bytes} bytes for program {program}")
            }
            Self::Refused(program) => write!(f, "refused program {program} something"),
        }
    }
}

libd3os::counters! {
    /// How often each thing happened, since the server started.
    pub struct Totals {
        sessions: "sessions opened",
        opened: "objects opened",
        created: "objects made",
        deleted: "objects deleted",
        snapshots: "snapshots begun",
        put_out: "sessions put out",
        recovered: "changes recovered",
        worked: "bytes worked on",
        refused: "calls refused",
    }
}

/// The last events, and totals that never forget.
pub type Journal = libd3os::observe::Journal<Totals>;

impl Tally for Totals {
    type Event = Event;

    fn count(&self, event: Event) {
        match event {
            Event::Began(..) => self.sessions.increment(),
            Event::Opened(..) => self.opened.increment(),
            Event::Created(_) => self.created.increment(),
            Event::Deleted(_) => self.deleted.increment(),
            Event::Recovered(changes) | Event::Completed(_, changes) => self.recovered.add(changes),
            Event::Worked(_, bytes) => self.worked.add(bytes),
            Event::Refused(_) => self.refused.increment(),
            Event::PutOut(..) => self.put_out.increment(),
            Event::Snapshot(_) => self.snapshots.increment(),
            Event::Made(_)
            | Event::Ended(_)
            | Event::Released(..)
            | Event::Closed(_)
            | Event::Checked(_) => {}
        }
    }
}
