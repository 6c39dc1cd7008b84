//! Objects with a crowd of waiting threads that go away, and cancelled sends: interrupted at every
//! possible point. After each kernel entry all invariants are checked.

use crate::cap::Cap;
use crate::kernel::{Event, Next};
use crate::memory::Ref;
use crate::objects::{Tcb, ThreadState};
use crate::thread_bench::{Bench, SPARE_VECTOR};
use d3os_abi::{CapRights, Label, Syscall};

/// Threads that wait.
const CROWD: u64 = 6;
/// Whom they wait with: whoever deletes the object runs before them, or after them.
const PRIORITIES: [u8; 2] = [50, 150];
const WORKER_PRIORITY: u8 = 100;
const VECTOR: u8 = 3;

/// A crowd that waits, and a thread that is to end that.
struct Scene {
    bench: Bench,
    crowd: Vec<Ref<Tcb>>,
    syscall: Syscall,
    worker: Option<Ref<Tcb>>,
}

impl Scene {
    /// Lets `CROWD` threads make a system call on what `prepare` names for each (RDI).
    fn new(priority: u8, syscall: Syscall, mut bench: Bench, on: impl Fn(u64) -> u64) -> Self {
        let mut crowd = Vec::new();
        for index in 0..CROWD {
            let (_, reply) = bench.reply();
            let thread = bench.running(priority);
            bench.prepare(thread, 5, &[index], &[]);
            let context = bench.registers(thread);
            (context.rdi, context.r12) = (on(index), reply);
            bench.syscall(thread, syscall);
            assert!(bench.state(thread).is_blocked());
            crowd.push(thread);
        }
        Self { bench, crowd, syscall, worker: None }
    }

    /// Lets the worker ask its CNode for `label` with the slot `cptr`, interrupted after each `patience`
    /// units of work: how many attempts it took.
    fn carry_out(&mut self, label: Label, cptr: u64, patience: u32) -> usize {
        let cnode = self.bench.cnode_cap();
        let worker = self.bench.running(WORKER_PRIORITY);
        self.worker = Some(worker);
        self.bench.prepare(worker, label.number(), &[cptr, 64], &[]);
        self.bench.registers(worker).rdi = cnode;
        for attempt in 1..100 {
            self.let_the_woken_try_again();
            self.bench.kernel.machine.preempt_after.set(Some(patience));
            self.bench.syscall(worker, Syscall::Call);
            self.bench.kernel.machine.preempt_after.set(None);
            if self.is_answered() {
                self.let_the_woken_try_again();
                assert_eq!(self.bench.received(worker).label, 0);
                return attempt;
            }
            self.bench.enter(Event::Interrupt(SPARE_VECTOR));
        }
        panic!("it makes no progress");
    }

    fn is_answered(&mut self) -> bool {
        let worker = self.worker.unwrap();
        let context = *self.bench.registers(worker);
        self.bench.state(worker) == ThreadState::RUNNING && context.rip != context.fault_ip
    }

    /// Threads of the crowd that run instead of the worker repeat their system call, which finds
    /// nothing to wait in, and rest.
    fn let_the_woken_try_again(&mut self) {
        while let Next::Thread(thread) = self.bench.next
            && Some(thread) != self.worker
        {
            assert!(self.crowd.contains(&thread));
            self.bench.syscall(thread, self.syscall);
            assert!(!self.bench.state(thread).is_blocked(), "it waits in what goes away");
            self.bench.kernel.suspend(thread);
            self.bench.enter(Event::Interrupt(SPARE_VECTOR));
        }
    }

    fn waiting(&self) -> Vec<u64> {
        let waits = |index: &u64| {
            let thread = self.crowd[usize::try_from(*index).unwrap()];
            self.bench.state(thread).is_blocked()
        };
        (0..CROWD).filter(waits).collect()
    }
}

