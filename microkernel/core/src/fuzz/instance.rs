//! One kernel with threads that ask for random things.

use super::checks::Subject;
use super::chooser::{Chooser, Request};
use super::clock::Clock;
use super::ledger::{Kind, Ledger, cnode_bits};
use super::random::Random;
use super::tally::Tally;
use super::wires::{Entry, Wires};
use crate::cap::{Asid, Cap};
use crate::invariants::SlotArray;
use crate::kernel::{Event, Kernel, Next};
use crate::memory::{Link, PhysAddr, Ref};
use crate::objects::{
    AsidPool, Context, IRQ_VECTORS, PageTable, SchedContext, Tcb, TcbSlot, ThreadState,
};
use crate::refill::Parameters;
use crate::simulation::{Change, RAM_BASE, SimulatedMachine};
use crate::slot::{Slot, TCB_SLOTS};
use d3os_abi::{
    CapRights, FIRST_SIGNAL_VECTOR, FrameSize, Label, MessageInfo, ObjectType, Syscall,
};
use std::collections::HashMap;

/// System calls that pass messages.
pub(super) const CALLS: [Syscall; 12] = [
    Syscall::Call,
    Syscall::ReplyRecv,
    Syscall::NBSendRecv,
    Syscall::NBSendWait,
    Syscall::Send,
    Syscall::NBSend,
    Syscall::Recv,
    Syscall::NBRecv,
    Syscall::Wait,
    Syscall::NBWait,
    Syscall::Yield,
    Syscall::SetTLSBase,
];

const PAGE: u64 = 4096;
/// RAM: 5 MiB, of which the first holds what is there from the start.
const PAGES: usize = 1280;
pub(super) const ROOT_THREAD: Ref<Tcb> = Ref::at(PhysAddr(RAM_BASE + PAGE));
pub(super) const ROOT_CONTEXT: PhysAddr = PhysAddr(RAM_BASE + PAGE + 0x800);
const ROOT_BUFFER: PhysAddr = PhysAddr(RAM_BASE + 2 * PAGE);
const ROOT_POOL: PhysAddr = PhysAddr(RAM_BASE + 3 * PAGE);
const ROOT_SPACE: PhysAddr = PhysAddr(RAM_BASE + 4 * PAGE);
const ROOT_CNODE: PhysAddr = PhysAddr(RAM_BASE + 8 * PAGE);
/// log2 of the slots of the CNode that all threads begin with.
pub(super) const ROOT_RADIX: u8 = 9;
/// Base, size and whether it is a device's. The threads that are there from the start are made of
/// the first.
const UNTYPEDS: [(u64, u8, bool); 7] = [
    (RAM_BASE + (1 << 20), 18, false),
    (RAM_BASE + (5 << 18), 18, false),
    (RAM_BASE + (6 << 18), 18, false),
    (RAM_BASE + (7 << 18), 18, false),
    (RAM_BASE + (3 << 20), 21, false),
    (4 << 30, 30, true),
    (6 << 30, 31, true),
];

/// Slots of the first CNode.
mod first {
    pub(super) const THREAD: u64 = 1;
    pub(super) const CNODE: u64 = 2;
    pub(super) const SPACE: u64 = 3;
    pub(super) const CONTROL: u64 = 4;
    pub(super) const UNTYPED: u64 = 13;
}
/// First slot of the first CNode that is empty at the start.
pub(super) const FIRST_FREE: u64 = first::UNTYPED + UNTYPEDS.len() as u64;

/// Instances that each believes there are.
pub(super) const CORES: u32 = 4;

/// Threads that there are at the start, beside the first.
const THREADS: u64 = 7;

/// Steps in a row without a thread to run, after which nothing will happen any more.
const PATIENCE: u32 = 24;
/// Steps after which an instance is replaced.
const LIFETIME: u64 = 10_000;

/// Longest time between two steps, in ticks.
const LONGEST_STEP: u64 = 12_000;

/// What a thread has asked for and not yet been seen to get.
#[derive(Clone, Copy, Debug)]
struct Pending {
    call: Syscall,
    /// The label, of an invocation.
    label: Option<u64>,
    /// What it sent as message info: an answer differs.
    info: u64,
    /// Where it entered the kernel.
    at: u64,
}

