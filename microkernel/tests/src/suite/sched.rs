//! Scheduling contexts: budgets, periods, timeouts. Nothing here looks at a wall clock: a budget
//! is enforced if a thread of lower priority gets to run, and returns if the first runs again.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use libd3os::abi::{CapRights, FaultLabel, Label, ObjectType};
use libd3os::cap::{Bandwidth, Capability, Error, SchedContext, Server};
use libd3os::sys::{self, Cptr};

use super::tests;
use crate::arena::{Arena, DOMAIN};
use crate::check::{Outcome, check, check_eq};
use crate::raw;
use crate::worker::Options;

tests![
    parameters_are_checked,
    a_context_is_bound_once,
    a_notification_shares_a_bound_context,
    without_time_a_thread_waits,
    a_spent_budget_lets_others_run,
    a_spent_budget_comes_back,
    a_timeout_is_told,
    a_sporadic_server_keeps_its_budget,
    equals_take_turns,
    yielding_lets_equals_run,
    time_used_is_counted,
    yielding_to_a_thread_lets_it_run,
    a_deleted_context_stops_its_thread,
    domains_are_as_many_as_built,
];

fn share(budget_us: u64, period_us: u64) -> Bandwidth {
    Bandwidth { budget_us, period_us, ..Bandwidth::default() }
}

/// Options for a thread with this share.
fn with(priority: u8, bandwidth: Bandwidth) -> Options {
    Options { bandwidth: Some(bandwidth), ..Options::priority(priority) }
}

fn parameters_are_checked(arena: &mut Arena) -> Outcome {
    let context = SchedContext::new(arena.make(ObjectType::SchedContext, 8)?);
    let control = arena.sched_control();
    let configure = |bandwidth| control.configure(context, bandwidth);
    let range = |bandwidth| matches!(configure(bandwidth), Err(Error::Range { .. }));
    check!(range(share(0, 1000)), "no budget");
    check!(range(share(2000, 1000)), "more budget than period");
    check!(range(share(1, 1000)), "a budget that a kernel entry takes");
    check!(range(share(u64::MAX, u64::MAX)), "times that overflow");
    // Of the 256 bytes, 96 are the head and each refill takes 16.
    let many = Bandwidth { extra_refills: 100, ..share(1000, 2000) };
    check!(range(many), "more refills than there is room for");
    configure(share(1000, 2000))?;
    configure(share(1000, 1000))?;
    let endpoint = arena.endpoint()?;
    let wrong = control.configure(SchedContext::new(endpoint.cptr()), share(1000, 1000));
    check_eq!(wrong, Err(Error::InvalidCapability { index: 1 }));
    Ok(())
}

fn a_context_is_bound_once(arena: &mut Arena) -> Outcome {
    let worker = arena.spawn(Options { start: false, ..Options::default() }, |_| ())?;
    let other = arena.sched_context(8, share(1000, 1000))?;
    check_eq!(other.bind(worker.tcb.cptr()), Err(Error::IllegalOperation), "it has time");
    let spare =
        arena.spawn(Options { bandwidth: None, start: false, ..Options::default() }, |_| ())?;
    check_eq!(worker.context.bind(spare.tcb.cptr()), Err(Error::IllegalOperation), "taken");
    other.bind(spare.tcb.cptr())?;
    check_eq!(other.unbind_object(worker.tcb.cptr()), Err(Error::IllegalOperation));
    other.unbind_object(spare.tcb.cptr())?;
    let endpoint = arena.endpoint()?;
    check!(matches!(other.bind(endpoint.cptr()), Err(Error::InvalidCapability { .. })));
    Ok(())
}

fn a_notification_shares_a_bound_context(arena: &mut Arena) -> Outcome {
    let worker = arena.spawn(Options { start: false, ..Options::default() }, |_| ())?;
    let (first, second) = (arena.notification()?, arena.notification()?);
    worker.context.bind(first.cptr())?;
    check_eq!(worker.context.bind(second.cptr()), Err(Error::IllegalOperation), "one is enough");
    check_eq!(worker.context.bind(worker.tcb.cptr()), Err(Error::IllegalOperation), "still bound");
    worker.context.unbind_object(worker.tcb.cptr())?;
    worker.context.bind(worker.tcb.cptr())?;
    worker.context.unbind_object(first.cptr())?;
    check_eq!(worker.context.unbind_object(first.cptr()), Err(Error::IllegalOperation), "gone");
    Ok(())
}

