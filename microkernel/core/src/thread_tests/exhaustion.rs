//! Budgets that run out: at every system call, in every state of waiting, on time of one's own and on
//! lent time. The thread waits for its refill, or its timeout is told; then it goes on as if nothing
//! had been.

use crate::cap::Cap;
use crate::kernel::Next;
use crate::memory::Ref;
use crate::objects::{Queued, Tcb, TcbSlot, ThreadState};
use crate::thread_bench::{Bench, US};
use d3os_abi::{CapRights, FaultLabel, Label, Syscall};

/// Budget and period of the thread whose time runs out, in microseconds.
const BUDGET: u64 = 1000;
const PERIOD: u64 = 10_000;
const TLS: u64 = 0x1234_5000;

/// A thread with a budget, one below it that always runs, and what they meet at.
struct Setup {
    bench: Bench,
    thread: Ref<Tcb>,
    low: Ref<Tcb>,
    endpoint: u64,
    notification: u64,
    reply: u64,
}

fn setup() -> Setup {
    let mut bench = Bench::new();
    let low = bench.running(10);
    let object = bench.endpoint();
    let endpoint = bench.endpoint_cap(object, 3, CapRights::ALL);
    let object = bench.notification();
    let notification = bench.notification_cap(object, 4);
    let (_, reply) = bench.reply();
    let thread = bench.running_on(50, BUDGET, PERIOD);
    Setup { bench, thread, low, endpoint, notification, reply }
}

impl Setup {
    /// Time passes until too little is left to go on with; the timer has not fired yet.
    fn use_up(&mut self) {
        self.bench.kernel.machine.now += (BUDGET - 10) * US;
    }

    /// All budget is gone, whatever the thread does.
    fn drain(&mut self) {
        let context = self.bench.time_of(self.thread).get().unwrap();
        self.bench.kernel.charge_refills(context, BUDGET * US);
    }

    fn make(&mut self, call: Syscall) {
        let waits = matches!(call, Syscall::Wait | Syscall::NBWait | Syscall::NBSendWait);
        let to = if waits { self.notification } else { self.endpoint };
        self.bench.prepare(self.thread, 1, &[5], &[]);
        let context = self.bench.registers(self.thread);
        context.rdi = if call == Syscall::SetTLSBase { TLS } else { to };
        context.r12 = self.reply;
        context.r13 = self.endpoint;
        self.bench.syscall(self.thread, call);
    }

    /// It waits for its refill, and the one below runs.
    #[track_caller]
    fn assert_waits_for_time(&self) {
        self.bench.assert_runs(self.low);
        assert_eq!(self.bench.kernel.get(self.thread).queued, Queued::RELEASE);
        assert!(self.bench.state(self.thread).is_runnable());
    }

    /// Time passes until `thread` runs: not before its refill, and not long after.
    #[track_caller]
    fn wait_for(&mut self, thread: Ref<Tcb>) {
        let mut waited = 0;
        while self.bench.next != Next::Thread(thread) {
            assert!(waited < PERIOD, "it does not come back");
            self.bench.run_for(100);
            waited += 100;
        }
        assert!(waited >= PERIOD - 2 * BUDGET, "it came back after {waited} microseconds");
    }

    #[track_caller]
    fn refill(&mut self) {
        self.wait_for(self.thread);
    }
}

/// System calls, and what the thread does after each where nobody is there to meet.
const CALLS: [(Syscall, ThreadState); 11] = [
    (Syscall::Call, ThreadState::BLOCKED_ON_SEND),
    (Syscall::Send, ThreadState::BLOCKED_ON_SEND),
    (Syscall::Recv, ThreadState::BLOCKED_ON_RECEIVE),
    (Syscall::ReplyRecv, ThreadState::BLOCKED_ON_RECEIVE),
    (Syscall::NBSendRecv, ThreadState::BLOCKED_ON_RECEIVE),
    (Syscall::Wait, ThreadState::BLOCKED_ON_NOTIFICATION),
    (Syscall::NBSendWait, ThreadState::BLOCKED_ON_NOTIFICATION),
    (Syscall::NBSend, ThreadState::RUNNING),
    (Syscall::NBRecv, ThreadState::RUNNING),
    (Syscall::NBWait, ThreadState::RUNNING),
    (Syscall::SetTLSBase, ThreadState::RUNNING),
];

