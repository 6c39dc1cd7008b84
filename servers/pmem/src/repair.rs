//! Mending what can be worked out anew: where objects are, and which pages are free.
//!
//! What the table of objects says is believed, as far as it is sealed. If entries of it are damaged, or
//! cannot be found, objects are looked for where no other one is and nothing is free: by their own
//! headers. Whose they were is not written there, so they are the pool's own afterwards. Then pages are free
//! that no object has. What programs have written is not touched, nor an object that is damaged itself.
//!
//! Each step is a transaction, or several of which only the last one counts: if power is lost, the pool can
//! be repaired again.

mod names;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use libd3os_object::collections::{PHashMap, POrderedMap};
use libd3os_object::heap;
use libd3os_object::layout::{self, HEADER, Identity};
use libd3os_object::medium::Medium;
use libd3os_object::persist::Description;
use libd3os_object::view::View;
use libd3os_object::{Editor, ObjectId, PPtr, Persist};

use crate::check::{Damage, used_blocks};
use crate::directory::Directory;
use crate::map;
use crate::owners::Principal;
use crate::pool::{Pool, PoolError};
use crate::sealed::Sealed;
use crate::space;
use crate::superblock::PAGE_BYTES;
use crate::system::{self, Entry, Extent, Kind, System};

/// So many blocks are given back in a transaction.
const MANY: usize = 16;

type Objects = BTreeMap<ObjectId, Entry>;

impl<M: Medium + Clone> Pool<M> {
    /// Makes what the pool knows right again, as far as it can be worked out; tells what is damaged still.
    ///
    /// # Errors
    /// The system object's heap is so damaged that it cannot be changed, or there are too many free extents for
    /// a transaction.
    pub fn repair(&mut self) -> Result<Vec<Damage>, PoolError> {
        self.repair_objects()?;
        self.repair_free()?;
        self.repair_pending()?;
        self.repair_blocks()?;
        self.repair_names()?;
        self.check()
    }

    /// Replaces the table of objects, if it is damaged or objects are found that it does not know.
    fn repair_objects(&mut self) -> Result<(), PoolError> {
        let (mut known, is_whole) = self.known_objects();
        let before = known.len();
        for run in self.unclaimed(&known) {
            self.scan(run, &mut known);
        }
        if is_whole && known.len() == before {
            return Ok(());
        }
        self.change(|editor| reset_map(editor, system::rebuilt))?;
        for (id, entry) in &known {
            self.change(|editor| {
                let rebuilt = system::rebuilt(editor.base_pointer());
                let sealed = Sealed::new(&id.number(), *entry);
                Ok(rebuilt.insert(editor, id.number(), sealed)?)
            })?;
        }
        self.change(|editor| {
            let base = editor.base_pointer();
            let words = *editor.get(words_of(system::rebuilt(base)))?;
            editor.set(words_of(system::objects(base)), words)?;
            reset_map(editor, system::rebuilt)
        })
    }

    /// What the table says that can be believed, and whether that is all.
    fn known_objects(&self) -> (Objects, bool) {
        let (session, system) = self.system();
        let Ok(view) = session.read(system) else { return (Objects::new(), false) };
        let (mut all, mut is_whole, mut count) = (Vec::new(), true, 0);
        let walked = system::objects(system.base()).for_each(&view, |id, sealed| {
            count += 1;
            match sealed.open(id) {
                Some(entry) => all.push((ObjectId::new(*id), entry)),
                None => is_whole = false,
            }
        });
        is_whole &= walked.is_ok() && system::objects(system.base()).len(&view) == Ok(count);
        let mut known = Objects::new();
        for (id, entry) in all {
            let found = system::find(&view, system.base(), id);
            is_whole &= found == Ok(Some(entry));
            // Divisions of the table leave old entries behind: what is found counts, or what is there.
            match found {
                Ok(Some(found)) => drop(known.insert(id, found)),
                _ if self.is_there(id, &entry) => drop(known.insert(id, entry)),
                _ => {}
            }
        }
        (known, is_whole)
    }

    fn is_there(&self, id: ObjectId, entry: &Entry) -> bool {
        let identity = self.holds(entry.extent).then(|| Identity::read(&self.part(entry.extent)));
        let found = identity.and_then(Result::ok);
        found.is_some_and(|found| found.id == id && found.fingerprint.0 == entry.fingerprint)
    }

    /// Pages that no object has, and of which not both lists say that they are free.
    fn unclaimed(&self, known: &Objects) -> Vec<Extent> {
        let mut claimed: Vec<_> = known.values().map(|entry| entry.extent).collect();
        claimed.extend(self.surely_free());
        claimed.retain(|extent| self.holds(*extent));
        claimed.sort_unstable();
        self.gaps(&claimed)
    }

