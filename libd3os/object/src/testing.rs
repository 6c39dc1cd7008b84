//! What crash tests share: a machine with a few objects and logs, and what may be found on it.

use core::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ObjectId;
use crate::clumsy::{Clumsy, Counters, Mistake};
use crate::control::{ControlRef, Slot};
use crate::interleaving_tests::Turns;
use crate::layout;
use crate::mapping::Mapping;
use crate::medium::{LINE_BYTES, Medium, Part};
use crate::object::{self, Object};
use crate::persist::Persist;
use crate::recovery::{self, Access, Objects, Report};
use crate::session::Session;
use crate::sim::{Counts, Domain, Explorer, Failure, Limits, Random, Sim};

pub(crate) type TestMedium = Part<Clumsy>;

/// How a machine is laid out: logs first, then objects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) domain: Domain,
    pub(crate) logs: usize,
    pub(crate) log_lines: usize,
    pub(crate) objects: usize,
    /// Of each object, without the guard.
    pub(crate) pages: usize,
}

pub(crate) struct Machine {
    pub(crate) plan: Plan,
    pub(crate) sim: Sim,
    /// What is done wrong from now on.
    pub(crate) mistake: Mistake,
    /// Who may go on, if threads take turns from now on.
    pub(crate) turns: Option<Arc<Turns>>,
    counts: Arc<Counters>,
    controls: Vec<ControlRef>,
}

impl Plan {
    fn log(&self, log: usize) -> (usize, usize) {
        let bytes = self.log_lines * LINE_BYTES;
        (log * bytes, bytes)
    }

    fn object(&self, object: usize) -> (usize, usize) {
        let first = (self.logs * self.log_lines * LINE_BYTES).next_multiple_of(4096);
        (first + object * self.pages * 4096, self.pages * 4096)
    }

    fn bytes(&self) -> usize {
        self.object(self.objects).0
    }
}

pub(crate) fn id(object: usize) -> ObjectId {
    ObjectId::new(0x1_0000 + object as u128)
}

pub(crate) fn slot(number: usize) -> Slot {
    u8::try_from(number).ok().and_then(Slot::new).expect("few slots")
}

impl Machine {
    /// A machine with objects that have this base.
    pub(crate) fn new<T: Persist>(plan: Plan, base: impl Fn(usize) -> T) -> Self {
        let sim = Sim::new(plan.domain, plan.bytes());
        let machine = Self::over(plan, sim);
        for number in 0..plan.objects {
            let medium = machine.object_medium(number, 0);
            object::create(&medium, id(number), &base(number)).expect("large enough");
        }
        machine.sim.medium(0).fence();
        for log in 0..plan.logs {
            Session::format_log(&machine.log(log)).expect("large enough");
        }
        machine.with_controls()
    }

    /// The machine at its next start, before recovery.
    pub(crate) fn with_contents(plan: Plan, image: &[u8]) -> Self {
        Self::over(plan, Sim::with_contents(plan.domain, image))
    }

    fn over(plan: Plan, sim: Sim) -> Self {
        let (mistake, counts) = (Mistake::None, Arc::default());
        Self { plan, sim, mistake, turns: None, counts, controls: Vec::new() }
    }

    /// How many fences there were.
    pub(crate) fn fences(&self) -> u64 {
        self.counts.fences.load(Ordering::Relaxed)
    }

    /// How many operations on media.
    pub(crate) fn operations(&self) -> u64 {
        self.counts.operations.load(Ordering::Relaxed)
    }

    fn medium(&self, thread: usize) -> Clumsy {
        Clumsy::new(self.sim.medium(thread), self.mistake, Arc::clone(&self.counts))
            .taking_turns(self.turns.as_ref(), thread)
    }

