//! Random threads on several kernels: whatever they ask for, every invariant holds.
//!
//! Each step is one kernel entry, of one of four instances: a system call with mostly right and
//! sometimes wrong arguments, a fault, an interrupt, the timer; system calls are preempted at random,
//! and repeated or given up. The simulated machine tells what memory a step has changed, so that all
//! of it can be checked at once (`ledger`, `checks`, `clock`), and everything every thousand steps:
//!
//! - every change is to an object that lives, every object is referenced by exactly the
//!   capabilities to it, and none lies in another;
//! - the derivation is linked both ways, queues, replies and scheduling contexts link to each
//!   other and to nothing that is gone;
//! - page tables lead to frames and tables only, as capabilities record;
//! - what a thread uses is charged, and no more is used than was given;
//! - a signal sent at one instance comes to the notification of the other's handler, once for each
//!   acknowledgement, and none is lost (`wires`).
//!
//! `FUZZ_STEPS` and `FUZZ_SEED` in the environment change how many steps are taken and from which
//! seed on; a failure prints the seed of its world, and `FUZZ_SEED=that FUZZ_STEPS=1` repeats it.

mod checks;
mod chooser;
mod clock;
mod instance;
mod ledger;
pub(crate) mod random;
mod tally;
mod wires;

use self::instance::Instance;
use self::random::Random;
use self::tally::Tally;
use self::wires::event;
use std::thread;

/// Steps that a run must take.
const STEPS: u64 = 10_000_000;
/// Steps of a world, which a seed stands for.
const STEPS_PER_WORLD: u64 = 100_000;
/// Instances in a world.
const INSTANCES: u32 = 4;
/// Steps between two checks of everything.
const COMPLETE_CHECK: u64 = 1000;
/// Of a hundred invocations, how many are to be carried out at least.
const PERCENT: u64 = 30;
/// One in so many steps is to be a signal of another instance's that is delivered.
const STEPS_PER_SIGNAL: u64 = 2000;

/// Tells the seed of the world that a failure happened in.
struct Trail {
    seed: u64,
    step: u64,
}

impl Drop for Trail {
    fn drop(&mut self) {
        if thread::panicking() {
            let Self { seed, step } = self;
            eprintln!("in the world of seed {seed}, at step {step}: FUZZ_SEED={seed} FUZZ_STEPS=1");
        }
    }
}

/// Runs the world of one seed.
fn run_world(seed: u64, steps: u64) -> Tally {
    let mut trail = Trail { seed, step: 0 };
    let mut tally = Tally::default();
    let mut random = Random::new(seed);
    let mut world: Vec<Instance> = (0..INSTANCES).map(Instance::new).collect();
    tally.instances += u64::from(INSTANCES);
    while tally.steps < steps {
        trail.step += 1;
        let core = random.index(world.len());
        let instance = &mut world[core];
        instance.step(&mut random, &mut tally);
        let signals = instance.take_signals();
        for (core, line) in signals {
            world[core as usize].wires.arrive(line, &mut tally);
        }
        let instance = &mut world[core];
        let over = instance.is_over();
        if over || trail.step.is_multiple_of(COMPLETE_CHECK) {
            instance.check();
            tally.complete_checks += 1;
        }
        if over {
            tally.events(event::DROPPED, instance.wires.waiting().into());
            *instance = Instance::new(u32::try_from(core).unwrap());
            tally.instances += 1;
        }
    }
    let left = world.iter().map(|instance| u64::from(instance.wires.waiting())).sum();
    tally.events(event::LEFT, left);
    tally
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name);
    text.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn random_kernels_stay_consistent() {
    let steps = setting("FUZZ_STEPS", STEPS);
    let first = setting("FUZZ_SEED", 1);
    let worlds = steps.div_ceil(STEPS_PER_WORLD);
    let lanes = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let run = |lane: u64| {
        let mut tally = Tally::default();
        let mine = (first + lane..first + worlds).step_by(usize::try_from(lanes).unwrap());
        mine.for_each(|seed| tally.add(&run_world(seed, STEPS_PER_WORLD)));
        tally
    };
    let mut total = Tally::default();
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|lane| scope.spawn(move || run(lane))).collect();
        for lane in lanes {
            total.add(&lane.join().expect("a lane failed"));
        }
    });
    println!("seeds {first} to {}: {total}", first + worlds - 1);
    assert!(total.steps >= steps, "only {} steps", total.steps);
    assert!(total.percent_done() >= PERCENT, "only {} %", total.percent_done());
    let signals = |name| total.count_of(name);
    let came = [event::DELIVERED, event::DROPPED, event::LEFT].map(signals).iter().sum::<u64>();
    assert_eq!(
        signals(event::SENT),
        came,
        "signals sent but for those merged, and what became of them"
    );
    let [delivered, heard] = [event::DELIVERED, event::HEARD].map(signals);
    assert!(delivered * STEPS_PER_SIGNAL >= total.steps, "only {delivered} signals were delivered");
    assert!(
        heard * 2 >= delivered,
        "only {heard} of {delivered} signals had somebody to hear them"
    );
    assert_eq!(total.never_done(), [], "never carried out");
    assert_eq!(total.never_called(), [], "never ended");
}
