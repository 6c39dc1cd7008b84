//! Budgets, periods, yielding: whole kernels with a clock (manual, chapter 6.1).

use crate::cap::Cap;
use crate::kernel::{Event, Next};
use crate::memory::{Link, Ref};
use crate::objects::{Queued, SchedContext, Tcb, ThreadState};
use crate::thread_bench::{Bench, SPARE_VECTOR, US};
use d3os_abi::{Label, Syscall};

fn context_cap(bench: &mut Bench, thread: Ref<Tcb>) -> (Ref<SchedContext>, u64) {
    let object = bench.time_of(thread).get().unwrap();
    (object, bench.give(Cap::SchedContext { object, size_bits: 9 }))
}

/// Who runs, asked every `step` microseconds.
fn timeline(bench: &mut Bench, step: u64, steps: usize, threads: &[Ref<Tcb>]) -> String {
    let mut line = String::new();
    for _ in 0..steps {
        let running = threads.iter().position(|thread| bench.next == Next::Thread(*thread));
        line.push(running.map_or('-', |index| char::from(b'A' + u8::try_from(index).unwrap())));
        bench.run_for(step);
    }
    line
}

#[test]
fn a_budget_is_used_up_and_comes_back() {
    let mut bench = Bench::new();
    let thread = bench.running_on(50, 2000, 10_000);
    // It began in the middle of the first step's clock; sample in the middle of milliseconds.
    bench.run_for(500);
    assert_eq!(timeline(&mut bench, 1000, 20, &[thread]), "AA--------AA--------");
}

#[test]
fn no_scheduling_context_has_more_than_1024_refills() {
    let mut bench = Bench::new();
    let thread = bench.running(50);
    let (object, _) = bench.context();
    let (large, control) = (bench.give(Cap::SchedContext { object, size_bits: 20 }), bench.control);
    for (extra, expected) in [(1023, (4, 0, 1022)), (1022, (0, 0, 0))] {
        let words = [1000, 5000, extra, 0, 0];
        let answer =
            bench.invoke(thread, control, Label::SchedControlConfigureFlags, &words, &[large]);
        let range = if answer.label == 0 { [0, 0] } else { [answer.words[0], answer.words[1]] };
        assert_eq!((answer.label, range[0], range[1]), expected);
    }
}

#[test]
fn a_crowd_whose_refills_have_come_is_released_in_portions() {
    let mut bench = Bench::new();
    let crowd: Vec<_> = (0..100).map(|_| bench.running_on(50, 100, 100_000)).collect();
    bench.run_for(50_000);
    assert_eq!(bench.next, Next::Idle);
    bench.kernel.machine.now += 200_000 * US;
    for left in [68, 36, 4, 0] {
        let now = bench.kernel.machine.now;
        assert!(bench.kernel.machine.deadline.is_some_and(|deadline| deadline <= now));
        bench.enter(Event::Timer);
        let waits = |thread: &&Ref<Tcb>| bench.kernel.get(**thread).queued == Queued::RELEASE;
        assert_eq!(crowd.iter().filter(waits).count(), left);
    }
    assert!(bench.kernel.machine.deadline > Some(bench.kernel.machine.now));
    bench.run_for(50_000);
    let refills = |thread: &Ref<Tcb>| bench.kernel.get(*thread).queued == Queued::RELEASE;
    assert!(crowd.iter().all(refills), "each has run and used its budget up");
}

#[test]
fn a_lower_thread_runs_while_a_higher_one_has_no_budget() {
    let mut bench = Bench::new();
    let high = bench.running_on(60, 3000, 10_000);
    let low = bench.running(10);
    bench.run_for(500);
    assert_eq!(timeline(&mut bench, 1000, 20, &[high, low]), "AAABBBBBBBAAABBBBBBB");
}

#[test]
fn round_robin_rotates_by_time_slice() {
    let mut bench = Bench::new();
    let threads: Vec<_> = (0..3).map(|_| bench.running_on(50, 2000, 2000)).collect();
    bench.run_for(500);
    assert_eq!(timeline(&mut bench, 1000, 12, &threads), "AABBCCAABBCC");
}

#[test]
fn a_preempted_time_slice_is_continued_first() {
    let mut bench = Bench::new();
    let (first, second) = (bench.running_on(50, 4000, 4000), bench.running_on(50, 4000, 4000));
    bench.run_for(1000);
    bench.assert_runs(first);
    let high = bench.running_on(60, 1000, 100_000);
    bench.assert_runs(high);
    bench.run_for(1500);
    bench.assert_runs(first);
    bench.run_for(1500);
    bench.assert_runs(first);
    bench.run_for(1500);
    bench.assert_runs(second);
}

