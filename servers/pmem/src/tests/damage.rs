//! Damaged memory: whatever bits are wrong, the pool says so or says what is right.

use std::collections::BTreeMap;
use std::sync::Arc;

use libd3os_object::ObjectId;
use libd3os_object::layout::HEADER;
use libd3os_object::sim::{Domain, Explorer, Limits, Random, Sim};

use super::{Machine, id, new};
use crate::{
    Damage, Entry, Extent, Found, Ground, Kind, Layout, MapName, Name, Place, Pool, PoolError,
    Principal, Rights, superblock, system,
};

const LAYOUT: Layout = Layout { id: 79, pages: 90, logs: 2, log_pages: 2, system_pages: 20 };
const BYTES: usize = 90 * 4096;

/// What is in a pool that is well.
struct Reference {
    image: Vec<u8>,
    entries: BTreeMap<ObjectId, Entry>,
    /// All names, by directory.
    names: BTreeMap<(ObjectId, Name), Found>,
    rights: BTreeMap<(ObjectId, u64), Rights>,
    principals: BTreeMap<&'static str, Principal>,
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// A pool with three directories, a dozen of objects of two owners, and holes between them; all in place.
fn filled(sim: &Sim) -> Pool<Machine> {
    let mut pool = Pool::create(sim.medium(0), LAYOUT, Ground::Unknown).expect("it is empty");
    let [one, other] = ["one", "other"].map(|name| pool.principal(name).expect("a name"));
    let mut directories = vec![pool.root()];
    for (text, number) in [("a", 100), ("b", 101)] {
        let place = Place { directory: directories[directories.len() - 1], name: name(text) };
        pool.create_directory(&place, id(number), one).expect("room");
        directories.push(id(number));
    }
    for number in 1..=12 {
        let directory = directories[usize::try_from(number).expect("few") % 3];
        let place = Place { directory, name: name(&format!("object {number}")) };
        let owner = if number % 2 == 0 { one } else { other };
        pool.create_at(&place, new(number, 3, owner.number(), &number)).expect("room");
        if number % 3 == 0 {
            let both = Rights::READ | Rights::WRITE;
            pool.permit(id(number), if number % 2 == 0 { other } else { one }, both).expect("room");
        }
    }
    for number in [4_u128, 7] {
        let directory = directories[usize::try_from(number).expect("few") % 3];
        let place = Place { directory, name: name(&format!("object {number}")) };
        pool.unlink(&place, crate::Use::None).expect("it is there");
    }
    pool.unmap(pool.root()).expect("nobody else has a lock");
    pool
}

fn reference() -> Reference {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = filled(&sim);
    let image = sim.durable();
    let principals =
        BTreeMap::from(["one", "other"].map(|name| (name, pool.principal(name).expect("a name"))));
    let (mut entries, mut names, mut rights) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let each = |id, entry: &Entry| assert!(entries.insert(id, *entry).is_none());
    pool.for_each(each).expect("whole");
    for (id, entry) in &entries {
        for principal in principals.values() {
            let found = pool.rights(*id, *principal).expect("whole");
            rights.insert((*id, principal.number()), found);
        }
        if entry.kind() == Kind::Directory {
            let each = |name: &Name, found| names.insert((*id, *name), found).is_none();
            pool.list(*id, &Name::first_with(""), each).expect("whole");
        }
    }
    assert_eq!((entries.len(), names.len(), rights.len()), (13, 12, 26));
    Reference { image, entries, names, rights, principals }
}

fn overlap(one: Extent, other: Extent) -> bool {
    one.first < other.end() && other.first < one.end()
}

impl Reference {
    /// That all that the pool says is right: it may refuse to say something, but for what was not damaged.
    fn agrees_with(&self, pool: &Pool<Machine>) -> Result<(), String> {
        let mut is_missed = false;
        for (id, entry) in &self.entries {
            match pool.find(*id) {
                Ok(Some(found)) if found == *entry => {}
                Ok(None) => is_missed = true,
                Err(_) => {}
                wrong => return Err(format!("{id}: {wrong:?}, not {entry:?}")),
            }
        }
        for ((directory, name), target) in &self.names {
            match pool.find_name(&Place { directory: *directory, name: *name }) {
                Ok(found) if found == *target => {}
                Err(PoolError::Unknown(_)) => is_missed = true,
                Err(PoolError::Fenced(_) | PoolError::Damaged(_) | PoolError::Transaction(_)) => {}
                wrong => return Err(format!("{directory}/{name}: {wrong:?}, not {target:?}")),
            }
        }
        for ((id, principal), rights) in &self.rights {
            match pool.rights(*id, Principal::from_number(*principal)) {
                Ok(found) if found == *rights => {}
                Ok(found) if found.is_empty() => is_missed = true,
                Err(_) => {}
                wrong => return Err(format!("{id}: {wrong:?}, not {rights:?}")),
            }
        }
        let is_well = pool.check().is_ok_and(|damage| damage.is_empty());
        if is_missed && is_well { Err("something is missing untold".to_owned()) } else { Ok(()) }
    }