    fn surely_free(&self) -> Vec<Extent> {
        let (session, system) = self.system();
        let Ok(view) = session.read(system) else { return Vec::new() };
        let (mut listed, mut free) = (Vec::new(), Vec::new());
        let each = |end: &u64, first: &u64| {
            listed.push(Extent { first: *first, pages: end.saturating_sub(*first) });
        };
        // As far as it can be walked.
        let _ = system::by_end(system.base()).for_each(&view, each);
        for extent in listed {
            let key = space::key(extent.pages, extent.first);
            let other = system::by_length(system.base()).get(&view, &key);
            free.extend((other == Ok(Some(&extent.first))).then_some(extent));
        }
        free
    }

    /// Adds the objects that begin in these pages and are not known.
    fn scan(&self, run: Extent, known: &mut Objects) {
        let mut first = run.first;
        while first < run.end() {
            let rest = Extent { first, pages: run.end() - first };
            first += match self.look(rest) {
                Some((id, entry)) => {
                    known.entry(id).or_insert(entry);
                    entry.extent.pages
                }
                None => 1,
            };
        }
    }

    /// The object that begins with the first of these pages.
    fn look(&self, rest: Extent) -> Option<(ObjectId, Entry)> {
        let memory = self.part(rest);
        let identity = Identity::read(&memory).ok()?;
        layout::settled(&memory).ok()?;
        let end = map::end_of(memory).ok()?;
        let pages = end.checked_sub(HEADER)? / PAGE_BYTES;
        let extent = Extent { pages, ..rest };
        let is_directory = identity.fingerprint == Description::of::<Directory>().fingerprint();
        let kind = if is_directory { Kind::Directory } else { Kind::Object };
        let id = identity.id;
        let may_be = id.number() >> 127 == 0 || id == self.root() || id == self.lost();
        let fits = (3..=rest.pages).contains(&pages) && may_be;
        // As if it had a name, so that it gets one.
        let entry = Entry::new(extent, identity.fingerprint.0, Principal::POOL, kind).with_links(1);
        fits.then_some((id, entry))
    }

    /// Makes free what no object has, and nothing else.
    fn repair_free(&mut self) -> Result<(), PoolError> {
        let mut taken = Vec::new();
        self.for_each(|_, entry| taken.push(entry.extent))?;
        taken.retain(|extent| self.holds(*extent));
        taken.sort_unstable();
        let free = self.gaps(&taken);
        self.change(|editor| {
            reset_list(editor, system::by_end)?;
            reset_list(editor, system::by_length)?;
            let base = editor.base_pointer();
            editor.set(system::free(base), 0)?;
            free.iter().try_for_each(|extent| space::insert(editor, *extent))
        })
    }

    /// What lies between extents, which are in order and may overlap.
    fn gaps(&self, taken: &[Extent]) -> Vec<Extent> {
        let last = Extent { first: self.layout().pages, pages: 0 };
        let mut reached = self.layout().data();
        let mut gaps = Vec::new();
        for extent in taken.iter().chain([&last]) {
            if extent.first > reached {
                gaps.push(Extent { first: reached, pages: extent.first - reached });
            }
            reached = reached.max(extent.end());
        }
        gaps
    }

    /// Gives blocks of the system object back that no map has.
    fn repair_blocks(&mut self) -> Result<(), PoolError> {
        let (session, system) = self.system();
        let view = session.read(system)?;
        // What is wrong with the heap itself is told by `check`.
        let Ok(census) = heap::census(&view) else { return Ok(()) };
        let mut used: Vec<u64> =
            used_blocks(&view, system.base())?.iter().map(|block| block.offset()).collect();
        used.push(system.base().offset());
        used.sort_unstable();
        drop(view);
        let is_leaked = |block: &u64| used.binary_search(block).is_err();
        let leaked: Vec<_> =
            census.blocks.iter().map(|block| block.offset).filter(is_leaked).collect();
        leaked.chunks(MANY).try_for_each(|some| {
            self.change(|editor| {
                some.iter().try_for_each(|block| Ok(editor.free(PPtr::<u8>::local(*block))?))
            })
        })
    }
}

/// A map is moved as the words of which it consists.
type Words = [u64; 5];

const fn words_of<K, V>(map: PPtr<PHashMap<K, V>>) -> PPtr<Words> {
    const { assert!(size_of::<PHashMap<K, V>>() == size_of::<Words>()) };
    map.cast()
}

/// Empties a map that may be damaged: its blocks are nobody's then.
fn reset_map<K: Persist, V: Persist>(
    editor: &mut Editor<'_, System>,
    map: fn(PPtr<System>) -> PPtr<PHashMap<K, V>>,
) -> Result<(), PoolError> {
    let map = map(editor.base_pointer());
    Ok(editor.set(map, PHashMap::default())?)
}

/// The same for one in order.
pub(crate) fn reset_list<K: Persist, V: Persist>(
    editor: &mut Editor<'_, System>,
    map: fn(PPtr<System>) -> PPtr<POrderedMap<K, V>>,
) -> Result<(), PoolError> {
    let map = map(editor.base_pointer());
    Ok(editor.set(map, POrderedMap::default())?)
}
