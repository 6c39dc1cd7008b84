//! Two sessions whose operations on the medium are interleaved in every which way, with power lost at
//! every fence.
//!
//! Each session runs in a thread of its own, but only the one whose turn it is goes on; at every
//! operation the turn passes to whomever the seed says. So a run can be repeated, and what happens
//! between two operations happens at once, as far as the other one can see.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use crate::session::{Contest, Patience};
use crate::sim::{Domain, Limits, Random};
use crate::testing::{Machine, Plan, TestMedium, watch_with};
use crate::{Object, Session, TxError};

/// Whose turn it is.
#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    turn: usize,
    running: Vec<usize>,
    random: Random,
}

impl Turns {
    pub(crate) fn new(threads: usize, seed: u64) -> Self {
        let state = State { turn: 0, running: (0..threads).collect(), random: Random::new(seed) };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// Lets somebody go on, this thread perhaps, and waits for the turn.
    pub(crate) fn pass(&self, me: usize) {
        let mut state = self.state();
        if state.turn == me {
            let State { running, random, .. } = &mut *state;
            state.turn = running[random.below(running.len())];
            self.changed.notify_all();
        }
        while state.turn != me {
            state = self.changed.wait(state).expect("no panic");
        }
    }

    fn end(&self, me: usize) {
        let mut state = self.state();
        state.running.retain(|other| *other != me);
        state.turn = state.running.first().copied().unwrap_or(usize::MAX);
        self.changed.notify_all();
    }
}

const WORDS: usize = 24;
type Words = [u64; WORDS];

/// What a session has committed last, and what it may have committed since.
#[derive(Debug, Default)]
struct Progress {
    committed: AtomicU64,
    begun: AtomicU64,
}

/// The values that the two sessions have written, each to its own words of both objects.
fn read(machine: &Machine) -> Result<[u64; 2], String> {
    let session = machine.session(0);
    let mut words = Vec::new();
    for number in [0, 1] {
        let object = machine.object::<Words>(number, 0);
        let guard = session.read(&object).map_err(|busy| busy.to_string())?;
        words.extend_from_slice(guard.base().map_err(|error| error.to_string())?);
    }
    let of = |by: usize| words.iter().skip(by).step_by(2).copied();
    let value = [0, 1].map(|by| of(by).next().unwrap_or(0));
    let whole = [0, 1].map(|by| of(by).all(|word| word == value[by]));
    if whole == [true; 2] { Ok(value) } else { Err(format!("torn: {words:?}")) }
}

fn work(
    session: &mut Session<TestMedium>,
    objects: &[Object<Words, TestMedium>; 2],
    by: usize,
    progress: &Progress,
) {
    for value in 1..=12 {
        progress.begun.store(value, Ordering::Relaxed);
        let done = session.tx(|tx| {
            // One of them takes the objects in the other order.
            for number in [by, 1 - by] {
                let mut editor = tx.edit(&objects[number])?;
                let words = editor.modify_base()?;
                words.iter_mut().skip(by).step_by(2).for_each(|word| *word = value);
            }
            Ok::<_, TxError>(())
        });
        done.expect("room");
        progress.committed.store(value, Ordering::Relaxed);
    }
}

fn interleaved(domain: Domain, seed: u64) -> u64 {
    let plan = Plan { domain, logs: 2, log_lines: 24, objects: 2, pages: 3 };
    let mut machine = Machine::new(plan, |_| [0_u64; WORDS]);
    let progress: Arc<[Progress; 2]> = Arc::default();
    let seen = Arc::clone(&progress);
    let limits = Limits { product: 64, random: 24, ..Limits::default() };
    let watching = watch_with(&machine, limits, move |machine| {
        let found = read(machine)?;
        let allowed = |by: usize| {
            let Progress { committed, begun } = &seen[by];
            [committed, begun].map(|value| value.load(Ordering::Relaxed)).contains(&found[by])
        };
        if allowed(0) && allowed(1) { Ok(()) } else { Err(format!("{found:?} of {seen:?}")) }
    });
    let turns = Arc::new(Turns::new(2, seed));
    machine.turns = Some(Arc::clone(&turns));
    let contests = Arc::new(AtomicU64::new(0));
    let machine = &machine;
    thread::scope(|scope| {
        for by in [0, 1] {
            let (turns, progress, contests) = (&turns, &progress, Arc::clone(&contests));
            scope.spawn(move || {
                turns.pass(by);
                let mut session = machine.session(by);
                let objects = [0, 1].map(|number| machine.object(number, by));
                let others = Arc::clone(turns);
                session.set_patience(move |_: Contest| {
                    contests.fetch_add(1, Ordering::Relaxed);
                    others.pass(by);
                    Patience::Wait
                });
                work(&mut session, &objects, by, &progress[by]);
                turns.end(by);
            });
        }
    });
    assert!(contests.load(Ordering::Relaxed) > 0, "they met");
    let values = [12, 12];
    let left = Machine::recovered(plan, &machine.sim.durable()).and_then(|machine| read(&machine));
    assert_eq!(left, Ok(values));
    watching.finish("interleaved")
}

#[test]
fn transactions_of_two_sessions_are_whole_in_every_interleaving() {
    let seeds = 0..4;
    let images: u64 = [Domain::Adr, Domain::Eadr]
        .into_iter()
        .flat_map(|domain| seeds.clone().map(move |seed| interleaved(domain, seed)))
        .sum();
    assert!(images > 10_000, "{images}");
}
