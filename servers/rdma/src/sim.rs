//! A deterministic network between two hosts: whatever it loses, doubles, reorders, damages, delays or
//! cuts, every byte arrives right or the queue pair ends in an error that is reported.
//!
//! A seed says everything: the kind of the queue pairs, their attributes, what both sides ask of each
//! other, what the network does. What both memories must hold in the end is worked out by a model that
//! carries requests out one after the other (`plan`), and knows nothing of packets.
//!
//! Each test run takes 100,000 seeds; `CRASH_TESTS=4`, which `--all` sets, four times as many.
//! `SIM_SEEDS` and `SIM_SEED` in the environment change how many there are and the first one; a failure
//! prints its seed, and `SIM_SEED=that SIM_SEEDS=1` repeats it.

pub(crate) mod host;
mod hostile;
mod network;
mod plan;
mod run;

use std::thread;

use run::Tally;

/// Seeds that a run takes.
const SEEDS: u64 = 100_000;

/// Tells the seed that a failure happened with.
struct Trail(u64);

impl Drop for Trail {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("with seed {0}: SIM_SEED={0} SIM_SEEDS=1", self.0);
        }
    }
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name);
    text.map_or(default, |text| text.parse().expect("a number"))
}

/// The seeds of one of several lanes.
fn lane(first: u64, seeds: u64, lane: u64, lanes: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in (first + lane..first + seeds).step_by(usize::try_from(lanes).expect("few")) {
        let _trail = Trail(seed);
        run::run(seed, &mut tally);
    }
    tally
}

#[test]
fn every_byte_arrives_right_or_an_error_is_reported() {
    let seeds = setting("SIM_SEEDS", SEEDS * setting("CRASH_TESTS", 1));
    let first = setting("SIM_SEED", 1);
    let lanes = thread::available_parallelism().map_or(1, |lanes| lanes.get() as u64);
    let mut total = Tally::default();
    thread::scope(|scope| {
        let lanes: Vec<_> =
            (0..lanes).map(|at| scope.spawn(move || lane(first, seeds, at, lanes))).collect();
        for lane in lanes {
            total.add(&lane.join().expect("a lane failed"));
        }
    });
    println!("{total}");
    if seeds >= SEEDS {
        total.demand(seeds);
    }
}
