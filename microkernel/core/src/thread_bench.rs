//! A whole kernel on the simulated machine with threads that make system calls: for the tests of
//! threads, messages and scheduling.

use crate::cap::Cap;
use crate::kernel::{Event, Kernel, Next};
use crate::memory::{Link, PhysAddr, Ref};
use crate::objects::{
    Context, Endpoint, MIN_REFILLS, Notification, Reply, SchedContext, Tcb, TcbSlot, ThreadState,
};
use crate::refill::Parameters;
use crate::simulation::{RAM_BASE, SimulatedMachine};
use crate::slot::Slot;
use crate::thread_invariants::Objects;
use d3os_abi::{CapRights, FrameSize, Label, MessageInfo, Syscall, size_bits};
use std::collections::HashMap;

/// Ticks in a microsecond of the simulated machine.
pub(crate) const US: u64 = 1000;
const CNODE_RADIX: u8 = 10;

/// What a thread finds in its registers after a receive or call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) badge: u64,
    pub(crate) label: u64,
    pub(crate) length: usize,
    pub(crate) words: [u64; 4],
}

/// The kernel, a capability space that all threads share, and every object made so far.
pub(crate) struct Bench {
    pub(crate) kernel: Kernel<SimulatedMachine>,
    pub(crate) objects: Objects,
    pub(crate) next: Next,
    pub(crate) control: u64,
    free: PhysAddr,
    cnode: Ref<Slot>,
    next_slot: u64,
    /// The first capability that was made to each object: the others are derived from it.
    first_caps: HashMap<u64, Ref<Slot>>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let mut kernel = Kernel::new(SimulatedMachine::new(1024), 0, PhysAddr(RAM_BASE));
        kernel.machine.now = 1000 * US;
        let mut bench = Self {
            kernel,
            objects: Objects::default(),
            next: Next::Idle,
            control: 0,
            free: PhysAddr(RAM_BASE + 0x1000),
            cnode: Ref::at(PhysAddr(0)),
            next_slot: 1,
            first_caps: HashMap::new(),
        };
        bench.cnode = Ref::at(bench.allocate(CNODE_RADIX + 5));
        bench.cnode_cap();
        bench.control = bench.give(Cap::SchedControl { core: 0 });
        bench.next = bench.kernel.start();
        bench
    }

    fn allocate(&mut self, size_bits: u8) -> PhysAddr {
        let size = 1 << size_bits;
        let at = PhysAddr((self.free.0 + size - 1) & !(size - 1));
        self.free = at.offset(size);
        at
    }

    pub(crate) fn slot(&self, cptr: u64) -> Ref<Slot> {
        self.cnode.index(cptr)
    }

    /// Address of an empty slot.
    pub(crate) fn empty(&mut self) -> u64 {
        self.next_slot += 1;
        self.next_slot - 1
    }

    /// Puts a capability into an empty slot and answers its address.
    pub(crate) fn give(&mut self, cap: Cap) -> u64 {
        let cptr = self.empty();
        self.insert(self.slot(cptr), cap);
        cptr
    }

    fn insert(&mut self, slot: Ref<Slot>, cap: Cap) {
        let first = object_of(cap).and_then(|object| self.first_caps.get(&object).copied());
        match (first, object_of(cap)) {
            (Some(first), _) => return self.kernel.insert_derived(slot, cap, first),
            (None, Some(object)) => self.first_caps.insert(object, slot),
            (None, None) => None,
        };
        self.kernel.insert_root(slot, cap);
    }

    /// The slot of the first capability that was made to the object at this address.
    pub(crate) fn first_cap(&self, object: u64) -> Ref<Slot> {
        self.first_caps[&object]
    }

    pub(crate) fn cnode_cap(&mut self) -> u64 {
        let (object, radix) = (self.cnode, CNODE_RADIX);
        self.give(Cap::CNode { object, radix, guard_size: 64 - radix, guard: 0 })
    }

    pub(crate) fn endpoint(&mut self) -> Ref<Endpoint> {
        let endpoint = Ref::at(self.allocate(size_bits::ENDPOINT));
        self.objects.endpoints.push(endpoint);
        endpoint
    }

    pub(crate) fn endpoint_cap(
        &mut self,
        object: Ref<Endpoint>,
        badge: u64,
        rights: CapRights,
    ) -> u64 {
        self.give(Cap::Endpoint { object, badge, rights })
    }

    pub(crate) fn notification(&mut self) -> Ref<Notification> {
        let notification = Ref::at(self.allocate(size_bits::NOTIFICATION));
        self.objects.notifications.push(notification);
        notification
    }

    pub(crate) fn notification_cap(&mut self, object: Ref<Notification>, badge: u64) -> u64 {
        self.give(Cap::Notification { object, badge, rights: CapRights::ALL })
    }

    pub(crate) fn reply(&mut self) -> (Ref<Reply>, u64) {
        let object = Ref::at(self.allocate(size_bits::REPLY));
        self.objects.replies.push(object);
        (object, self.give(Cap::Reply { object, can_grant: true }))
    }

    /// A scheduling context of 512 bytes, not configured.
    pub(crate) fn context(&mut self) -> (Ref<SchedContext>, u64) {
        let object = Ref::at(self.allocate(9));
        self.objects.contexts.push(object);
        (object, self.give(Cap::SchedContext { object, size_bits: 9 }))
    }

    pub(crate) fn parameters(budget_us: u64, period_us: u64) -> Parameters {
        let period = if budget_us == period_us { 0 } else { period_us * US };
        let refill_max = u32::try_from(MIN_REFILLS).unwrap() + 8;
        Parameters { budget: budget_us * US, period, refill_max }
    }

    /// A scheduling context with a budget, that nobody runs on.
    pub(crate) fn budget(&mut self, budget_us: u64, period_us: u64) -> Ref<SchedContext> {
        let (context, _) = self.context();
        self.kernel.new_refills(context, Self::parameters(budget_us, period_us));
        context
    }

    /// A thread without time, inactive, with an IPC buffer and the shared capability space.
    pub(crate) fn thread(&mut self, priority: u8) -> Ref<Tcb> {
        let thread = Ref::at(self.allocate(size_bits::TCB));
        self.kernel.init_thread(thread);
        self.objects.threads.push(thread);
        let frame = self.allocate(12);
        let cnode = Cap::CNode {
            object: self.cnode,
            radix: CNODE_RADIX,
            guard_size: 64 - CNODE_RADIX,
            guard: 0,
        };
        let rights = CapRights::READ_WRITE;
        let frame_cap = Cap::Frame {
            base: frame,
            size: FrameSize::Small,
            rights,
            device: false,
            mapping: None,
        };
        self.set_slot(thread, TcbSlot::CSpace, cnode);
        self.set_slot(thread, TcbSlot::IpcBuffer, frame_cap);
        let tcb = self.kernel.get_mut(thread);
        tcb.ipc_buffer = frame;
        tcb.ipc_buffer_writable = 1;
        tcb.priority = priority;
        tcb.mcp = 255;
        thread
    }

    pub(crate) fn set_slot(&mut self, thread: Ref<Tcb>, slot: TcbSlot, cap: Cap) {
        let slot = Kernel::<SimulatedMachine>::tcb_slot(thread, slot);
        self.insert(slot, cap);
    }

    pub(crate) fn thread_cap(&mut self, object: Ref<Tcb>) -> u64 {
        self.give(Cap::Thread { object })
    }

    /// A thread that shares its priority in slices of 5 ms, running or ready.
    pub(crate) fn running(&mut self, priority: u8) -> Ref<Tcb> {
        self.running_on(priority, 5000, 5000)
    }

    /// A thread with this budget and period, running or ready.
    pub(crate) fn running_on(&mut self, priority: u8, budget_us: u64, period_us: u64) -> Ref<Tcb> {
        let thread = self.thread(priority);
        let context = self.budget(budget_us, period_us);
        self.kernel.donate(context, thread);
        self.kernel.get_mut(thread).state = ThreadState::RUNNING;
        self.kernel.wake(thread);
        self.enter(Event::Interrupt(SPARE_VECTOR));
        thread
    }

    /// Enters the kernel, checks everything afterwards.
    pub(crate) fn enter(&mut self, event: Event) -> Next {
        self.next = self.kernel.handle(event);
        self.kernel.check_threads(&self.objects, self.next);
        self.next
    }

    /// Lets time pass; the timer fires at its deadline.
    pub(crate) fn run_for(&mut self, microseconds: u64) {
        let end = self.kernel.machine.now + microseconds * US;
        while let Some(deadline) = self.kernel.machine.deadline.filter(|deadline| *deadline <= end)
        {
            self.kernel.machine.now = self.kernel.machine.now.max(deadline);
            self.kernel.machine.deadline = None;
            self.enter(Event::Timer);
        }
        self.kernel.machine.now = end;
    }

    #[track_caller]
    pub(crate) fn assert_runs(&self, thread: Ref<Tcb>) {
        assert_eq!(self.next, Next::Thread(thread));
    }

    pub(crate) fn state(&self, thread: Ref<Tcb>) -> ThreadState {
        self.kernel.get(thread).state
    }

    pub(crate) fn registers(&mut self, thread: Ref<Tcb>) -> &mut Context {
        &mut self.kernel.get_mut(thread).context
    }

    /// Makes the running thread's system call.
    #[track_caller]
    pub(crate) fn syscall(&mut self, thread: Ref<Tcb>, syscall: Syscall) -> Next {
        self.assert_runs(thread);
        let context = self.registers(thread);
        context.rdx = syscall.number().cast_unsigned();
        context.fault_ip = context.rip;
        context.rip += 2;
        context.full_frame = 0;
        self.enter(Event::Syscall(syscall.number()))
    }

    /// Puts a message into a thread's registers and buffer.
    pub(crate) fn prepare(&mut self, thread: Ref<Tcb>, label: u64, words: &[u64], caps: &[u64]) {
        assert_eq!(self.kernel.set_message_words(thread, words), words.len());
        let buffer = self.kernel.get(thread).ipc_buffer;
        for (index, cptr) in caps.iter().enumerate() {
            *self.kernel.get_mut(Ref::<Word>::at(buffer.offset(976)).index(index as u64)) =
                Word(*cptr);
        }
        self.registers(thread).rsi = MessageInfo::new(label, 0, caps.len(), words.len()).0;
    }

    /// Writes a message word where it is not carried in a register.
    #[cfg(feature = "debug-syscalls")]
    pub(crate) fn set_buffer_word(&mut self, thread: Ref<Tcb>, index: u64, word: u64) {
        let buffer = self.kernel.get(thread).ipc_buffer;
        *self.kernel.get_mut(Ref::<Word>::at(buffer.offset(8)).index(index)) = Word(word);
    }

    /// Where the receiver wants a capability.
    pub(crate) fn receive_into(&mut self, thread: Ref<Tcb>, root: u64, cptr: u64) {
        let buffer = self.kernel.get(thread).ipc_buffer;
        for (index, word) in [root, cptr, 64].into_iter().enumerate() {
            *self.kernel.get_mut(Ref::<Word>::at(buffer.offset(1000)).index(index as u64)) =
                Word(word);
        }
    }

    pub(crate) fn received_badge_word(&mut self, thread: Ref<Tcb>, index: u64) -> u64 {
        let buffer = self.kernel.get(thread).ipc_buffer;
        self.kernel.get(Ref::<Word>::at(buffer.offset(976)).index(index)).0
    }

    #[track_caller]
    pub(crate) fn call(&mut self, thread: Ref<Tcb>, cptr: u64, label: u64, words: &[u64]) -> Next {
        self.prepare(thread, label, words, &[]);
        self.registers(thread).rdi = cptr;
        self.syscall(thread, Syscall::Call)
    }

    #[track_caller]
    pub(crate) fn send(&mut self, thread: Ref<Tcb>, cptr: u64, label: u64, words: &[u64]) -> Next {
        self.prepare(thread, label, words, &[]);
        self.registers(thread).rdi = cptr;
        self.syscall(thread, Syscall::Send)
    }

    #[track_caller]
    pub(crate) fn receive(&mut self, thread: Ref<Tcb>, cptr: u64, reply: u64) -> Next {
        self.registers(thread).rdi = cptr;
        self.registers(thread).r12 = reply;
        self.syscall(thread, Syscall::Recv)
    }

    #[track_caller]
    pub(crate) fn wait(&mut self, thread: Ref<Tcb>, cptr: u64) -> Next {
        self.registers(thread).rdi = cptr;
        self.syscall(thread, Syscall::Wait)
    }

    #[track_caller]
    pub(crate) fn reply_receive(
        &mut self,
        thread: Ref<Tcb>,
        cptr: u64,
        reply: u64,
        label: u64,
        words: &[u64],
    ) -> Next {
        self.prepare(thread, label, words, &[]);
        self.registers(thread).rdi = cptr;
        self.registers(thread).r12 = reply;
        self.syscall(thread, Syscall::ReplyRecv)
    }

    /// Invokes an object from the running thread, with `Call`: the reply's label and words.
    #[track_caller]
    pub(crate) fn invoke(
        &mut self,
        thread: Ref<Tcb>,
        cptr: u64,
        label: Label,
        words: &[u64],
        caps: &[u64],
    ) -> Received {
        self.prepare(thread, label.number(), words, caps);
        self.registers(thread).rdi = cptr;
        self.syscall(thread, Syscall::Call);
        self.received(thread)
    }

    pub(crate) fn received(&mut self, thread: Ref<Tcb>) -> Received {
        let context = *self.registers(thread);
        let info = MessageInfo(context.rsi);
        Received {
            badge: context.rdi,
            label: info.label(),
            length: info.length(),
            words: [context.r10, context.r8, context.r9, context.r15],
        }
    }

    /// The first `count` words that a thread received.
    pub(crate) fn words(&self, thread: Ref<Tcb>, count: usize) -> Vec<u64> {
        (0..count).map(|index| self.kernel.message_word(thread, index).unwrap()).collect()
    }

    /// The scheduling context that a thread runs on.
    pub(crate) fn time_of(&self, thread: Ref<Tcb>) -> Link<SchedContext> {
        self.kernel.get(thread).sched_context
    }
}

/// The object that a capability is for, where several capabilities may be for one object.
fn object_of(cap: Cap) -> Option<u64> {
    match cap {
        Cap::Endpoint { object, .. } => Some(object.address().0),
        Cap::Notification { object, .. } => Some(object.address().0),
        Cap::Reply { object, .. } => Some(object.address().0),
        Cap::Thread { object } => Some(object.address().0),
        Cap::SchedContext { object, .. } => Some(object.address().0),
        Cap::CNode { object, .. } => Some(object.address().0),
        _ => None,
    }
}

/// An interrupt that nobody handles.
pub(crate) const SPARE_VECTOR: u8 = 100;

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
