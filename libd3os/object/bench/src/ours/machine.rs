//! A file in place of persistent memory, with a log and two objects.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use libd3os_object::control::{ControlRef, Slot};
use libd3os_object::medium::{Durability, Mapped, Medium as _, Part, WriteBack};
use libd3os_object::{Mapping, Object, ObjectId, Persist, Session, object};
use memmap2::{MmapMut, MmapOptions};

const LOG_BYTES: usize = 16 << 20;
const SCRATCH_BYTES: usize = 64 << 20;
/// What an object has for each record: maps are not full.
const RECORD_BYTES: usize = 192;
/// What it has beside.
const SPARE_BYTES: usize = 16 << 20;

/// The part of the file that is a log or an object.
pub(crate) type Medium = Part<Mapped>;

pub(crate) struct Machine {
    medium: Mapped,
    object_bytes: usize,
    /// Unmapped when the machine ends.
    _file: MmapMut,
}

impl Machine {
    /// A machine with room for so many records in each object.
    pub(crate) fn new(path: &Path, records: u64) -> Result<Self, Box<dyn Error>> {
        let object_bytes = usize::try_from(records)? * RECORD_BYTES + SPARE_BYTES;
        let object_bytes = object_bytes.next_multiple_of(4096);
        let bytes = LOG_BYTES + SCRATCH_BYTES + 2 * object_bytes;
        let (medium, file) = map(path, bytes)?;
        Ok(Self { medium, object_bytes, _file: file })
    }

    /// Memory for whatever.
    pub(crate) fn scratch(&self) -> Medium {
        self.medium.part(LOG_BYTES, SCRATCH_BYTES)
    }

    /// A session with a new log.
    pub(crate) fn session(&self) -> Result<Session<Medium>, Box<dyn Error>> {
        let log = self.medium.part(0, LOG_BYTES);
        Session::format_log(&log)?;
        let slot = Slot::new(0).ok_or("there is a slot 0")?;
        // SAFETY: there is one session at a time, and the objects are mapped as long as the machine.
        Ok(unsafe { Session::open(slot, log) }?)
    }

    /// A new object, of which there can be two.
    pub(crate) fn object<T: Persist>(
        &self,
        number: usize,
        base: &T,
    ) -> Result<Object<T, Medium>, Box<dyn Error>> {
        let at = LOG_BYTES + SCRATCH_BYTES + number * self.object_bytes;
        let medium = self.medium.part(at, self.object_bytes);
        medium.store(0, &vec![0; self.object_bytes]);
        object::create(&medium, ObjectId::new(1 + number as u128), base)?;
        medium.fence();
        // SAFETY: the medium is changed by this thread only, which makes one mapping of an object at
        // a time.
        let mapping = unsafe { Mapping::new(medium, ControlRef::own(0)) }?;
        Ok(Object::open(Arc::new(mapping))?)
    }
}

/// A new file in place of persistent memory, all zeros; mapped until the second value is dropped, which
/// outlives what uses the first one.
pub(crate) fn map(path: &Path, bytes: usize) -> Result<(Mapped, MmapMut), Box<dyn Error>> {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    file.set_len(bytes as u64)?;
    // SAFETY: the file was made for this run, and nobody else changes or shortens it.
    let mut file = unsafe { MmapOptions::new().len(bytes).populate().map_mut(&file) }?;
    let base = NonNull::from(&mut *file).cast();
    let durability = Durability::WrittenBack(WriteBack::find());
    // SAFETY: the caller keeps the mapping for as long as the medium; no reference to it is made.
    let medium = unsafe { Mapped::new(base, bytes, durability) };
    Ok((medium, file))
}
