//! The tree of names against a model, with power lost at every instant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use libd3os_object::ObjectId;
use libd3os_object::sim::{Domain, Explorer, Limits, Random, Sim};
use proptest::prelude::*;

use super::{Machine, id, new, opened};
use crate::{
    Damage, Found, Ground, Kind, Layout, MAX_DEPTH, MAX_NAME, Name, NameError, Place, Pool,
    PoolError, Principal, Unlinked, Use, directory, superblock, system,
};

const LAYOUT: Layout = Layout { id: 78, pages: 120, logs: 2, log_pages: 2, system_pages: 20 };
const BYTES: usize = 120 * 4096;

fn made(sim: &Sim) -> Pool<Machine> {
    Pool::create(sim.medium(0), LAYOUT, Ground::Unknown).expect("it is empty")
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// What is below a directory: by path, objects, `None` for a directory.
type Tree = BTreeMap<String, Option<u128>>;

/// The names, and all objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    tree: Tree,
    objects: BTreeSet<u128>,
}

fn walk(
    pool: &Pool<Machine>,
    directory: ObjectId,
    above: &str,
    tree: &mut Tree,
) -> Result<(), PoolError> {
    let mut names = Vec::new();
    pool.list(directory, &Name::first_with(""), |name, found| {
        names.push((name.to_string(), found));
        true
    })?;
    for (name, Found { id, kind }) in names {
        let path = format!("{above}{name}");
        let object = (kind == Kind::Object).then(|| id.number());
        tree.insert(path.clone(), object);
        if kind == Kind::Directory {
            walk(pool, id, &format!("{path}/"), tree)?;
        }
    }
    Ok(())
}

/// What is there, if nothing is damaged.
fn state(pool: &Pool<Machine>) -> Result<State, String> {
    let damage = pool.check().map_err(|error| error.to_string())?;
    if !damage.is_empty() {
        return Err(format!("{damage:?}"));
    }
    let mut state = State::default();
    let error = |error: PoolError| error.to_string();
    walk(pool, pool.root(), "", &mut state.tree).map_err(error)?;
    let each = |id: ObjectId, entry: &crate::Entry| {
        if entry.kind() == Kind::Object {
            state.objects.insert(id.number());
        }
    };
    pool.for_each(each).map_err(error)?;
    Ok(state)
}

#[derive(Clone, Debug)]
enum Step {
    Create(String, u128),
    Directory(String, u128),
    Link(String, String),
    Unlink(String),
    Remove(String),
    Rename(String, String),
}

impl State {
    /// What a step makes of it, if it can be done.
    fn after(&self, step: &Step) -> Option<Self> {
        let mut after = self.clone();
        match step {
            Step::Create(path, number) => {
                after.add(path, Some(*number))?;
                after.objects.insert(*number);
            }
            Step::Directory(path, _) => after.add(path, None)?,
            Step::Link(from, to) => {
                let object = (*self.tree.get(from)?)?;
                after.add(to, Some(object))?;
            }
            Step::Unlink(path) => {
                let object = after.tree.remove(path)??;
                if !after.tree.values().any(|other| *other == Some(object)) {
                    after.objects.remove(&object);
                }
            }
            Step::Remove(path) => {
                let is_empty = self.below(path).next().is_none();
                after.tree.remove(path).filter(|object| object.is_none() && is_empty)?;
            }
            Step::Rename(from, to) => after.rename(from, to)?,
        }
        Some(after)
    }

    fn below(&self, path: &str) -> impl Iterator<Item = &String> {
        let above = format!("{path}/");
        self.tree.keys().filter(move |other| other.starts_with(&above))
    }

