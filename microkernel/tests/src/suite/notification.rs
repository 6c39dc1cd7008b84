//! Notifications.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use libd3os::abi::CapRights;
use libd3os::cap::{Capability, Error};

use super::tests;
use crate::arena::{Arena, TCB, slot_of};
use crate::check::{Outcome, check, check_eq};
use crate::raw;
use crate::worker::Options;

tests![
    signals_accumulate,
    a_waiting_thread_is_woken_once,
    the_highest_waiter_goes_first,
    a_bound_notification_ends_a_receive,
    a_bound_notification_is_taken_before_a_message,
    binding_is_exclusive,
    waiting_takes_the_right_to,
    a_deleted_notification_frees_its_waiters,
    it_lends_its_time_to_a_passive_waiter,
];

fn signals_accumulate(arena: &mut Arena) -> Outcome {
    let notification = arena.notification()?;
    check_eq!(notification.poll(), 0);
    for badge in [0b1, 0b100, 0b100, 1 << 63] {
        let signal = arena.mint(notification.cptr(), CapRights::WRITE, badge)?;
        raw::signal(signal);
    }
    check_eq!(notification.wait(), 1 << 63 | 0b101);
    check_eq!(notification.poll(), 0, "taken already");
    Ok(())
}

fn a_waiting_thread_is_woken_once(arena: &mut Arena) -> Outcome {
    let notification = arena.notification()?;
    let woken = Arc::new(AtomicU64::new(0));
    let mut workers = alloc::vec::Vec::new();
    for _ in 0..3 {
        let (source, woken) = (notification.cptr(), Arc::clone(&woken));
        workers.push(arena.worker(100, move |_| {
            woken.fetch_add(raw::wait(source).badge, Ordering::Relaxed);
        })?);
    }
    let low = arena.worker(50, |_| ())?;
    low.join();
    let signal = arena.mint(notification.cptr(), CapRights::WRITE, 1)?;
    for expected in 1..=3 {
        raw::signal(signal);
        let low = arena.worker(50, |_| ())?;
        low.join();
        check_eq!(woken.load(Ordering::Relaxed), expected);
    }
    workers.into_iter().for_each(crate::worker::Worker::join);
    check_eq!(notification.poll(), 0);
    Ok(())
}

fn the_highest_waiter_goes_first(arena: &mut Arena) -> Outcome {
    let notification = arena.notification()?;
    let order = Arc::new(AtomicU64::new(0));
    let mut workers = alloc::vec::Vec::new();
    for priority in [90u8, 120, 100] {
        let (source, order) = (notification.cptr(), Arc::clone(&order));
        workers.push(arena.worker(priority, move |_| {
            raw::wait(source);
            let seen = order.load(Ordering::Relaxed);
            order.store(seen * 1000 + u64::from(priority), Ordering::Relaxed);
        })?);
    }
    // Each begins to wait before the next lower one.
    let low = arena.worker(50, |_| ())?;
    low.join();
    let signal = arena.mint(notification.cptr(), CapRights::WRITE, 1)?;
    for _ in 0..3 {
        raw::signal(signal);
        let low = arena.worker(50, |_| ())?;
        low.join();
    }
    workers.into_iter().for_each(crate::worker::Worker::join);
    check_eq!(order.load(Ordering::Relaxed), 120_100_090);
    Ok(())
}

fn a_bound_notification_ends_a_receive(arena: &mut Arena) -> Outcome {
    let (endpoint, notification) = (arena.endpoint()?, arena.notification()?);
    let reply = arena.reply()?;
    TCB.bind_notification(notification)?;
    let signal = arena.mint(notification.cptr(), CapRights::WRITE, 0b10)?;
    arena.worker(100, move |_| raw::signal(signal))?;
    let received = raw::recv(endpoint.cptr(), reply.cptr());
    check_eq!((received.badge, received.info.label(), received.info.length()), (0b10, 0, 0));
    TCB.unbind_notification()?;
    Ok(())
}

