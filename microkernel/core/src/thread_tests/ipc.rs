//! Messages between threads, replies, donation, capability transfer (manual, chapter 4).

use crate::cap::Cap;
use crate::kernel::Next;
use crate::memory::{Link, Ref};
use crate::objects::{Endpoint, Reply, Tcb, ThreadState};
use crate::thread_bench::{Bench, Received};
use d3os_abi::{CapRights, FaultLabel, MessageInfo, Syscall};

/// A server that waits on an endpoint with a reply object, and what leads to it.
struct Server {
    thread: Ref<Tcb>,
    endpoint: Ref<Endpoint>,
    own: u64,
    reply: Ref<Reply>,
    reply_cap: u64,
}

/// A server without time of its own that waits for callers.
fn passive_server(bench: &mut Bench, priority: u8) -> Server {
    let server = active_server(bench, priority);
    let context = bench.time_of(server.thread).get().unwrap();
    bench.kernel.take_from_thread(context);
    server
}

/// A server with time of its own that waits for callers.
fn active_server(bench: &mut Bench, priority: u8) -> Server {
    let endpoint = bench.endpoint();
    let own = bench.endpoint_cap(endpoint, 0, CapRights::ALL);
    let (reply, reply_cap) = bench.reply();
    let thread = bench.running(255);
    bench.kernel.set_priority(thread, priority);
    bench.enter(crate::Event::Interrupt(crate::thread_bench::SPARE_VECTOR));
    bench.receive(thread, own, reply_cap);
    assert_eq!(bench.state(thread), ThreadState::BLOCKED_ON_RECEIVE);
    Server { thread, endpoint, own, reply, reply_cap }
}

#[test]
fn call_lends_time_to_a_passive_server_and_gets_it_back() {
    let mut bench = Bench::new();
    let server = passive_server(&mut bench, 100);
    let client = bench.running(50);
    let time = bench.time_of(client);
    let cptr = bench.endpoint_cap(server.endpoint, 77, CapRights::ALL);

    bench.call(client, cptr, 5, &[1, 2, 3]);
    bench.assert_runs(server.thread);
    let expected = Received { badge: 77, label: 5, length: 3, words: [1, 2, 3, 0] };
    assert_eq!(bench.received(server.thread), expected);
    assert_eq!((bench.time_of(server.thread), bench.time_of(client)), (time, Link::NONE));
    assert_eq!(bench.state(client), ThreadState::BLOCKED_ON_REPLY);
    assert_eq!(bench.kernel.get(server.reply).lent, time);

    bench.reply_receive(server.thread, server.own, server.reply_cap, 9, &[8, 7]);
    bench.assert_runs(client);
    let expected = Received { badge: 0, label: 9, length: 2, words: [8, 7, 3, 0] };
    assert_eq!(bench.received(client), expected);
    assert_eq!((bench.time_of(server.thread), bench.time_of(client)), (Link::NONE, time));
    assert_eq!(bench.state(server.thread), ThreadState::BLOCKED_ON_RECEIVE);
}

#[test]
fn call_of_an_active_server_keeps_each_on_its_own_time() {
    let mut bench = Bench::new();
    let server = active_server(&mut bench, 40);
    let client = bench.running(50);
    let (client_time, server_time) = (bench.time_of(client), bench.time_of(server.thread));
    let cptr = bench.endpoint_cap(server.endpoint, 1, CapRights::ALL);

    bench.call(client, cptr, 0, &[]);
    bench.assert_runs(server.thread);
    assert_eq!(bench.time_of(client), client_time);
    bench.reply_receive(server.thread, server.own, server.reply_cap, 0, &[]);
    bench.assert_runs(client);
    assert_eq!(bench.time_of(server.thread), server_time);
}

