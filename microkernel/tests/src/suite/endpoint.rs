//! Endpoints: messages, badges, capabilities in messages.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use libd3os::abi::{CapRights, FaultLabel, MAX_MESSAGE_LENGTH, MessageInfo};
use libd3os::cap::{Capability, Endpoint};
use libd3os::sys::{self, Cptr};

use super::tests;
use crate::arena::{Arena, CNODE, DEPTH, slot_of};
use crate::check::{Outcome, check, check_eq};
use crate::raw;
use crate::worker::{Options, Worker};

tests![
    a_call_is_answered,
    badges_and_words_arrive,
    long_messages_arrive_whole,
    senders_wait_in_order_of_priority,
    non_blocking_calls_do_not_wait,
    a_capability_is_transferred,
    a_capability_to_the_endpoint_is_unwrapped,
    without_grant_no_capability_goes,
    a_transfer_needs_an_empty_slot,
    send_and_receive_in_one,
    send_and_wait_in_one,
    sends_of_one_badge_are_cancelled,
    a_deleted_endpoint_frees_who_waits,
    a_caller_that_may_not_be_answered_stops,
    lengths_beyond_the_limit_are_cut,
];

/// A worker that sends each message of its own to `target`: label 7, its priority as word 0.
fn sender(arena: &mut Arena, priority: u8, target: Cptr) -> Result<Worker, libd3os::cap::Error> {
    arena.worker(priority, move |_| {
        raw::send(target, raw::info(7, 1), [priority.into(), 0, 0, 0]);
    })
}

/// Lets all workers above priority 20 run until they wait.
fn settle(arena: &mut Arena) -> Outcome {
    arena.worker(20, |_| ())?.join();
    Ok(())
}

fn a_call_is_answered(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    let target = endpoint.cptr();
    let answer = Arc::new(AtomicU64::new(0));
    let tell = Arc::clone(&answer);
    let worker = arena.worker(100, move |_| {
        let got = raw::call(target, raw::info(3, 2), [20, 22, 0, 0]);
        tell.store(got.words[0] + 1000 * got.info.label(), Ordering::Relaxed);
    })?;
    let request = raw::recv(endpoint.cptr(), reply.cptr());
    check_eq!((request.info.label(), request.info.length()), (3, 2));
    let sum = request.words[0] + request.words[1];
    check!(!worker.is_done(), "it did not wait for the answer");
    raw::send(reply.cptr(), raw::info(5, 1), [sum, 0, 0, 0]);
    worker.join();
    check_eq!(answer.load(Ordering::Relaxed), 5042);
    Ok(())
}

fn badges_and_words_arrive(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    for badge in [0, 1, u64::MAX] {
        let target = arena.mint(endpoint.cptr(), CapRights::ALL, badge)?;
        let words = [1, u64::MAX, 0x1234_5678_9abc_def0, badge];
        let worker = arena.worker(100, move |_| {
            raw::send(target, MessageInfo::new(0xf_ffff_ffff_ffff, 0, 0, 4), words);
        })?;
        let message = raw::recv(endpoint.cptr(), reply.cptr());
        check_eq!((message.badge, message.words), (badge, words));
        check_eq!(message.info, MessageInfo::new(0xf_ffff_ffff_ffff, 0, 0, 4));
        worker.join();
    }
    Ok(())
}

fn long_messages_arrive_whole(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    let target = endpoint.cptr();
    for length in [0, 1, 4, 5, 6, 63, MAX_MESSAGE_LENGTH] {
        let worker = arena.worker(100, move |buffer| {
            for index in 4..length {
                buffer.set_word(index, 1000 + index as u64);
            }
            let answer = raw::call(target, raw::info(1, length), [1000, 1001, 1002, 1003]);
            for index in 4..answer.info.length() {
                buffer.set_word(index, buffer.word(index) + 1);
            }
        })?;
        (4..MAX_MESSAGE_LENGTH).for_each(|index| sys::set_word(index, 0));
        let message = endpoint.recv(reply);
        check_eq!(message.info.length(), length);
        for index in 0..length {
            check_eq!(sys::word(index), 1000 + index as u64, "word {index} of {length}");
            sys::set_word(index, 2000 + index as u64);
        }
        for index in length.max(4)..MAX_MESSAGE_LENGTH {
            check_eq!(sys::word(index), 0, "word {index} beyond {length}");
        }
        reply.send(raw::info(0, length));
        worker.join();
        for index in 4..length {
            check_eq!(worker.buffer.word(index), 2001 + index as u64, "the answer");
        }
    }
    Ok(())
}