#[test]
fn a_system_call_without_budget_is_made_after_the_refill() {
    for (call, state) in CALLS {
        let mut s = setup();
        s.use_up();
        s.make(call);
        s.assert_waits_for_time();
        assert_eq!(s.bench.state(s.thread), ThreadState::RESTART, "{call:?}");
        assert_ne!(s.bench.registers(s.thread).fs_base, TLS, "{call:?} was made");
        s.refill();
        let context = s.bench.registers(s.thread);
        assert_eq!(context.rip, context.fault_ip, "{call:?} is made again");
        s.make(call);
        assert_eq!(s.bench.state(s.thread), state, "{call:?}");
        let has_base = s.bench.registers(s.thread).fs_base == TLS;
        assert_eq!(has_base, call == Syscall::SetTLSBase);
    }
}

#[test]
fn a_system_call_without_budget_is_told_to_the_timeout_handler_first() {
    for (call, state) in CALLS {
        let mut s = setup();
        let object = s.bench.endpoint();
        let timeouts = s.bench.endpoint_cap(object, 0, CapRights::ALL);
        let (_, reply) = s.bench.reply();
        let handler = s.bench.running(100);
        s.bench.receive(handler, timeouts, reply);
        let cap = Cap::Endpoint { object, badge: 6, rights: CapRights::ALL };
        s.bench.set_slot(s.thread, TcbSlot::TimeoutHandler, cap);
        s.use_up();
        s.make(call);
        s.bench.assert_runs(handler);
        let fault = s.bench.received(handler);
        assert_eq!((fault.badge, fault.label), (6, FaultLabel::Timeout as u64), "{call:?}");
        assert_eq!(s.bench.state(s.thread), ThreadState::BLOCKED_ON_REPLY);
        s.bench.reply_receive(handler, timeouts, reply, 0, &[]);
        s.assert_waits_for_time();
        s.refill();
        s.make(call);
        assert_eq!(s.bench.state(s.thread), state, "{call:?}");
    }
}

#[test]
fn yielding_without_budget_gives_up_nothing_more() {
    let mut s = setup();
    s.use_up();
    s.make(Syscall::Yield);
    s.assert_waits_for_time();
    s.refill();
    // The refill is whole: it runs for all of it.
    s.bench.run_for(BUDGET - 100);
    s.bench.assert_runs(s.thread);
    s.bench.run_for(200);
    s.assert_waits_for_time();
}

/// How a thread comes to wait, and how another one ends that; what it then has received.
type Meeting = (Syscall, fn(&mut Setup), (u64, u64));

const MEETINGS: [Meeting; 6] = [
    (Syscall::Recv, send, (3, 8)),
    (Syscall::ReplyRecv, send, (3, 8)),
    (Syscall::Recv, signal, (4, 0)),
    (Syscall::Wait, signal, (4, 0)),
    (Syscall::NBSendWait, signal, (4, 0)),
    (Syscall::Call, answer, (0, 9)),
];

fn send(s: &mut Setup) {
    let (low, endpoint) = (s.low, s.endpoint);
    s.bench.send(low, endpoint, 8, &[1]);
}

fn signal(s: &mut Setup) {
    let (low, notification) = (s.low, s.notification);
    s.bench.send(low, notification, 0, &[]);
}

fn answer(s: &mut Setup) {
    let (low, endpoint, reply) = (s.low, s.endpoint, s.reply);
    s.bench.receive(low, endpoint, reply);
    s.bench.send(low, reply, 9, &[1]);
}

#[test]
fn who_is_woken_without_budget_has_its_message_after_the_refill() {
    for (call, meet, received) in MEETINGS {
        let mut s = setup();
        let Cap::Notification { object, .. } = s.bench.kernel.cap_at(s.bench.slot(s.notification))
        else {
            panic!("no notification")
        };
        if call == Syscall::Recv {
            // Its signals reach it while it receives.
            s.bench.kernel.get_mut(s.thread).notification = crate::memory::Link::to(object);
            s.bench.kernel.get_mut(object).bound_thread = crate::memory::Link::to(s.thread);
        }
        s.make(call);
        assert!(s.bench.state(s.thread).is_blocked(), "{call:?}");
        s.drain();
        meet(&mut s);
        s.assert_waits_for_time();
        s.refill();
        let got = s.bench.received(s.thread);
        assert_eq!((got.badge, got.label), received, "{call:?}");
    }
}

