//! Snapshots: against a model, with power lost at every instant.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use libd3os_object::ObjectId;
use libd3os_object::control::Slot;
use libd3os_object::sim::{Domain, Explorer, Limits, Random, Sim};

use super::{BYTES, Machine, id, made, new, opened, program};
use crate::{Damage, Ground, Name, NameError, Place, Pool, PoolError, Principal, Use, system};

const OWNER: Principal = Principal::from_number(1);
const OTHER: Principal = Principal::from_number(2);

/// What is found by each name, and whether that is a snapshot.
type Model = BTreeMap<String, (u64, bool)>;

fn slot() -> Slot {
    Slot::new(1).expect("few slots")
}

fn place(pool: &Pool<Machine>, name: &str) -> Place {
    Place { directory: pool.root(), name: Name::new(name).expect("a name") }
}

fn found(pool: &Pool<Machine>, name: &str) -> ObjectId {
    pool.find_name(&place(pool, name)).expect("it is there").id
}

/// What an object holds, as the server shows it.
fn value(pool: &mut Pool<Machine>, id: ObjectId) -> Result<u64, PoolError> {
    let entry = pool.find(id)?.ok_or(PoolError::Unknown(id))?;
    if entry.is_pending() {
        let origin = pool.origin_of(id)?;
        pool.complete(origin)?;
    }
    Ok(program::value(pool.memory(id)?.ok_or(PoolError::Unknown(id))?))
}

fn names(pool: &Pool<Machine>) -> Vec<(String, ObjectId)> {
    let mut names = Vec::new();
    let each = |name: &Name, found: crate::Found| {
        names.push((name.to_string(), found.id));
        true
    };
    pool.list(pool.root(), &Name::first_with(""), each).expect("whole");
    names
}

/// What is there, if nothing is damaged: before the snapshots have their contents, and when all of them do.
fn state(pool: &mut Pool<Machine>) -> Result<Model, String> {
    let mut model = Model::new();
    whole(pool)?;
    for (name, id) in names(pool) {
        let is_snapshot = pool.find(id).ok().flatten().is_some_and(|entry| entry.is_snapshot());
        let value = value(pool, id).map_err(|error| error.to_string())?;
        model.insert(name, (value, is_snapshot));
    }
    whole(pool).map(|()| model)
}

fn whole(pool: &Pool<Machine>) -> Result<(), String> {
    let damage = pool.check().map_err(|error| error.to_string())?;
    if damage.is_empty() { Ok(()) } else { Err(format!("{damage:?}")) }
}

fn set(pool: &mut Pool<Machine>, id: ObjectId, value: u64) -> Result<(), PoolError> {
    pool.complete(id)?;
    let memory = pool.memory(id)?.ok_or(PoolError::Unknown(id))?;
    let log = pool.log(slot()).expect("there is one");
    program::set(slot(), log, memory, value);
    Ok(())
}

#[derive(Clone, Debug)]
enum Step {
    Create(String),
    Set(String, u64),
    Snapshot(String, String),
    Grow(String),
    Remove(String),
}

fn step(random: &mut Random, model: &Model, next: u64) -> Step {
    let Some(some) = model.keys().nth(random.below(model.len().max(1))).cloned() else {
        return Step::Create(next.to_string());
    };
    match random.below(8) {
        0 | 1 => Step::Create(next.to_string()),
        2 | 3 if !model[&some].1 => Step::Set(some, next),
        4 if !model[&some].1 => Step::Grow(some),
        4 => Step::Snapshot(some, next.to_string()),
        5 | 6 if !model[&some].1 => Step::Snapshot(some, next.to_string()),
        _ => Step::Remove(some),
    }
}

fn after(model: &Model, step: &Step) -> Model {
    let mut after = model.clone();
    match step {
        Step::Create(name) => drop(after.insert(name.clone(), (5, false))),
        Step::Set(name, value) => drop(after.insert(name.clone(), (*value, false))),
        Step::Snapshot(of, name) => drop(after.insert(name.clone(), (model[of].0, true))),
        Step::Grow(_) => {}
        Step::Remove(name) => drop(after.remove(name)),
    }
    after
}

fn carry_out(pool: &mut Pool<Machine>, step: &Step, next: u64) -> Result<(), PoolError> {
    match step {
        Step::Create(name) => {
            let place = place(pool, name);
            pool.create_at(&place, new(next.into(), 3, 1, &5_u64)).map(drop)
        }
        Step::Set(name, value) => set(pool, found(pool, name), *value),
        Step::Snapshot(of, name) => {
            let place = place(pool, name);
            pool.snapshot(&place, id(next.into()), (found(pool, of), OWNER)).map(drop)
        }
        Step::Grow(name) => pool.enlarge(found(pool, name), 1).map(drop),
        Step::Remove(name) => pool.unlink(&place(pool, name), Use::None).map(drop),
    }
}

fn power_is_lost(domain: Domain) -> u64 {
    let sim = Sim::new(domain, BYTES);
    let mut pool = made(&sim);
    pool.begin_session(slot(), OWNER).expect("free");
    let expected = Arc::new(Mutex::new([Model::new(), Model::new()]));
    let watched = Arc::clone(&expected);
    let limits = Limits { product: 16, random: 8, ..Limits::default() };
    sim.watch(Explorer::new(limits, 8), move |image| {
        let found = state(&mut opened(image)?)?;
        let states = watched.lock().expect("a state").clone();
        if states.contains(&found) { Ok(()) } else { Err(format!("{found:?}, not {states:?}")) }
    });
    let (mut random, mut now, mut done) = (Random::new(34), Model::new(), [0; 5]);
    for next in 1..=200 {
        let chosen = step(&mut random, &now, next);
        let then = after(&now, &chosen);
        *expected.lock().expect("a state") = [now.clone(), then.clone()];
        match carry_out(&mut pool, &chosen, next) {
            Ok(()) => {
                now = then;
                done[kind(&chosen)] += 1;
            }
            Err(PoolError::Full { .. }) => {}
            Err(error) => panic!("{chosen:?}: {error}"),
        }
        whole(&pool).expect("whole");
    }
    assert!(done.iter().all(|times| *times >= 8), "{done:?}");
    let counts = sim.finish().expect("every image is one of the two states");
    println!("{counts}");
    counts.images
}

