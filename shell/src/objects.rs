//! Persistent objects, as commands ask for them.
//!
//! Names are the object server's; what is in an object is read and written where it lies
//! ([`libd3os::store`]). A session lasts as long as a command.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use libd3os::call::Transport;
use libd3os::object::collections::{PString, PVec};
use libd3os::object::heap::HeapError;
use libd3os::object::layout::PAGES;
use libd3os::object::map::ObjectMap;
use libd3os::object::object::OpenError;
use libd3os::object::operators::{Operator, Outcome};
use libd3os::object::{Object, PPtr, Persist, TxError, View, field, medium::Mapped};
use libd3os::service::pmem::{
    Making, NamedObject, ObjectStatus, PmemClient, PoolStatus, Removed, Tier,
};
use libd3os::store::{Store, StoreError, near};

use crate::system::{Services, SystemError, Ways, all_pages};

/// The service of persistent objects.
pub const PMEM_SERVICE: &str = "pmem";
/// Pages of a new text object of which nobody said how large it is to be.
pub const NEW_PAGES: u32 = 4;
/// How often a command begins anew whose session ended with a restart of the server.
const ATTEMPTS: u32 = 4;
const PAGE_BYTES: usize = 4096;
/// Bytes of a file that one transaction adds to an object.
const PIECE: usize = 16 << 10;

/// What is in an object that the shell makes.
#[derive(Default, Persist)]
#[repr(C)]
pub struct Text {
    text: PString,
}

/// What is in an object that holds a file which is no text, or a long one.
#[derive(Default, Persist)]
#[repr(C)]
pub struct File {
    bytes: PVec<u8>,
}

/// What an object holds of which the shell knows the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A text.
    Text,
    /// Whatever a file holds.
    File,
}

