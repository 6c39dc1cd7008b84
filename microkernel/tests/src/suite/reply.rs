//! Reply objects and the time that calls lend.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use libd3os::cap::{Capability, Endpoint};
use libd3os::sys::Cptr;

use super::tests;
use crate::arena::{Arena, slot_of};
use crate::check::{Outcome, check, check_eq};
use crate::raw;
use crate::worker::{Options, Worker};

tests![
    a_reply_object_serves_one_call_after_the_other,
    a_passive_server_runs_on_its_callers_time,
    time_passes_through_a_chain_of_servers,
    a_server_keeps_several_callers_waiting,
    an_unused_reply_object_answers_nobody,
    a_reused_reply_object_drops_its_caller,
    a_deleted_reply_object_stops_its_caller,
    a_suspended_caller_takes_its_time_back,
];

/// A server without time of its own that adds its number to word 0 and counts requests.
fn passive_server(
    arena: &mut Arena,
    endpoint: Cptr,
    priority: u8,
    work: impl Fn(u64) -> u64 + 'static,
) -> Result<Worker, libd3os::cap::Error> {
    let (reply, ready) = (arena.reply()?.cptr(), arena.notification()?);
    let tell = arena.mint(ready.cptr(), libd3os::abi::CapRights::ALL, 1)?;
    let server = arena.worker(priority, move |_| {
        // Ready and waiting become one step, so that the test can take its time away in between.
        let mut message = raw::nb_send_recv(tell, raw::info(0, 0), [0; 4], endpoint, reply);
        loop {
            let answer = [work(message.words[0]), 0, 0, 0];
            message = raw::reply_recv(endpoint, reply, raw::info(0, 1), answer);
        }
    })?;
    let _ = ready.wait();
    server.context.unbind()?;
    Ok(server)
}

fn call(endpoint: Endpoint, word: u64) -> u64 {
    raw::call(endpoint.cptr(), raw::info(1, 1), [word, 0, 0, 0]).words[0]
}

fn a_reply_object_serves_one_call_after_the_other(arena: &mut Arena) -> Outcome {
    let endpoint = arena.endpoint()?;
    let (source, reply) = (endpoint.cptr(), arena.reply()?.cptr());
    arena.worker(100, move |_| {
        let mut message = raw::recv(source, reply);
        loop {
            let answer = [message.words[0] * 2, 0, 0, 0];
            message = raw::reply_recv(source, reply, raw::info(0, 1), answer);
        }
    })?;
    for word in 0..1000 {
        check_eq!(call(endpoint, word), 2 * word);
    }
    Ok(())
}

fn a_passive_server_runs_on_its_callers_time(arena: &mut Arena) -> Outcome {
    let endpoint = arena.endpoint()?;
    passive_server(arena, endpoint.cptr(), 100, |word| word + 1)?;
    for word in 0..100 {
        check_eq!(call(endpoint, word), word + 1);
    }
    let target = endpoint.cptr();
    let seen = Arc::new(AtomicU64::new(0));
    let tell = Arc::clone(&seen);
    let other = arena.worker(50, move |_| {
        tell.store(raw::call(target, raw::info(1, 1), [9, 0, 0, 0]).words[0], Ordering::Relaxed);
    })?;
    other.join();
    check_eq!(seen.load(Ordering::Relaxed), 10);
    Ok(())
}

fn time_passes_through_a_chain_of_servers(arena: &mut Arena) -> Outcome {
    let ends = [arena.endpoint()?, arena.endpoint()?, arena.endpoint()?];
    passive_server(arena, ends[2].cptr(), 100, |word| word + 100)?;
    for place in [1, 0] {
        let next = ends[place + 1].cptr();
        passive_server(arena, ends[place].cptr(), 100, move |word| {
            raw::call(next, raw::info(1, 1), [word + 10, 0, 0, 0]).words[0]
        })?;
    }
    for word in 0..100 {
        check_eq!(call(ends[0], word), word + 120);
    }
    Ok(())
}