/// See the module.
pub(super) struct Instance {
    pub(super) kernel: Kernel<SimulatedMachine>,
    pub(super) ledger: Ledger,
    /// The lines by which others signal this one.
    pub(super) wires: Wires,
    clock: Clock,
    next: Next,
    /// What it is in the middle of.
    entered: Option<Event>,
    pending: HashMap<Ref<Tcb>, Pending>,
    idle: u32,
    age: u64,
}

impl Instance {
    /// A kernel with some threads, which can name everything.
    pub(super) fn new(core: u32) -> Self {
        let mut machine = SimulatedMachine::new(PAGES);
        machine.cores = CORES;
        let mut kernel = Kernel::new(machine, core, PhysAddr(RAM_BASE));
        kernel.machine.now = 1_000_000;
        insert_first(&mut kernel, core);
        start_first(&mut kernel);
        kernel.machine.changes = Some(Vec::new());
        let ledger = Ledger::new(PAGES, &[(ROOT_CNODE, cnode_bits(ROOT_RADIX))]);
        let clock = Clock::new(kernel.machine.now);
        let mut instance = Self {
            next: kernel.start(),
            entered: None,
            kernel,
            ledger,
            wires: Wires::default(),
            clock,
            pending: HashMap::new(),
            idle: 0,
            age: 0,
        };
        instance.learn_first();
        instance.populate();
        instance
    }

    /// Whether a slot holds one of the capabilities that everything came from.
    pub(super) fn is_first(slot: u64) -> bool {
        (ROOT_CNODE.0..ROOT_CNODE.0 + 32 * FIRST_FREE).contains(&slot)
    }

    /// Signals that it has sent: core and line.
    pub(super) fn take_signals(&mut self) -> Vec<(u32, u8)> {
        std::mem::take(&mut self.kernel.machine.signals)
    }

    /// Whether it is worn out: nobody runs, and nobody will; or it has served long.
    pub(super) fn is_over(&self) -> bool {
        self.idle > PATIENCE || self.age > LIFETIME
    }

    fn learn_first(&mut self) {
        let slot = |index: u64| Change {
            start: PhysAddr(ROOT_CNODE.0 + 32 * index),
            bytes: 32,
            cleared: false,
        };
        let thread =
            Change { start: ROOT_THREAD.address(), bytes: size_of::<Tcb>() as u64, cleared: false };
        let mut changes: Vec<Change> = (0..first::UNTYPED).map(slot).collect();
        self.ledger.update(&self.kernel, &mut changes);
        self.ledger.update(&self.kernel, &mut vec![thread]);
        let mut changes = (first::UNTYPED..FIRST_FREE).map(slot).collect();
        self.ledger.update(&self.kernel, &mut changes);
    }

    /// Makes objects of all kinds, by the first thread's invocations.
    fn populate(&mut self) {
        let kinds = [
            (ObjectType::Tcb, 0, THREADS),
            (ObjectType::SchedContext, 8, THREADS + 2),
            (ObjectType::SmallPage, 0, THREADS + 4),
            (ObjectType::Endpoint, 0, 4),
            (ObjectType::Notification, 0, 4),
            (ObjectType::Reply, 0, 8),
            (ObjectType::CNode, 4, 2),
            (ObjectType::CNode, ROOT_RADIX.into(), 1),
            (ObjectType::Untyped, 12, 4),
            (ObjectType::Pml4, 0, 2),
            (ObjectType::Pdpt, 0, 2),
            (ObjectType::PageDirectory, 0, 2),
            (ObjectType::PageTable, 0, 2),
        ];
        let mut slot = FIRST_FREE;
        for (kind, size, count) in kinds {
            let words = [kind.number(), size, 0, 0, slot, count];
            self.must(first::UNTYPED, Label::UntypedRetype, &words, &[first::CNODE]);
            slot += count;
        }
        let [threads, contexts] = [FIRST_FREE, FIRST_FREE + THREADS];
        let frames = contexts + THREADS + 2;
        let endpoint = frames + THREADS + 4;
        for n in 0..THREADS {
            let (thread, context) = (threads + n, contexts + n);
            let spaces = [first::CNODE, first::SPACE, frames + n];
            self.must(thread, Label::TcbConfigure, &[0, 0, 0x1_0000], &spaces);
            let budget = 200 + 100 * n;
            let words = [budget, budget * (1 + n % 4), 4, n, n % 2];
            self.must(first::CONTROL, Label::SchedControlConfigureFlags, &words, &[context]);
            let caps = [first::THREAD, context, endpoint];
            self.must(thread, Label::TcbSetSchedParams, &[255, 1 + n % 4], &caps);
            self.must(thread, Label::TcbResume, &[], &[]);
        }
    }

