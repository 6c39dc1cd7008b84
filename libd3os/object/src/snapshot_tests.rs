//! Snapshots of an object that goes on, with power lost at every instant.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use crate::clumsy::{Clumsy, Mistake};
use crate::control::{ControlRef, Slot};
use crate::layout;
use crate::medium::{LINE_BYTES, Medium, Part};
use crate::object::{self, Object};
use crate::recovery::{self, Access, Objects};
use crate::sim::{Domain, Explorer, Limits, Sim};
use crate::snapshot::{self, Kept, Newest, SnapshotError};
use crate::testing::{at_least, id, map, open, slot, steps};
use crate::{ObjectId, Session, Snapshot, TxError};

const PAGE: usize = 4096;
/// Of the object: the header, and two and a bit for the words, two for the tables.
const PAGES: usize = 5;
const LOG_BYTES: usize = 24 * LINE_BYTES;
const WORDS: usize = 1200;
type Words = [u64; WORDS];

/// What a snapshot writes through, which may make mistakes.
type Store = Part<Clumsy>;
type Place = Kept<Store, Store>;

/// A machine with a log, an object, and room for snapshots.
struct Machine {
    sim: Sim,
    mistake: Mistake,
    newest: Newest<Store>,
}

const ROOMS: usize = 3;

fn room_bytes() -> usize {
    assert_eq!(PAGES, 5);
    usize::try_from(snapshot::bytes_for(5)).expect("small").next_multiple_of(PAGE)
}

/// A snapshot's number also says in which room it is.
fn snapshot_id(number: u64) -> ObjectId {
    ObjectId::new(0x5a00 + u128::from(number))
}

fn number_of(snapshot: &Snapshot<Store>) -> u64 {
    u64::try_from(snapshot.head().id.number() - 0x5a00).expect("a snapshot's id")
}

impl Machine {
    fn over(sim: Sim, mistake: Mistake) -> Self {
        Self { sim, mistake, newest: Rc::default() }
    }

    fn new(domain: Domain, mistake: Mistake) -> Self {
        let bytes = PAGE + PAGES * PAGE + ROOMS * room_bytes();
        let machine = Self::over(Sim::new(domain, bytes), mistake);
        let medium = machine.part(PAGE, PAGES * PAGE, Mistake::None);
        object::create(&medium, id(0), &[0_u64; WORDS]).expect("large enough");
        medium.fence();
        Session::format_log(&machine.log()).expect("large enough");
        machine
    }

    fn part(&self, at: usize, bytes: usize, mistake: Mistake) -> Store {
        Clumsy::new(self.sim.medium(0), mistake, Arc::default()).part(at, bytes)
    }

    fn log(&self) -> Place {
        Kept::new(self.part(0, LOG_BYTES, Mistake::None), Rc::default())
    }

    fn origin(&self) -> Store {
        self.part(PAGE, PAGES * PAGE, Mistake::None)
    }

    fn room(&self, number: u64) -> Store {
        let room = usize::try_from(number).expect("small") % ROOMS;
        let at = PAGE + PAGES * PAGE + room * room_bytes();
        self.part(at, room_bytes(), self.mistake)
    }

    /// The object as whoever writes it sees it.
    fn place(&self) -> Place {
        Kept::new(self.origin(), Rc::clone(&self.newest))
    }

    #[expect(clippy::arc_with_non_send_sync, reason = "mappings are shared so; here by one thread")]
    fn object(&self) -> Object<Words, Place> {
        let version = layout::settled(&self.origin()).expect("whole");
        Object::open(Arc::new(map(self.place(), ControlRef::own(version)))).expect("of this type")
    }

    /// What the object held.
    fn words(&self) -> Result<Vec<u64>, String> {
        read(map(self.origin(), ControlRef::own(0)))
    }