#[test]
fn long_messages_go_through_the_buffers() {
    let mut bench = Bench::new();
    let server = passive_server(&mut bench, 100);
    let client = bench.running(50);
    let cptr = bench.endpoint_cap(server.endpoint, 1, CapRights::ALL);
    let words: Vec<u64> = (0..120).map(|word| word * 3 + 1).collect();

    bench.call(client, cptr, 1, &words);
    assert_eq!(bench.received(server.thread).length, 120);
    assert_eq!(bench.words(server.thread, 120), words);
}

#[test]
fn without_a_buffer_a_message_has_four_words() {
    let mut bench = Bench::new();
    let server = passive_server(&mut bench, 100);
    let client = bench.running(50);
    let cptr = bench.endpoint_cap(server.endpoint, 1, CapRights::ALL);
    let words: Vec<u64> = (0..10).collect();
    bench.kernel.get_mut(server.thread).ipc_buffer_writable = 0;

    bench.call(client, cptr, 1, &words);
    assert_eq!(bench.received(server.thread).length, 4);
}

#[test]
fn a_sender_waits_for_a_receiver_and_goes_on_afterwards() {
    let mut bench = Bench::new();
    let endpoint = bench.endpoint();
    let cptr = bench.endpoint_cap(endpoint, 3, CapRights::ALL);
    let receiver = bench.running(10);
    let sender = bench.running(20);

    bench.send(sender, cptr, 2, &[42]);
    assert_eq!(bench.state(sender), ThreadState::BLOCKED_ON_SEND);
    bench.assert_runs(receiver);
    bench.wait(receiver, cptr);
    assert_eq!(bench.received(receiver).words[0], 42);
    assert_eq!(bench.received(receiver).badge, 3);
    bench.assert_runs(sender);
    assert_eq!(bench.state(receiver), ThreadState::RUNNING);
}

#[test]
fn a_send_that_does_not_block_is_dropped_without_a_receiver() {
    let mut bench = Bench::new();
    let endpoint = bench.endpoint();
    let cptr = bench.endpoint_cap(endpoint, 3, CapRights::ALL);
    let sender = bench.running(20);
    bench.prepare(sender, 1, &[1], &[]);
    bench.registers(sender).rdi = cptr;
    bench.syscall(sender, Syscall::NBSend);
    bench.assert_runs(sender);

    // Nothing was kept: a poll finds nothing, and says so by a badge of zero.
    bench.registers(sender).rdi = cptr;
    bench.syscall(sender, Syscall::NBWait);
    bench.assert_runs(sender);
    assert_eq!(bench.received(sender).badge, 0);
}

#[test]
fn senders_are_received_by_priority_then_in_order() {
    let mut bench = Bench::new();
    let endpoint = bench.endpoint();
    let receiver = bench.running(1);
    for (badge, priority) in [(1, 5), (2, 9), (3, 5), (4, 7), (5, 9)] {
        let cptr = bench.endpoint_cap(endpoint, badge, CapRights::ALL);
        let sender = bench.running(priority);
        bench.send(sender, cptr, 0, &[]);
        // Without this it would run as soon as it was received.
        let time = bench.time_of(sender).get().unwrap();
        bench.kernel.take_from_thread(time);
    }
    let cptr = bench.endpoint_cap(endpoint, 0, CapRights::ALL);
    let mut order = Vec::new();
    for _ in 0..5 {
        bench.wait(receiver, cptr);
        order.push(bench.received(receiver).badge);
    }
    assert_eq!(order, [2, 5, 4, 1, 3]);
}

#[test]
fn a_waiting_thread_moves_when_its_priority_changes() {
    let mut bench = Bench::new();
    let endpoint = bench.endpoint();
    let cptr = bench.endpoint_cap(endpoint, 0, CapRights::ALL);
    let (first, second) = (bench.running(20), bench.running(20));
    bench.wait(first, cptr);
    bench.wait(second, cptr);
    bench.kernel.set_priority(second, 21);
    let sender = bench.running(1);
    bench.send(sender, cptr, 0, &[]);
    bench.assert_runs(second);
}