fn senders_wait_in_order_of_priority(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    for priority in [90, 120, 100] {
        sender(arena, priority, endpoint.cptr())?;
    }
    settle(arena)?;
    sender(arena, 110, endpoint.cptr())?;
    settle(arena)?;
    for expected in [120, 110, 100, 90] {
        check_eq!(raw::recv(endpoint.cptr(), reply.cptr()).words[0], expected);
    }
    Ok(())
}

fn non_blocking_calls_do_not_wait(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    let target = endpoint.cptr();
    raw::nb_send(target, raw::info(7, 0), [0; 4]);
    let none = raw::nb_recv(target, reply.cptr());
    check_eq!((none.badge, none.info.0), (0, 0), "a message that was to be dropped");
    let worker = sender(arena, 100, target)?;
    settle(arena)?;
    check_eq!(raw::nb_recv(target, reply.cptr()).words[0], 100);
    worker.join();
    let seen = Arc::new(AtomicU64::new(0));
    let tell = Arc::clone(&seen);
    let receiver = arena.worker(100, move |_| {
        tell.store(raw::wait(target).words[0], Ordering::Relaxed);
    })?;
    settle(arena)?;
    raw::nb_send(target, raw::info(7, 1), [55, 0, 0, 0]);
    receiver.join();
    check_eq!(seen.load(Ordering::Relaxed), 55);
    Ok(())
}

/// A worker that sends the capability at `cap` with a message through `target`.
fn cap_sender(
    arena: &mut Arena,
    target: Cptr,
    caps: [Cptr; 2],
    count: usize,
) -> Result<Worker, libd3os::cap::Error> {
    arena.worker(100, move |buffer| {
        for (index, cap) in caps.iter().enumerate() {
            buffer.set_cap(index, cap.address());
        }
        raw::send(target, MessageInfo::new(9, 0, count, 1), [1, 0, 0, 0]);
    })
}

fn a_capability_is_transferred(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    let notification = arena.notification()?;
    let badged = arena.mint(notification.cptr(), CapRights::ALL, 0x33)?;
    let dest = arena.empty_slot();
    let worker = cap_sender(arena, endpoint.cptr(), [badged, Cptr::NULL], 1)?;
    sys::set_receive_slot(CNODE.cptr(), dest.address(), DEPTH.into());
    let message = endpoint.recv(reply);
    check_eq!(message.info, MessageInfo::new(9, 0, 1, 1));
    worker.join();
    raw::signal(dest);
    check_eq!(notification.poll(), 0x33);
    raw::signal(badged);
    check_eq!(notification.poll(), 0x33, "the sender keeps its own");
    slot_of(badged).revoke()?;
    raw::signal(badged);
    check_eq!(notification.poll(), 0x33);
    slot_of(notification.cptr()).revoke()?;
    let copied = slot_of(arena.empty_slot()).copy_from(slot_of(dest), CapRights::ALL);
    check!(copied.is_err(), "what was sent is not derived from what the sender has");
    Ok(())
}

fn a_capability_to_the_endpoint_is_unwrapped(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    let badged = arena.mint(endpoint.cptr(), CapRights::ALL, 0x44)?;
    let notification = arena.notification()?;
    let dest = arena.empty_slot();
    let caps = [badged, notification.cptr()];
    let worker = cap_sender(arena, endpoint.cptr(), caps, 2)?;
    sys::set_receive_slot(CNODE.cptr(), dest.address(), DEPTH.into());
    let message = endpoint.recv(reply);
    check_eq!((message.info.extra_caps(), message.info.caps_unwrapped()), (2, 0b01));
    check_eq!(sys::badge(0), 0x44, "the badge that came instead");
    worker.join();
    let with_badge = arena.mint(dest, CapRights::ALL, 2)?;
    raw::signal(with_badge);
    check_eq!(notification.poll(), 2, "the second capability");
    Ok(())
}

fn without_grant_no_capability_goes(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    let notification = arena.notification()?;
    let target = arena.mint(endpoint.cptr(), CapRights::WRITE, 1)?;
    let dest = arena.empty_slot();
    let worker = cap_sender(arena, target, [notification.cptr(), Cptr::NULL], 1)?;
    sys::set_receive_slot(CNODE.cptr(), dest.address(), DEPTH.into());
    let message = endpoint.recv(reply);
    check_eq!((message.info.label(), message.info.extra_caps()), (9, 0));
    worker.join();
    slot_of(dest).copy_from(slot_of(notification.cptr()), CapRights::ALL)?;
    Ok(())
}

fn a_transfer_needs_an_empty_slot(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    let notification = arena.notification()?;
    let worker = cap_sender(arena, endpoint.cptr(), [notification.cptr(), Cptr::NULL], 1)?;
    sys::set_receive_slot(CNODE.cptr(), endpoint.cptr().address(), DEPTH.into());
    let message = endpoint.recv(reply);
    check_eq!((message.info.label(), message.info.extra_caps()), (9, 0), "the message still comes");
    worker.join();
    Ok(())
}