    /// An invocation by the first thread that must succeed.
    fn must(&mut self, target: u64, label: Label, words: &[u64], caps: &[u64]) {
        let (words, caps) = (words.to_vec(), caps.to_vec());
        let request = Request { target, label: label.number(), words, caps };
        while self.next != Next::Thread(ROOT_THREAD) {
            self.wait_for_deadline();
            self.enter(Event::Timer, &mut Tally::default());
        }
        self.kernel.machine.now += 1000;
        let event = self.send(ROOT_THREAD, Syscall::Call, &request);
        self.enter(event, &mut Tally::default());
        let info = MessageInfo(self.kernel.get(ROOT_THREAD).context.rsi);
        assert_eq!(info.label(), 0, "{request:?}");
    }

    /// One kernel entry, of a random kind; counted where a thread runs.
    pub(super) fn step(&mut self, random: &mut Random, tally: &mut Tally) {
        self.age += 1;
        tally.steps += u64::from(self.next != Next::Idle);
        let longest = if random.one_in(8) { 8 * LONGEST_STEP } else { LONGEST_STEP };
        self.kernel.machine.now += random.below(longest);
        let event = self.event(random, tally);
        let patience = random.one_in(3).then(|| u32::try_from(random.below(8)).unwrap());
        self.kernel.machine.preempt_after.set(patience);
        self.enter(event, tally);
        self.kernel.machine.preempt_after.set(None);
    }

    fn event(&mut self, random: &mut Random, tally: &mut Tally) -> Event {
        let due = self.kernel.machine.deadline.is_some_and(|at| at <= self.kernel.machine.now);
        if due && !random.one_in(4) {
            tally.event("timer");
            return Event::Timer;
        }
        if let Some(vector) = self.wires.ready(random).filter(|_| random.one_in(3)) {
            return Event::Interrupt(vector);
        }
        if random.one_in(30) {
            tally.event("interrupt");
            return self.interrupt(random);
        }
        let Next::Thread(thread) = self.next else {
            tally.event("idle");
            self.idle += 1;
            if self.idle.is_multiple_of(PATIENCE / 4) {
                self.stir();
            }
            self.wait_for_deadline();
            return if random.one_in(3) { self.interrupt(random) } else { Event::Timer };
        };
        self.idle = 0;
        // Nobody would hear of the first thread's faults.
        let spared = thread == ROOT_THREAD && !random.one_in(50);
        match if spared { 300 } else { random.below(300) } {
            0..5 => {
                tally.event("page fault");
                Event::PageFault { address: random.argument(), error_code: random.below(32) }
            }
            5..8 => {
                tally.event("exception");
                let vector = u8::try_from(random.below(20)).unwrap();
                Event::Exception { vector, error_code: random.below(2) }
            }
            8..11 => {
                tally.event("unknown system call");
                let number = if random.one_in(2) { -12 } else { random.next().cast_signed() };
                self.make_call(thread, number)
            }
            11..14 => {
                tally.event("long run");
                self.kernel.machine.now += random.below(100 * LONGEST_STEP);
                self.wait_for_deadline_if_past();
                Event::Timer
            }
            _ => self.ask(thread, random, tally),
        }
    }

    /// Nobody runs: somebody outside sees to it that the first thread does, if it still can.
    fn stir(&mut self) {
        let context: Ref<SchedContext> = Ref::at(ROOT_CONTEXT);
        // A thread that is being deleted has let go of everything already.
        let names_it = |slot: &u64| {
            self.kernel.cap_at(Ref::at(PhysAddr(*slot))) == Cap::Thread { object: ROOT_THREAD }
        };
        let lives = self.ledger.of_kind(Kind::Thread).iter().any(names_it)
            && self.ledger.lives(Kind::SchedContext, ROOT_CONTEXT);
        if !lives || self.kernel.get(ROOT_THREAD).slots[TcbSlot::CSpace as usize].is_empty() {
            return;
        }
        self.kernel.resume(ROOT_THREAD);
        let idle =
            self.kernel.get(context).thread.is_none() && self.kernel.get(context).is_active();
        if idle && self.kernel.get(ROOT_THREAD).sched_context.is_none() {
            self.kernel.bind_thread(context, ROOT_THREAD);
        }
    }