    /// What a snapshot holds, read as an object of its own.
    fn kept(
        &self,
        snapshot: &Snapshot<Store>,
        newer: &[&Snapshot<Store>],
    ) -> Result<Vec<u64>, String> {
        let copy = Sim::new(Domain::Eadr, PAGES * PAGE).medium(0);
        snapshot.copy_to(newer, &self.origin(), &copy).map_err(|error| error.to_string())?;
        let settled = layout::settled(&copy).map_err(|error| error.to_string())?;
        if settled != snapshot.head().version {
            return Err(format!("version {settled} in {:?}", snapshot.head()));
        }
        read(map(copy, ControlRef::own(settled)))
    }
}

impl Objects for &Machine {
    type Medium = Place;

    fn access(&mut self, _: Slot, of: ObjectId) -> Access<Place> {
        if of == id(0) { Access::Write(self.place()) } else { Access::Deleted }
    }
}

fn read<M: Medium>(mapping: crate::Mapping<M>) -> Result<Vec<u64>, String> {
    let object = Object::<Words, M>::open(Arc::new(mapping)).map_err(|error| error.to_string())?;
    // A snapshot, and what was recovered, is read without a log: nobody changes it.
    let memory = object.mapping().medium();
    let first = layout::place(object.base().offset());
    Ok((0..WORDS).map(|word| memory.load_word(first + 8 * word)).collect())
}

/// What may be found: the object's states, and each snapshot's.
#[derive(Clone, Debug, Default)]
struct Model {
    /// The last committed one, and the one that is being committed.
    states: Vec<Vec<u64>>,
    /// Oldest first: what they hold, and whether they are there for certain.
    snapshots: BTreeMap<u64, (Vec<u64>, bool)>,
}

impl Model {
    /// The snapshots that are there, oldest first.
    fn found(&self, machine: &Machine) -> Result<Vec<Snapshot<Store>>, String> {
        let mut found = Vec::new();
        for (number, (_, is_certain)) in &self.snapshots {
            match Snapshot::open(machine.room(*number), snapshot_id(*number)) {
                Ok(snapshot) => found.push(snapshot),
                Err(SnapshotError::Missing) if !is_certain => {}
                Err(error) => return Err(format!("snapshot {number}: {error}")),
            }
        }
        Ok(found)
    }

    /// Recovers the object, with its newest snapshot, as a server does before anybody writes; all
    /// snapshots.
    fn recover(&self, machine: &Machine) -> Result<Vec<Snapshot<Store>>, String> {
        let mut found = self.found(machine)?;
        machine.newest.replace(found.pop());
        let report = recovery::recover(&[(slot(0), machine.log())], &mut &*machine);
        found.extend(machine.newest.take());
        if report.findings.is_empty() { Ok(found) } else { Err(format!("{:?}", report.findings)) }
    }

    fn check(&self, image: &[u8], domain: Domain) -> Result<(), String> {
        let machine = Machine::over(Sim::with_contents(domain, image), Mistake::None);
        let found = self.recover(&machine)?;
        if !self.states.contains(&machine.words()?) {
            return Err("the object is in none of its states".to_owned());
        }
        let all: Vec<&Snapshot<Store>> = found.iter().collect();
        for (at, snapshot) in all.iter().enumerate() {
            let number = number_of(snapshot);
            if machine.kept(snapshot, &all[at + 1..])? != self.snapshots[&number].0 {
                return Err(format!("snapshot {number} has changed"));
            }
        }
        Ok(())
    }

    /// Whether each crash image of this image's recovery can be recovered.
    fn check_recovery(&self, image: &[u8], domain: Domain) -> Result<u64, String> {
        let machine = Machine::over(Sim::with_contents(domain, image), Mistake::None);
        let limits = Limits { product: 64, random: 16, ..Limits::default() };
        let model = self.clone();
        machine.sim.watch(Explorer::new(limits, 5), move |image| model.check(image, domain));
        self.recover(&machine)?;
        Ok(machine.sim.finish().map_err(|failure| failure.to_string())?.images)
    }
}