/// NBSendRecv: the worker answers a notification-like endpoint and waits for the next request.
fn send_and_receive_in_one(arena: &mut Arena) -> Outcome {
    let (requests, results, reply) = (arena.endpoint()?, arena.endpoint()?, arena.reply()?);
    let (from, to, slot) = (requests.cptr(), results.cptr(), reply.cptr());
    arena.worker(100, move |_| {
        let mut message = raw::recv(from, slot);
        loop {
            let word = message.words[0] + 1;
            message = raw::nb_send_recv(to, raw::info(2, 1), [word, 0, 0, 0], from, slot);
        }
    })?;
    let mine = arena.reply()?;
    for value in [10, 20, 30] {
        raw::send(from, raw::info(1, 1), [value, 0, 0, 0]);
        let result = raw::recv(to, mine.cptr());
        check_eq!((result.info.label(), result.words[0]), (2, value + 1));
    }
    Ok(())
}

fn send_and_wait_in_one(arena: &mut Arena) -> Outcome {
    let (wakes, results) = (arena.notification()?, arena.endpoint()?);
    let (from, to) = (wakes.cptr(), results.cptr());
    arena.worker(100, move |_| {
        let mut badge = raw::wait(from).badge;
        loop {
            badge = raw::nb_send_wait(to, raw::info(2, 1), [badge, 0, 0, 0], from).badge;
        }
    })?;
    let reply = arena.reply()?;
    for badge in [1, 2, 4] {
        let signal = arena.mint(from, CapRights::WRITE, badge)?;
        raw::signal(signal);
        check_eq!(raw::recv(to, reply.cptr()).words[0], badge);
    }
    Ok(())
}

fn sends_of_one_badge_are_cancelled(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    let (faults, fault_reply) = (arena.endpoint()?, arena.reply()?);
    let one = arena.mint(endpoint.cptr(), CapRights::ALL, 1)?;
    let two = arena.mint(endpoint.cptr(), CapRights::ALL, 2)?;
    for target in [one, two, one] {
        arena.spawn(Options::faults_to(faults), move |_| {
            raw::send(target, raw::info(7, 0), [0; 4]);
        })?;
    }
    settle(arena)?;
    slot_of(one).cancel_badged_sends()?;
    // What was cancelled is begun again, so it is sent in the end, after the other.
    check_eq!(raw::recv(endpoint.cptr(), reply.cptr()).badge, 2);
    check_eq!(raw::nb_recv(endpoint.cptr(), reply.cptr()).badge, 0);
    check_eq!(raw::recv(endpoint.cptr(), reply.cptr()).badge, 1);
    check_eq!(raw::recv(endpoint.cptr(), reply.cptr()).badge, 1);
    check_eq!(raw::nb_recv(faults.cptr(), fault_reply.cptr()).info.0, 0, "nobody faulted");
    Ok(())
}

fn a_deleted_endpoint_frees_who_waits(arena: &mut Arena) -> Outcome {
    let (endpoint, faults, reply) = (arena.endpoint()?, arena.endpoint()?, arena.reply()?);
    let offered = arena.reply()?.cptr();
    let target = endpoint.cptr();
    arena.spawn(Options::faults_to(faults), move |_| {
        raw::recv(target, offered);
    })?;
    settle(arena)?;
    slot_of(endpoint.cptr()).delete()?;
    let fault = raw::recv(faults.cptr(), reply.cptr());
    check_eq!(fault.info.label(), FaultLabel::Cap as u64);
    check_eq!((fault.words[1], fault.words[2]), (target.address(), 1), "a receive");
    Ok(())
}

fn a_caller_that_may_not_be_answered_stops(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    let target = arena.mint(endpoint.cptr(), CapRights::WRITE, 1)?;
    let worker = arena.worker(100, move |_| {
        raw::call(target, raw::info(1, 0), [0; 4]);
    })?;
    check_eq!(raw::recv(endpoint.cptr(), reply.cptr()).badge, 1);
    raw::send(reply.cptr(), raw::info(0, 0), [0; 4]);
    settle(arena)?;
    check!(!worker.is_done(), "it was answered all the same");
    Ok(())
}

fn lengths_beyond_the_limit_are_cut(arena: &mut Arena) -> Outcome {
    let (endpoint, reply) = (arena.endpoint()?, arena.reply()?);
    let target = endpoint.cptr();
    arena.worker(100, move |_| raw::send(target, MessageInfo(1 << 12 | 127), [0; 4]))?;
    let message = Endpoint::recv(endpoint, reply);
    check_eq!(message.info.0 & 0x7f, MAX_MESSAGE_LENGTH as u64);
    Ok(())
}
