//! Signals (manual, chapter 5).

use crate::cap::Cap;
use crate::kernel::{Event, Next};
use crate::memory::Link;
use crate::objects::ThreadState;
use crate::thread_bench::{Bench, SPARE_VECTOR};
use d3os_abi::{CapRights, Label, Syscall};

#[test]
fn signals_are_ored_until_they_are_received() {
    let mut bench = Bench::new();
    let notification = bench.notification();
    let (one, four) =
        (bench.notification_cap(notification, 1), bench.notification_cap(notification, 4));
    let thread = bench.running(50);
    bench.send(thread, one, 0, &[]);
    bench.send(thread, four, 0, &[]);
    bench.wait(thread, one);
    assert_eq!(bench.received(thread).badge, 5);
    bench.registers(thread).rdi = one;
    bench.syscall(thread, Syscall::NBWait);
    assert_eq!(bench.received(thread).badge, 0);
    bench.wait(thread, one);
    assert_eq!(bench.state(thread), ThreadState::BLOCKED_ON_NOTIFICATION);
}

#[test]
fn a_signal_wakes_the_highest_waiter() {
    let mut bench = Bench::new();
    let notification = bench.notification();
    let cptr = bench.notification_cap(notification, 2);
    let (low, high) = (bench.running(60), bench.running(70));
    bench.wait(high, cptr);
    bench.wait(low, cptr);
    bench.kernel.signal(notification, 2);
    bench.enter(Event::Interrupt(SPARE_VECTOR));
    bench.assert_runs(high);
    assert_eq!(bench.received(high).badge, 2);
    assert_eq!(bench.state(low), ThreadState::BLOCKED_ON_NOTIFICATION);
}

#[test]
fn a_bound_thread_gets_signals_while_it_receives() {
    let mut bench = Bench::new();
    let notification = bench.notification();
    let (cptr, endpoint) = (bench.notification_cap(notification, 64), bench.endpoint());
    let endpoint = bench.endpoint_cap(endpoint, 0, CapRights::ALL);
    let (reply, reply_cap) = bench.reply();
    let thread = bench.running(50);
    let own = bench.thread_cap(thread);
    assert_eq!(bench.invoke(thread, own, Label::TcbBindNotification, &[], &[cptr]).label, 0);
    bench.receive(thread, endpoint, reply_cap);
    assert_eq!(bench.kernel.get(reply).thread, Link::to(thread));
    bench.kernel.signal(notification, 64);
    bench.enter(Event::Interrupt(SPARE_VECTOR));
    bench.assert_runs(thread);
    assert_eq!(bench.received(thread).badge, 64);
    assert!(bench.kernel.get(reply).thread.is_none());
    // A signal that came before the receive ends it at once.
    bench.kernel.signal(notification, 32);
    bench.receive(thread, endpoint, reply_cap);
    bench.assert_runs(thread);
    assert_eq!(bench.received(thread).badge, 32);
    // Nobody else may wait on it.
    let other = bench.running(60);
    bench.wait(other, cptr);
    assert_eq!(bench.state(other), ThreadState::INACTIVE);
    // Bound once only, and unbound once only.
    let again = bench.invoke(thread, own, Label::TcbBindNotification, &[], &[cptr]);
    assert_eq!(again.label, 3);
    assert_eq!(bench.invoke(thread, own, Label::TcbUnbindNotification, &[], &[]).label, 0);
    assert_eq!(bench.invoke(thread, own, Label::TcbUnbindNotification, &[], &[]).label, 3);
}

#[test]
fn a_notification_lends_its_time_to_a_passive_thread() {
    let mut bench = Bench::new();
    let notification = bench.notification();
    let cptr = bench.notification_cap(notification, 1);
    let server = bench.running(90);
    let time = bench.time_of(server).get().unwrap();
    let time_cap = bench.give(Cap::SchedContext { object: time, size_bits: 9 });
    let main = bench.running(10);
    // The server waits, loses its time to the notification, and gets it with each signal.
    bench.wait(server, cptr);
    assert_eq!(bench.invoke(main, time_cap, Label::SchedContextUnbind, &[], &[]).label, 0);
    assert_eq!(bench.invoke(main, time_cap, Label::SchedContextBind, &[], &[cptr]).label, 0);
    for _ in 0..3 {
        bench.send(main, cptr, 0, &[]);
        bench.assert_runs(server);
        assert_eq!(bench.time_of(server), Link::to(time));
        bench.wait(server, cptr);
        assert_eq!(bench.time_of(server), Link::NONE);
        bench.assert_runs(main);
    }
}

#[test]
fn deleting_a_notification_sends_everybody_back() {
    let mut bench = Bench::new();
    let notification = bench.notification();
    let cptr = bench.notification_cap(notification, 1);
    let waiter = bench.running(50);
    bench.wait(waiter, cptr);
    assert_eq!(bench.next, Next::Idle);
    bench.kernel.delete(bench.slot(cptr)).unwrap();
    bench.enter(Event::Interrupt(SPARE_VECTOR));
    bench.assert_runs(waiter);
}