/// Runs `test` with every priority of the crowd and every patience that makes a difference; `units` of
/// work are done by then.
fn at_every_point(units: u32, test: impl Fn(u8, u32) -> usize) {
    for priority in PRIORITIES {
        for patience in 0..=units {
            let attempts = (units / (patience + 1)) as usize + 1;
            assert_eq!(test(priority, patience), attempts, "{priority}, {patience}");
        }
    }
}

fn endpoint(bench: &mut Bench) -> u64 {
    let object = bench.endpoint();
    bench.endpoint_cap(object, 0, CapRights::ALL)
}

fn delete_endpoint(priority: u8, patience: u32, syscall: Syscall) -> usize {
    let mut bench = Bench::new();
    let cptr = endpoint(&mut bench);
    let mut scene = Scene::new(priority, syscall, bench, |_| cptr);
    let attempts = scene.carry_out(Label::CNodeDelete, cptr, patience);
    assert_eq!(scene.waiting(), []);
    assert_eq!(scene.bench.kernel.cap_at(scene.bench.slot(cptr)), Cap::Null);
    attempts
}

#[test]
fn an_endpoint_with_senders_is_deleted() {
    at_every_point(6, |priority, patience| delete_endpoint(priority, patience, Syscall::Call));
    at_every_point(6, |priority, patience| delete_endpoint(priority, patience, Syscall::Send));
}

#[test]
fn an_endpoint_with_receivers_is_deleted() {
    at_every_point(6, |priority, patience| delete_endpoint(priority, patience, Syscall::Recv));
}

#[test]
fn a_notification_with_waiters_is_deleted() {
    at_every_point(6, |priority, patience| {
        let mut bench = Bench::new();
        let object = bench.notification();
        let cptr = bench.notification_cap(object, 0);
        let mut scene = Scene::new(priority, Syscall::Wait, bench, |_| cptr);
        let attempts = scene.carry_out(Label::CNodeDelete, cptr, patience);
        assert_eq!(scene.waiting(), []);
        assert_eq!(scene.bench.kernel.cap_at(scene.bench.slot(cptr)), Cap::Null);
        attempts
    });
}

#[test]
fn an_interrupt_handler_takes_the_last_capability_to_a_notification_along() {
    at_every_point(6, |priority, patience| {
        let mut bench = Bench::new();
        let object = bench.notification();
        let cptr = bench.notification_cap(object, 0);
        let handler = bench.give(Cap::IrqHandler { vector: VECTOR });
        let (of_vector, source) = (bench.kernel.irq_slot(VECTOR), bench.slot(cptr));
        bench.kernel.insert_derived(of_vector, bench.kernel.cap_at(source), source);
        let mut scene = Scene::new(priority, Syscall::Wait, bench, |_| cptr);
        scene.bench.kernel.delete(source).unwrap();
        assert_eq!(scene.waiting().len(), 6);
        let attempts = scene.carry_out(Label::CNodeDelete, handler, patience);
        assert_eq!(scene.waiting(), []);
        assert_eq!(scene.bench.kernel.cap_at(of_vector), Cap::Null);
        assert_eq!(scene.bench.kernel.cap_at(scene.bench.slot(handler)), Cap::Null);
        attempts
    });
}

#[test]
fn sends_with_a_badge_are_cancelled_and_no_others() {
    at_every_point(3, |priority, patience| {
        let mut bench = Bench::new();
        let object = bench.endpoint();
        let plain = bench.endpoint_cap(object, 0, CapRights::ALL);
        let badged = [7, 8].map(|badge| bench.endpoint_cap(object, badge, CapRights::ALL));
        let again = bench.endpoint_cap(object, 7, CapRights::ALL);
        assert_ne!(plain, again);
        let mut scene = Scene::new(priority, Syscall::Call, bench, |index| {
            badged[usize::try_from(index % 2).unwrap()]
        });
        // What was sent through goes first; else it would be sent again.
        let sent_through = scene.bench.slot(badged[0]);
        scene.bench.kernel.delete(sent_through).unwrap();
        let attempts = scene.carry_out(Label::CNodeCancelBadgedSends, again, patience);
        assert_eq!(scene.waiting(), [1, 3, 5]);
        attempts
    });
}
