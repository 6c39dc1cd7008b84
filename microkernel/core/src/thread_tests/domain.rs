//! Domains: who runs in whose turn (manual, chapter 6.1.4).

use crate::cap::Cap;
use crate::kernel::Next;
use crate::memory::Ref;
use crate::objects::Tcb;
use crate::thread_bench::{Bench, US};
use d3os_abi::{CapRights, Label, Syscall};

/// A running thread and a capability to the domain set.
fn setup() -> (Bench, Ref<Tcb>, u64) {
    let mut bench = Bench::new();
    let main = bench.running(100);
    let domains = bench.give(Cap::Domain);
    (bench, main, domains)
}

/// Moves a thread; the label of the answer.
#[track_caller]
fn set(bench: &mut Bench, main: Ref<Tcb>, domains: u64, thread: Ref<Tcb>, domain: u64) -> u64 {
    let cap = bench.thread_cap(thread);
    bench.invoke(main, domains, Label::DomainSetSet, &[domain], &[cap]).label
}

/// Writes the schedule (domain, microseconds) and begins it.
#[track_caller]
fn schedule(bench: &mut Bench, main: Ref<Tcb>, domains: u64, turns: &[(u64, u64)]) {
    for (index, (domain, microseconds)) in (0..).zip(turns.iter().chain(&[(0, 0)])) {
        let words = [index, *domain, microseconds * US];
        let label = Label::DomainSetScheduleConfigure;
        assert_eq!(bench.invoke(main, domains, label, &words, &[]).label, 0);
    }
    bench.invoke(main, domains, Label::DomainSetScheduleSetStart, &[0], &[]);
}

/// Who runs, asked every millisecond: its place in the list, or nobody.
fn timeline(bench: &mut Bench, milliseconds: usize, threads: &[Ref<Tcb>]) -> String {
    let name = |bench: &Bench| {
        let running = threads.iter().position(|thread| bench.next == Next::Thread(*thread));
        running.map_or('-', |index| char::from(b'A' + u8::try_from(index).unwrap()))
    };
    let step = |_| {
        bench.run_for(1000);
        name(bench)
    };
    (0..milliseconds).map(step).collect()
}

#[test]
fn a_thread_runs_in_its_domains_turn_only() {
    let (mut bench, main, domains) = setup();
    let other = bench.running(200);
    bench.assert_runs(other);
    bench.syscall(other, Syscall::Yield);
    bench.kernel.set_domain(other, 1);
    bench.enter(crate::kernel::Event::Interrupt(crate::thread_bench::SPARE_VECTOR));
    schedule(&mut bench, main, domains, &[(0, 2000), (1, 3000)]);
    bench.run_for(500);
    assert_eq!(timeline(&mut bench, 14, &[main, other]), "ABBBAABBBAABBB");
}

#[test]
fn nobody_runs_in_the_turn_of_an_empty_domain() {
    let (mut bench, main, domains) = setup();
    schedule(&mut bench, main, domains, &[(0, 2000), (3, 2000)]);
    bench.run_for(500);
    assert_eq!(timeline(&mut bench, 8, &[main]), "A--AA--A");
}

#[test]
fn the_schedule_may_begin_in_the_middle() {
    let (mut bench, main, domains) = setup();
    schedule(&mut bench, main, domains, &[(2, 1000), (0, 1000), (2, 4000), (0, 2000)]);
    // It began with a turn of nobody's.
    assert_eq!(bench.next, Next::Idle);
    bench.run_for(1500);
    bench.assert_runs(main);
    bench.invoke(main, domains, Label::DomainSetScheduleSetStart, &[3], &[]);
    bench.run_for(500);
    assert_eq!(timeline(&mut bench, 6, &[main]), "AAAAAA");
}