fn a_bound_notification_is_taken_before_a_message(arena: &mut Arena) -> Outcome {
    let (endpoint, notification) = (arena.endpoint()?, arena.notification()?);
    let reply = arena.reply()?;
    TCB.bind_notification(notification)?;
    let target = endpoint.cptr();
    let sender = arena.worker(100, move |_| raw::send(target, raw::info(7, 1), [1, 0, 0, 0]))?;
    let low = arena.worker(50, |_| ())?;
    low.join();
    let signal = arena.mint(notification.cptr(), CapRights::WRITE, 4)?;
    raw::signal(signal);
    check_eq!(raw::recv(endpoint.cptr(), reply.cptr()).badge, 4);
    check_eq!(raw::recv(endpoint.cptr(), reply.cptr()).info.label(), 7);
    sender.join();
    TCB.unbind_notification()?;
    Ok(())
}

fn binding_is_exclusive(arena: &mut Arena) -> Outcome {
    let (first, second) = (arena.notification()?, arena.notification()?);
    check_eq!(TCB.unbind_notification(), Err(Error::IllegalOperation));
    TCB.bind_notification(first)?;
    check_eq!(TCB.bind_notification(second), Err(Error::IllegalOperation));
    let worker = arena.spawn(Options { start: false, ..Options::default() }, |_| ())?;
    check_eq!(worker.tcb.bind_notification(first), Err(Error::IllegalOperation));
    // Deleting the notification unbinds it.
    slot_of(first.cptr()).delete()?;
    TCB.bind_notification(second)?;
    TCB.unbind_notification()?;
    Ok(())
}

fn waiting_takes_the_right_to(arena: &mut Arena) -> Outcome {
    let notification = arena.notification()?;
    let (faults, reply) = (arena.endpoint()?, arena.reply()?);
    let weak = arena.mint(notification.cptr(), CapRights::WRITE, 1)?;
    arena.spawn(Options::faults_to(faults), move |_| {
        raw::wait(weak);
    })?;
    let fault = raw::recv(faults.cptr(), reply.cptr());
    check_eq!(fault.info.label(), libd3os::abi::FaultLabel::Cap as u64);
    check_eq!((fault.words[1], fault.words[2]), (weak.address(), 1));
    Ok(())
}

fn a_deleted_notification_frees_its_waiters(arena: &mut Arena) -> Outcome {
    let notification = arena.notification()?;
    let (faults, reply) = (arena.endpoint()?, arena.reply()?);
    let source = notification.cptr();
    arena.spawn(Options::faults_to(faults), move |_| {
        raw::wait(source);
    })?;
    let low = arena.worker(50, |_| ())?;
    low.join();
    slot_of(notification.cptr()).delete()?;
    // The wait is done again, and now there is nothing to wait for.
    let fault = raw::recv(faults.cptr(), reply.cptr());
    check_eq!(fault.info.label(), libd3os::abi::FaultLabel::Cap as u64);
    check_eq!(fault.words[1], source.address());
    Ok(())
}

fn it_lends_its_time_to_a_passive_waiter(arena: &mut Arena) -> Outcome {
    let (wakes, answers) = (arena.notification()?, arena.notification()?);
    let tell = arena.mint(answers.cptr(), CapRights::WRITE, 1)?;
    let source = wakes.cptr();
    let worker = arena.worker(100, move |_| {
        loop {
            raw::wait(source);
            raw::signal(tell);
        }
    })?;
    let low = arena.worker(50, |_| ())?;
    low.join();
    // From now on it has no time of its own, but the notification has.
    worker.context.unbind()?;
    worker.context.bind(wakes.cptr())?;
    let signal = arena.mint(wakes.cptr(), CapRights::WRITE, 1)?;
    for _ in 0..3 {
        raw::signal(signal);
        check_eq!(answers.wait(), 1);
        // It waits again, and so gives the time back.
        arena.worker(50, |_| ())?.join();
    }
    check!(worker.context.consumed().is_ok());
    worker.context.unbind_object(wakes.cptr())?;
    raw::signal(signal);
    let low = arena.worker(50, |_| ())?;
    low.join();
    check_eq!(answers.poll(), 0, "it ran without time");
    Ok(())
}