fn without_time_a_thread_waits(arena: &mut Arena) -> Outcome {
    let worker = arena.spawn(Options { bandwidth: None, ..Options::default() }, |_| ())?;
    arena.worker(50, |_| ())?.join();
    check!(!worker.is_done(), "it ran without time");
    let context = arena.sched_context(8, share(1000, 1000))?;
    context.bind(worker.tcb.cptr())?;
    worker.join();
    Ok(())
}

/// A thread that spins for ever with this share of the core.
fn spinner(arena: &mut Arena, options: Options) -> Result<Arc<AtomicU64>, Error> {
    let turns = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&turns);
    arena.spawn(options, move |_| {
        loop {
            count.fetch_add(1, Ordering::Relaxed);
            core::hint::spin_loop();
        }
    })?;
    Ok(turns)
}

fn a_spent_budget_lets_others_run(arena: &mut Arena) -> Outcome {
    let turns = spinner(arena, with(200, share(1000, 10_000)))?;
    let low = arena.worker(50, move |_| {
        while turns.load(Ordering::Relaxed) == 0 {
            core::hint::spin_loop();
        }
    })?;
    low.join();
    Ok(())
}

fn a_spent_budget_comes_back(arena: &mut Arena) -> Outcome {
    let turns = spinner(arena, with(200, share(500, 5000)))?;
    let seen = Arc::clone(&turns);
    let low = arena.worker(50, move |_| {
        for _ in 0..5 {
            let before = seen.load(Ordering::Relaxed);
            while seen.load(Ordering::Relaxed) == before {
                core::hint::spin_loop();
            }
        }
    })?;
    low.join();
    Ok(())
}

fn a_timeout_is_told(arena: &mut Arena) -> Outcome {
    let (timeouts, reply) = (arena.endpoint()?, arena.reply()?);
    let bandwidth = Bandwidth { badge: 0xbad6e, ..share(1000, 100_000) };
    let worker = arena.spawn(Options { start: false, ..with(200, bandwidth) }, |_| {
        loop {
            core::hint::spin_loop();
        }
    })?;
    worker.tcb.set_timeout_endpoint(timeouts.cptr())?;
    worker.tcb.resume()?;
    let message = timeouts.recv(reply);
    check_eq!(message.info.label(), FaultLabel::Timeout as u64);
    let (badge, consumed) = (sys::word(0), sys::word(1));
    check_eq!(badge, 0xbad6e);
    check!(consumed >= 900, "{consumed} microseconds of 1000 used");
    let registers = worker.tcb.read_registers(false)?;
    check!(registers.rip != 0);
    Ok(())
}

/// It blocks often and so never uses all of a refill at once; each part comes back a period after
/// it was used, so it needs refills for the parts.
fn a_sporadic_server_keeps_its_budget(arena: &mut Arena) -> Outcome {
    let (turn, done) = (arena.notification()?, arena.notification()?);
    let tell = arena.mint(done.cptr(), CapRights::ALL, 1)?;
    let source = turn.cptr();
    let bandwidth = Bandwidth { server: Server::Sporadic, extra_refills: 4, ..share(2000, 4000) };
    let options = Options { context_bits: 9, ..with(100, bandwidth) };
    arena.spawn(options, move |_| {
        loop {
            raw::wait(source);
            raw::signal(tell);
        }
    })?;
    let signal = arena.mint(turn.cptr(), CapRights::ALL, 1)?;
    for _ in 0..200 {
        raw::signal(signal);
        check_eq!(done.wait(), 1);
    }
    Ok(())
}

fn equals_take_turns(arena: &mut Arena) -> Outcome {
    let turns = [
        spinner(arena, with(100, share(1000, 1000)))?,
        spinner(arena, with(100, share(1000, 1000)))?,
        spinner(arena, with(100, share(1000, 1000)))?,
    ];
    let seen = turns.clone();
    // At the same priority, it gets its turn too.
    let observer = arena.spawn(with(100, share(1000, 1000)), move |_| {
        for turn in &seen {
            let before = turn.load(Ordering::Relaxed);
            while turn.load(Ordering::Relaxed) == before {
                core::hint::spin_loop();
            }
        }
    })?;
    observer.join();
    Ok(())
}