    /// The deadline is not overslept by more than a step.
    fn wait_for_deadline_if_past(&mut self) {
        let machine = &mut self.kernel.machine;
        if let Some(deadline) = machine.deadline.filter(|deadline| *deadline < machine.now) {
            machine.now = deadline.max(self.clock.last());
        }
    }

    fn wait_for_deadline(&mut self) {
        let machine = &mut self.kernel.machine;
        if let Some(deadline) = machine.deadline.filter(|deadline| *deadline < 1 << 60) {
            machine.now = machine.now.max(deadline);
        }
    }

    fn interrupt(&self, random: &mut Random) -> Event {
        let devices = self.kernel.machine.unmasked.range(..FIRST_SIGNAL_VECTOR);
        let unmasked: Vec<u8> = devices.copied().collect();
        let spurious = unmasked.is_empty() || random.one_in(4);
        // Between devices' and signal lines' vectors there are some of nobody's.
        let nobodys = FIRST_SIGNAL_VECTOR - 1;
        Event::Interrupt(if spurious { nobodys } else { random.pick(&unmasked) })
    }

    /// What the running thread does next: the same again if it was preempted, else something new.
    fn ask(&mut self, thread: Ref<Tcb>, random: &mut Random, tally: &mut Tally) -> Event {
        if let Some(pending) = self.pending.get(&thread).copied() {
            let context = &self.kernel.get(thread).context;
            if context.rip == pending.at && !random.one_in(3) {
                tally.event("again");
                return self.make_call(thread, pending.call.number());
            }
            self.settle(thread, tally);
        }
        let steward = thread == ROOT_THREAD;
        let talks = if steward { random.one_in(5) } else { !random.one_in(4) };
        if talks {
            return self.talk(thread, random, steward);
        }
        let request = Chooser { instance: self, thread, random }.request();
        let send = if random.one_in(12) {
            random.pick(&[Syscall::Send, Syscall::NBSend, Syscall::NBSendRecv])
        } else {
            Syscall::Call
        };
        // What waits for ever keeps the first thread from its work.
        let call = if steward && send == Syscall::NBSendRecv { Syscall::Call } else { send };
        self.send(thread, call, &request)
    }

    /// Counts what became of what a thread had asked for.
    fn settle(&mut self, thread: Ref<Tcb>, tally: &mut Tally) {
        let Some(pending) = self.pending.remove(&thread) else { return };
        let context = &self.kernel.get(thread).context;
        if context.rip == pending.at {
            tally.event("given up");
            return;
        }
        let answered = context.rsi != pending.info;
        let (call, success) = (pending.call, MessageInfo(context.rsi).label() == 0);
        match pending.label {
            Some(label) if call == Syscall::Call && answered => tally.invocation(label, success),
            Some(_) => {}
            None => {
                let sends = !matches!(
                    call,
                    Syscall::Call
                        | Syscall::Recv
                        | Syscall::Wait
                        | Syscall::ReplyRecv
                        | Syscall::NBSendRecv
                        | Syscall::NBSendWait
                );
                tally.call(call.number(), answered || sends);
            }
        }
    }

    /// A message to, or from, somebody.
    fn talk(&mut self, thread: Ref<Tcb>, random: &mut Random, steward: bool) -> Event {
        let call = if steward && !random.one_in(300) {
            random.pick(&[Syscall::NBSend, Syscall::Yield, Syscall::Yield])
        } else if random.one_in(2) {
            random.pick(&[Syscall::Call, Syscall::Call, Syscall::ReplyRecv, Syscall::Recv])
        } else {
            random.pick(&CALLS)
        };
        let path = random.one_in(4);
        let mut chooser = Chooser { instance: self, thread, random };
        let to_notification = chooser.random.one_in(4);
        let waits = matches!(call, Syscall::Wait | Syscall::NBWait | Syscall::NBSendWait);
        let kind = match call {
            Syscall::Call | Syscall::Send | Syscall::NBSend if chooser.random.one_in(6) => {
                Kind::Signal
            }
            _ if to_notification || waits && chooser.random.one_in(2) => Kind::Notification,
            Syscall::Send | Syscall::NBSend if chooser.random.one_in(4) => Kind::Reply,
            _ => Kind::Endpoint,
        };
        let sends = matches!(call, Syscall::Call | Syscall::Send | Syscall::NBSend);
        let right = if sends { CapRights::WRITE } else { CapRights::READ };
        let target = chooser.partner(kind, right);
        let reply = chooser.partner(Kind::Reply, CapRights::NONE);
        let second = chooser.partner(Kind::Endpoint, CapRights::WRITE);
        let path = if path { chooser.receive_path() } else { None };
        let gifts = if chooser.random.one_in(3) { chooser.random.below(4) } else { 0 };
        let caps = (0..gifts).map(|_| chooser.gift().unwrap_or(second)).collect();
        let length = if random.one_in(4) { random.below(20) } else { random.below(5) };
        let words = (0..length).map(|_| random.argument()).collect();
        if let (Some(path), Some(buffer)) = (path, self.kernel.writable_ipc_buffer(thread)) {
            for (index, word) in (0..).zip(path) {
                let place = Ref::<Word>::at(buffer.address().offset(1000)).index(index);
                *self.kernel.get_mut(place) = Word(word);
            }
        }
        let request = Request { target, label: random.below(3) * 5, words, caps };
        let event = self.send(thread, call, &request);
        let context = &mut self.kernel.get_mut(thread).context;
        context.r12 = if call == Syscall::NBSendWait { second } else { reply };
        context.r13 = second;
        if let Some(pending) = self.pending.get_mut(&thread) {
            pending.label = None;
        }
        event
    }

