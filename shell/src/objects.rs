//! Persistent objects, as commands ask for them.
//!
//! Names are the object server's; what is in an object is read and written where it lies
//! ([`libd3os::store`]). A session lasts as long as a command.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use libd3os::call::Transport;
use libd3os::object::collections::PString;
use libd3os::object::heap::HeapError;
use libd3os::object::layout::PAGES;
use libd3os::object::map::ObjectMap;
use libd3os::object::object::OpenError;
use libd3os::object::operators::{Operator, Outcome};
use libd3os::object::{Object, Persist, TxError, View, field, medium::Mapped};
use libd3os::service::pmem::{NamedObject, ObjectStatus, PmemClient, PoolStatus, Removed};
use libd3os::store::{Store, StoreError, near};

use crate::system::{Services, SystemError, Ways, all_pages};

/// The service of persistent objects.
pub const PMEM_SERVICE: &str = "pmem";
/// Pages of a new text object.
const NEW_PAGES: u32 = 4;
/// How often a command begins anew whose session ended with a restart of the server.
const ATTEMPTS: u32 = 4;
const PAGE_BYTES: usize = 4096;

/// What is in an object that the shell makes.
#[derive(Default, Persist)]
#[repr(C)]
pub struct Text {
    text: PString,
}

/// Which bytes of an object are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// Its text.
    Text,
    /// All of its pages, as what is in use there is known to its own type only.
    Pages,
}

/// What came of work on an object's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worked {
    /// Which bytes.
    pub meant: Meant,
    /// How many.
    pub bytes: u64,
    /// What came of it; places count from the first of the bytes.
    pub outcome: Outcome,
}

/// Persistent objects.
///
/// Every method fails with a [`SystemError`] that names the reason.
#[expect(clippy::missing_errors_doc, reason = "the trait's documentation says it for all methods")]
pub trait Objects {
    /// The pool.
    fn pool(&mut self) -> Result<PoolStatus, SystemError>;
    /// Makes a pool; by force, whatever else is there.
    fn make_pool(&mut self, force: bool) -> Result<PoolStatus, SystemError>;
    /// What is damaged, in words.
    fn check_pool(&mut self) -> Result<Vec<String>, SystemError>;
    /// Mends what can be; tells what is damaged still.
    fn repair_pool(&mut self) -> Result<Vec<String>, SystemError>;
    /// The names in a directory.
    fn objects(&mut self, directory: &str) -> Result<Vec<NamedObject>, SystemError>;
    /// What a path leads to.
    fn object(&mut self, path: &str) -> Result<ObjectStatus, SystemError>;
    /// Makes an object with an empty text.
    fn make_text(&mut self, path: &str) -> Result<(), SystemError>;
    /// Makes a directory of objects.
    fn make_object_directory(&mut self, path: &str) -> Result<(), SystemError>;
    /// An object's text.
    fn text(&mut self, path: &str) -> Result<String, SystemError>;
    /// Replaces an object's text.
    fn set_text(&mut self, path: &str, text: &str) -> Result<(), SystemError>;
    /// Replaces an object's text, if it is `before`; tells whether it was.
    fn change_text(&mut self, path: &str, before: &str, text: &str) -> Result<bool, SystemError>;
    /// What an object consists of.
    fn map_object(&mut self, path: &str) -> Result<ObjectMap, SystemError>;
    /// Has the object server do work on an object's bytes: its text, or all of its pages.
    fn work_on_object(&mut self, path: &str, work: &Operator) -> Result<Worked, SystemError>;
    /// An object's base, by its type's description.
    fn show_object(&mut self, path: &str) -> Result<String, SystemError>;
    /// Has what an object holds now as an object of its own, which nobody changes.
    fn snapshot_object(&mut self, path: &str, snapshot: &str) -> Result<(), SystemError>;
    /// Gives an object one more name.
    fn link_object(&mut self, path: &str, other: &str) -> Result<(), SystemError>;
    /// Gives what has a name another one.
    fn rename_object(&mut self, path: &str, other: &str) -> Result<(), SystemError>;
    /// Takes a name away.
    fn remove_object(&mut self, path: &str) -> Result<Removed, SystemError>;
}

impl<C: Transport, S: Transport, L: Transport, W: Ways> Objects for Services<C, S, L, W> {
    fn pool(&mut self) -> Result<PoolStatus, SystemError> {
        Ok(self.pmem()?.status()?)
    }

    fn make_pool(&mut self, force: bool) -> Result<PoolStatus, SystemError> {
        Ok(self.pmem()?.init(force)?)
    }

    fn check_pool(&mut self) -> Result<Vec<String>, SystemError> {
        let pmem = self.pmem()?;
        all_pages(PMEM_SERVICE, |from| pmem.check(from))
    }

    fn repair_pool(&mut self) -> Result<Vec<String>, SystemError> {
        Ok(self.pmem()?.repair()?.items)
    }

    fn objects(&mut self, directory: &str) -> Result<Vec<NamedObject>, SystemError> {
        let (pmem, mut names) = (self.pmem()?, Vec::<NamedObject>::new());
        loop {
            let after = names.last().map_or_else(String::new, |last| last.name.clone());
            let part = pmem.list(directory.to_string(), after)?;
            let is_last = !part.more || part.names.is_empty();
            names.extend(part.names);
            if is_last {
                return Ok(names);
            }
        }
    }

    fn object(&mut self, path: &str) -> Result<ObjectStatus, SystemError> {
        Ok(self.pmem()?.stat(path.to_string())?)
    }

    fn make_text(&mut self, path: &str) -> Result<(), SystemError> {
        self.with_store(|store| store.create(path, NEW_PAGES, &Text::default()).map(drop))
    }

