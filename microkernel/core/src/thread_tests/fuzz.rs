//! Property: whatever threads do to each other, every queue, link and budget stays consistent.
//!
//! A deterministic random system: threads of all kinds make random system calls with random
//! capabilities while time passes and faults happen; after each kernel entry the invariants of
//! every object are checked by brute force.

use crate::cap::Cap;
use crate::kernel::{Event, Next};
use crate::memory::Ref;
use crate::objects::{Tcb, TcbSlot};
use crate::thread_bench::{Bench, SPARE_VECTOR, US};
use d3os_abi::{CapRights, Label, Syscall};
use std::collections::BTreeMap;

/// Seeds, and entries per seed.
const SEEDS: u64 = 60;
const ENTRIES: usize = 4000;

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// A system, and the addresses of its capabilities by kind.
struct System {
    bench: Bench,
    random: Random,
    threads: Vec<u64>,
    contexts: Vec<u64>,
    endpoints: Vec<u64>,
    notifications: Vec<u64>,
    replies: Vec<u64>,
    cnode: u64,
    entries: BTreeMap<String, u64>,
}

impl System {
    fn new(seed: u64) -> Self {
        let mut bench = Bench::new();
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let cnode = bench.cnode_cap();
        let mut endpoints = Vec::new();
        for _ in 0..3 {
            let endpoint = bench.endpoint();
            for badge in 0..3 {
                let rights = CapRights::from_word(15 - random.below(2) * random.below(16));
                endpoints.push(bench.endpoint_cap(endpoint, badge, rights));
            }
        }
        let notifications = (0..3)
            .map(|badge| {
                let notification = bench.notification();
                bench.notification_cap(notification, 1 << badge)
            })
            .collect();
        let replies = (0..5).map(|_| bench.reply().1).collect();
        let contexts = (0..8).map(|_| bench.context().1).collect();
        let mut system = Self {
            bench,
            random,
            threads: Vec::new(),
            contexts,
            endpoints,
            notifications,
            replies,
            cnode,
            entries: BTreeMap::new(),
        };
        system.add_threads();
        system
    }

    fn add_threads(&mut self) {
        for _ in 0..8 {
            let priority = u8::try_from(1 + self.random.below(4)).unwrap();
            let (budget, period) = self.random.pick(&[
                (500, 500),
                (1000, 1000),
                (100, 400),
                (300, 1000),
                (2000, 5000),
            ]);
            let thread = self.bench.running_on(priority, budget, period);
            let context = self.bench.time_of(thread).get().unwrap();
            self.bench.kernel.get_mut(context).sporadic = u32::from(self.random.below(2) == 0);
            self.contexts
                .push(self.bench.give(Cap::SchedContext { object: context, size_bits: 9 }));
            self.threads.push(self.bench.thread_cap(thread));
            for slot in [TcbSlot::FaultHandler, TcbSlot::TimeoutHandler] {
                if self.random.below(2) == 0 {
                    let from = self.random.pick(&self.endpoints);
                    let cap = self.bench.kernel.cap_at(self.bench.slot(from));
                    self.bench.set_slot(thread, slot, cap);
                }
            }
        }
    }

    /// One kernel entry, of a random kind.
    fn step(&mut self) {
        match (self.random.below(12), self.bench.next) {
            (0, _) => {
                let time = self.random.below(800);
                self.bench.run_for(time);
                self.count("time");
            }
            (1, Next::Thread(_)) => {
                self.count("page fault");
                self.bench.enter(Event::PageFault { address: 0x1000, error_code: 4 });
            }
            (2, _) => {
                self.count("interrupt");
                self.bench.enter(Event::Interrupt(SPARE_VECTOR));
            }
            (_, Next::Thread(thread)) => self.random_call(thread),
            (_, Next::Idle) => self.stir(),
        }
        self.bench.kernel.machine.now += self.random.below(30 * US);
    }

    /// Nobody runs: somebody outside sees to it that somebody does.
    fn stir(&mut self) {
        self.count("stir");
        let thread = self.random.pick(&self.bench.objects.threads.clone());
        let context = self.random.pick(&self.bench.objects.contexts.clone());
        let kernel = &mut self.bench.kernel;
        let lives = !kernel.get(thread).slots[TcbSlot::CSpace as usize].is_empty();
        let free = kernel.get(context).thread.is_none();
        if lives {
            kernel.resume(thread);
        }
        if lives && free && kernel.get(thread).sched_context.is_none() {
            kernel.bind_thread(context, thread);
        }
        self.bench.run_for(500);
        self.bench.enter(Event::Interrupt(SPARE_VECTOR));
    }