#[test]
fn a_message_wakes_a_thread_of_another_domain_in_its_turn() {
    let (mut bench, main, domains) = setup();
    let (endpoint, (_, reply)) = (bench.endpoint(), bench.reply());
    let cptr = bench.endpoint_cap(endpoint, 7, CapRights::ALL);
    let server = bench.running(200);
    bench.receive(server, cptr, reply);
    bench.assert_runs(main);
    assert_eq!(set(&mut bench, main, domains, server, 1), 0);
    schedule(&mut bench, main, domains, &[(0, 2000), (1, 2000)]);
    bench.call(main, cptr, 5, &[1, 2]);
    assert_eq!(bench.next, Next::Idle);
    bench.run_for(2500);
    bench.assert_runs(server);
    assert_eq!(bench.received(server).badge, 7);
    bench.reply_receive(server, cptr, reply, 6, &[3]);
    assert_eq!(bench.next, Next::Idle);
    bench.run_for(2000);
    bench.assert_runs(main);
    assert_eq!(bench.received(main).label, 6);
}

#[test]
fn a_passive_server_of_another_domain_runs_in_its_own_turn() {
    let (mut bench, main, domains) = setup();
    let (endpoint, (_, reply)) = (bench.endpoint(), bench.reply());
    let cptr = bench.endpoint_cap(endpoint, 7, CapRights::ALL);
    let server = bench.running(200);
    bench.receive(server, cptr, reply);
    let context = bench.time_of(server).get().unwrap();
    bench.kernel.take_from_thread(context);
    assert_eq!(set(&mut bench, main, domains, server, 1), 0);
    schedule(&mut bench, main, domains, &[(0, 2000), (1, 2000)]);
    bench.call(main, cptr, 5, &[]);
    assert_eq!(bench.next, Next::Idle, "the short path went into another domain");
    bench.run_for(2500);
    bench.assert_runs(server);
}

#[test]
fn who_moves_away_stops_at_once() {
    let (mut bench, main, domains) = setup();
    let low = bench.running(50);
    assert_eq!(set(&mut bench, main, domains, main, 3), 0);
    bench.assert_runs(low);
    assert_eq!(bench.kernel.get(main).domain, 3);
    bench.kernel.set_domain(main, 0);
    bench.enter(crate::kernel::Event::Interrupt(crate::thread_bench::SPARE_VECTOR));
    bench.assert_runs(main);
}

#[test]
fn arguments_are_checked() {
    let (mut bench, main, domains) = setup();
    let other = bench.thread(50);
    let thread = bench.thread_cap(other);
    let endpoint = bench.endpoint();
    let wrong = bench.endpoint_cap(endpoint, 0, CapRights::ALL);
    let mut set = |words: &[u64], caps: &[u64]| {
        let answer = bench.invoke(main, domains, Label::DomainSetSet, words, caps);
        (answer.label, answer.words[0])
    };
    assert_eq!(set(&[3], &[thread]).0, 0);
    assert_eq!(set(&[4], &[thread]), (1, 0));
    assert_eq!(set(&[0x102], &[thread]).0, 0, "8 bits count");
    assert_eq!(set(&[0], &[wrong]), (1, 1));
    assert_eq!(set(&[0], &[]).0, 7);
    assert_eq!(bench.kernel.get(other).domain, 2);
    let mut invoke = |label, words: &[u64]| bench.invoke(main, domains, label, words, &[]).label;
    assert_eq!(invoke(Label::DomainSetScheduleSetStart, &[1]), 1, "an end marker");
    assert_eq!(invoke(Label::DomainSetScheduleConfigure, &[1, 0, 500]), 0);
    assert_eq!(invoke(Label::DomainSetScheduleSetStart, &[1]), 0);
    assert_eq!(invoke(Label::DomainSetScheduleSetStart, &[8]), 4);
    assert_eq!(invoke(Label::DomainSetScheduleConfigure, &[0, 4, 500]), 1);
    assert_eq!(invoke(Label::DomainSetScheduleConfigure, &[0, 3, 500]), 0);
    assert_eq!(invoke(Label::DomainSetScheduleConfigure, &[1, 0, 0]), 1, "the start as the end");
}