    /// Lays a message in a thread's registers and buffer and enters the kernel with it.
    fn send(&mut self, thread: Ref<Tcb>, call: Syscall, request: &Request) -> Event {
        let length = self.kernel.set_message_words(thread, &request.words);
        let mut caps = 0;
        if let Some(buffer) = self.kernel.writable_ipc_buffer(thread) {
            for (index, cptr) in (0..3).zip(&request.caps) {
                let place = Ref::<Word>::at(buffer.address().offset(976)).index(index);
                *self.kernel.get_mut(place) = Word(*cptr);
                caps += 1;
            }
        }
        // Labels have 52 bits; what was unwrapped is for the receiver only, and so marks the word.
        let info = MessageInfo::new(request.label & ((1 << 52) - 1), 7, caps, length);
        let context = &mut self.kernel.get_mut(thread).context;
        context.rdi = request.target;
        context.rsi = info.0;
        let (label, at) = (Some(request.label), context.rip);
        self.pending.insert(thread, Pending { call, label, info: info.0, at });
        self.make_call(thread, call.number())
    }

    fn make_call(&mut self, thread: Ref<Tcb>, number: i64) -> Event {
        let context: &mut Context = &mut self.kernel.get_mut(thread).context;
        context.rdx = number.cast_unsigned();
        context.fault_ip = context.rip;
        context.rip = context.rip.wrapping_add(2);
        context.full_frame = 0;
        Event::Syscall(number)
    }

    /// Enters the kernel, and looks at everything that it has touched.
    fn enter(&mut self, event: Event, tally: &mut Tally) {
        self.clock.charge(&self.kernel);
        let entry = Entry::of(&self.kernel, event);
        self.entered = Some(event);
        let configures = self
            .asked()
            .is_some_and(|asked| asked.label == Some(Label::SchedControlConfigureFlags.number()));
        self.next = self.kernel.handle(event);
        let mut changes = self.kernel.machine.changes.take().unwrap_or_default();
        let touched = self.ledger.update(&self.kernel, &mut changes);
        changes.clear();
        self.kernel.machine.changes = Some(changes);
        self.kernel.machine.flushes.clear();
        self.kernel.machine.port_writes.clear();
        for (kind, at) in touched.dead.iter().chain(&touched.born) {
            match kind {
                Kind::Thread => drop(self.pending.remove(&Ref::at(*at))),
                Kind::SchedContext => self.clock.forget(Ref::at(*at)),
                _ => {}
            }
        }
        self.subject().check_touched(&touched);
        self.wires.check((&self.kernel, &self.ledger), &entry, &touched, tally);
        for (_, at) in touched.objects.iter().filter(|(kind, _)| *kind == Kind::SchedContext) {
            if configures {
                self.clock.begin_anew(&self.kernel, Ref::at(*at));
            }
            self.clock.check(&self.kernel, Ref::at(*at));
        }
        self.clock.check_next(&self.kernel, self.next);
        self.entered = None;
    }

    /// What the running thread has asked for.
    fn asked(&self) -> Option<&Pending> {
        self.pending.get(&self.kernel.current_thread()?)
    }