fn a_server_keeps_several_callers_waiting(arena: &mut Arena) -> Outcome {
    let endpoint = arena.endpoint()?;
    let target = endpoint.cptr();
    let answers = Arc::new([AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)]);
    let mut waiting = alloc::vec::Vec::new();
    for index in 0..3 {
        let answers = Arc::clone(&answers);
        let worker = arena.worker(100, move |_| {
            let got = raw::call(target, raw::info(1, 1), [index as u64, 0, 0, 0]);
            answers[index].store(got.words[0], Ordering::Relaxed);
        })?;
        let reply = arena.reply()?;
        let request = raw::recv(target, reply.cptr());
        waiting.push((request.words[0], reply, worker));
    }
    for (index, reply, worker) in waiting.into_iter().rev() {
        raw::send(reply.cptr(), raw::info(0, 1), [100 + index, 0, 0, 0]);
        worker.join();
    }
    for (index, answer) in answers.iter().enumerate() {
        check_eq!(answer.load(Ordering::Relaxed), 100 + index as u64);
    }
    Ok(())
}

fn an_unused_reply_object_answers_nobody(arena: &mut Arena) -> Outcome {
    let reply = arena.reply()?;
    raw::send(reply.cptr(), raw::info(1, 0), [0; 4]);
    raw::nb_send(reply.cptr(), raw::info(1, 0), [0; 4]);
    let endpoint = arena.endpoint()?;
    let target = endpoint.cptr();
    let worker = arena.worker(100, move |_| {
        raw::call(target, raw::info(1, 0), [0; 4]);
    })?;
    check_eq!(raw::recv(target, reply.cptr()).info.label(), 1);
    raw::send(reply.cptr(), raw::info(0, 0), [0; 4]);
    worker.join();
    // A second answer has nowhere to go.
    raw::send(reply.cptr(), raw::info(0, 0), [0; 4]);
    Ok(())
}

fn a_reused_reply_object_drops_its_caller(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    let target = endpoint.cptr();
    let caller = move |_| {
        raw::call(target, raw::info(1, 0), [0; 4]);
    };
    let first = arena.worker(100, caller)?;
    raw::recv(target, reply.cptr());
    let second = arena.worker(90, caller)?;
    raw::recv(target, reply.cptr());
    raw::send(reply.cptr(), raw::info(0, 0), [0; 4]);
    second.join();
    check!(!first.is_done(), "the caller that was dropped got an answer");
    Ok(())
}

fn a_deleted_reply_object_stops_its_caller(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    let target = endpoint.cptr();
    let caller = arena.worker(100, move |_| {
        raw::call(target, raw::info(1, 0), [0; 4]);
    })?;
    raw::recv(target, reply.cptr());
    slot_of(reply.cptr()).delete()?;
    arena.worker(20, |_| ())?.join();
    check!(!caller.is_done(), "an answer from nowhere");
    Ok(())
}

fn a_suspended_caller_takes_its_time_back(arena: &mut Arena) -> Outcome {
    let (endpoint, reached) = (arena.endpoint()?, arena.notification()?);
    let stop = arena.endpoint()?.cptr();
    let tell = arena.mint(reached.cptr(), libd3os::abi::CapRights::ALL, 1)?;
    let hold = arena.reply()?.cptr();
    passive_server(arena, endpoint.cptr(), 100, move |word| {
        raw::signal(tell);
        raw::recv(stop, hold);
        word
    })?;
    let target = endpoint.cptr();
    let options = Options::priority(60);
    let caller = arena.spawn(options, move |_| {
        raw::call(target, raw::info(1, 1), [1, 0, 0, 0]);
    })?;
    let _ = reached.wait();
    caller.tcb.suspend()?;
    // The server, which waits, has the caller's time no more; the caller can run on it again.
    caller.tcb.resume()?;
    check!(caller.context.consumed().is_ok());
    arena.worker(20, |_| ())?.join();
    check!(!caller.is_done(), "it was answered by nobody");
    Ok(())
}