#[test]
fn a_caller_needs_grant_or_grant_reply_to_be_answered() {
    for (rights, answered) in [
        (CapRights::WRITE, false),
        (CapRights::WRITE.or(CapRights::GRANT), true),
        (CapRights::WRITE.or(CapRights::GRANT_REPLY), true),
    ] {
        let mut bench = Bench::new();
        let server = active_server(&mut bench, 100);
        let client = bench.running(50);
        let cptr = bench.endpoint_cap(server.endpoint, 1, rights);
        bench.call(client, cptr, 0, &[]);
        let expected = if answered { ThreadState::BLOCKED_ON_REPLY } else { ThreadState::INACTIVE };
        assert_eq!(bench.state(client), expected, "{rights:?}");
    }
}

#[test]
fn a_receiver_without_a_reply_object_cannot_be_called() {
    let mut bench = Bench::new();
    let endpoint = bench.endpoint();
    let cptr = bench.endpoint_cap(endpoint, 0, CapRights::ALL);
    let receiver = bench.running(60);
    bench.wait(receiver, cptr);
    let client = bench.running(50);
    bench.call(client, cptr, 0, &[]);
    assert_eq!(bench.state(client), ThreadState::INACTIVE);
    bench.assert_runs(receiver);
}

#[test]
fn rights_decide_who_sends_and_who_receives() {
    let mut bench = Bench::new();
    let endpoint = bench.endpoint();
    let thread = bench.running(50);
    let read = bench.endpoint_cap(endpoint, 0, CapRights::READ);
    // Sending without the right is refused; Call tells.
    bench.call(thread, read, 0, &[]);
    let refused = bench.received(thread);
    assert_eq!((refused.label, refused.length, refused.words[0]), (2, 1, 0));
    // Receiving without the right is a fault, and nobody handles it.
    let write = bench.endpoint_cap(endpoint, 0, CapRights::WRITE);
    bench.wait(thread, write);
    assert_eq!(bench.state(thread), ThreadState::INACTIVE);
}

#[test]
fn time_returns_through_a_chain_of_servers() {
    let mut bench = Bench::new();
    let inner = passive_server(&mut bench, 120);
    let outer = passive_server(&mut bench, 110);
    let client = bench.running(50);
    let time = bench.time_of(client);
    let to_outer = bench.endpoint_cap(outer.endpoint, 1, CapRights::ALL);
    let to_inner = bench.endpoint_cap(inner.endpoint, 2, CapRights::ALL);

    bench.call(client, to_outer, 0, &[]);
    bench.assert_runs(outer.thread);
    bench.call(outer.thread, to_inner, 0, &[]);
    bench.assert_runs(inner.thread);
    assert_eq!(bench.time_of(inner.thread), time);
    assert_eq!(bench.kernel.get(inner.reply).below, Link::to(outer.reply));
    bench.reply_receive(inner.thread, inner.own, inner.reply_cap, 0, &[]);
    bench.assert_runs(outer.thread);
    assert_eq!(bench.time_of(outer.thread), time);
    bench.reply_receive(outer.thread, outer.own, outer.reply_cap, 0, &[]);
    bench.assert_runs(client);
    assert_eq!(bench.time_of(client), time);
}

