//! Reply objects and IPC buffers that go away while somebody counts on them: in every state of a
//! message.

use crate::cap::Cap;
use crate::kernel::{Event, Next};
use crate::memory::{Link, Ref};
use crate::objects::{Reply, Tcb, TcbSlot, ThreadState};
use crate::simulation::SimulatedMachine;
use crate::thread_bench::{Bench, SPARE_VECTOR};
use d3os_abi::CapRights;

type Kernel = crate::Kernel<SimulatedMachine>;

/// A client, a server above it with time of its own, and what they meet at.
struct Setup {
    bench: Bench,
    client: Ref<Tcb>,
    server: Ref<Tcb>,
    endpoint: u64,
    reply: Ref<Reply>,
    reply_cap: u64,
}

fn setup() -> Setup {
    let mut bench = Bench::new();
    let object = bench.endpoint();
    let endpoint = bench.endpoint_cap(object, 3, CapRights::ALL);
    let (reply, reply_cap) = bench.reply();
    let client = bench.running(10);
    let server = bench.running(100);
    Setup { bench, client, server, endpoint, reply, reply_cap }
}

const LONG: [u64; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

impl Setup {
    fn delete_reply(&mut self) {
        let slot = self.bench.slot(self.reply_cap);
        self.bench.kernel.delete(slot).unwrap();
        self.bench.enter(Event::Interrupt(SPARE_VECTOR));
    }

    /// Takes a thread's IPC buffer away, as revoking its frame does.
    fn delete_buffer(&mut self, thread: Ref<Tcb>) {
        let slot = Kernel::tcb_slot(thread, TcbSlot::IpcBuffer);
        self.bench.kernel.delete(slot).unwrap();
        self.bench.enter(Event::Interrupt(SPARE_VECTOR));
    }

    fn receive(&mut self) {
        let (server, endpoint, reply) = (self.server, self.endpoint, self.reply_cap);
        self.bench.receive(server, endpoint, reply);
    }

    fn call(&mut self, words: &[u64]) {
        let (client, endpoint) = (self.client, self.endpoint);
        self.bench.call(client, endpoint, 5, words);
    }

    fn answer(&mut self, words: &[u64]) {
        let (server, endpoint, reply) = (self.server, self.endpoint, self.reply_cap);
        self.bench.reply_receive(server, endpoint, reply, 6, words);
    }
}

#[test]
fn an_offered_reply_object_that_is_deleted_ends_the_waiting() {
    let mut s = setup();
    s.receive();
    s.delete_reply();
    assert_eq!(s.bench.state(s.server), ThreadState::INACTIVE);
    assert!(s.bench.kernel.get(s.server).reply.is_none());
    // Nobody is there any more: the call waits.
    s.call(&[1]);
    assert_eq!(s.bench.state(s.client), ThreadState::BLOCKED_ON_SEND);
}

#[test]
fn a_reply_object_that_holds_a_caller_is_deleted() {
    let mut s = setup();
    s.receive();
    s.call(&[1]);
    s.delete_reply();
    assert_eq!(s.bench.state(s.client), ThreadState::INACTIVE);
    assert_eq!(s.bench.next, Next::Thread(s.server));
    // The answer goes nowhere, and the receive that follows lacks its reply object.
    s.answer(&[1]);
    assert_eq!(s.bench.state(s.server), ThreadState::INACTIVE);
    assert_eq!(s.bench.state(s.client), ThreadState::INACTIVE);
}

#[test]
fn a_reply_object_that_holds_a_lender_is_deleted() {
    let mut s = setup();
    s.receive();
    let own = s.bench.time_of(s.server).get().unwrap();
    s.bench.kernel.take_from_thread(own);
    let lent = s.bench.time_of(s.client);
    s.call(&[1]);
    assert_eq!(s.bench.time_of(s.server), lent);
    s.delete_reply();
    // Its time goes back to it, although it stops.
    assert_eq!((s.bench.time_of(s.client), s.bench.time_of(s.server)), (lent, Link::NONE));
    assert_eq!(s.bench.state(s.client), ThreadState::INACTIVE);
    assert_eq!(s.bench.next, Next::Idle);
}

#[test]
fn a_reply_object_that_holds_a_faulted_thread_is_deleted() {
    let mut s = setup();
    s.receive();
    let cap = s.bench.kernel.cap_at(s.bench.slot(s.endpoint));
    assert!(matches!(cap, Cap::Endpoint { .. }));
    s.bench.set_slot(s.client, TcbSlot::FaultHandler, cap);
    s.bench.enter(Event::PageFault { address: 0x1000, error_code: 4 });
    assert_eq!(s.bench.state(s.client), ThreadState::BLOCKED_ON_REPLY);
    s.delete_reply();
    assert_eq!(s.bench.state(s.client), ThreadState::INACTIVE);
    // It can be started again, at the instruction that faulted.
    s.bench.kernel.resume(s.client);
    assert_eq!(s.bench.state(s.client), ThreadState::RESTART);
}

#[test]
fn a_free_reply_object_is_deleted() {
    let mut s = setup();
    s.delete_reply();
    let reply = *s.bench.kernel.get(s.reply);
    assert!(reply.thread.is_none() && reply.lent.is_none());
    assert_eq!(s.bench.next, Next::Thread(s.server));
}

#[test]
fn a_sender_whose_buffer_goes_while_it_waits_sends_four_words() {
    let mut s = setup();
    let (server, client) = (s.server, s.client);
    s.bench.kernel.suspend(server);
    s.bench.enter(Event::Interrupt(SPARE_VECTOR));
    s.call(&LONG);
    assert_eq!(s.bench.state(client), ThreadState::BLOCKED_ON_SEND);
    s.delete_buffer(client);
    s.bench.kernel.resume(server);
    s.bench.enter(Event::Interrupt(SPARE_VECTOR));
    s.receive();
    let got = s.bench.received(server);
    assert_eq!((got.length, got.words), (4, [1, 2, 3, 4]));
}

#[test]
fn a_receiver_whose_buffer_goes_while_it_waits_gets_four_words() {
    let mut s = setup();
    s.receive();
    let server = s.server;
    s.delete_buffer(server);
    s.call(&LONG);
    let got = s.bench.received(server);
    assert_eq!((got.label, got.length, got.words), (5, 4, [1, 2, 3, 4]));
}

#[test]
fn a_caller_whose_buffer_goes_during_the_call_gets_four_words() {
    let mut s = setup();
    s.receive();
    s.call(&[1]);
    let client = s.client;
    s.delete_buffer(client);
    s.answer(&LONG);
    let got = s.bench.received(client);
    assert_eq!((got.label, got.length, got.words), (6, 4, [1, 2, 3, 4]));
}

#[test]
fn a_server_whose_buffer_goes_during_the_call_answers_four_words() {
    let mut s = setup();
    s.receive();
    s.call(&[1]);
    let (client, server) = (s.client, s.server);
    s.bench.prepare(server, 6, &LONG, &[]);
    s.delete_buffer(server);
    let (endpoint, reply) = (s.endpoint, s.reply_cap);
    let context = s.bench.registers(server);
    (context.rdi, context.r12) = (endpoint, reply);
    s.bench.syscall(server, d3os_abi::Syscall::ReplyRecv);
    let got = s.bench.received(client);
    assert_eq!((got.label, got.length, got.words), (6, 4, [1, 2, 3, 4]));
}

#[test]
fn capabilities_in_a_buffer_that_goes_do_not_arrive() {
    let mut s = setup();
    let (server, client, endpoint) = (s.server, s.client, s.endpoint);
    s.bench.kernel.suspend(server);
    s.bench.enter(Event::Interrupt(SPARE_VECTOR));
    let gift = s.reply_cap;
    s.bench.prepare(client, 5, &[1], &[gift]);
    s.bench.registers(client).rdi = endpoint;
    s.bench.syscall(client, d3os_abi::Syscall::Call);
    s.delete_buffer(client);
    let (cnode, empty) = (s.bench.cnode_cap(), s.bench.empty());
    s.bench.receive_into(server, cnode, empty);
    s.bench.kernel.resume(server);
    s.bench.enter(Event::Interrupt(SPARE_VECTOR));
    s.receive();
    assert_eq!(s.bench.received(server).words[0], 1);
    assert_eq!(s.bench.kernel.cap_at(s.bench.slot(empty)), Cap::Null);
}
