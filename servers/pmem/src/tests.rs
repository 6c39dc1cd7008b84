//! The pool against a model, with power lost at every instant, and with foreign and damaged contents.

mod capabilities;
mod damage;
mod names;
mod owners;
#[expect(unsafe_code, reason = "maps objects as a program would")]
pub(crate) mod program;
mod snapshots;
#[expect(unsafe_code, reason = "makes a medium of memory of its own")]
mod volatile;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use libd3os_object::control::Slot;
use libd3os_object::layout::LayoutError;
use libd3os_object::medium::Medium;
use libd3os_object::recovery::Finding;
use libd3os_object::sim::{Domain, Explorer, Limits, Random, Sim, SimMedium};
use libd3os_object::{Editor, ObjectId, TxError};
use proptest::prelude::*;

use super::*;

const PAGES: u64 = 40;
const BYTES: usize = 40 * 4096;
const LAYOUT: Layout = Layout { id: 77, pages: PAGES, logs: 2, log_pages: 1, system_pages: 14 };
/// Pages that objects can have beside the root of the names.
const DATA: u64 = PAGES - 2 - 2 - 14 - directory::PAGES;

type Machine = SimMedium;

fn id(number: u128) -> ObjectId {
    ObjectId::new(number)
}

/// An object that is to be made.
fn new<T>(number: u128, pages: u64, owner: u64, base: &T) -> New<'_, T> {
    New { id: id(number), pages, owner: Principal::from_number(owner), base }
}

fn made(sim: &Sim) -> Pool<Machine> {
    Pool::create(sim.medium(0), LAYOUT, Ground::Unknown).expect("it is empty")
}

fn opened(image: &[u8]) -> Result<Pool<Machine>, String> {
    let sim = Sim::with_contents(Domain::Adr, image);
    let opened = Pool::open(sim.medium(0)).map_err(|error| error.to_string())?;
    let findings = [opened.own.findings, opened.programs.findings].concat();
    if findings.is_empty() { Ok(opened.pool) } else { Err(format!("{findings:?}")) }
}

/// An object's memory, whoever had its pages before.
fn memory(pool: &Pool<Machine>, number: u128) -> Vec<u8> {
    let memory = pool.memory(id(number)).expect("well").expect("it is there");
    let mut bytes = vec![0; memory.bytes()];
    memory.read(0, &mut bytes);
    bytes
}

/// Power is lost while an object with a long base is made of pages that nobody had; whatever is left of that,
/// a short one is then made as in a new pool.
#[test]
fn what_was_begun_on_fresh_pages_is_not_left_there() {
    let make = |pool: &mut Pool<Machine>| {
        pool.create_object(new(5, 4, 1, &5_u64)).expect("room");
        memory(pool, 5)
    };
    let expected = make(&mut made(&Sim::new(Domain::Adr, BYTES)));
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    pool.session().settle().expect("nobody holds anything");
    let limits = Limits { product: 64, random: 16, ..Limits::default() };
    sim.watch(Explorer::new(limits, 3), move |image| {
        let found = make(&mut opened(image)?);
        if found == expected { Ok(()) } else { Err("something is left".into()) }
    });
    pool.create_object(new(6, 4, 1, &[u64::MAX; 64])).expect("room");
    let images = sim.finish().expect("each is well").images;
    assert!(images > 100, "{images} images");
}

/// Objects by id, with their pages and owners.
type Model = BTreeMap<u128, (u64, u64)>;

/// What is there, if nothing is damaged.
fn state(pool: &Pool<impl Medium + Clone>) -> Result<Model, String> {
    let damage = pool.check().map_err(|error| error.to_string())?;
    if !damage.is_empty() {
        return Err(format!("{damage:?}"));
    }
    let mut state = Model::new();
    let each = |id: ObjectId, entry: &Entry| {
        if entry.kind() == Kind::Object {
            state.insert(id.number(), (entry.extent.pages, entry.owner.number()));
        }
    };
    pool.for_each(each).map_err(|error| error.to_string())?;
    Ok(state)
}

/// What may be there: the state before an operation, and the one after it.
type Expected = Arc<Mutex<[Model; 2]>>;

