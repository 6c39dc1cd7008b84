//! Properties: the order in which an endpoint serves, and who runs, against slow obvious models.

use crate::kernel::{Event, Next};
use crate::memory::{Link, Ref};
use crate::objects::{Tcb, ThreadState, Waiting};
use crate::thread_bench::{Bench, SPARE_VECTOR};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// A change of an endpoint's queue.
#[derive(Clone, Copy, Debug)]
enum Change {
    Wait(usize),
    Leave(usize),
    SetPriority(usize, u8),
    ServeFirst,
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        4 => (0..8_usize).prop_map(Change::Wait),
        1 => (0..8_usize).prop_map(Change::Leave),
        2 => (0..8_usize, 0..4_u8).prop_map(|(thread, priority)| Change::SetPriority(thread, priority)),
        2 => Just(Change::ServeFirst),
    ];
    proptest::collection::vec(change, 1..60)
}

/// The model: threads in order of arrival, with their priorities; the first of the highest is next.
#[derive(Default)]
struct Model {
    waiting: Vec<(usize, u8)>,
}

impl Model {
    fn first(&self) -> Option<usize> {
        let highest = self.waiting.iter().map(|(_, priority)| *priority).max()?;
        self.waiting.iter().find(|(_, priority)| *priority == highest).map(|(thread, _)| *thread)
    }

    fn remove(&mut self, thread: usize) {
        self.waiting.retain(|(waiting, _)| *waiting != thread);
    }
}

#[test]
fn endpoints_serve_by_priority_then_by_arrival() {
    let done = Cell::new(0_usize);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(1000));
    runner
        .run(&changes(), |changes| {
            let mut bench = Bench::new();
            let endpoint = bench.endpoint();
            let threads: Vec<Ref<Tcb>> = (0..8).map(|_| bench.thread(1)).collect();
            let mut model = Model::default();
            let mut priorities = [1; 8];
            for change in &changes {
                apply(&mut bench, endpoint, &threads, &mut model, &mut priorities, *change);
                let (_, queue) = bench.kernel.get(endpoint).queue();
                let first = queue.head.get();
                prop_assert_eq!(first, model.first().map(|thread| threads[thread]));
                bench.enter(Event::Interrupt(SPARE_VECTOR));
            }
            done.set(done.get() + changes.len());
            Ok(())
        })
        .unwrap();
    println!("endpoint order: {} changes", done.get());
}

fn apply(
    bench: &mut Bench,
    endpoint: Ref<crate::objects::Endpoint>,
    threads: &[Ref<Tcb>],
    model: &mut Model,
    priorities: &mut [u8; 8],
    change: Change,
) {
    match change {
        Change::Wait(index) => {
            let thread = threads[index];
            if bench.state(thread) == ThreadState::INACTIVE {
                bench.kernel.receive_ipc(thread, endpoint, crate::syscall::Blocking::Wait, None);
                model.waiting.push((index, priorities[index]));
            }
        }
        Change::Leave(index) => {
            bench.kernel.suspend(threads[index]);
            model.remove(index);
        }
        Change::SetPriority(index, priority) => {
            bench.kernel.set_priority(threads[index], priority);
            priorities[index] = priority;
            // It queues anew, behind those of the priority.
            if model.waiting.iter().any(|(waiting, _)| *waiting == index) {
                model.remove(index);
                model.waiting.push((index, priority));
            }
        }
        Change::ServeFirst => {
            let (kind, queue) = bench.kernel.get(endpoint).queue();
            if let (Waiting::Receivers, Some(thread)) = (kind, queue.head.get()) {
                bench.kernel.suspend(thread);
                let index = threads.iter().position(|t| *t == thread).unwrap();
                model.remove(index);
            }
        }
    }
}

/// What happens to those who may run.
#[derive(Clone, Copy, Debug)]
enum Disturbance {
    Suspend(usize),
    Resume(usize),
    SetPriority(usize, u8),
    Pass(u64),
    Yield,
    Bind(usize),
    Unbind(usize),
}

fn events() -> impl Strategy<Value = Vec<Disturbance>> {
    let event = prop_oneof![
        1 => (0..6_usize).prop_map(Disturbance::Suspend),
        2 => (0..6_usize).prop_map(Disturbance::Resume),
        2 => (0..6_usize, 1..6_u8).prop_map(|(t, p)| Disturbance::SetPriority(t, p)),
        4 => (1..3000_u64).prop_map(Disturbance::Pass),
        1 => Just(Disturbance::Yield),
        1 => (0..6_usize).prop_map(Disturbance::Bind),
        1 => (0..6_usize).prop_map(Disturbance::Unbind),
    ];
    proptest::collection::vec(event, 1..80)
}

/// The model: of all threads that may run and have budget, one of the highest priority runs.
fn highest(bench: &Bench, threads: &[Ref<Tcb>]) -> Option<u8> {
    let can_run = |thread: &&Ref<Tcb>| {
        let tcb = bench.kernel.get(**thread);
        let context = tcb.sched_context.get();
        tcb.state.is_runnable() && context.is_some_and(|context| bench.kernel.has_budget(context))
    };
    threads.iter().filter(can_run).map(|thread| bench.kernel.get(*thread).priority).max()
}

#[test]
fn the_highest_thread_with_budget_runs() {
    let (done, switches) = (Cell::new(0_usize), Cell::new(0_usize));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(1000));
    runner
        .run(&events(), |events| {
            let mut bench = Bench::new();
            let times =
                [(500, 2000), (1000, 1000), (300, 5000), (2000, 2000), (100, 150), (700, 900)];
            let threads: Vec<_> = times.iter().map(|(b, p)| bench.running_on(3, *b, *p)).collect();
            let contexts: Vec<_> =
                threads.iter().map(|t| bench.time_of(*t).get().unwrap()).collect();
            for (index, event) in events.iter().enumerate() {
                let before = bench.next;
                disturb(&mut bench, &threads, &contexts, *event);
                let runs = match bench.next {
                    Next::Thread(thread) => Some(bench.kernel.get(thread).priority),
                    Next::Idle => None,
                };
                prop_assert_eq!(runs, highest(&bench, &threads), "after event {}", index);
                switches.set(switches.get() + usize::from(before != bench.next));
            }
            done.set(done.get() + events.len());
            Ok(())
        })
        .unwrap();
    println!("priority order: {} events, {} switches", done.get(), switches.get());
}

fn disturb(
    bench: &mut Bench,
    threads: &[Ref<Tcb>],
    contexts: &[Ref<crate::objects::SchedContext>],
    event: Disturbance,
) {
    match event {
        Disturbance::Suspend(index) => bench.kernel.suspend(threads[index]),
        Disturbance::Resume(index) => bench.kernel.resume(threads[index]),
        Disturbance::SetPriority(index, priority) => {
            bench.kernel.set_priority(threads[index], priority)
        }
        Disturbance::Pass(time) => bench.run_for(time),
        Disturbance::Yield => {
            if let Next::Thread(thread) = bench.next {
                bench.syscall(thread, d3os_abi::Syscall::Yield);
            }
        }
        Disturbance::Bind(index) => {
            let blocked = bench.state(threads[index]).is_blocked();
            let free = bench.kernel.get(contexts[index]).thread.is_none();
            if free && !blocked && bench.time_of(threads[index]) == Link::NONE {
                bench.kernel.bind_thread(contexts[index], threads[index]);
            }
        }
        Disturbance::Unbind(index) => bench.kernel.take_from_thread(contexts[index]),
    }
    bench.enter(Event::Interrupt(SPARE_VECTOR));
}