    fn random_call(&mut self, thread: Ref<Tcb>) {
        let target = match self.random.below(8) {
            0..=3 => self.random.pick(&self.endpoints),
            4 => self.random.pick(&self.notifications),
            5 => self.random.pick(&self.replies),
            6 => self.random.below(64),
            _ => return self.random_invocation(thread),
        };
        let words: Vec<u64> = (0..self.random.below(8)).collect();
        let caps: Vec<u64> =
            (0..self.random.below(3)).map(|_| self.random.pick(&self.endpoints)).collect();
        let label = self.random.below(3);
        self.bench.prepare(thread, label, &words, &caps);
        let reply = self.random.pick(&self.replies);
        let second = self.random.pick(&self.endpoints);
        let syscall = self.random.pick(&[
            Syscall::Call,
            Syscall::Call,
            Syscall::Send,
            Syscall::NBSend,
            Syscall::Recv,
            Syscall::ReplyRecv,
            Syscall::ReplyRecv,
            Syscall::NBSendRecv,
            Syscall::NBSendWait,
            Syscall::NBRecv,
            Syscall::Wait,
            Syscall::NBWait,
            Syscall::Yield,
        ]);
        let context = self.bench.registers(thread);
        context.rdi = target;
        context.r12 = if syscall == Syscall::NBSendWait { second } else { reply };
        context.r13 = second;
        self.count(&format!("{syscall:?}"));
        self.bench.syscall(thread, syscall);
    }

    fn random_invocation(&mut self, thread: Ref<Tcb>) {
        let (tcb, context) = (self.random.pick(&self.threads), self.random.pick(&self.contexts));
        let notification = self.random.pick(&self.notifications);
        let endpoint = self.random.pick(&self.endpoints);
        let (budget, more) = (20 + self.random.below(900), self.random.below(2000));
        let control = self.bench.control;
        let configure = [budget, budget + more, self.random.below(4), 5, self.random.below(2)];
        let priority = [1 + self.random.below(4)];
        let flags = [self.random.below(16), 2, 3, 4];
        let badged = [endpoint, 64];
        let choices: [(u64, Label, &[u64], &[u64]); 19] = [
            (tcb, Label::TcbSuspend, &[], &[]),
            (tcb, Label::TcbResume, &[], &[]),
            (tcb, Label::TcbResume, &[], &[]),
            (tcb, Label::TcbSetPriority, &priority, &[tcb]),
            (tcb, Label::TcbReadRegisters, &flags[..2], &[]),
            (tcb, Label::TcbWriteRegisters, &flags, &[]),
            (tcb, Label::TcbCopyRegisters, &flags[..1], &[tcb]),
            (tcb, Label::TcbBindNotification, &[], &[notification]),
            (tcb, Label::TcbUnbindNotification, &[], &[]),
            (tcb, Label::TcbSetTimeoutEndpoint, &[], &[endpoint]),
            (tcb, Label::TcbSetSchedParams, &[255, 2], &[tcb, context, endpoint]),
            (context, Label::SchedContextBind, &[], &[tcb]),
            (context, Label::SchedContextBind, &[], &[notification]),
            (context, Label::SchedContextUnbind, &[], &[]),
            (context, Label::SchedContextUnbindObject, &[], &[tcb]),
            (context, Label::SchedContextYieldTo, &[], &[]),
            (context, Label::SchedContextConsumed, &[], &[]),
            (control, Label::SchedControlConfigureFlags, &configure, &[context]),
            (self.cnode, Label::CNodeCancelBadgedSends, &badged, &[]),
        ];
        let (target, label, words, caps) = self.random.pick(&choices);
        self.count(&format!("{label:?}"));
        self.bench.prepare(thread, label.number(), words, caps);
        self.bench.registers(thread).rdi = target;
        let syscall =
            self.random.pick(&[Syscall::Call, Syscall::Call, Syscall::Send, Syscall::NBSend]);
        self.bench.syscall(thread, syscall);
    }

    /// Now and then an object dies.
    fn delete_something(&mut self) {
        let kinds =
            [&self.replies, &self.endpoints, &self.notifications, &self.contexts, &self.threads];
        let kind = self.random.pick(&kinds);
        let cptr = self.random.pick(kind);
        self.count("delete");
        let slot = self.bench.slot(cptr);
        self.bench.kernel.revoke(slot).unwrap();
        self.bench.kernel.delete(slot).unwrap();
        self.bench.enter(Event::Interrupt(SPARE_VECTOR));
    }

    fn count(&mut self, what: &str) {
        *self.entries.entry(what.to_owned()).or_default() += 1;
    }
}

#[test]
fn random_systems_stay_consistent() {
    let mut total = BTreeMap::<String, u64>::new();
    for seed in 1..=SEEDS {
        let mut system = System::new(seed);
        for entry in 0..ENTRIES {
            system.step();
            if entry % 1500 == 1499 {
                system.delete_something();
            }
        }
        for (what, count) in system.entries {
            *total.entry(what).or_default() += count;
        }
    }
    let entries: u64 = total.values().sum();
    println!("random systems: {SEEDS} seeds, {entries} entries: {total:?}");
    assert!(entries >= SEEDS * ENTRIES as u64);
    let talks = ["Call", "ReplyRecv", "Recv", "SchedContextYieldTo", "TcbSetSchedParams"];
    assert!(talks.iter().all(|what| total.get(*what).is_some_and(|count| *count > 100)));
}
