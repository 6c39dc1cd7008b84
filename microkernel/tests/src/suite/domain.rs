//! Scheduling domains: turns, and who runs in them. Turns are measured by the time stamp counter, and
//! only from below: a turn of somebody else's lasts at least as long as the schedule says.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use libd3os::abi::chunk;
use libd3os::cap::{Capability, Error};

use super::tests;
use crate::arena::{Arena, DOMAIN};
use crate::check::{Failure, Outcome, check, check_eq};
use crate::machine;
use crate::raw;
use crate::worker::{Options, Worker};

tests![
    a_domain_runs_in_its_turn_only,
    a_domain_without_a_turn_does_not_run,
    a_call_goes_to_another_domain_and_comes_back,
    a_schedule_needs_a_beginning,
];

/// A turn, in microseconds.
const TURN_US: u64 = 2000;

/// A turn, in ticks of the time stamp counter.
fn turn(arena: &Arena) -> Result<u64, Failure> {
    let mut chunks = machine::boot_info_chunks(arena.boot());
    let frequency = chunks.find(|(id, _)| *id == chunk::TSC_FREQUENCY);
    let megahertz =
        frequency.and_then(|(_, bytes)| Some(u32::from_le_bytes(*bytes.first_chunk()?)));
    megahertz
        .map(|megahertz| TURN_US * u64::from(megahertz))
        .ok_or_else(|| Failure::new("no frequency".into()))
}

/// Runs a test with two domains by turns, then gives domain 0 all of the time again.
fn by_turns(arena: &mut Arena, test: impl FnOnce(&mut Arena) -> Outcome) -> Outcome {
    let turn = turn(arena)?;
    DOMAIN.schedule_configure(0, 0, turn)?;
    DOMAIN.schedule_configure(1, 1, turn)?;
    DOMAIN.schedule_configure(2, 0, 0)?;
    DOMAIN.schedule_set_start(0)?;
    let outcome = test(arena);
    DOMAIN.schedule_configure(0, 0, LONGEST)?;
    DOMAIN.schedule_configure(1, 0, 0)?;
    DOMAIN.schedule_set_start(0)?;
    outcome
}

/// The longest turn.
const LONGEST: u64 = (1 << 56) - 1;

/// A thread of domain 1 that counts, below the test's priority.
fn counter(arena: &mut Arena) -> Result<(Worker, Arc<AtomicU64>), Error> {
    let count = Arc::new(AtomicU64::new(0));
    let shared = Arc::clone(&count);
    let worker = arena.spawn(Options { start: false, ..Options::priority(50) }, move |_| {
        loop {
            shared.fetch_add(1, Ordering::Relaxed);
        }
    })?;
    DOMAIN.set(1, worker.tcb)?;
    worker.tcb.resume()?;
    Ok((worker, count))
}

fn a_domain_runs_in_its_turn_only(arena: &mut Arena) -> Outcome {
    let (worker, count) = counter(arena)?;
    let turn = turn(arena)?;
    by_turns(arena, |_| {
        // The test never blocks and is of higher priority: only turns let the other one run.
        for _ in 0..10 {
            let before = count.load(Ordering::Relaxed);
            let (mut earlier, mut last) = (0, machine::time());
            while count.load(Ordering::Relaxed) == before {
                (earlier, last) = (last, machine::time());
            }
            let absent = machine::time() - earlier;
            check!(absent > turn / 2, "domain 1 ran for {absent} of {turn} ticks, amid ours");
        }
        Ok(())
    })?;
    let stopped = count.load(Ordering::Relaxed);
    let low = arena.worker(20, |_| ())?;
    low.join();
    check_eq!(count.load(Ordering::Relaxed), stopped, "it ran without a turn");
    worker.tcb.suspend()?;
    Ok(())
}

fn a_domain_without_a_turn_does_not_run(arena: &mut Arena) -> Outcome {
    let worker = arena.spawn(Options { start: false, ..Options::priority(60) }, |_| ())?;
    DOMAIN.set(3, worker.tcb)?;
    worker.tcb.resume()?;
    let low = arena.worker(20, |_| ())?;
    low.join();
    check!(!worker.is_done(), "a thread ran whose domain has no turn");
    DOMAIN.set(0, worker.tcb)?;
    worker.join();
    Ok(())
}

fn a_call_goes_to_another_domain_and_comes_back(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    let (from, with) = (endpoint.cptr(), reply.cptr());
    let server = arena.spawn(Options { start: false, ..Options::priority(200) }, move |_| {
        let mut asked = raw::recv(from, with);
        loop {
            let words = [asked.words[0] + 1, 0, 0, 0];
            asked = raw::reply_recv(from, with, raw::info(0, 1), words);
        }
    })?;
    DOMAIN.set(1, server.tcb)?;
    server.tcb.resume()?;
    by_turns(arena, |_| {
        for word in 0..5 {
            let answer = raw::call(from, raw::info(0, 1), [word, 0, 0, 0]);
            check_eq!(answer.words[0], word + 1);
        }
        Ok(())
    })
}

fn a_schedule_needs_a_beginning(_: &mut Arena) -> Outcome {
    check_eq!(DOMAIN.schedule_set_start(1), Err(Error::InvalidArgument { index: 0 }));
    check_eq!(DOMAIN.schedule_configure(0, 0, 0), Err(Error::InvalidArgument { index: 2 }));
    check_eq!(DOMAIN.schedule_configure(1, 4, 5), Err(Error::InvalidArgument { index: 1 }));
    check!(matches!(DOMAIN.schedule_set_start(8), Err(Error::Range { .. })), "beyond the schedule");
    Ok(())
}
