//! Who may do what: against a model, with power lost at every instant, and with hostile logs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use libd3os_object::ObjectId;
use libd3os_object::control::Slot;
use libd3os_object::recovery::Finding;
use libd3os_object::sim::{Domain, Explorer, Limits, Random, Sim};
use proptest::prelude::*;

use super::{BYTES, LAYOUT, Machine, made, new, opened, program};
use crate::{Damage, Place, Pool, PoolError, Principal, Rights, directory, superblock, system};

fn id(number: u128) -> ObjectId {
    ObjectId::new(number)
}

fn slot(number: u8) -> Slot {
    Slot::new(number).expect("few slots")
}

#[test]
fn principals_keep_their_numbers() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let names = ["shell", "editor", "a program with a name of some length"];
    let numbers = names.map(|name| pool.principal(name).expect("a name"));
    assert!(numbers.is_sorted_by(|one, next| one < next) && numbers[0] > Principal::POOL);
    let mut again = opened(&sim.durable()).expect("whole");
    let found = |principal| again.name_of(principal).expect("whole").map(|name| name.to_string());
    assert_eq!(numbers.map(found), names.map(|name| Some(name.to_owned())));
    assert_eq!(again.name_of(Principal::from_number(9)), Ok(None));
    assert_eq!(names.map(|name| again.principal(name).expect("a name")), numbers);
    assert!(matches!(again.principal("a/b"), Err(PoolError::Name(_))));
    assert_eq!(again.check(), Ok(vec![]));
}

#[test]
fn sessions_are_held_by_one_until_the_pool_is_opened_again() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let [one, other] = ["one", "other"].map(|name| pool.principal(name).expect("a name"));
    pool.begin_session(slot(1), one).expect("free");
    assert_eq!(pool.holder(slot(1)), Ok(Some(one)));
    for refused in [0, 1, 2, 55].map(slot) {
        let result = pool.begin_session(refused, other).map(drop);
        assert_eq!(result, Err(PoolError::Slot(refused)), "{refused}");
    }
    assert_eq!(opened(&sim.durable()).expect("whole").holder(slot(1)), Ok(None));
    pool.end_session(slot(1)).expect("no damage");
    pool.begin_session(slot(1), other).expect("free again");
    assert_eq!(pool.holder(slot(1)), Ok(Some(other)));
}

#[test]
fn what_others_may_do_ends_with_the_object() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let [owner, other] = ["owner", "other"].map(|name| pool.principal(name).expect("a name"));
    pool.create_object(new(1, 3, owner.number(), &0_u64)).expect("room");
    pool.create_object(new(2, 3, owner.number(), &0_u64)).expect("room");
    assert_eq!(pool.rights(id(1), owner), Ok(Rights::all()));
    assert_eq!(pool.rights(id(1), other), Ok(Rights::empty()));
    let read = pool.permit(id(1), other, Rights::READ);
    assert_eq!(read, Ok(Rights::READ));
    let both = Rights::READ | Rights::WRITE;
    assert_eq!(pool.permit(id(1), other, Rights::WRITE), Ok(both));
    assert_eq!(pool.permit(id(2), other, Rights::READ), Ok(Rights::READ));
    assert_eq!(pool.permit(id(3), other, Rights::READ), Err(PoolError::Unknown(id(3))));
    assert_eq!(opened(&sim.durable()).expect("whole").rights(id(1), other), Ok(both));
    assert_eq!(pool.forbid(id(2), other), Ok(true));
    assert_eq!(pool.forbid(id(2), other), Ok(false));
    pool.delete(id(1)).expect("it is there");
    assert_eq!(pool.rights(id(1), other), Ok(Rights::empty()));
    assert_eq!(pool.check(), Ok(vec![]));
    pool.change(|editor| {
        let permits = system::permits(editor.base_pointer());
        let permit = crate::owners::Permit::new(id(1), other);
        Ok(permits.insert(editor, permit, crate::sealed::Sealed::new(&permit, 1))?)
    })
    .expect("room");
    assert_eq!(pool.check(), Ok(vec![Damage::Permit(id(1))]));
}

/// Rights by object and principal.
type Model = BTreeMap<(u128, u64), Rights>;

fn state(pool: &Pool<Machine>) -> Result<Model, String> {
    let error = |error: PoolError| error.to_string();
    let damage = pool.check().map_err(error)?;
    if !damage.is_empty() {
        return Err(format!("{damage:?}"));
    }
    let mut state = Model::new();
    for (object, principal) in (1..=3).flat_map(|object| (1..=5).map(move |one| (object, one))) {
        let rights = pool.rights(id(object), Principal::from_number(principal)).map_err(error)?;
        if !rights.is_empty() {
            state.insert((object, principal), rights);
        }
    }
    Ok(state)
}