#[test]
fn a_reply_object_deleted_at_the_top_returns_the_time_in_the_middle_it_does_not() {
    let mut bench = Bench::new();
    let inner = passive_server(&mut bench, 120);
    let outer = passive_server(&mut bench, 110);
    let client = bench.running(50);
    let time = bench.time_of(client);
    let to_outer = bench.endpoint_cap(outer.endpoint, 1, CapRights::ALL);
    let to_inner = bench.endpoint_cap(inner.endpoint, 2, CapRights::ALL);
    bench.call(client, to_outer, 0, &[]);
    bench.call(outer.thread, to_inner, 0, &[]);

    // The client's reply is in the middle: it stops for good, and the time stays where it is.
    bench.kernel.delete(bench.slot(outer.reply_cap)).unwrap();
    assert_eq!(bench.state(client), ThreadState::INACTIVE);
    assert_eq!(bench.time_of(inner.thread), time);
    assert_eq!(bench.time_of(client), Link::NONE);
    // The outer server's is on top: it gets the time and stops.
    bench.kernel.delete(bench.slot(inner.reply_cap)).unwrap();
    assert_eq!(bench.state(outer.thread), ThreadState::INACTIVE);
    assert_eq!(bench.time_of(outer.thread), time);
    assert_eq!(bench.enter(crate::Event::Timer), Next::Idle);
}

#[test]
fn a_caller_that_is_suspended_leaves_its_time_with_the_server() {
    let mut bench = Bench::new();
    let server = passive_server(&mut bench, 100);
    let client = bench.running(50);
    let time = bench.time_of(client);
    let cptr = bench.endpoint_cap(server.endpoint, 1, CapRights::ALL);
    bench.call(client, cptr, 0, &[]);
    bench.kernel.suspend(client);
    assert_eq!(bench.time_of(server.thread), time);
    // The answer goes nowhere; the server waits on.
    bench.reply_receive(server.thread, server.own, server.reply_cap, 0, &[]);
    assert_eq!(bench.state(server.thread), ThreadState::BLOCKED_ON_RECEIVE);
    assert_eq!(bench.state(client), ThreadState::INACTIVE);
}

#[test]
fn a_reply_object_offered_again_drops_its_caller() {
    let mut bench = Bench::new();
    let server = active_server(&mut bench, 100);
    let client = bench.running(50);
    let cptr = bench.endpoint_cap(server.endpoint, 1, CapRights::ALL);
    bench.call(client, cptr, 0, &[]);
    bench.receive(server.thread, server.own, server.reply_cap);
    assert_eq!(bench.state(client), ThreadState::INACTIVE);
    assert_eq!(bench.state(server.thread), ThreadState::BLOCKED_ON_RECEIVE);
}

#[test]
fn the_send_half_of_a_combined_call_lends_time_too() {
    let mut bench = Bench::new();
    let server = passive_server(&mut bench, 100);
    let own = bench.endpoint();
    let own = bench.endpoint_cap(own, 0, CapRights::ALL);
    let cptr = bench.endpoint_cap(server.endpoint, 1, CapRights::ALL);
    let sender = bench.running(50);
    let time = bench.time_of(sender);
    bench.prepare(sender, 6, &[4], &[]);
    bench.registers(sender).rdi = own;
    bench.registers(sender).r12 = cptr;
    bench.syscall(sender, Syscall::NBSendWait);
    bench.assert_runs(server.thread);
    assert_eq!(bench.received(server.thread).words[0], 4);
    assert_eq!(bench.time_of(server.thread), time);
    assert_eq!(bench.state(sender), ThreadState::BLOCKED_ON_RECEIVE);
}

#[test]
fn capabilities_go_along_with_grant_only_and_into_an_empty_slot_only() {
    for (rights, occupied, expected) in
        [(CapRights::ALL, false, 1), (CapRights::ALL, true, 0), (CapRights::WRITE, false, 0)]
    {
        let mut bench = Bench::new();
        let server = active_server(&mut bench, 100);
        let client = bench.running(50);
        let cptr = bench.endpoint_cap(server.endpoint, 1, rights);
        let gift = bench.notification();
        let gift = bench.notification_cap(gift, 9);
        let root = bench.cnode_cap();
        let to = if occupied { gift } else { bench.empty() };
        bench.receive_into(server.thread, root, to);
        bench.prepare(client, 0, &[], &[gift]);
        bench.registers(client).rdi = cptr;
        bench.syscall(client, Syscall::Send);
        let info = MessageInfo(bench.registers(server.thread).rsi);
        assert_eq!(info.extra_caps(), expected, "{rights:?} {occupied}");
        assert_eq!(info.caps_unwrapped(), 0);
        if expected == 1 {
            let sent = bench.kernel.cap_at(bench.slot(gift));
            assert_eq!(bench.kernel.cap_at(bench.slot(to)), sent);
        }
    }
}