#[test]
fn a_sender_whose_message_is_taken_goes_on_after_the_refill() {
    let mut s = setup();
    s.make(Syscall::Send);
    s.drain();
    let (endpoint, reply) = (s.endpoint, s.reply);
    s.bench.receive(s.low, endpoint, reply);
    assert_eq!(s.bench.received(s.low).words[0], 5);
    s.assert_waits_for_time();
    s.refill();
}

#[test]
fn who_is_answered_after_a_fault_goes_on_after_the_refill() {
    let mut s = setup();
    let Cap::Endpoint { object, .. } = s.bench.kernel.cap_at(s.bench.slot(s.endpoint)) else {
        panic!("no endpoint")
    };
    let cap = Cap::Endpoint { object, badge: 6, rights: CapRights::ALL };
    s.bench.set_slot(s.thread, TcbSlot::FaultHandler, cap);
    s.bench.enter(crate::Event::PageFault { address: 0x1000, error_code: 4 });
    assert_eq!(s.bench.state(s.thread), ThreadState::BLOCKED_ON_SEND);
    let (endpoint, reply) = (s.endpoint, s.reply);
    s.bench.receive(s.low, endpoint, reply);
    assert_eq!(s.bench.state(s.thread), ThreadState::BLOCKED_ON_REPLY);
    s.drain();
    s.bench.send(s.low, reply, 0, &[]);
    s.assert_waits_for_time();
    s.refill();
}

/// A passive server that waits, and its endpoint and reply object.
fn passive_server(bench: &mut Bench) -> (Ref<Tcb>, u64, u64) {
    let object = bench.endpoint();
    let endpoint = bench.endpoint_cap(object, 0, CapRights::ALL);
    let (_, reply) = bench.reply();
    let server = bench.running(100);
    bench.receive(server, endpoint, reply);
    let own = bench.time_of(server).get().unwrap();
    bench.kernel.take_from_thread(own);
    (server, endpoint, reply)
}

#[test]
fn lent_time_that_runs_out_comes_back_to_whoever_has_it_at_any_depth() {
    for depth in 1..=3 {
        let mut s = setup();
        let servers: Vec<_> = (0..depth).map(|_| passive_server(&mut s.bench)).collect();
        let mut caller = s.thread;
        for (server, endpoint, _) in &servers {
            s.bench.call(caller, *endpoint, 1, &[]);
            s.bench.assert_runs(*server);
            caller = *server;
        }
        s.bench.run_for(BUDGET + 500);
        s.bench.assert_runs(s.low);
        assert_eq!(s.bench.kernel.get(caller).queued, Queued::RELEASE);
        assert_eq!(s.bench.state(s.thread), ThreadState::BLOCKED_ON_REPLY);
        s.wait_for(caller);
        for (server, endpoint, reply) in servers.iter().rev() {
            s.bench.assert_runs(*server);
            s.bench.reply_receive(*server, *endpoint, *reply, 7, &[]);
        }
        s.bench.assert_runs(s.thread);
        assert_eq!(s.bench.received(s.thread).label, 7);
    }
}

#[test]
fn an_answer_without_budget_is_given_after_the_refill() {
    let mut s = setup();
    let (server, endpoint, reply) = passive_server(&mut s.bench);
    s.bench.call(s.thread, endpoint, 1, &[]);
    s.use_up();
    // With a capability: so it does not go the short way.
    let answer = |s: &mut Setup| {
        s.bench.prepare(server, 7, &[], &[endpoint]);
        let context = s.bench.registers(server);
        (context.rdi, context.r12) = (endpoint, reply);
        s.bench.syscall(server, Syscall::ReplyRecv);
    };
    answer(&mut s);
    s.bench.assert_runs(s.low);
    assert_eq!(s.bench.state(s.thread), ThreadState::BLOCKED_ON_REPLY);
    assert_eq!(s.bench.kernel.get(server).queued, Queued::RELEASE);
    s.wait_for(server);
    answer(&mut s);
    s.bench.assert_runs(s.thread);
    assert_eq!(s.bench.received(s.thread).label, 7);
}