    fn add(&mut self, path: &str, object: Option<u128>) -> Option<()> {
        let is_free = !self.tree.contains_key(path);
        let above =
            path.rsplit_once('/').is_none_or(|(above, _)| self.tree.get(above) == Some(&None));
        (is_free && above).then(|| {
            self.tree.insert(path.to_owned(), object);
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> Option<()> {
        let object = *self.tree.get(from)?;
        if from == to {
            return Some(());
        }
        if to.starts_with(&format!("{from}/")) {
            return None;
        }
        let moved: Vec<String> = self.below(from).cloned().collect();
        self.add(to, object)?;
        self.tree.remove(from);
        for path in moved {
            let object = self.tree.remove(&path)?;
            self.tree.insert(path.replacen(from, to, 1), object);
        }
        Some(())
    }
}

fn carry_out(pool: &mut Pool<Machine>, step: &Step) -> Result<(), PoolError> {
    let root = pool.root();
    match step {
        Step::Create(path, number) => {
            let place = pool.locate(root, path)?;
            pool.create_at(&place, new(*number, 3, 7, number)).map(drop)
        }
        Step::Directory(path, number) => {
            let place = pool.locate(root, path)?;
            pool.create_directory(&place, id(*number), Principal::from_number(7)).map(drop)
        }
        Step::Link(from, to) => {
            let Found { id, .. } = pool.resolve(root, from)?;
            let place = pool.locate(root, to)?;
            pool.link(&place, id).map(drop)
        }
        Step::Unlink(path) => {
            let place = pool.locate(root, path)?;
            pool.unlink(&place, Use::None).map(drop)
        }
        Step::Remove(path) => {
            let place = pool.locate(root, path)?;
            pool.remove_directory(&place)
        }
        Step::Rename(from, to) => {
            let [from, to] = [pool.locate(root, from)?, pool.locate(root, to)?];
            pool.rename(&from, &to)
        }
    }
}

/// A random step among few paths, so that most meet what is there.
fn step(random: &mut Random, state: &State, next: u128) -> Step {
    let mut path = || {
        let some = state.tree.keys().nth(random.below(state.tree.len().max(1)));
        let own =
            || ["a", "b", "c", "a-name-that-is-a-little-longer"][next as usize % 4].to_owned();
        match (random.below(3), some) {
            (0, Some(some)) => some.clone(),
            (1, Some(some)) => format!("{some}/{}", own()),
            _ => own(),
        }
    };
    let (one, other) = (path(), path());
    match random.below(12) {
        0..4 => Step::Create(one, next),
        4..6 => Step::Directory(one, next),
        6 => Step::Link(one, other),
        7..9 => Step::Rename(one, other),
        9 => Step::Remove(one),
        _ => Step::Unlink(one),
    }
}

/// What may be there: the state before a step, and the one after it.
type Expected = Arc<Mutex<[State; 2]>>;

fn recovers(expected: &Expected, image: &[u8], again: bool) -> Result<(), String> {
    let found = state(&opened(image)?)?;
    let states = expected.lock().expect("a state").clone();
    if !states.contains(&found) {
        return Err(format!("{found:?}, not one of {states:?}"));
    }
    if again {
        let sim = Sim::with_contents(Domain::Adr, image);
        let expected = Arc::clone(expected);
        let limits = Limits { product: 8, random: 4, ..Limits::default() };
        sim.watch(Explorer::new(limits, 5), move |image| recovers(&expected, image, false));
        let again = Pool::open(sim.medium(0)).map_err(|error| error.to_string())?;
        drop(again);
        sim.finish().map_err(|failure| failure.to_string())?;
    }
    Ok(())
}

fn power_is_lost(domain: Domain, steps: u128) -> u64 {
    let sim = Sim::new(domain, BYTES);
    let mut pool = made(&sim);
    let expected = Expected::default();
    let watched = Arc::clone(&expected);
    let limits = Limits { product: 24, random: 6, ..Limits::default() };
    let mut images = 0_u64;
    sim.watch(Explorer::new(limits, 4), move |image| {
        images += 1;
        recovers(&watched, image, images.is_multiple_of(97))
    });
    let (mut random, mut now) = (Random::new(12), State::default());
    let mut done = [0; 6];
    for next in 1..=steps {
        let step = step(&mut random, &now, next);
        let after = now.after(&step);
        *expected.lock().expect("a state") = [now.clone(), after.clone().unwrap_or(now.clone())];
        let result = carry_out(&mut pool, &step);
        match (result, after) {
            (Ok(()), Some(after)) => now = after,
            (Err(PoolError::Full { .. }), Some(_)) => {}
            (Err(PoolError::Name(_)), None) => {}
            (result, after) => panic!("{step:?} on {now:?}: {result:?}, not {after:?}"),
        }
        *expected.lock().expect("a state") = [now.clone(), now.clone()];
        assert_eq!(state(&pool).as_ref(), Ok(&now), "{step:?}");
        done[kind(&step)] += 1;
    }
    assert!(done.iter().all(|times| *times >= 10), "{done:?}");
    let counts = sim.finish().expect("every image is one of the two states");
    println!("{counts}");
    counts.images
}

const fn kind(step: &Step) -> usize {
    match step {
        Step::Create(..) => 0,
        Step::Directory(..) => 1,
        Step::Link(..) => 2,
        Step::Unlink(_) => 3,
        Step::Remove(_) => 4,
        Step::Rename(..) => 5,
    }
}

#[test]
fn names_are_there_or_not() {
    let images: u64 =
        [Domain::Adr, Domain::Eadr].into_iter().map(|domain| power_is_lost(domain, 400)).sum();
    assert!(images > 10_000, "{images}");
}

/// A directory with objects `n000`, …
fn filled(pool: &mut Pool<Machine>, count: u128) -> ObjectId {
    let root = pool.root();
    let place = Place { directory: root, name: name("many") };
    pool.create_directory(&place, id(1 << 90), Principal::POOL).expect("room");
    pool.create_at(&Place { directory: root, name: name("one") }, new(1, 3, 0, &0_u64))
        .expect("room");
    for number in 0..count {
        let place = Place { directory: id(1 << 90), name: name(&format!("n{number:03}")) };
        pool.link(&place, id(1)).expect("room");
    }
    id(1 << 90)
}

#[test]
fn a_directory_grows_with_its_names_wherever_it_is() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let many = filled(&mut pool, 200);
    let entry = pool.find(many).expect("no damage").expect("it is there");
    assert!(entry.extent.pages > directory::PAGES, "{entry:?}");
    assert_eq!(pool.find(id(1)).map(|entry| entry.map(|entry| entry.links)), Ok(Some(201)));
    for pool in [&pool, &opened(&sim.durable()).expect("whole")] {
        let tree = state(pool).expect("whole").tree;
        assert_eq!(tree.len(), 202);
        assert_eq!(tree.keys().filter(|path| path.starts_with("many/n19")).count(), 10);
    }
    let mut listed = Vec::new();
    pool.list(many, &Name::first_with("n19"), |name, _| {
        listed.push(name.to_string());
        listed.len() < 3
    })
    .expect("a directory");
    assert_eq!(listed, ["n190", "n191", "n192"]);
}

#[test]
fn growing_loses_no_name_when_power_is_lost() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let many = filled(&mut pool, 20);
    let limits = Limits { product: 16, random: 4, ..Limits::default() };
    let count = Arc::new(Mutex::new(20));
    let watched = Arc::clone(&count);
    sim.watch(Explorer::new(limits, 6), move |image| {
        let found = state(&opened(image)?)?.tree.len();
        let count = *watched.lock().expect("a count");
        let fits = [count + 2, count + 3].contains(&found);
        if fits { Ok(()) } else { Err(format!("{found} names after {count}")) }
    });
    for number in 20..60 {
        let place = Place { directory: many, name: name(&format!("n{number:03}")) };
        pool.link(&place, id(1)).expect("room");
        *count.lock().expect("a count") += 1;
    }
    let counts = sim.finish().expect("no name is lost");
    println!("{counts}");
    assert!(counts.images > 500, "{counts}");
    assert!(pool.find(many).expect("no damage").expect("it is there").extent.pages >= 8);
}

#[test]
fn a_directory_that_is_gone_is_written_no_more() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let root = pool.root();
    let [gone, inside] = [(root, "gone"), (id(10), "inside")]
        .map(|(directory, text)| Place { directory, name: name(text) });
    let there = pool.create_directory(&gone, id(10), Principal::POOL).expect("room").extent;
    pool.create_directory(&inside, id(11), Principal::POOL).expect("room");
    pool.remove_directory(&inside).expect("it is empty");
    pool.remove_directory(&gone).expect("it is empty");
    let next = pool.create_object(new(1, there.pages, 0, &0_u64)).expect("room");
    assert_eq!(next.extent, there);
    let before = sim.visible();
    pool.unmap(root).expect("nobody else has a lock");
    let of_next = superblock::page(there.first)..superblock::page(there.end());
    assert_eq!(sim.visible()[of_next.clone()], before[of_next]);
}