/// Which bytes of an object are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// Its text.
    Text,
    /// Those of the file that it holds.
    File,
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
    /// The pools that there are, the one of objects of which nobody says of which tier they are to be first.
    fn pools(&mut self) -> Result<Vec<PoolStatus>, SystemError>;
    /// Makes a pool.
    fn make_pool(&mut self, making: Making) -> Result<PoolStatus, SystemError>;
    /// What is damaged, in words.
    fn check_pool(&mut self) -> Result<Vec<String>, SystemError>;
    /// Mends what can be; tells what is damaged still.
    fn repair_pool(&mut self) -> Result<Vec<String>, SystemError>;
    /// The names in a directory.
    fn objects(&mut self, directory: &str) -> Result<Vec<NamedObject>, SystemError>;
    /// What a path leads to.
    fn object(&mut self, path: &str) -> Result<ObjectStatus, SystemError>;
    /// Makes an object of so many pages with an empty text, of the usual tier if none is said.
    fn make_text(&mut self, path: &str, pages: u32, tier: Option<Tier>) -> Result<(), SystemError>;
    /// Makes a directory of objects.
    fn make_object_directory(&mut self, path: &str, tier: Option<Tier>) -> Result<(), SystemError>;
    /// An object's text.
    fn text(&mut self, path: &str) -> Result<String, SystemError>;
    /// Replaces an object's text.
    fn set_text(&mut self, path: &str, text: &str) -> Result<(), SystemError>;
    /// Replaces an object's text, if it is `before`; tells whether it was.
    fn change_text(&mut self, path: &str, before: &str, text: &str) -> Result<bool, SystemError>;
    /// Makes an object that is to hold so many bytes, and holds none yet.
    fn make_holder(&mut self, path: &str, holds: Holds, bytes: u64) -> Result<(), SystemError>;
    /// Has an object that holds `at` bytes hold those of a file of the host's share, too, that follow
    /// them there, `most` at most; tells how many. Fewer are the file's last.
    fn fill_object(
        &mut self,
        path: &str,
        holds: Holds,
        at: u64,
        host: &str,
        most: u64,
    ) -> Result<u64, SystemError>;
    /// Writes what an object holds from `at` on to a file of the host's share, `most` bytes at most; tells
    /// how many. At 0, the file is made, or emptied. Of an object that holds neither text nor file, it tells
    /// that its type is another one.
    fn spill_object(
        &mut self,
        path: &str,
        at: u64,
        host: &str,
        most: u64,
    ) -> Result<u64, SystemError>;
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
    fn pools(&mut self) -> Result<Vec<PoolStatus>, SystemError> {
        let pmem = self.pmem()?;
        let mut pools = alloc::vec![pmem.status(pmem.tier()?)?];
        if pools.iter().all(|pool| pool.tier == Tier::Persistent) {
            // Nobody may have asked for volatile objects yet.
            pools.extend(pmem.status(Tier::Volatile).ok());
        }
        Ok(pools)
    }

    fn make_pool(&mut self, making: Making) -> Result<PoolStatus, SystemError> {
        Ok(self.pmem()?.init(making)?)
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

    fn make_text(&mut self, path: &str, pages: u32, tier: Option<Tier>) -> Result<(), SystemError> {
        let tier = self.tier(tier)?;
        let make = |store: &mut Store<_>| store.create(path, pages, &Text::default()).map(drop);
        self.with_store_of(tier, |store| Ok(make(store)?))
    }

    fn make_object_directory(&mut self, path: &str, tier: Option<Tier>) -> Result<(), SystemError> {
        let tier = self.tier(tier)?;
        let made = self.pmem()?.make_directory(tier, path.to_string());
        Ok(made.map(drop)?)
    }

    fn text(&mut self, path: &str) -> Result<String, SystemError> {
        self.with_store(path, |store| {
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

    fn make_holder(&mut self, path: &str, holds: Holds, bytes: u64) -> Result<(), SystemError> {
        let (pages, tier) = (holder_pages(bytes), self.tier(None)?);
        self.with_store_of(tier, |store| {
            Ok(match holds {
                Holds::Text => store.create(path, pages, &Text::default()).map(drop),
                Holds::File => store.create(path, pages, &File::default()).map(drop),
            }?)
        })
    }

    fn fill_object(
        &mut self,
        path: &str,
        holds: Holds,
        at: u64,
        host: &str,
        most: u64,
    ) -> Result<u64, SystemError> {
        self.with_store_and(path, |store| {
            let next = |at| self.file_piece(host, at);
            match holds {
                Holds::Text => fill(store, path, text_bytes, (at, most), next),
                Holds::File => fill(store, path, file_bytes, (at, most), next),
            }
        })
    }

    fn spill_object(
        &mut self,
        path: &str,
        at: u64,
        host: &str,
        most: u64,
    ) -> Result<u64, SystemError> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let held =
            self.with_store(path, |store| match take(store, path, text_bytes, at, most) {
                Err(StoreError::Object(OpenError::Type { .. })) => {
                    take(store, path, file_bytes, at, most)
                }
                held => held,
            })?;
        self.write_file(host, at, &held)?;
        Ok(held.len() as u64)
    }

    fn map_object(&mut self, path: &str) -> Result<ObjectMap, SystemError> {
        self.with_store(path, |store| store.map(path))
    }

    fn work_on_object(&mut self, path: &str, work: &Operator) -> Result<Worked, SystemError> {
        for _ in 0..near::ATTEMPTS {
            let place = self.place(path)?;
            let (meant, range) = match &place {
                Some((meant, range, _)) => (*meant, range.clone()),
                None => (Meant::Pages, near::whole(self.object(path)?.pages)),
            };
            let swept = near::carry_out(&self.pmem()?, path, range.clone(), work)?;
            // Of another version, the bytes may be elsewhere.
            if place.is_none_or(|(_, _, version)| version == swept.version) {
                let outcome = counted_from(range.start, swept.outcome);
                return Ok(Worked { meant, bytes: range.end - range.start, outcome });
            }
        }
        Err(StoreError::Changing.into())
    }

    fn show_object(&mut self, path: &str) -> Result<String, SystemError> {
        self.with_store(path, |store| store.show(path))
    }

    fn snapshot_object(&mut self, path: &str, snapshot: &str) -> Result<(), SystemError> {
        self.with_store(path, |store| store.snapshot(path, snapshot))
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
        self.with_store(path, |store| {
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

    /// Where in an object its text is, or the file that it holds, and in which version; nothing if it is
    /// neither.
    fn place(&self, path: &str) -> Result<Option<(Meant, Range<u64>, u64)>, SystemError> {
        let place = self.with_store(path, |store| match place(store, path, text_bytes) {
            Ok((range, version)) => Ok((Meant::Text, range, version)),
            Err(StoreError::Object(OpenError::Type { .. })) => {
                let (range, version) = place(store, path, file_bytes)?;
                Ok((Meant::File, range, version))
            }
            Err(error) => Err(error),
        });
        match place {
            Ok(place) => Ok(Some(place)),
            Err(SystemError::Store(StoreError::Object(OpenError::Type { .. }))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A piece of a file of the host's share: less only at its end.
    fn file_piece(&self, host: &str, at: u64) -> Result<Vec<u8>, SystemError> {
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            let more = self.read_file(host, at + piece.len() as u64, PIECE - piece.len())?;
            if more.is_empty() {
                break;
            }
            piece.extend(more);
        }
        Ok(piece)
    }

    /// The tier that is asked for, or the usual one.
    fn tier(&self, tier: Option<Tier>) -> Result<Tier, SystemError> {
        tier.map_or_else(|| Ok(self.pmem()?.tier()?), Ok)
    }

    /// Does something in a session, with what a path leads to; anew, where that ended with a restart of the
    /// server.
    fn with_store<T>(
        &self,
        path: &str,
        mut work: impl FnMut(&mut Store<W::Transport>) -> Result<T, StoreError>,
    ) -> Result<T, SystemError> {
        self.with_store_and(path, |store| Ok(work(store)?))
    }

    /// The same, for what can fail otherwise, too.
    fn with_store_and<T>(
        &self,
        path: &str,
        work: impl FnMut(&mut Store<W::Transport>) -> Result<T, SystemError>,
    ) -> Result<T, SystemError> {
        let tier = self.pmem()?.stat(path.to_string())?.tier;
        self.with_store_of(tier, work)
    }

    /// The same, in a tier.
    fn with_store_of<T>(
        &self,
        tier: Tier,
        mut work: impl FnMut(&mut Store<W::Transport>) -> Result<T, SystemError>,
    ) -> Result<T, SystemError> {
        let mut attempt = || {
            let mut store = Store::over(self.pmem()?, tier)?;
            work(&mut store)
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

/// Where the bytes of a base of this type are.
type BytesOf<B> = fn(PPtr<B>) -> PPtr<PVec<u8>>;

fn text_bytes(base: PPtr<Text>) -> PPtr<PVec<u8>> {
    field!(base, Text, text).bytes()
}

fn file_bytes(base: PPtr<File>) -> PPtr<PVec<u8>> {
    field!(base, File, bytes)
}

fn place<T: Transport, B: Persist>(
    store: &mut Store<T>,
    path: &str,
    of: BytesOf<B>,
) -> Result<(Range<u64>, u64), StoreError> {
    let object = store.open_to_read::<B>(path)?;
    let guard = store.look(&object)?;
    let bytes = guard.get(of(object.base())).map_err(TxError::from)?;
    let from = bytes.elements().offset().max(PAGES);
    Ok((from..from.saturating_add(bytes.len()), guard.mapping().control().version()))
}

/// Adds what `next` has from `at` on, `most` bytes at most; tells how many these were. Done again after a
/// restart, it does no more.
fn fill<T: Transport, B: Persist>(
    store: &mut Store<T>,
    path: &str,
    of: BytesOf<B>,
    (at, most): (u64, u64),
    next: impl Fn(u64) -> Result<Vec<u8>, SystemError>,
) -> Result<u64, SystemError> {
    let object = store.open::<B>(path)?;
    let mut done = 0;
    while done < most {
        let piece = next(at + done)?;
        put(store, &object, of, at + done, &piece)?;
        done += piece.len() as u64;
        if piece.len() < PIECE {
            break;
        }
    }
    Ok(done)
}

fn put<T: Transport, B: Persist>(
    store: &mut Store<T>,
    object: &Object<B, Mapped>,
    of: BytesOf<B>,
    at: u64,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let (place, size) = (of(object.base()), object.mapping().bytes());
    store.tx(|tx| {
        let mut editor = tx.edit(object)?;
        // At once, as the object was made for what it is to hold.
        if at == 0 {
            place.reserve(&mut editor, size.saturating_sub(HOLDER_BYTES))?;
        }
        place.truncate(&mut editor, at)?;
        Ok(place.extend(&mut editor, bytes)?)
    })
}

fn take<T: Transport, B: Persist>(
    store: &mut Store<T>,
    path: &str,
    of: BytesOf<B>,
    at: u64,
    most: usize,
) -> Result<Vec<u8>, StoreError> {
    let object = store.open_to_read::<B>(path)?;
    let guard = store.look(&object)?;
    let bytes = of(object.base()).as_slice(&guard).map_err(TxError::from)?;
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    Ok(rest.get(..most).unwrap_or(rest).to_vec())
}

/// Bytes of an object that hold nothing: the guard page, the header, the base's page, and what describes
/// the block of all that it holds.
const HOLDER_BYTES: u64 = 3 * PAGE_BYTES as u64 + 64;

/// Pages of an object that holds so many bytes, without its guard page.
fn holder_pages(bytes: u64) -> u32 {
    let all = bytes.max(PAGE_BYTES as u64).saturating_add(HOLDER_BYTES);
    u32::try_from(all.div_ceil(PAGE_BYTES as u64) - 1).unwrap_or(u32::MAX)
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
        // It was done, and then the server was restarted.
        if before == text.as_bytes() {
            return Ok(true);
        }
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