    /// The machine at its next start, recovered; unless something is wrong with it.
    pub(crate) fn recovered(plan: Plan, image: &[u8]) -> Result<Self, String> {
        let machine = Self::with_contents(plan, image);
        let report = machine.recover();
        if report.findings.is_empty() {
            Ok(machine.with_controls())
        } else {
            Err(format!("{:?}", report.findings))
        }
    }

    pub(crate) fn recover(&self) -> Report {
        let logs: Vec<_> = (0..self.plan.logs).map(|log| (slot(log), self.log(log))).collect();
        recovery::recover(&logs, &mut &*self)
    }

    pub(crate) fn with_controls(mut self) -> Self {
        let settled = |number| layout::settled(&self.object_medium(number, 0)).expect("whole");
        self.controls = (0..self.plan.objects).map(|n| ControlRef::own(settled(n))).collect();
        self
    }

    pub(crate) fn log(&self, log: usize) -> TestMedium {
        let (at, bytes) = self.plan.log(log);
        self.medium(log).part(at, bytes)
    }

    pub(crate) fn object_medium(&self, object: usize, thread: usize) -> TestMedium {
        let (at, bytes) = self.plan.object(object);
        self.medium(thread).part(at, bytes)
    }

    pub(crate) fn session(&self, number: usize) -> Session<TestMedium> {
        open(number, self.log(number))
    }

    /// The object as this session's thread has it mapped.
    pub(crate) fn object<T: Persist>(&self, object: usize, thread: usize) -> Object<T, TestMedium> {
        let control = self.controls[object].clone();
        let mapping = map(self.object_medium(object, thread), control);
        Object::open(Arc::new(mapping)).expect("of this type")
    }

    /// The same object as a program has it that was lent it.
    pub(crate) fn lent_object<T: Persist>(&self, object: usize) -> Object<T, TestMedium> {
        let control = self.controls[object].clone();
        // SAFETY: as for `map`; the memory stays where it is, whatever the control counts.
        let mapping = unsafe { Mapping::lent(self.object_medium(object, 0), control) };
        Object::open(Arc::new(mapping.expect("an object"))).expect("of this type")
    }
}

/// What was lent is there again.
pub(crate) fn show_again<T>(object: &Object<T, TestMedium>, withdrawals: u64) {
    // SAFETY: it never went.
    unsafe { object.mapping().shown_again(withdrawals) };
}

pub(crate) fn open<M: Medium>(number: usize, log: M) -> Session<M> {
    // SAFETY: no test has two sessions of a number at a time, but those that do nothing any more.
    unsafe { Session::open(slot(number), log) }.expect("recovered")
}

pub(crate) fn put_out(
    dead: usize,
    log: &TestMedium,
    by: &mut Session<TestMedium>,
    mapped: &[Arc<Mapping<TestMedium>>],
) -> Report {
    let find = |of: ObjectId| {
        let found = mapped.iter().find(|mapping| mapping.id() == of);
        found.map_or(Access::Deleted, |mapping| Access::Write(Arc::clone(mapping)))
    };
    // SAFETY: the session's thread has stopped for good.
    unsafe { recovery::evict((slot(dead), log), by, find, mapped) }.expect("free")
}

pub(crate) fn map<M: Medium>(medium: M, control: ControlRef) -> Mapping<M> {
    // SAFETY: in tests, all mappings of an object that are used at a time share its control, and
    // nothing else stores to it while sessions run.
    unsafe { Mapping::new(medium, control) }.expect("an object")
}

impl Objects for &Machine {
    type Medium = TestMedium;

    fn access(&mut self, _: Slot, of: ObjectId) -> Access<TestMedium> {
        let number = (0..self.plan.objects).find(|number| id(*number) == of);
        number.map_or(Access::Deleted, |number| Access::Write(self.object_medium(number, 0)))
    }
}

/// What may be found after a loss of power: what was committed, and the transactions in progress
/// wholly or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Expected<S>(Arc<Mutex<Vec<S>>>);