/// One random change of who may do what.
fn step(pool: &mut Pool<Machine>, random: &mut Random, now: &Model) -> (Model, String) {
    let mut after = now.clone();
    let (object, number) = (1 + random.below(3) as u128, 2 + random.below(4) as u64);
    let principal = Principal::from_number(number);
    let exists = now.contains_key(&(object, 1));
    let result = match random.below(6) {
        0 if !exists => {
            after.insert((object, 1), Rights::all());
            pool.create_object(new(object, 3, 1, &object)).map(|_| "create")
        }
        1 if exists => {
            after.retain(|(other, _), _| *other != object);
            pool.delete(id(object)).map(|()| "delete")
        }
        2 => {
            after.remove(&(object, number));
            pool.forbid(id(object), principal).map(|_| "forbid")
        }
        _ if exists => {
            let more = Rights::from_bits_truncate(1 + random.below(31) as u64);
            *after.entry((object, number)).or_default() |= more;
            pool.permit(id(object), principal, more).map(|_| "permit")
        }
        _ => return (after, "nothing".to_owned()),
    };
    (after, result.expect("room").to_owned())
}

fn power_is_lost(domain: Domain) -> u64 {
    let sim = Sim::new(domain, BYTES);
    let mut pool = made(&sim);
    let expected = Arc::new(Mutex::new([Model::new(), Model::new()]));
    let watched = Arc::clone(&expected);
    let limits = Limits { product: 32, random: 8, ..Limits::default() };
    sim.watch(Explorer::new(limits, 8), move |image| {
        let found = state(&opened(image)?)?;
        let states = watched.lock().expect("a state").clone();
        if states.contains(&found) { Ok(()) } else { Err(format!("{found:?}, not {states:?}")) }
    });
    // What a step will make of it is known from a pool beside it that loses no power.
    let twin_sim = Sim::new(domain, BYTES);
    let mut twin = made(&twin_sim);
    let (mut random, mut twins_random) = (Random::new(21), Random::new(21));
    let (mut now, mut done) = (Model::new(), BTreeMap::<String, u32>::new());
    for _ in 0..150 {
        let (after, _) = step(&mut twin, &mut twins_random, &now);
        *expected.lock().expect("a state") = [now.clone(), after.clone()];
        let (_, what) = step(&mut pool, &mut random, &now);
        assert_eq!(state(&pool).as_ref(), Ok(&after), "{what}");
        *done.entry(what).or_default() += 1;
        now = after;
    }
    assert!(done.len() == 5 && done.values().all(|times| *times >= 5), "{done:?}");
    let counts = sim.finish().expect("every image is one of the two states");
    println!("{counts}");
    counts.images
}

#[test]
fn who_may_do_what_is_written_down_or_not() {
    let images: u64 = [Domain::Adr, Domain::Eadr].map(power_is_lost).into_iter().sum();
    assert!(images > 2_000, "{images}");
}

/// A pool of three objects: of a hostile program that has session 1, of somebody else, and of somebody who
/// has permitted the program to write it; beside them, a directory.
fn with_victims() -> (Sim, Vec<u8>) {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let [hostile, victim] = ["hostile", "victim"].map(|name| pool.principal(name).expect("a name"));
    for (number, owner) in [(1, hostile), (2, victim), (3, victim)] {
        pool.create_object(new(number, 3, owner.number(), &[7_u64; 8])).expect("room");
    }
    let name = crate::Name::new("directory").expect("a name");
    let place = Place { directory: pool.root(), name };
    pool.create_directory(&place, id(4), victim).expect("room");
    pool.permit(id(2), hostile, Rights::READ | Rights::MAP_EXECUTE | Rights::DELETE).expect("room");
    pool.permit(id(3), hostile, Rights::WRITE).expect("room");
    pool.begin_session(slot(1), hostile).expect("free");
    let durable = sim.durable();
    (sim, durable)
}

/// The same image, but with a log that the hostile program has made up.
fn with_forged(image: &[u8], of: ObjectId, version: u64) -> Vec<u8> {
    let log = superblock::page(LAYOUT.log(1))..superblock::page(LAYOUT.log(2));
    let mut image = image.to_vec();
    let forged = program::forge(slot(1), &image[log.clone()], of, version);
    image[log].copy_from_slice(&forged);
    image
}

/// The bytes of the objects and of the root, and how they were found.
fn data(image: &[u8]) -> &[u8] {
    &image[superblock::page(LAYOUT.data())..]
}