#[test]
fn capabilities_to_the_endpoint_itself_are_unwrapped() {
    let mut bench = Bench::new();
    let server = active_server(&mut bench, 100);
    let client = bench.running(50);
    let cptr = bench.endpoint_cap(server.endpoint, 1, CapRights::ALL);
    let badged: Vec<u64> =
        [11, 12].map(|badge| bench.endpoint_cap(server.endpoint, badge, CapRights::NONE)).into();
    let gift = bench.notification();
    let gift = bench.notification_cap(gift, 9);
    let (root, to) = (bench.cnode_cap(), bench.empty());
    bench.receive_into(server.thread, root, to);
    bench.prepare(client, 0, &[], &[badged[0], gift, badged[1]]);
    bench.registers(client).rdi = cptr;
    bench.syscall(client, Syscall::Send);
    let info = MessageInfo(bench.registers(server.thread).rsi);
    assert_eq!((info.extra_caps(), info.caps_unwrapped()), (3, 0b101));
    assert_eq!(bench.received_badge_word(server.thread, 0), 11);
    assert_eq!(bench.received_badge_word(server.thread, 2), 12);
    assert!(matches!(bench.kernel.cap_at(bench.slot(to)), Cap::Notification { badge: 9, .. }));
}

#[test]
fn a_capability_that_cannot_be_found_is_a_fault_of_the_sender() {
    let mut bench = Bench::new();
    let server = active_server(&mut bench, 100);
    let handler = active_server(&mut bench, 90);
    let client = bench.running(50);
    bench.set_slot(
        client,
        crate::objects::TcbSlot::FaultHandler,
        Cap::Endpoint { object: handler.endpoint, badge: 4, rights: CapRights::ALL },
    );
    let cptr = bench.endpoint_cap(server.endpoint, 1, CapRights::ALL);
    bench.prepare(client, 0, &[], &[1 << 40]);
    bench.registers(client).rdi = cptr;
    bench.syscall(client, Syscall::Send);
    bench.assert_runs(handler.thread);
    assert_eq!(bench.received(handler.thread).label, FaultLabel::Cap as u64);
    assert_eq!(bench.received(handler.thread).words[1], 1 << 40);
}

#[test]
fn deleting_an_endpoint_sends_everybody_back() {
    let mut bench = Bench::new();
    let server = active_server(&mut bench, 100);
    bench.kernel.delete(bench.slot(server.own)).unwrap();
    assert_eq!(bench.state(server.thread), ThreadState::RESTART);
    bench.enter(crate::Event::Timer);
    bench.assert_runs(server.thread);
    assert!(bench.kernel.get(server.reply).thread.is_none());
}

#[test]
fn sends_with_a_badge_can_be_cancelled() {
    let mut bench = Bench::new();
    let endpoint = bench.endpoint();
    let senders: Vec<_> = [7, 8, 7]
        .into_iter()
        .map(|badge| {
            let cptr = bench.endpoint_cap(endpoint, badge, CapRights::ALL);
            let sender = bench.running(50);
            bench.send(sender, cptr, 0, &[]);
            sender
        })
        .collect();
    bench.kernel.cancel_badged_sends(endpoint, 7).unwrap();
    let states: Vec<_> = senders.iter().map(|sender| bench.state(*sender)).collect();
    assert_eq!(states, [ThreadState::RESTART, ThreadState::BLOCKED_ON_SEND, ThreadState::RESTART]);
    bench.enter(crate::Event::Timer);
}