    fn subject(&self) -> Subject<'_> {
        Subject { kernel: &self.kernel, ledger: &self.ledger, next: self.next }
    }

    /// Checks all that there is.
    pub(super) fn check(&self) {
        let roots = [
            SlotArray { first: Ref::at(PhysAddr(RAM_BASE)), count: IRQ_VECTORS as u64 },
            SlotArray { first: Ref::at(ROOT_CNODE), count: 1 << ROOT_RADIX },
            SlotArray { first: ROOT_THREAD.cast(), count: TCB_SLOTS },
        ];
        self.kernel.check_invariants(&roots);
        self.ledger.check_complete(&self.kernel);
        self.wires.check_complete(&self.kernel, &self.ledger);
        self.subject().check_all();
    }
}

/// Tells what a failure happened in.
impl Drop for Instance {
    fn drop(&mut self) {
        if let (true, Some(event)) = (std::thread::panicking(), self.entered) {
            eprintln!("in {event:?}, which left {:?}, after {:?}", self.next, self.asked());
        }
    }
}

/// A word of an IPC buffer.
#[derive(
    Clone,
    Copy,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::KnownLayout,
    zerocopy::Immutable,
)]
#[repr(C)]
struct Word(u64);

fn root_cnode() -> Cap {
    let (object, radix) = (Ref::at(ROOT_CNODE), ROOT_RADIX);
    Cap::CNode { object, radix, guard_size: 64 - radix, guard: 0 }
}

fn root_frame() -> Cap {
    let rights = CapRights::READ_WRITE;
    Cap::Frame { base: ROOT_BUFFER, size: FrameSize::Small, rights, device: false, mapping: None }
}

fn root_slot(index: u64) -> Ref<Slot> {
    Ref::<Slot>::at(ROOT_CNODE).index(index)
}

/// The capabilities that everything comes from.
fn insert_first(kernel: &mut Kernel<SimulatedMachine>, core: u32) {
    let pool: Ref<AsidPool> = Ref::at(ROOT_POOL);
    let space: Ref<PageTable> = Ref::at(ROOT_SPACE);
    let (base, asid) = (Asid::in_pool(0, 0), Asid::in_pool(0, 1));
    kernel.asid_pools[0] = Link::to(pool);
    kernel.get_mut(pool).roots[1] = Link::to(space);
    let context: Ref<SchedContext> = Ref::at(ROOT_CONTEXT);
    let caps = [
        Cap::Thread { object: ROOT_THREAD },
        root_cnode(),
        Cap::VSpace { root: space, asid: Some(asid) },
        Cap::SchedControl { core },
        Cap::IrqControl,
        Cap::AsidControl,
        Cap::AsidPool { object: pool, base },
        Cap::IoPortControl,
        Cap::Domain,
        Cap::SchedContext { object: context, size_bits: 9 },
        root_frame(),
        Cap::CoreControl,
    ];
    for (index, cap) in (1..).zip(caps) {
        kernel.insert_root(root_slot(index), cap);
    }
    for (index, (base, size_bits, device)) in (first::UNTYPED..).zip(UNTYPEDS) {
        let cap = Cap::Untyped { base: PhysAddr(base), size_bits, device, free: 0 };
        kernel.insert_root(root_slot(index), cap);
    }
}

/// The first thread, which keeps the others going: above them, but not all of the time.
fn start_first(kernel: &mut Kernel<SimulatedMachine>) {
    kernel.init_thread(ROOT_THREAD);
    let slots = [(TcbSlot::CSpace, 2), (TcbSlot::VSpace, 3), (TcbSlot::IpcBuffer, 11)];
    for (slot, source) in slots {
        let (dest, source) = (ROOT_THREAD.cast::<Slot>().index(slot as u64), root_slot(source));
        kernel.insert_derived(dest, kernel.cap_at(source), source);
    }
    let context: Ref<SchedContext> = Ref::at(ROOT_CONTEXT);
    let parameters = Parameters { budget: 4_000_000, period: 10_000_000, refill_max: 8 };
    kernel.new_refills(context, parameters);
    let tcb = kernel.get_mut(ROOT_THREAD);
    (tcb.ipc_buffer, tcb.ipc_buffer_writable) = (ROOT_BUFFER, 1);
    (tcb.priority, tcb.mcp, tcb.state) = (200, 255, ThreadState::RUNNING);
    kernel.donate(context, ROOT_THREAD);
    kernel.wake(ROOT_THREAD);
}