fn yielding_lets_equals_run(arena: &mut Arena) -> Outcome {
    let order = Arc::new(AtomicU64::new(1));
    let mut workers = alloc::vec::Vec::new();
    for digit in [1, 2] {
        let order = Arc::clone(&order);
        workers.push(arena.worker(100, move |_| {
            for _ in 0..3 {
                order.store(order.load(Ordering::Relaxed) * 10 + digit, Ordering::Relaxed);
                raw::yield_now();
            }
        })?);
    }
    workers.into_iter().for_each(crate::worker::Worker::join);
    let order = order.load(Ordering::Relaxed);
    check!(order == 1_121_212 || order == 1_212_121, "they ran in the order {order}");
    Ok(())
}

fn time_used_is_counted(arena: &mut Arena) -> Outcome {
    let worker = arena.worker(100, |_| {
        for _ in 0..200_000 {
            core::hint::spin_loop();
        }
    })?;
    worker.join();
    let first = worker.context.consumed()?;
    check!(first > 0, "200,000 turns took no time");
    let second = worker.context.consumed()?;
    check!(second <= first, "time was counted twice: {first}, then {second}");
    Ok(())
}

/// Both are equals, and the one that yields has the core for an hour: it alone can end its turn.
fn yielding_to_a_thread_lets_it_run(arena: &mut Arena) -> Outcome {
    let ran = Arc::new(AtomicU64::new(0));
    let seen = Arc::new([const { AtomicU64::new(u64::MAX) }; 2]);
    let (count, notes) = (Arc::clone(&ran), Arc::clone(&seen));
    let target = Options { start: false, ..Options::priority(100) };
    let target = arena.spawn(target, move |_| count.store(1, Ordering::Relaxed))?;
    let (tcb, context) = (target.tcb.cptr(), target.context.cptr());
    let invoke = |cptr, label: Label| raw::call(cptr, raw::info(label.number(), 0), [0; 4]);
    let yielder = Options { maximum: 100, ..Options::priority(100) };
    let yielder = arena.spawn(yielder, move |_| {
        invoke(tcb, Label::TcbResume);
        notes[0].store(ran.load(Ordering::Relaxed), Ordering::Relaxed);
        invoke(context, Label::SchedContextYieldTo);
        notes[1].store(ran.load(Ordering::Relaxed), Ordering::Relaxed);
    })?;
    yielder.join();
    check_eq!(seen[0].load(Ordering::Relaxed), 0, "an equal ran before the other's turn was over");
    check_eq!(seen[1].load(Ordering::Relaxed), 1, "yielding did not let it run");
    let own = SchedContext::new(Cptr::new(libd3os::abi::slot::SCHED_CONTEXT)).yield_to();
    check_eq!(own.err(), Some(Error::IllegalOperation), "yielding to itself");
    Ok(())
}

fn a_deleted_context_stops_its_thread(arena: &mut Arena) -> Outcome {
    let turns = spinner(arena, with(50, share(1000, 1000)))?;
    let seen = Arc::clone(&turns);
    // The two take turns.
    let worker = arena.spawn(with(50, share(1000, 1000)), move |_| {
        let before = seen.load(Ordering::Relaxed);
        while seen.load(Ordering::Relaxed) == before {
            core::hint::spin_loop();
        }
    })?;
    worker.join();
    let stopped = arena.spawn(with(100, share(1000, 1000)), |_| {
        loop {
            raw::yield_now();
        }
    })?;
    crate::arena::slot_of(stopped.context.cptr()).delete()?;
    arena.worker(20, |_| ())?;
    let low = arena.worker(60, |_| ())?;
    low.join();
    Ok(())
}

fn domains_are_as_many_as_built(arena: &mut Arena) -> Outcome {
    let worker = arena.spawn(Options { start: false, ..Options::default() }, |_| ())?;
    let (domains, refused) = (arena.domains(), Err(Error::InvalidArgument { index: 0 }));
    check_eq!(DOMAIN.set(domains, worker.tcb), refused);
    (0..domains).rev().try_for_each(|domain| DOMAIN.set(domain, worker.tcb))?;
    worker.tcb.resume()?;
    worker.join();
    Ok(())
}