    /// That nothing is listed that is not there.
    fn lists(&self, pool: &Pool<Machine>) -> Result<(), String> {
        let mut wrong = None;
        pool.for_each(|id, entry| {
            if self.entries.get(&id) != Some(entry) {
                wrong = Some(format!("{id}: {entry:?}"));
            }
        })
        .unwrap_or(());
        for (id, _) in self.entries.iter().filter(|(_, entry)| entry.kind() == Kind::Directory) {
            let each = |name: &Name, found: Found| {
                if self.names.get(&(*id, *name)) != Some(&found) {
                    wrong = Some(format!("{id}/{name}: {found:?}"));
                }
                true
            };
            pool.list(*id, &Name::first_with(""), each).unwrap_or(());
        }
        wrong.map_or(Ok(()), Err)
    }

    /// That no page is given out that is somebody's.
    fn makes_room(&self, pool: &mut Pool<Machine>) -> Result<(), String> {
        for number in 200..204 {
            let Ok(made) = pool.create_object(new(number, 3, 1, &0_u64)) else { continue };
            let wrong = self.entries.values().find(|entry| overlap(entry.extent, made.extent));
            if wrong.is_some() || !pool.holds(made.extent) {
                return Err(format!("{made:?} lies in {wrong:?}"));
            }
        }
        Ok(())
    }

    fn knows_principals(&self, pool: &mut Pool<Machine>) -> Result<(), String> {
        for (name, principal) in &self.principals {
            match pool.principal(name) {
                Ok(found) if found == *principal => {}
                // It has a new number, which nothing belongs to.
                Ok(found) if !self.principals.values().any(|other| *other == found) => {}
                Err(_) => {}
                wrong => return Err(format!("{name}: {wrong:?}, not {principal:?}")),
            }
        }
        Ok(())
    }
}

/// Damages so many bits, mostly of what the pool knows, and of lines that are not all zeros.
fn damaged(reference: &Reference, random: &mut Random, bits: usize) -> Vec<u8> {
    let mut image = reference.image.clone();
    let [system, data] = [LAYOUT.system(), LAYOUT.data()].map(superblock::page);
    let directories = reference.entries.values().filter(|entry| entry.kind() == Kind::Directory);
    let directories: Vec<_> =
        directories.map(|entry| superblock::page(entry.extent.first)).collect();
    let mut left = bits;
    while left > 0 {
        let at = match random.below(8) {
            0 => random.below(BYTES),
            1 => data + random.below(BYTES - data),
            // Most of the system object is still zeros.
            2..5 => system + random.below((data - system) / 2),
            _ => directories[random.below(directories.len())] + random.below(4 * 4096),
        };
        let line = at - at % 64..at - at % 64 + 64;
        if image[line].iter().any(|byte| *byte != 0) {
            image[at] ^= 1 << random.below(8);
            left -= 1;
        }
    }
    image
}

/// What became of a damaged pool.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fate {
    /// It could not be opened.
    Refused,
    /// What is wrong was told.
    Told,
    /// Nothing was found to be wrong: it was nothing that the pool knows.
    Unnoticed,
}