impl<S: Clone + PartialEq + fmt::Debug + Send + 'static> Expected<S> {
    pub(crate) fn new(state: S) -> Self {
        Self(Arc::new(Mutex::new(vec![state])))
    }

    fn states(&self) -> MutexGuard<'_, Vec<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction begins that leads to this state.
    pub(crate) fn begin(&self, next: S) {
        self.states().push(next);
    }

    /// It has committed.
    pub(crate) fn commit(&self) {
        let mut states = self.states();
        let last = states.pop().expect("begun");
        *states = vec![last];
    }

    /// It has not.
    pub(crate) fn abort(&self) {
        self.states().truncate(1);
    }

    fn check(&self, found: &S) -> Result<(), String> {
        let states = self.states();
        let allowed = states.contains(found);
        if allowed { Ok(()) } else { Err(format!("found {found:?}, expected one of {states:?}")) }
    }
}

/// Watches a machine: every crash image is recovered, read and compared; so is, of some of them, every
/// crash image of the recovery.
pub(crate) fn watch<S: Clone + PartialEq + fmt::Debug + Send + 'static>(
    machine: &Machine,
    limits: Limits,
    expected: &Expected<S>,
    read: fn(&Machine) -> Result<S, String>,
) -> Watching {
    let expected = expected.clone();
    watch_with(machine, limits, move |machine| expected.check(&read(machine)?))
}

/// Watches a machine with a check of recovered ones.
pub(crate) fn watch_with(
    machine: &Machine,
    limits: Limits,
    check: impl Fn(&Machine) -> Result<(), String> + Send + Sync + 'static,
) -> Watching {
    let (plan, check) = (machine.plan, Arc::new(check));
    let nested = Arc::new(Mutex::new(Counts::default()));
    let count = Arc::clone(&nested);
    let mut images = 0_u64;
    machine.sim.watch(Explorer::new(limits, 7), move |image| {
        images += 1;
        if images % 61 == 1 {
            let counts = recovery_is_watched(plan, image, images, Arc::clone(&check));
            *count.lock().expect("no panic") += counts.map_err(|failure| failure.to_string())?;
        }
        check(&Machine::recovered(plan, image)?)
    });
    Watching { sim: machine.sim.clone(), nested }
}

fn recovery_is_watched(
    plan: Plan,
    image: &[u8],
    seed: u64,
    check: Arc<impl Fn(&Machine) -> Result<(), String> + Send + Sync + 'static>,
) -> Result<Counts, Failure> {
    let machine = Machine::with_contents(plan, image);
    let limits = Limits { product: 64, random: 16, ..Limits::default() };
    let explorer = Explorer::new(limits, seed);
    machine.sim.watch(explorer, move |image| check(&Machine::recovered(plan, image)?));
    machine.recover();
    machine.sim.finish()
}

pub(crate) struct Watching {
    sim: Sim,
    nested: Arc<Mutex<Counts>>,
}

impl Watching {
    /// Ends the watch; whether an image was not as expected.
    pub(crate) fn found_a_mistake(self) -> bool {
        self.sim.finish().is_err()
    }

    /// Ends the watch, prints what was looked at, and returns the number of images.
    pub(crate) fn finish(self, name: &str) -> u64 {
        let counts = self.sim.finish().unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let nested = *self.nested.lock().expect("no panic");
        println!("{name}: {counts}; of the recovery: {nested}");
        counts.images + nested.images
    }
}

/// So many steps, or as many times more as the environment asks for in `CRASH_TESTS`.
pub(crate) fn at_least(steps: usize) -> usize {
    let times = std::env::var("CRASH_TESTS").ok().and_then(|times| times.parse().ok());
    steps * times.unwrap_or(1).max(1)
}

/// Calls `step` so often, with random numbers.
pub(crate) fn steps(seed: u64, count: usize, mut step: impl FnMut(&mut Random)) {
    let mut random = Random::new(seed);
    (0..count).for_each(|_| step(&mut random));
}