/// That an image is recovered to one of the states; each so-manieth time with power lost during that.
fn recovers(expected: &Expected, image: &[u8], again: bool) -> Result<(), String> {
    let found = state(&opened(image)?)?;
    let expected_now = expected.lock().expect("a state").clone();
    if !expected_now.contains(&found) {
        return Err(format!("{found:?}, not one of {expected_now:?}"));
    }
    if again {
        let sim = Sim::with_contents(Domain::Adr, image);
        let expected = Arc::clone(expected);
        let limits = Limits { product: 8, random: 4, ..Limits::default() };
        sim.watch(Explorer::new(limits, 5), move |image| recovers(&expected, image, false));
        let opened = Pool::open(sim.medium(0)).map_err(|error| error.to_string())?;
        drop(opened);
        sim.finish().map_err(|failure| failure.to_string())?;
    }
    Ok(())
}

/// A random operation.
fn step(random: &mut Random, model: &Model, next: u128) -> Step {
    let some = model.keys().copied().nth(random.below(model.len().max(1)));
    match (random.below(5), some) {
        (0, Some(id)) => Step::Delete(id),
        (1, Some(id)) => Step::Grow(id, 1 + random.below(2) as u64),
        _ => Step::Create(next, 3 + random.below(3) as u64, random.below(9) as u64),
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Create(u128, u64, u64),
    Delete(u128),
    Grow(u128, u64),
}

/// Carries a step out, and tells whether that was done: the pool may be full.
fn carry_out(pool: &mut Pool<impl Medium + Clone>, step: Step, expected: &Expected) -> bool {
    let before = expected.lock().expect("a state")[1].clone();
    let mut after = before.clone();
    match step {
        Step::Create(id, pages, owner) => after.entry(id).or_insert((pages, owner)).1 = owner,
        Step::Delete(id) => after.retain(|other, _| *other != id),
        Step::Grow(id, pages) => after.entry(id).or_default().0 += pages,
    }
    *expected.lock().expect("a state") = [before.clone(), after.clone()];
    let done = match step {
        Step::Create(number, pages, owner) => {
            pool.create_object(new(number, pages, owner, &number)).map(drop)
        }
        Step::Delete(number) => pool.delete(id(number)),
        Step::Grow(number, pages) => pool.grow(id(number), pages).map(drop),
    };
    let is_done = match done {
        Ok(()) => true,
        Err(PoolError::Full { .. } | PoolError::Enclosed(_)) => false,
        Err(error) => panic!("{step:?}: {error}"),
    };
    let now = if is_done { after } else { before };
    *expected.lock().expect("a state") = [now.clone(), now];
    is_done
}

fn power_is_lost(domain: Domain, steps: u128) -> u64 {
    let sim = Sim::new(domain, BYTES);
    let mut pool = made(&sim);
    let expected = Expected::default();
    let watched = Arc::clone(&expected);
    let limits = Limits { product: 32, random: 8, ..Limits::default() };
    let mut images = 0_u64;
    sim.watch(Explorer::new(limits, 3), move |image| {
        images += 1;
        recovers(&watched, image, images.is_multiple_of(97))
    });
    let mut random = Random::new(11);
    let mut done = [0; 3];
    for next in 1..=steps {
        let model = expected.lock().expect("a state")[1].clone();
        let chosen = step(&mut random, &model, next);
        let kind = match chosen {
            Step::Create(..) => 0,
            Step::Delete(_) => 1,
            Step::Grow(..) => 2,
        };
        done[kind] += u32::from(carry_out(&mut pool, chosen, &expected));
        let model = expected.lock().expect("a state")[1].clone();
        assert_eq!(state(&pool), Ok(model));
    }
    assert!(done.iter().all(|times| *times >= 15), "{done:?}");
    let counts = sim.finish().expect("every image is one of the two states");
    println!("{counts}");
    counts.images
}

#[test]
fn objects_are_there_or_not() {
    let images: u64 =
        [Domain::Adr, Domain::Eadr].into_iter().map(|domain| power_is_lost(domain, 240)).sum();
    assert!(images > 5_000, "{images}");
}

#[test]
fn a_pool_is_made_or_can_be_made_again() {
    for domain in [Domain::Adr, Domain::Eadr] {
        let sim = Sim::new(domain, BYTES);
        let limits = Limits { product: 32, random: 8, ..Limits::default() };
        sim.watch(Explorer::new(limits, 3), move |image| {
            let sim = Sim::with_contents(domain, image);
            match Pool::open(sim.medium(0)) {
                Ok(opened) => state(&opened.pool).map(drop),
                Err(PoolError::Superblock(
                    SuperblockError::Empty | SuperblockError::Unfinished,
                )) => {
                    let again = Pool::create(sim.medium(0), LAYOUT, Ground::Unknown);
                    state(&again.map_err(|error| error.to_string())?).map(drop)
                }
                Err(error) => Err(error.to_string()),
            }
        });
        drop(made(&sim));
        let counts = sim.finish().expect("every image is a pool or can be made one");
        assert!(counts.images > 100, "{counts}");
    }
}

#[test]
fn somebody_elses_data_is_left_alone() {
    let mut image = vec![0; BYTES];
    image[5000] = 1;
    let sim = Sim::with_contents(Domain::Adr, &image);
    let foreign = PoolError::Superblock(SuperblockError::Foreign { at: 5000 });
    let open = Pool::open(sim.medium(0)).map(drop);
    assert_eq!(open, Err(foreign.clone()));
    assert_eq!(Pool::create(sim.medium(0), LAYOUT, Ground::Unknown).map(drop), Err(foreign));
    assert_eq!(sim.visible(), image);
    let pool = Pool::create(sim.medium(0), LAYOUT, Ground::GivenUp).expect("forced");
    assert_eq!(state(&pool), Ok(Model::new()));
    let again = Pool::create(sim.medium(0), LAYOUT, Ground::Unknown).map(drop);
    let here = SuperblockError::Foreign { at: 0 };
    assert_eq!(again, Err(PoolError::Superblock(here)), "a pool is somebody's data, too");
}

#[test]
fn a_pool_of_another_version_is_told_and_left_alone() {
    let mut image = vec![0; BYTES];
    image[..8].copy_from_slice(b"D3OSpol\x01");
    let sim = Sim::with_contents(Domain::Adr, &image);
    let other = PoolError::Superblock(SuperblockError::Version { found: 1 });
    assert_eq!(Pool::open(sim.medium(0)).map(drop), Err(other.clone()));
    assert_eq!(Pool::create(sim.medium(0), LAYOUT, Ground::Unknown).map(drop), Err(other));
    assert_eq!(sim.visible(), image);
}

#[test]
fn a_layout_that_does_not_fit_is_refused() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let refused =
        |layout| Pool::create(sim.medium(0), layout, Ground::GivenUp).map(drop).unwrap_err();
    let division = PoolError::Superblock(SuperblockError::Division { pages: PAGES });
    for layout in [
        Layout { logs: 0, ..LAYOUT },
        Layout { logs: 57, ..LAYOUT },
        Layout { log_pages: u64::MAX, ..LAYOUT },
        Layout { system_pages: PAGES, ..LAYOUT },
    ] {
        assert_eq!(refused(layout), division);
    }
    let long = refused(Layout { pages: 2 * PAGES, ..LAYOUT });
    let cut = SuperblockError::Cut { pages: 2 * PAGES, found: PAGES };
    assert_eq!(long, PoolError::Superblock(cut));
    assert_eq!(sim.visible(), vec![0; BYTES]);
}