fn judge(reference: &Reference, image: &[u8]) -> Result<Fate, String> {
    let sim = Sim::with_contents(Domain::Adr, image);
    let Ok(opened) = Pool::open(sim.medium(0)) else { return Ok(Fate::Refused) };
    let mut pool = opened.pool;
    let is_well = pool.check().is_ok_and(|damage| damage.is_empty());
    reference.agrees_with(&pool)?;
    reference.lists(&pool)?;
    reference.makes_room(&mut pool)?;
    reference.knows_principals(&mut pool)?;
    Ok(if is_well { Fate::Unnoticed } else { Fate::Told })
}

#[test]
fn what_a_damaged_pool_says_is_right() {
    let reference = reference();
    let mut random = Random::new(31);
    let mut fates = BTreeMap::new();
    for round in 0..3000 {
        let image = damaged(&reference, &mut random, 1 + round % 4);
        assert_ne!(image, reference.image);
        let fate = judge(&reference, &image);
        let fate = fate.unwrap_or_else(|wrong| panic!("round {round}: {wrong}"));
        *fates.entry(fate).or_insert(0) += 1;
    }
    println!("{fates:?}");
    assert!(fates[&Fate::Refused] > 10 && fates[&Fate::Told] > 1000, "{fates:?}");
}

/// The bytes of an object by which it is found again: identity, settled version, state.
fn is_intact(reference: &Reference, image: &[u8], entry: &Entry) -> bool {
    let start = superblock::page(entry.extent.first);
    let same = |bytes: std::ops::Range<usize>| image[bytes.clone()] == reference.image[bytes];
    same(start..start + 0x100) && same(start + 0x800..start + 0x1000)
}

/// What repair makes of a damaged pool, if it can be repaired.
fn repaired(reference: &Reference, image: &[u8]) -> Result<Fate, String> {
    let sim = Sim::with_contents(Domain::Adr, image);
    let Ok(opened) = Pool::open(sim.medium(0)) else { return Ok(Fate::Refused) };
    let mut pool = opened.pool;
    let Ok(left) = pool.repair() else { return Ok(Fate::Refused) };
    for (id, entry) in &reference.entries {
        let found = pool.find(*id).map_err(|error| error.to_string())?;
        let is_there = match entry.kind() {
            Kind::Object => found.is_some_and(|found| found.extent == entry.extent),
            Kind::Directory => found.is_some(),
        };
        if !is_there && is_intact(reference, image, entry) {
            return Err(format!("{id} is lost: {found:?}"));
        }
    }
    let again = pool.repair().map_err(|error| error.to_string())?;
    if again != left {
        return Err(format!("{left:?}, then {again:?}"));
    }
    let is_mended = |damage: &Damage| {
        !matches!(
            damage,
            Damage::Object(..)
                | Damage::Mistaken(_)
                | Damage::Heap(_)
                | Damage::Blocks
                | Damage::Map(
                    MapName::Orphans | MapName::Principals | MapName::Names | MapName::Permits
                )
                | Damage::Permit(_)
                | Damage::Orphan(_)
                | Damage::Principals
        )
    };
    match left.iter().find(|damage| is_mended(damage)) {
        Some(damage) => Err(format!("{damage:?} is left")),
        None if left.is_empty() => Ok(Fate::Unnoticed),
        None => Ok(Fate::Told),
    }
}

#[test]
fn repair_loses_nothing_that_is_intact() {
    let reference = reference();
    let mut random = Random::new(37);
    let mut fates = BTreeMap::new();
    for round in 0..2000 {
        let image = damaged(&reference, &mut random, 1 + round % 8);
        let fate = repaired(&reference, &image);
        let fate = fate.unwrap_or_else(|wrong| panic!("round {round}: {wrong}"));
        *fates.entry(fate).or_insert(0) += 1;
    }
    println!("{fates:?}");
    assert!(fates[&Fate::Unnoticed] > 1000, "{fates:?}");
}