const fn kind(step: &Step) -> usize {
    match step {
        Step::Create(_) => 0,
        Step::Set(..) => 1,
        Step::Snapshot(..) => 2,
        Step::Grow(_) => 3,
        Step::Remove(_) => 4,
    }
}

#[test]
fn a_snapshot_keeps_what_was_there() {
    let images: u64 = [Domain::Adr, Domain::Eadr].map(power_is_lost).into_iter().sum();
    assert!(images > 3_000, "{images}");
}

/// A pool with an object, which has a snapshot that has not got its contents.
fn with_pending() -> (Sim, Pool<Machine>) {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let at = place(&pool, "a");
    pool.create_at(&at, new(1, 3, 1, &5_u64)).expect("room");
    let at = place(&pool, "s");
    assert_eq!(pool.snapshot(&at, id(2), (id(1), OWNER)), Ok(id(2)));
    (sim, pool)
}

#[test]
fn two_of_the_same_are_one() {
    let (_sim, mut pool) = with_pending();
    let free = pool.free().expect("whole");
    let at = place(&pool, "t");
    assert_eq!(pool.snapshot(&at, id(3), (id(1), OWNER)), Ok(id(2)), "nothing has changed");
    let at = place(&pool, "u");
    assert_eq!(pool.snapshot(&at, id(3), (id(2), OWNER)), Ok(id(2)), "nothing will");
    assert_eq!(pool.free(), Ok(free));
    let at = place(&pool, "v");
    assert_eq!(pool.snapshot(&at, id(3), (id(1), OTHER)), Ok(id(3)), "somebody else's");
    assert_eq!(pool.pending_of(id(1)), Ok(Some(id(3))));
    assert_eq!(value(&mut pool, id(2)), Ok(5));
    whole(&pool).expect("whole");
}

#[test]
fn nobody_writes_a_snapshot_and_no_directory_has_one() {
    let (_sim, mut pool) = with_pending();
    let refused = pool.snapshot(&place(&pool, "r"), id(3), (pool.root(), OWNER));
    assert_eq!(refused, Err(NameError::Directory.into()));
    assert_eq!(pool.memory(id(2)).map(drop), Err(PoolError::Fenced(id(2))), "not there yet");
    assert_eq!(pool.complete(id(1)), Ok(true));
    assert_eq!(pool.complete(id(1)), Ok(false));
    let (session, system) = pool.system();
    let view = session.read(system).expect("nobody writes");
    let entry = pool.find(id(2)).expect("whole").expect("there");
    let may = crate::owners::may_write(&view, system.base(), id(2), &entry, OWNER);
    assert_eq!(may, Ok(false), "not even its owner's log");
}

#[test]
fn a_log_cannot_spoil_what_is_not_copied_yet() {
    let (sim, mut pool) = with_pending();
    pool.begin_session(slot(), OWNER).expect("free");
    let mut image = sim.durable();
    let log = super::superblock::page(super::LAYOUT.log(1))
        ..super::superblock::page(super::LAYOUT.log(2));
    let forged = program::forge(slot(), &image[log.clone()], id(1), 1);
    image[log].copy_from_slice(&forged);
    let mut pool = opened(&image).expect("whole");
    assert_eq!(value(&mut pool, id(2)), Ok(5));
    assert_eq!(value(&mut pool, id(1)), Ok(5));
}

#[test]
fn beginning_one_costs_the_same_for_any_size() {
    let taken = [3_u64, 300].map(|pages| {
        let sim = Sim::new(Domain::Adr, 4 << 20);
        let layout = crate::Layout { pages: 1024, ..super::LAYOUT };
        let mut pool = Pool::create(sim.medium(0), layout, Ground::Unknown).expect("it is empty");
        let at = place(&pool, "a");
        pool.create_at(&at, new(1, pages, 1, &5_u64)).expect("room");
        let before = sim.visible();
        pool.snapshot(&place(&pool, "s"), id(2), (id(1), OWNER)).expect("room");
        let extent = pool.find(id(2)).expect("whole").expect("there").extent;
        let bytes = super::superblock::page(extent.first)..super::superblock::page(extent.end());
        let now = sim.visible();
        assert_eq!(now[bytes.clone()], before[bytes], "none of its pages is touched");
        now.iter().zip(&before).filter(|(now, before)| now != before).count() / 512
    });
    assert_eq!(taken[0], taken[1], "the same writes, but for numbers");
}

#[test]
fn a_snapshot_that_lost_its_origin_is_told() {
    let (_sim, mut pool) = with_pending();
    pool.change(|editor| {
        let pending = system::pending(editor.base_pointer());
        Ok(pending.remove(editor, &1).map(drop)?)
    })
    .expect("it is there");
    assert_eq!(pool.check(), Ok(vec![Damage::Snapshot(id(2))]));
    assert_eq!(pool.origin_of(id(2)), Err(PoolError::Fenced(id(2))));
    assert_eq!(pool.repair(), Ok(vec![Damage::Snapshot(id(2))]), "nobody can tell what it held");
    let at = place(&pool, "s");
    pool.unlink(&at, Use::None).expect("it can go");
    whole(&pool).expect("whole");
}