#[test]
fn yield_gives_up_the_rest_of_the_budget() {
    let mut bench = Bench::new();
    let (a, b) = (bench.running_on(50, 5000, 5000), bench.running_on(50, 5000, 5000));
    bench.assert_runs(a);
    bench.syscall(a, Syscall::Yield);
    bench.assert_runs(b);
    bench.syscall(b, Syscall::Yield);
    bench.assert_runs(a);

    let mut bench = Bench::new();
    let periodic = bench.running_on(50, 2000, 10_000);
    bench.run_for(100);
    bench.syscall(periodic, Syscall::Yield);
    assert_eq!(bench.next, Next::Idle);
    let context = bench.time_of(periodic).get().unwrap();
    assert_eq!(bench.kernel.get(context).consumed, 100 * US, "only what was used counts");
    bench.run_for(9000);
    assert_eq!(bench.next, Next::Idle);
    bench.run_for(1000);
    bench.assert_runs(periodic);
}

#[test]
fn consumed_time_is_told_once() {
    let mut bench = Bench::new();
    let thread = bench.running(50);
    let (_, cptr) = context_cap(&mut bench, thread);
    bench.run_for(1234);
    let answer = bench.invoke(thread, cptr, Label::SchedContextConsumed, &[], &[]);
    assert_eq!((answer.label, answer.length, answer.words[0]), (0, 1, 1234));
    let answer = bench.invoke(thread, cptr, Label::SchedContextConsumed, &[], &[]);
    assert_eq!(answer.words[0], 0);
}

#[test]
fn yield_to_runs_the_other_and_then_tells_what_it_used() {
    let mut bench = Bench::new();
    let (yielder, other) = (bench.running(50), bench.running(50));
    let third = bench.running(50);
    let (_, cptr) = context_cap(&mut bench, third);
    bench.prepare(yielder, Label::SchedContextYieldTo.number(), &[], &[]);
    bench.registers(yielder).rdi = cptr;
    bench.syscall(yielder, Syscall::Call);
    bench.assert_runs(third);
    bench.run_for(700);
    bench.kernel.suspend(third);
    bench.enter(Event::Interrupt(SPARE_VECTOR));
    bench.assert_runs(yielder);
    let answer = bench.received(yielder);
    assert_eq!((answer.label, answer.length, answer.words[0]), (0, 1, 700));
    assert_eq!(bench.state(other), ThreadState::RUNNING);
}

#[test]
fn yield_to_a_lower_thread_moves_it_to_the_front() {
    let mut bench = Bench::new();
    let yielder = bench.running(50);
    let (first, second) = (bench.running(40), bench.running(40));
    let (_, cptr) = context_cap(&mut bench, second);
    let answer = bench.invoke(yielder, cptr, Label::SchedContextYieldTo, &[], &[]);
    assert_eq!((answer.label, answer.length), (0, 1));
    bench.assert_runs(yielder);
    bench.kernel.suspend(yielder);
    bench.enter(Event::Interrupt(SPARE_VECTOR));
    bench.assert_runs(second);
    assert_eq!(bench.state(first), ThreadState::RUNNING);
}

#[test]
fn yield_to_is_refused_for_oneself_for_nobody_and_for_higher_threads() {
    let mut bench = Bench::new();
    let yielder = bench.running(50);
    let (_, own) = context_cap(&mut bench, yielder);
    let (_, nobody) = bench.context();
    let other = bench.running(45);
    let (_, higher) = context_cap(&mut bench, other);
    bench.kernel.get_mut(yielder).mcp = 44;
    for cptr in [own, nobody, higher] {
        let answer = bench.invoke(yielder, cptr, Label::SchedContextYieldTo, &[], &[]);
        assert_eq!(answer.label, 3);
    }
}

#[test]
fn sched_control_checks_its_arguments_and_configures() {
    let mut bench = Bench::new();
    let thread = bench.running(50);
    let (context, cptr) = bench.context();
    let control = bench.control;
    let mut configure = |words: &[u64]| {
        let caps = [cptr];
        bench.invoke(thread, control, Label::SchedControlConfigureFlags, words, &caps)
    };
    let max = u64::MAX / 8 / US;
    assert_eq!(configure(&[1000, 5000, 0, 0]).label, 7, "truncated");
    for (words, min, max) in [
        ([19, 5000, 0, 0, 0], 20, max),
        ([max + 1, max, 0, 0, 0], 20, max),
        ([20, 19, 0, 0, 0], 20, max),
        ([5001, 5000, 0, 0, 0], 20, 5000),
        // 512 bytes: 96 for the head, 26 refills, two of which are not extra.
        ([1000, 5000, 25, 0, 0], 0, 24),
    ] {
        let answer = configure(&words);
        assert_eq!((answer.label, answer.words[0], answer.words[1]), (4, min, max), "{words:?}");
    }
    assert_eq!(configure(&[1000, 5000, 24, 77, 1]).label, 0);
    let object = *bench.kernel.get(context);
    assert_eq!((object.budget, object.period), (1000 * US, 5000 * US));
    assert_eq!((object.badge, object.sporadic, object.refill_max), (77, 1, 26));
}