#[test]
fn a_full_pool_says_so_and_has_room_after_deletions() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let mut number = 0;
    let full = loop {
        match pool.create_object(new(number, 3, 0, &0_u64)) {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full, PoolError::Full { pages: 3, free: DATA % 3 });
    assert_eq!(u64::try_from(number), Ok(DATA / 3));
    // Every second one first, so that all are joined in the end.
    let order = (0..number).step_by(2).chain((1..number).step_by(2));
    order.for_each(|number| pool.delete(id(number)).expect("it is there"));
    let whole = pool.create_object(new(99, DATA, 0, &0_u64)).expect("all in one piece");
    assert_eq!(whole.extent.pages, DATA);
    assert_eq!(pool.delete(id(5)), Err(PoolError::Unknown(id(5))));
    assert_eq!(state(&pool), Ok(Model::from([(99, (DATA, 0))])));
}

#[test]
fn ids_are_one_objects() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    pool.create_object(new(1, 3, 4, &0_u64)).expect("room");
    let again = pool.create_object(new(1, 3, 5, &0_u64));
    assert_eq!(again, Err(PoolError::Exists(id(1))));
    let reserved = id(1 << 127);
    let refused = pool.create_object(New { id: reserved, ..new(0, 3, 5, &0_u64) });
    assert_eq!(refused, Err(PoolError::Reserved(reserved)));
    assert_eq!(state(&pool), Ok(Model::from([(1, (3, 4))])));
}