#[test]
fn an_answer_the_short_way_leaves_it_to_the_timer_to_end_the_budget() {
    let mut s = setup();
    let (server, endpoint, reply) = passive_server(&mut s.bench);
    s.bench.call(s.thread, endpoint, 1, &[]);
    s.use_up();
    s.bench.reply_receive(server, endpoint, reply, 7, &[]);
    s.bench.assert_runs(s.thread);
    assert_eq!(s.bench.received(s.thread).label, 7);
    s.bench.run_for(100);
    s.assert_waits_for_time();
    s.refill();
}

#[test]
fn the_server_times_out_on_its_clients_time() {
    let mut s = setup();
    let (server, endpoint, reply) = passive_server(&mut s.bench);
    let object = s.bench.endpoint();
    let timeouts = s.bench.endpoint_cap(object, 0, CapRights::ALL);
    let (_, handlers_reply) = s.bench.reply();
    let handler = s.bench.running(200);
    s.bench.receive(handler, timeouts, handlers_reply);
    let cap = Cap::Endpoint { object, badge: 6, rights: CapRights::ALL };
    s.bench.set_slot(server, TcbSlot::TimeoutHandler, cap);
    s.bench.call(s.thread, endpoint, 1, &[]);
    s.bench.run_for(BUDGET + 100);
    s.bench.assert_runs(handler);
    assert_eq!(s.bench.received(handler).label, FaultLabel::Timeout as u64);
    s.bench.reply_receive(handler, timeouts, handlers_reply, 0, &[]);
    s.wait_for(server);
    s.bench.reply_receive(server, endpoint, reply, 7, &[]);
    s.bench.assert_runs(s.thread);
    assert_eq!(s.bench.received(s.thread).label, 7);
}

#[test]
fn a_notifications_time_that_runs_out_comes_back_to_the_thread_that_it_was_lent() {
    let mut s = setup();
    let time = s.bench.time_of(s.thread).get().unwrap();
    let cap = s.bench.give(Cap::SchedContext { object: time, size_bits: 9 });
    s.make(Syscall::Wait);
    let (notification, low) = (s.notification, s.low);
    assert_eq!(s.bench.invoke(low, cap, Label::SchedContextUnbind, &[], &[]).label, 0);
    let bound = s.bench.invoke(low, cap, Label::SchedContextBind, &[], &[notification]);
    assert_eq!(bound.label, 0);
    s.bench.send(low, notification, 0, &[]);
    s.bench.assert_runs(s.thread);
    s.bench.run_for(BUDGET + 100);
    s.assert_waits_for_time();
    s.refill();
    s.make(Syscall::Wait);
    s.bench.assert_runs(low);
    assert!(s.bench.time_of(s.thread).is_none());
}

#[test]
fn yield_to_is_answered_when_the_others_budget_runs_out() {
    let mut s = setup();
    let time = s.bench.time_of(s.thread).get().unwrap();
    let cap = s.bench.give(Cap::SchedContext { object: time, size_bits: 9 });
    let yielder = s.bench.running(50);
    // Its refill comes while the other one's slice lasts.
    while s.bench.next != Next::Thread(yielder)
        || s.bench.kernel.get(s.thread).queued != Queued::READY
    {
        s.bench.run_for(100);
    }
    s.bench.invoke(yielder, cap, Label::SchedContextConsumed, &[], &[]);
    s.bench.prepare(yielder, Label::SchedContextYieldTo.number(), &[], &[]);
    s.bench.registers(yielder).rdi = cap;
    s.bench.syscall(yielder, Syscall::Call);
    s.bench.assert_runs(s.thread);
    s.bench.run_for(BUDGET + 100);
    s.bench.assert_runs(yielder);
    let answer = s.bench.received(yielder);
    assert_eq!((answer.label, answer.length, answer.words[0]), (0, 1, BUDGET));
}