#[test]
fn reconfiguring_does_not_give_used_time_back_early() {
    let mut bench = Bench::new();
    let low = bench.running(10);
    let thread = bench.running_on(50, 2000, 10_000);
    bench.run_for(1500);
    bench.assert_runs(thread);
    let (_, cptr) = context_cap(&mut bench, thread);
    let words = [2000, 10_000, 0, 0, 0];
    let control = bench.control;
    let answer = bench.invoke(thread, control, Label::SchedControlConfigureFlags, &words, &[cptr]);
    assert_eq!(answer.label, 0);
    bench.run_for(600);
    bench.assert_runs(low);
    bench.run_for(9000);
    bench.assert_runs(low);
}

#[test]
fn binding_gives_a_thread_time() {
    let mut bench = Bench::new();
    let main = bench.running(50);
    let worker = bench.thread(60);
    let worker_cap = bench.thread_cap(worker);
    let (context, cptr) = bench.context();
    let control = bench.control;
    let words = [1000, 5000, 0, 0, 0];
    bench.kernel.resume(worker);
    assert_eq!(
        bench.invoke(main, control, Label::SchedControlConfigureFlags, &words, &[cptr]).label,
        0
    );
    bench.prepare(main, Label::SchedContextBind.number(), &[], &[worker_cap]);
    bench.registers(main).rdi = cptr;
    bench.syscall(main, Syscall::Call);
    bench.assert_runs(worker);
    bench.run_for(1500);
    bench.assert_runs(main);
    // It has one, and the context has a thread.
    assert_eq!(bench.invoke(main, cptr, Label::SchedContextBind, &[], &[worker_cap]).label, 3);
    let (_, second) = bench.context();
    assert_eq!(bench.invoke(main, second, Label::SchedContextBind, &[], &[worker_cap]).label, 3);
    assert_eq!(
        bench.invoke(main, cptr, Label::SchedContextUnbindObject, &[], &[worker_cap]).label,
        0
    );
    assert_eq!(bench.time_of(worker), Link::NONE);
    assert!(bench.kernel.get(context).thread.is_none());
    assert_eq!(
        bench.invoke(main, cptr, Label::SchedContextUnbindObject, &[], &[worker_cap]).label,
        3
    );
    // One's own time cannot be taken away.
    let (_, own) = context_cap(&mut bench, main);
    assert_eq!(bench.invoke(main, own, Label::SchedContextUnbind, &[], &[]).label, 3);
}

#[test]
fn deleting_a_scheduling_context_stops_its_thread() {
    let mut bench = Bench::new();
    let thread = bench.running(50);
    let (_, cptr) = context_cap(&mut bench, thread);
    bench.run_for(100);
    bench.kernel.delete(bench.slot(cptr)).unwrap();
    bench.enter(Event::Interrupt(SPARE_VECTOR));
    bench.assert_runs(thread);
    // The bench made a capability with the object; it is the last.
    let last = bench.first_cap(bench.time_of(thread).get().unwrap().address().0);
    bench.kernel.delete(last).unwrap();
    assert_eq!(bench.enter(Event::Interrupt(SPARE_VECTOR)), Next::Idle);
    assert_eq!(bench.time_of(thread), Link::NONE);
}

#[test]
fn a_server_that_uses_up_its_clients_time_waits_for_it() {
    let mut bench = Bench::new();
    let endpoint = bench.endpoint();
    let own = bench.endpoint_cap(endpoint, 0, d3os_abi::CapRights::ALL);
    let (_, reply) = bench.reply();
    let server = bench.running(100);
    let server_time = bench.time_of(server).get().unwrap();
    bench.receive(server, own, reply);
    bench.kernel.take_from_thread(server_time);
    let client = bench.running_on(50, 1000, 10_000);
    let low = bench.running(10);
    bench.call(client, own, 0, &[]);
    bench.assert_runs(server);
    bench.run_for(1500);
    bench.assert_runs(low);
    bench.run_for(9000);
    bench.assert_runs(server);
}