#[test]
fn objects_grow_where_they_are() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    pool.create_object(new(1, 3, 0, &0_u64)).expect("room");
    pool.create_object(new(2, 3, 0, &0_u64)).expect("room");
    assert_eq!(pool.grow(id(1), 1), Err(PoolError::Enclosed(id(1))));
    assert_eq!(pool.grow(id(3), 1), Err(PoolError::Unknown(id(3))));
    assert_eq!(pool.grow(id(1), 0).map(|entry| entry.extent.pages), Ok(3));
    let grown = pool.grow(id(2), 4).expect("nothing is behind it");
    assert_eq!(grown.extent.pages, 7);
    pool.delete(id(2)).expect("it is there");
    assert_eq!(pool.grow(id(1), DATA - 3).map(|entry| entry.extent.pages), Ok(DATA));
    assert_eq!(pool.grow(id(1), 1), Err(PoolError::Enclosed(id(1))));
}

/// A pool with an object of the principal `owner` that a program of `writer` has changed, whose log still
/// holds that.
fn changed_by(writer: &str, value: u64) -> (Sim, Pool<Machine>) {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let owner = pool.principal("owner").expect("a name");
    pool.create_object(new(1, 3, owner.number(), &5_u64)).expect("room");
    let memory = pool.memory(id(1)).expect("no damage").expect("it is there");
    let slot = Slot::new(1).expect("few slots");
    let writer = pool.principal(writer).expect("a name");
    let log = pool.begin_session(slot, writer).expect("two logs");
    program::change(slot, log, memory, |editor: &mut Editor<'_, u64>| {
        *editor.modify_base()? = value;
        Ok::<_, TxError>(())
    });
    (sim, pool)
}

fn changed(value: u64) -> (Sim, Pool<Machine>) {
    changed_by("owner", value)
}

fn value(pool: &Pool<Machine>) -> u64 {
    let memory = pool.memory(id(1)).expect("no damage").expect("it is there");
    program::value(memory)
}

#[test]
fn what_programs_have_committed_is_recovered() {
    let durable = changed(6).0.durable();
    let pool = opened(&durable).expect("whole");
    assert_eq!(value(&pool), 6);
}

#[test]
fn what_programs_may_not_write_is_refused() {
    let durable = changed_by("somebody else", 6).0.durable();
    let sim = Sim::with_contents(Domain::Adr, &durable);
    let opened = Pool::open(sim.medium(0)).expect("a pool");
    let owner = Slot::new(1).expect("few slots");
    assert_eq!(opened.programs.findings, [Finding::Forbidden { owner, id: id(1) }]);
    assert_eq!(value(&opened.pool), 5);
}

#[test]
fn what_is_said_of_deleted_objects_is_dropped() {
    let (sim, mut pool) = changed(6);
    pool.delete(id(1)).expect("it is there");
    let sim = Sim::with_contents(Domain::Adr, &sim.durable());
    let opened = Pool::open(sim.medium(0)).expect("a pool");
    assert_eq!((opened.programs.records, opened.programs.applied), (1, 0));
    assert_eq!(opened.programs.findings, []);
    assert_eq!(state(&opened.pool), Ok(Model::new()));
}

#[test]
fn what_is_free_is_worked_out_anew() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    for number in 1..=4 {
        pool.create_object(new(number, 3, 0, &0_u64)).expect("room");
    }
    pool.delete(id(2)).expect("it is there");
    let [hole, used] =
        [3, 6].map(|after| Extent { first: LAYOUT.data() + directory::PAGES + after, pages: 3 });
    // A free extent is forgotten, and an object's is taken for free.
    pool.change(|editor| space::remove(editor, hole)).expect("no damage yet");
    assert_eq!(pool.check(), Ok(vec![Damage::Lost(hole)]));
    pool.change(|editor| space::insert(editor, used)).expect("the lists are well");
    assert_eq!(pool.check(), Ok(vec![Damage::Lost(hole), Damage::Overlap(used)]));
    assert_eq!(pool.repair(), Ok(vec![]));
    let model: Model = [1, 3, 4].map(|number| (number, (3, 0))).into();
    assert_eq!(state(&pool), Ok(model));
    let again = pool.create_object(new(5, 3, 0, &0_u64)).expect("the hole");
    assert_eq!(again.extent, hole);
}