/// A machine that is used, and what is known of it.
struct Run {
    machine: Machine,
    object: Object<Words, Place>,
    session: Session<Place>,
    model: Arc<Mutex<Model>>,
    /// All but the newest, oldest first.
    older: Vec<Snapshot<Store>>,
    begun: u64,
}

impl Run {
    fn new(domain: Domain, mistake: Mistake) -> Self {
        let machine = Machine::new(domain, mistake);
        let model = Model { states: vec![vec![0; WORDS]], ..Model::default() };
        let (object, session) = (machine.object(), open(0, machine.log()));
        let model = Arc::new(Mutex::new(model));
        Self { machine, object, session, model, older: Vec::new(), begun: 0 }
    }

    fn change(&mut self, changes: &[(usize, u64)]) {
        let mut next = self.model.lock().expect("no panic").states[0].clone();
        changes.iter().for_each(|(word, value)| next[*word] = *value);
        self.model.lock().expect("no panic").states.push(next);
        let object = &self.object;
        let done = self.session.tx(|tx| {
            let mut editor = tx.edit(object)?;
            for (word, value) in changes {
                editor.set(object.base().cast::<u64>().element(*word as u64), *value)?;
            }
            Ok::<_, TxError>(())
        });
        done.expect("room");
        self.model.lock().expect("no panic").states.remove(0);
    }

    fn begin(&mut self) {
        let mut model = self.model.lock().expect("no panic");
        let rooms = ROOMS as u64;
        let is_free = |room: &u64| model.snapshots.keys().all(|number| number % rooms != *room);
        let room = (0..rooms).find(is_free).expect("a free room");
        let number = self.begun * rooms + room;
        self.begun += 1;
        let held = model.states[0].clone();
        model.snapshots.insert(number, (held, false));
        drop(model);
        let room = self.machine.room(number);
        let begun = self.session.snapshot(self.object.mapping(), snapshot_id(number), || room);
        self.older.extend(self.machine.newest.replace(Some(begun.expect("room"))));
        self.model.lock().expect("no panic").snapshots.get_mut(&number).expect("begun").1 = true;
    }

    fn snapshots(&self) -> usize {
        self.older.len() + usize::from(self.machine.newest.borrow().is_some())
    }

    /// Forgets one of them; the next older one inherits what it had copied.
    fn forget(&mut self, which: usize) {
        self.older.extend(self.machine.newest.take());
        let forgotten = self.older.remove(which);
        if let Some(heir) = which.checked_sub(1).map(|at| &mut self.older[at]) {
            heir.inherit(&forgotten).expect("whole");
        }
        self.machine.newest.replace(self.older.pop());
        self.model.lock().expect("no panic").snapshots.remove(&number_of(&forgotten));
    }
}

/// Random changes while snapshots begin and are forgotten; the number of images, or what was wrong.
fn life(domain: Domain, mistake: Mistake, count: usize) -> Result<u64, String> {
    let mut run = Run::new(domain, mistake);
    let (model, nested) = (Arc::clone(&run.model), Arc::new(Mutex::new(0)));
    let (count_nested, mut images) = (Arc::clone(&nested), 0_u64);
    let limits = Limits { product: 64, random: 24, ..Limits::default() };
    run.machine.sim.watch(Explorer::new(limits, 11), move |image| {
        let model = model.lock().expect("no panic").clone();
        images += 1;
        if images % 241 == 1 {
            *count_nested.lock().expect("no panic") += model.check_recovery(image, domain)?;
        }
        model.check(image, domain)
    });
    steps(17, count, |random| match random.below(8) {
        0 if run.snapshots() < ROOMS - 1 => run.begin(),
        1 if run.snapshots() > 1 => run.forget(random.below(run.snapshots())),
        _ => {
            let changes = 1 + random.below(3);
            let change = |_| (random.below(WORDS), random.word());
            let changes: Vec<_> = (0..changes).map(change).collect();
            run.change(&changes);
        }
    });
    let counts = run.machine.sim.finish().map_err(|failure| failure.to_string())?;
    let nested = *nested.lock().expect("no panic");
    println!("snapshots: {counts}; {nested} images of recoveries");
    Ok(counts.images + nested)
}