    fn make_object_directory(&mut self, path: &str) -> Result<(), SystemError> {
        let made = self.pmem()?.make_directory(path.to_string());
        Ok(made.map(drop)?)
    }

    fn text(&mut self, path: &str) -> Result<String, SystemError> {
        self.with_store(|store| {
            let object = store.open_to_read::<Text>(path)?;
            let guard = store.look(&object)?;
            let text = field!(object.base(), Text, text).bytes().as_slice(&guard);
            Ok(String::from_utf8_lossy(text.map_err(TxError::from)?).into_owned())
        })
    }

    fn set_text(&mut self, path: &str, text: &str) -> Result<(), SystemError> {
        self.replace_text(path, None, text).map(drop)
    }

    fn change_text(&mut self, path: &str, before: &str, text: &str) -> Result<bool, SystemError> {
        self.replace_text(path, Some(before), text)
    }

    fn map_object(&mut self, path: &str) -> Result<ObjectMap, SystemError> {
        self.with_store(|store| store.map(path))
    }

    fn work_on_object(&mut self, path: &str, work: &Operator) -> Result<Worked, SystemError> {
        for _ in 0..near::ATTEMPTS {
            let text = self.text_place(path)?;
            let (meant, range) = match &text {
                Some((range, _)) => (Meant::Text, range.clone()),
                None => (Meant::Pages, near::whole(self.object(path)?.pages)),
            };
            let swept = near::carry_out(&self.pmem()?, path, range.clone(), work)?;
            // Of another version, the text may be elsewhere.
            if text.is_none_or(|(_, version)| version == swept.version) {
                let outcome = counted_from(range.start, swept.outcome);
                return Ok(Worked { meant, bytes: range.end - range.start, outcome });
            }
        }
        Err(StoreError::Changing.into())
    }

    fn show_object(&mut self, path: &str) -> Result<String, SystemError> {
        self.with_store(|store| store.show(path))
    }

    fn snapshot_object(&mut self, path: &str, snapshot: &str) -> Result<(), SystemError> {
        self.with_store(|store| store.snapshot(path, snapshot))
    }

    fn link_object(&mut self, path: &str, other: &str) -> Result<(), SystemError> {
        let linked = self.pmem()?.link(path.to_string(), other.to_string());
        Ok(linked?)
    }

    fn rename_object(&mut self, path: &str, other: &str) -> Result<(), SystemError> {
        let renamed = self.pmem()?.rename(path.to_string(), other.to_string());
        Ok(renamed?)
    }

    fn remove_object(&mut self, path: &str) -> Result<Removed, SystemError> {
        Ok(self.pmem()?.remove(path.to_string())?)
    }
}

impl<C: Transport, S: Transport, L: Transport, W: Ways> Services<C, S, L, W> {
    fn pmem(&self) -> Result<PmemClient<W::Transport>, SystemError> {
        self.way(PMEM_SERVICE).map(PmemClient::new)
    }

    /// Replaces an object's text, where a text is expected only that one; tells whether it did.
    fn replace_text(
        &self,
        path: &str,
        expected: Option<&str>,
        text: &str,
    ) -> Result<bool, SystemError> {
        self.with_store(|store| {
            let object = store.open::<Text>(path)?;
            match replace(store, &object, expected, text) {
                Err(StoreError::Transaction(TxError::Heap(HeapError::Full { .. }))) => {
                    let object = store.enlarge(path, object, pages_for(text))?;
                    replace(store, &object, expected, text)
                }
                done => done,
            }
        })
    }

    /// Where in an object its text is, and in which version; nothing if it has none.
    fn text_place(&self, path: &str) -> Result<Option<(Range<u64>, u64)>, SystemError> {
        let place = self.with_store(|store| {
            let object = store.open_to_read::<Text>(path)?;
            let guard = store.look(&object)?;
            let bytes = field!(object.base(), Text, text).bytes();
            let bytes = guard.get(bytes).map_err(TxError::from)?;
            let from = bytes.elements().offset().max(PAGES);
            Ok((from..from.saturating_add(bytes.len()), guard.mapping().control().version()))
        });
        match place {
            Ok(place) => Ok(Some(place)),
            Err(SystemError::Store(StoreError::Object(OpenError::Type { .. }))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Does something in a session; anew, where that ended with a restart of the server.
    fn with_store<T>(
        &self,
        mut work: impl FnMut(&mut Store<W::Transport>) -> Result<T, StoreError>,
    ) -> Result<T, SystemError> {
        let mut attempt = || {
            let mut store = Store::over(self.pmem()?)?;
            work(&mut store).map_err(SystemError::from)
        };
        for _ in 1..ATTEMPTS {
            match attempt() {
                Err(SystemError::Store(StoreError::Restarted)) => {}
                settled => return settled,
            }
        }
        attempt()
    }
}

fn counted_from(first: u64, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Found { mut places, count } => {
            places.iter_mut().for_each(|place| *place = place.saturating_sub(first));
            Outcome::Found { places, count }
        }
        outcome => outcome,
    }
}

fn replace<T: Transport>(
    store: &mut Store<T>,
    object: &Object<Text, Mapped>,
    expected: Option<&str>,
    text: &str,
) -> Result<bool, StoreError> {
    let place = field!(object.base(), Text, text);
    store.tx(|tx| {
        let mut editor = tx.edit(object)?;
        let before = place.bytes().as_slice(&editor).map_err(TxError::from)?;
        if expected.is_some_and(|expected| expected.as_bytes() != before) {
            return Ok(false);
        }
        place.set(&mut editor, text)?;
        Ok(true)
    })
}

/// Pages that suffice for a text beside an older one of its length, as blocks grow.
fn pages_for(text: &str) -> u32 {
    u32::try_from(3 * text.len() / PAGE_BYTES + 2).unwrap_or(u32::MAX)
}