#[test]
fn a_log_changes_only_what_its_holder_could_write() {
    let (_, image) = with_victims();
    let forbidden = |id| Finding::Forbidden { owner: slot(1), id };
    for (of, findings) in [
        (id(1), None),
        (id(3), None),
        (id(2), Some(forbidden(id(2)))),
        (id(4), Some(forbidden(id(4)))),
        (system::root(LAYOUT.id), Some(forbidden(system::root(LAYOUT.id)))),
        (system::id(LAYOUT.id), Some(forbidden(system::id(LAYOUT.id)))),
        (id(9), None),
    ] {
        let sim = Sim::with_contents(Domain::Adr, &with_forged(&image, of, 1));
        let found = Pool::open(sim.medium(0)).expect("a pool");
        assert_eq!(found.programs.findings, Vec::from_iter(findings), "{of}");
        assert_eq!(found.programs.records, 1);
        let may_change = [id(1), id(3)].contains(&of);
        assert_eq!(data(&sim.durable()) != data(&image), may_change, "{of}");
        assert_eq!(found.pool.check(), Ok(vec![]));
    }
}

#[test]
fn a_right_that_was_taken_away_counts_no_more() {
    let (sim, _) = with_victims();
    let mut pool = Pool::open(sim.medium(0)).expect("a pool").pool;
    let hostile = pool.principal("hostile").expect("a name");
    pool.forbid(id(3), hostile).expect("no damage");
    pool.begin_session(slot(1), hostile).expect("free");
    let image = with_forged(&sim.durable(), id(3), 1);
    let again = Sim::with_contents(Domain::Adr, &image);
    let opened = Pool::open(again.medium(0)).expect("a pool");
    assert_eq!(opened.programs.findings, [Finding::Forbidden { owner: slot(1), id: id(3) }]);
    assert_eq!(data(&again.durable()), data(&image));
}

#[test]
fn what_lies_in_a_log_that_nobody_has_is_nobodys() {
    let (sim, _) = with_victims();
    let mut pool = Pool::open(sim.medium(0)).expect("a pool").pool;
    assert_eq!(pool.holder(slot(1)), Ok(None));
    let image = with_forged(&sim.durable(), id(1), 1);
    let again = Sim::with_contents(Domain::Adr, &image);
    let mut found = Pool::open(again.medium(0)).expect("a pool");
    assert_eq!(found.programs.records, 0);
    assert_eq!(data(&again.durable()), data(&image));
    // Whoever gets the session next does not answer for it.
    let victim = found.pool.principal("victim").expect("a name");
    found.pool.begin_session(slot(1), victim).expect("free");
    let last = Sim::with_contents(Domain::Adr, &again.durable());
    assert_eq!(Pool::open(last.medium(0)).expect("a pool").programs.records, 0);
    assert_eq!(pool.principal("victim"), Ok(victim));
}

proptest! {
    /// Whatever a program makes of its log, objects that it could not write stay as they are.
    #[test]
    fn hostile_logs_do_no_harm(
        of in prop::sample::select(vec![1_u128, 2, 3, 4, 9, LAYOUT.id | 1 << 127]),
        version in 0..4_u64,
        flips in prop::collection::vec((0..4096_usize, any::<u8>()), 0..4),
    ) {
        let (_, image) = with_victims();
        let mut image = with_forged(&image, id(of), version);
        for (at, with) in flips {
            image[superblock::page(LAYOUT.log(1)) + at] ^= with;
        }
        let sim = Sim::with_contents(Domain::Adr, &image);
        let opened = Pool::open(sim.medium(0)).expect("a log does not keep a pool from opening");
        prop_assert_eq!(opened.pool.check(), Ok(vec![]));
        let after = sim.durable();
        for victim in [id(2), id(4), system::root(LAYOUT.id)] {
            let extent = opened.pool.find(victim).expect("whole").expect("it is there").extent;
            let pages = superblock::page(extent.first)..superblock::page(extent.end());
            prop_assert!(image[pages.clone()] == after[pages], "{} was changed", victim);
        }
    }
}

#[test]
fn directories_are_no_programs_whoever_owns_them() {
    let (_, image) = with_victims();
    let sim = Sim::with_contents(Domain::Adr, &image);
    let mut pool = Pool::open(sim.medium(0)).expect("a pool").pool;
    let hostile = pool.principal("hostile").expect("a name");
    let name = crate::Name::new("own").expect("a name");
    let place = Place { directory: pool.root(), name };
    let entry = pool.create_directory(&place, id(5), hostile).expect("room");
    assert_eq!(entry.extent.pages, directory::PAGES);
    pool.begin_session(slot(1), hostile).expect("free");
    let again = Sim::with_contents(Domain::Adr, &with_forged(&sim.durable(), id(5), 1));
    let found = Pool::open(again.medium(0)).expect("a pool").programs;
    assert_eq!(found.findings, [Finding::Forbidden { owner: slot(1), id: id(5) }]);
}