#[test]
fn nothing_leads_out_of_a_directory() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let many = filled(&mut pool, 1);
    assert_eq!(pool.resolve(pool.root(), "many/n000").map(|found| found.id), Ok(id(1)));
    assert_eq!(pool.resolve(many, "").map(|found| found.id), Ok(many));
    for (path, error) in [
        ("..", NameError::Dots),
        (".", NameError::Dots),
        ("../one", NameError::Dots),
        ("/one", NameError::Empty),
        ("n000/", NameError::Empty),
        ("n000/x", NameError::NotDirectory),
        ("one", NameError::Absent),
        ("a\0b", NameError::Character('\0')),
        ("\u{1b}[2J", NameError::Character('\u{1b}')),
    ] {
        assert_eq!(pool.resolve(many, path), Err(error.into()), "{path:?}");
    }
    for path in ["", "/", "/x", "many/", ".."] {
        assert!(pool.locate(pool.root(), path).is_err(), "{path:?}");
    }
    let deep = ["many"; MAX_DEPTH + 1].join("/");
    assert!(matches!(pool.resolve(pool.root(), &deep), Err(PoolError::Name(_))));
}

#[test]
fn directories_do_not_lie_within_themselves() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let root = pool.root();
    for (path, number) in [("a", 10), ("a/b", 11), ("a/b/c", 12)] {
        let place = pool.locate(root, path).expect("above is there");
        pool.create_directory(&place, id(number), Principal::POOL).expect("room");
    }
    let at = |directory, text| Place { directory, name: name(text) };
    let circle = Err(NameError::Circle.into());
    assert_eq!(pool.rename(&at(root, "a"), &at(id(12), "a")), circle);
    assert_eq!(pool.rename(&at(root, "a"), &at(id(10), "a")), circle);
    assert_eq!(pool.link(&at(root, "again"), id(12)), Err(NameError::Directory.into()));
    assert_eq!(pool.remove_directory(&at(root, "a")), Err(NameError::NotEmpty.into()));
    assert_eq!(pool.unlink(&at(root, "a"), Use::None), Err(NameError::Directory.into()));
    assert_eq!(pool.rename(&at(id(11), "c"), &at(root, "c")), Ok(()));
    assert_eq!(pool.rename(&at(root, "a"), &at(id(12), "a")), Ok(()));
    assert_eq!(pool.resolve(root, "c/a/b").map(|found| found.id), Ok(id(11)));
    assert_eq!(pool.check(), Ok(vec![]));
}