#[test]
fn a_snapshot_keeps_what_the_object_held_whatever_happens() {
    let lives =
        [Domain::Adr, Domain::Eadr].map(|domain| life(domain, Mistake::None, at_least(100)));
    let images: u64 = lives.into_iter().map(|life| life.expect("as the model")).sum();
    assert!(images > 5_000, "{images}");
}

#[test]
fn copies_that_are_not_waited_for_are_found() {
    for mistake in [Mistake::NoFence, Mistake::LateLines] {
        let life = life(Domain::Adr, mistake, 60);
        assert!(life.is_err(), "{mistake:?}: {life:?}");
    }
}

#[test]
fn to_begin_one_costs_the_same_whatever_the_size() {
    let cost = |pages: usize| {
        let room = usize::try_from(snapshot::bytes_for(u32::try_from(pages).expect("few")));
        let room = room.expect("small").next_multiple_of(PAGE);
        let sim = Sim::new(Domain::Adr, PAGE + pages * PAGE + room);
        let counts = Arc::default();
        let medium = Clumsy::new(sim.medium(0), Mistake::None, Arc::clone(&counts));
        let origin = medium.part(PAGE, pages * PAGE);
        object::create(&origin, id(0), &7_u64).expect("large enough");
        let log = medium.part(0, LOG_BYTES);
        Session::format_log(&log).expect("large enough");
        let mapping = map(origin, ControlRef::own(0));
        let before = counts.operations.load(std::sync::atomic::Ordering::Relaxed);
        let room = medium.part(PAGE + pages * PAGE, room);
        open(0, log).snapshot(&mapping, snapshot_id(0), || room).expect("room");
        counts.operations.load(std::sync::atomic::Ordering::Relaxed) - before
    };
    assert_eq!(cost(3), cost(3000));
}

#[test]
fn damage_is_told_and_not_served() {
    let mut run = Run::new(Domain::Eadr, Mistake::None);
    run.begin();
    (0..WORDS).step_by(100).for_each(|word| run.change(&[(word, 1)]));
    let room = run.machine.room(0);
    let copies = run.machine.newest.borrow().as_ref().map_or(0, Snapshot::copies);
    assert!(copies >= 3, "{copies}");
    let flip = |at: usize| room.store_word(at, room.load_word(at) ^ 0x10);
    let open = || Snapshot::open(run.machine.room(0), snapshot_id(0));
    let first = room.bytes() - 5 * PAGE;
    flip(first + 80);
    let damaged = open().expect("its lines are whole");
    let read = (0..5).map(|page| damaged.read(&[], &run.machine.origin(), page));
    let failures: Vec<_> = read.filter_map(Result::err).collect();
    assert!(matches!(failures[..], [SnapshotError::Page { .. }]), "{failures:?}");
    flip(first + 80);
    flip(LINE_BYTES);
    assert_eq!(open().map(|_| ()), Err(SnapshotError::Copies { copy: 0 }));
    flip(0);
    assert_eq!(open().map(|_| ()), Err(SnapshotError::Missing));
}

#[test]
fn what_has_no_room_or_no_such_page_is_refused() {
    let mut run = Run::new(Domain::Eadr, Mistake::None);
    let short = run.machine.part(PAGE + PAGES * PAGE, PAGE, Mistake::None);
    let begun = run.session.snapshot(run.object.mapping(), snapshot_id(9), || short);
    assert_eq!(begun.map(|_| ()), Err(SnapshotError::Short));
    run.begin();
    let mut newest = run.machine.newest.take().expect("begun");
    let outside = Err(SnapshotError::Outside { page: 5 });
    assert_eq!(newest.keep(&run.machine.origin(), 5), outside);
    assert_eq!(newest.read(&[], &run.machine.origin(), 5).map(|_| ()), outside);
}