/// An image in which the entries of two objects are damaged, and a name in a directory.
fn badly_damaged(reference: &Reference) -> Vec<u8> {
    let mut image = reference.image.clone();
    let mut spoil = |words: &[u8], in_pages: std::ops::Range<u64>| {
        let pages = superblock::page(in_pages.start)..superblock::page(in_pages.end);
        let found = pages.step_by(8).find(|at| image[*at..].starts_with(words));
        image[found.expect("it is there")] ^= 0x40;
    };
    let system = LAYOUT.system()..LAYOUT.data();
    for number in [5, 8] {
        let Extent { first, pages } = reference.entries[&id(number)].extent;
        spoil([first, pages].map(u64::to_le_bytes).as_flattened(), system.clone());
    }
    let directory = reference.entries[&id(100)].extent;
    spoil(b"object 1", directory.first..directory.end());
    image
}

#[test]
fn repair_can_be_interrupted_by_a_loss_of_power() {
    let reference = Arc::new(reference());
    let image = badly_damaged(&reference);
    let sim = Sim::with_contents(Domain::Adr, &image);
    let watched = Arc::clone(&reference);
    let mut pool = Pool::open(sim.medium(0)).expect("its header is well").pool;
    let damage = pool.check().expect("it can be walked");
    for expected in [Damage::Entry(id(5)), Damage::Entry(id(8)), Damage::Directory(id(100))] {
        assert!(damage.contains(&expected), "{damage:?}");
    }
    let limits = Limits { product: 24, random: 6, ..Limits::default() };
    sim.watch(Explorer::new(limits, 9), move |image| match repaired(&watched, image)? {
        Fate::Unnoticed => Ok(()),
        fate => Err(format!("{fate:?}")),
    });
    assert_eq!(pool.repair(), Ok(vec![]));
    let counts = sim.finish().expect("it can be repaired again");
    println!("{counts}");
    assert!(counts.images > 500, "{counts}");
    // What was found by its header has lost its owner, what was in the directory its name.
    let found = pool.find(id(5)).expect("it is sealed").expect("it is there");
    assert_eq!((found.owner, found.links), (Principal::POOL, 1));
    let lost = pool.resolve(pool.root(), "lost+found").expect("there were such");
    assert_eq!(lost.kind, Kind::Directory);
}

/// The lines, as offsets in the pool, of what tells which pages are free and which an object's, as far as
/// they are not all zeros.
fn lines_of_pages(reference: &Reference) -> Vec<usize> {
    let sim = Sim::with_contents(Domain::Adr, &reference.image);
    let pool = Pool::open(sim.medium(0)).expect("it is well").pool;
    let (session, system) = pool.system();
    let view = session.read(system).expect("nobody else has a lock");
    let base = system.base();
    let mut blocks = system::by_end(base).blocks(&view).expect("whole");
    blocks.extend(system::by_length(base).blocks(&view).expect("whole"));
    blocks.extend(system::objects(base).blocks(&view).expect("whole"));
    let start = superblock::page(LAYOUT.system());
    let places =
        blocks.iter().map(|block| usize::try_from(block.offset() - HEADER).expect("small"));
    let lines = places.flat_map(|place| (place..place + 960).step_by(64)).map(|at| start + at);
    lines.filter(|at| reference.image[*at..*at + 64].iter().any(|byte| *byte != 0)).collect()
}

#[test]
fn no_bit_gives_a_page_to_two() {
    let reference = reference();
    let lines = lines_of_pages(&reference);
    assert!(lines.len() >= 12, "{lines:?}");
    for at in lines.into_iter().flat_map(|line| line..line + 64) {
        for bit in [at % 8, (at + 3) % 8] {
            let mut image = reference.image.clone();
            image[at] ^= 1 << bit;
            let judged = judge(&reference, &image);
            assert!(judged.is_ok(), "bit {bit} of {at:#x}: {judged:?}");
        }
    }
}