#[test]
fn the_last_name_takes_the_object_with_it_unless_it_is_used() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let at = |text| Place { directory: system::root(LAYOUT.id), name: name(text) };
    pool.create_at(&at("a"), new(1, 3, 0, &0_u64)).expect("room");
    pool.link(&at("b"), id(1)).expect("room");
    assert_eq!(pool.delete(id(1)), Err(NameError::Named.into()));
    assert_eq!(pool.delete(pool.root()), Err(NameError::Named.into()));
    assert_eq!(pool.unlink(&at("a"), Use::None), Ok(Unlinked::Kept));
    assert_eq!(pool.unlink(&at("b"), Use::Mapped), Ok(Unlinked::Orphaned));
    assert_eq!(pool.check(), Ok(vec![]));
    assert!(pool.memory(id(1)).expect("no damage").is_some(), "it is used");
    // Somebody who has it gives it a name again; then it is deleted at last.
    pool.link(&at("c"), id(1)).expect("it is there");
    assert_eq!(pool.unlink(&at("c"), Use::Mapped), Ok(Unlinked::Orphaned));
    let after = opened(&sim.durable()).expect("whole");
    assert_eq!(after.find(id(1)), Ok(None), "nobody uses it after a loss of power");
    assert_eq!(state(&after), Ok(State::default()));
    pool.delete(id(1)).expect("nobody uses it any more");
    assert_eq!(state(&pool), Ok(State::default()));
}

#[test]
fn what_is_wrong_with_names_is_told() {
    let sim = Sim::new(Domain::Adr, BYTES);
    let mut pool = made(&sim);
    let root = pool.root();
    let at = |directory, text| Place { directory, name: name(text) };
    pool.create_directory(&at(root, "a"), id(10), Principal::POOL).expect("room");
    pool.create_at(&at(id(10), "x"), new(1, 3, 0, &0_u64)).expect("room");
    // An object's entry is lost, and a directory's name.
    let forget = |pool: &mut Pool<Machine>, number: u128| {
        pool.change(|editor| Ok(system::objects(editor.base_pointer()).remove(editor, &number)?))
    };
    let lost = pool.find(id(1)).expect("no damage").expect("it is there").extent;
    assert_eq!(forget(&mut pool, 1), Ok(true));
    assert_eq!(pool.check(), Ok(vec![Damage::Lost(lost), Damage::Name(at(id(10), "x"))]));
    assert_eq!(pool.unlink(&at(id(10), "x"), Use::None), Ok(Unlinked::Dangling));
    assert_eq!(pool.check(), Ok(vec![Damage::Lost(lost)]));
    let object = pool.directory(root).expect("the root");
    pool.change_all(|tx, _| directory::remove(&mut tx.edit(&object)?, &name("a")))
        .expect("it is there");
    assert_eq!(pool.check(), Ok(vec![Damage::Lost(lost), Damage::Unreachable(id(10))]));
}

proptest! {
    #[test]
    fn names_are_what_text_they_were_made_of(text in "\\PC{0,140}") {
        match Name::new(&text) {
            Ok(name) => {
                prop_assert_eq!(name.as_str(), Some(&*text));
                prop_assert!(Name::first_with(&text) <= name && text.len() <= MAX_NAME);
            }
            Err(NameError::Long { bytes }) => prop_assert!(bytes == text.len() && bytes > MAX_NAME),
            Err(error) => {
                let is_none = text.is_empty() || text.contains('/') || [".", ".."].contains(&&*text);
                prop_assert!(is_none || text.chars().any(char::is_control), "{error:?}");
            }
        }
    }

    #[test]
    fn names_are_in_order_of_their_bytes(one in "[a-c\u{e4}]{1,4}", other in "[a-c\u{e4}]{1,4}") {
        let names = [&one, &other].map(|text| Name::new(text).expect("a name"));
        prop_assert_eq!(names[0].cmp(&names[1]), one.cmp(&other));
    }
}