#[test]
fn what_cannot_be_worked_out_is_told() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let extent = pool.create_object(new(1, 3, 0, &0_u64)).expect("room").extent;
    sim.medium(0).store_word(superblock::page(extent.first), 0);
    let damage = pool.repair().expect("the pool itself is well");
    assert_eq!(damage, [Damage::Object(id(1), LayoutError::Magic)]);
}

#[test]
fn one_superblock_is_enough_and_is_copied() {
    let sim = Sim::new(Domain::Adr, BYTES);
    drop(made(&sim));
    for damaged in [&[0_usize] as &[usize], &[4096]] {
        let mut image = sim.durable();
        damaged.iter().for_each(|at| image[*at + 20] ^= 1);
        let medium = Sim::with_contents(Domain::Adr, &image);
        assert!(Pool::open(medium.medium(0)).is_ok());
        let bytes = medium.durable();
        assert_eq!(bytes[..64], bytes[4096..4160]);
    }
    let mut image = sim.durable();
    [20, 4116].into_iter().for_each(|at| image[at] ^= 1);
    let error = Pool::open(Sim::with_contents(Domain::Adr, &image).medium(0));
    assert_eq!(error.map(drop), Err(PoolError::Superblock(SuperblockError::Damaged)));
}

proptest! {
    /// Whatever is damaged: the pool opens or says why not, and what can be done with it is done or
    /// refused, without a panic.
    #[test]
    fn damage_does_no_harm(
        flips in prop::collection::vec((0..BYTES, 1_u8..), 1..6),
        in_system in any::<bool>(),
    ) {
        let (sim, _) = changed(6);
        let mut image = sim.durable();
        let [start, end] = [LAYOUT.system(), LAYOUT.data()].map(superblock::page);
        let system = start..end;
        for (at, with) in flips {
            let at = if in_system { system.start + at % system.len() } else { at };
            image[at] ^= with;
        }
        let sim = Sim::with_contents(Domain::Adr, &image);
        if let Ok(mut opened) = Pool::open(sim.medium(0)) {
            let _ = opened.pool.check();
            let _ = opened.pool.create_object(new(2, 3, 0, &0_u64));
            let _ = opened.pool.grow(id(1), 1);
            let _ = opened.pool.delete(id(1));
            let _ = opened.pool.repair();
            let _ = opened.pool.check();
        }
    }
}

#[test]
fn what_was_not_looked_through_is_not_said_to_be_empty() {
    let read = |at: usize, extent| {
        let mut image = vec![0; BYTES];
        image[at] = 1;
        let sim = Sim::with_contents(Domain::Adr, &image);
        superblock::read_within(&sim.medium(0), extent, &mut |_| {})
    };
    let far = 20 * 4096;
    assert_eq!(read(far, far), Err(SuperblockError::Unsearched { gib: 0 }));
    assert_eq!(read(far, far + 64), Err(SuperblockError::Foreign { at: far as u64 }));
    assert_eq!(read(far - 1, far), Err(SuperblockError::Foreign { at: far as u64 - 1 }));
    let empty = Sim::new(Domain::Adr, BYTES);
    let found = superblock::read_within(&empty.medium(0), far, &mut |_| {});
    assert_eq!(found, Err(SuperblockError::Unsearched { gib: 0 }));
}

#[test]
fn who_says_that_memory_is_empty_is_believed_as_far_as_nothing_is_seen() {
    let mut image = vec![0; BYTES];
    image[5000] = 1;
    let sim = Sim::with_contents(Domain::Adr, &image);
    let made = Pool::create(sim.medium(0), LAYOUT, Ground::Believed).map(drop);
    assert_eq!(made, Err(SuperblockError::Foreign { at: 5000 }.into()));
    assert_eq!(sim.visible(), image);
    let sim = Sim::new(Domain::Adr, BYTES);
    let pool = Pool::create(sim.medium(0), LAYOUT, Ground::Believed).expect("it is empty");
    assert_eq!(state(&pool), Ok(Model::new()));
}
