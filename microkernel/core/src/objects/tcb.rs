//! Threads (manual, chapter 6): their memory, and what happens to them as a whole.

mod invocations;

use crate::objects::{Endpoint, Neighbours, Notification, Queue, Reply, SchedContext};
use crate::scheduler::Place;
use crate::{Kernel, Link, Machine, PhysAddr, Ref, Slot, Ticks};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The slots at the start of a TCB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum TcbSlot {
    /// Root CNode of the capability space.
    CSpace = 0,
    /// Page-table root.
    VSpace = 1,
    /// Frame of the IPC buffer.
    IpcBuffer = 2,
    /// Endpoint that receives faults.
    FaultHandler = 3,
    /// Endpoint that receives timeouts.
    TimeoutHandler = 4,
}

/// What a thread's registers were when it last left user mode; entry code writes it, exit code
/// loads it, by these offsets.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[expect(missing_docs, reason = "each is the register's name")]
pub struct Context {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    /// The instruction that entered the kernel: where a restart goes on, what faults report. Stored by
    /// entries other than SYSCALL's.
    pub fault_ip: u64,
    /// How the thread entered, so how it may be left: 0 through SYSCALL (RCX and R11 are free to
    /// clobber and not stored, SYSRET serves), 1 through an interrupt or exception (IRETQ, every
    /// register kept). Whoever writes registers of a thread completes them and sets it to 1.
    pub full_frame: u64,
    /// The instruction to go on with.
    pub rip: u64,
    /// Code segment slot of the IRETQ frame (the exit code fills it).
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    /// Stack segment slot of the IRETQ frame (the exit code fills it).
    pub ss: u64,
}

/// FXSAVE area.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(16))]
pub struct FpuState(pub [u8; 512]);

impl FpuState {
    /// Makes of zeroes what FNINIT and LDMXCSR 0x1f80 leave.
    const fn init(&mut self) {
        [self.0[0], self.0[1]] = [0x7f, 0x03];
        [self.0[24], self.0[25]] = [0x80, 0x1f];
    }
}

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub struct ThreadState(u64);

impl ThreadState {
    /// Not started, suspended, or stopped by a fault that nobody handles.
    pub const INACTIVE: Self = Self(0);
    /// Runs in user mode when it is scheduled.
    pub const RUNNING: Self = Self(1);
    /// Executes the instruction that entered the kernel once more when it is scheduled.
    pub const RESTART: Self = Self(2);
    /// Waits in an endpoint's queue for a message.
    pub const BLOCKED_ON_RECEIVE: Self = Self(3);
    /// Waits in an endpoint's queue for a receiver, of its message or of its fault.
    pub const BLOCKED_ON_SEND: Self = Self(4);
    /// Waits for an answer through its reply object.
    pub const BLOCKED_ON_REPLY: Self = Self(5);
    /// Waits in a notification's queue for a signal.
    pub const BLOCKED_ON_NOTIFICATION: Self = Self(6);

    /// Whether it would run, given time.
    #[must_use]
    pub const fn is_runnable(self) -> bool {
        self.0 == Self::RUNNING.0 || self.0 == Self::RESTART.0
    }

    /// Whether it waits for another thread.
    #[must_use]
    pub const fn is_blocked(self) -> bool {
        self.0 >= Self::BLOCKED_ON_RECEIVE.0
    }
}

/// Which of the scheduler's queues a thread is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub struct Queued(u8);

impl Queued {
    /// Neither: it runs, or it may not.
    pub const NOWHERE: Self = Self(0);
    /// The ready queue of its priority.
    pub const READY: Self = Self(1);
    /// The release queue: its scheduling context has no budget before a later time.
    pub const RELEASE: Self = Self(2);
}

/// A blocked sender's message: what the endpoint capability that it used had to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct SendTerms {
    /// The capability's badge.
    pub(crate) badge: u64,
    /// The capability's rights, as a word.
    pub(crate) rights: u64,
    /// Whether the sender then waits for a reply (1) or not (0).
    pub(crate) is_call: u64,
}

/// A fault whose message has not been answered, as it is stored; [`crate::fault`] knows its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
pub struct FaultRecord {
    /// The fault's label; 0 is none.
    pub(crate) label: u64,
    /// What it tells beyond registers, by label.
    pub(crate) words: [u64; 6],
}

/// Bytes of a thread's name.
pub(crate) const NAME_LENGTH: usize = 32;

/// A thread control block.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Tcb {
    /// Its capabilities, by [`TcbSlot`].
    pub(crate) slots: [Slot; 5],
    /// Its registers.
    pub context: Context,
    /// Its name, for people; zero bytes fill up.
    pub(crate) name: [u8; NAME_LENGTH],
    /// Its FPU registers while they are not loaded.
    pub fpu: FpuState,
    /// TCB flags (`TCB_FLAG_FPU_DISABLED`).
    pub flags: u64,
    /// What it is doing.
    pub(crate) state: ThreadState,
    /// The endpoint or notification whose queue it is in, by state.
    pub(crate) blocked_on: PhysAddr,
    /// What it sends, while it is blocked on sending.
    pub(crate) sending: SendTerms,
    /// While receiving: the reply object that it offers. While waiting for a reply: the one that holds it.
    pub(crate) reply: Link<Reply>,
    /// The time it runs on.
    pub(crate) sched_context: Link<SchedContext>,
    /// The notification whose signals reach it while it receives.
    pub(crate) notification: Link<Notification>,
    /// The scheduling context whose thread it has yielded to, until it runs again.
    pub(crate) yield_to: Link<SchedContext>,
    /// Where its IPC buffer is, while its slot holds the frame's capability; 0 is none.
    pub(crate) ipc_buffer: PhysAddr,
    /// 1 if the buffer may be written by the kernel on the thread's behalf.
    pub(crate) ipc_buffer_writable: u64,
    /// Its neighbours in the ready or release queue.
    pub(crate) scheduled: Neighbours,
    /// In the release queue: until when.
    pub(crate) release_time: Ticks,
    /// Its neighbours in an endpoint's or notification's queue.
    pub(crate) waiting: Neighbours,
    /// The fault it has not recovered from.
    pub(crate) fault: FaultRecord,
    /// Its priority.
    pub(crate) priority: u8,
    /// The highest priority that it may give (maximum controlled priority).
    pub(crate) mcp: u8,
    /// Its scheduling domain.
    pub(crate) domain: u8,
    /// Which of the scheduler's queues it is in.
    pub(crate) queued: Queued,
    pub(crate) unused: [u8; 12],
    /// The page-table root of its VSpace capability (without one: the kernel's), while `space_epoch` is
    /// the kernel instance's.
    pub(crate) space_root: PhysAddr,
    /// When the root was looked up.
    pub(crate) space_epoch: u64,
}

const _: () = assert!(size_of::<Tcb>() <= 1 << d3os_abi::size_bits::TCB);
const _: () = assert!(core::mem::offset_of!(Tcb, fpu) % 16 == 0);

impl<M: Machine> Kernel<M> {
    /// Initialises a new thread, whose memory is zero: inactive, of the lowest priority.
    pub(crate) fn init_thread(&mut self, thread: Ref<Tcb>) {
        let tcb = self.get_mut(thread);
        tcb.context.init();
        tcb.fpu.init();
    }

    /// Changes a thread's priority, and its place in the queue that it is in.
    pub(crate) fn set_priority(&mut self, thread: Ref<Tcb>, priority: u8) {
        match self.get(thread).state {
            ThreadState::RUNNING | ThreadState::RESTART
                if self.get(thread).queued == Queued::READY
                    || self.scheduler.current == Link::to(thread) =>
            {
                self.dequeue(thread);
                self.get_mut(thread).priority = priority;
                self.make_ready(thread, Place::First);
                self.reschedule();
            }
            ThreadState::BLOCKED_ON_SEND | ThreadState::BLOCKED_ON_RECEIVE => {
                let endpoint: Ref<Endpoint> = Ref::at(self.get(thread).blocked_on);
                let (kind, queue) = self.get(endpoint).queue();
                let queue = self.reinsert_waiting(queue, thread, priority);
                self.get_mut(endpoint).set_queue(kind, queue);
            }
            ThreadState::BLOCKED_ON_NOTIFICATION => {
                let notification: Ref<Notification> = Ref::at(self.get(thread).blocked_on);
                let queue = self.get(notification).waiting;
                let queue = self.reinsert_waiting(queue, thread, priority);
                self.get_mut(notification).waiting = queue;
            }
            _ => self.get_mut(thread).priority = priority,
        }
    }

    fn reinsert_waiting(&mut self, queue: Queue, thread: Ref<Tcb>, priority: u8) -> Queue {
        let queue = self.remove_waiting(queue, thread);
        self.get_mut(thread).priority = priority;
        self.insert_waiting(queue, thread)
    }

    /// Stops a thread, whatever it does.
    pub(crate) fn suspend(&mut self, thread: Ref<Tcb>) {
        self.cancel_ipc(thread);
        self.cancel_yield(thread);
        let tcb = self.get_mut(thread);
        tcb.keep_position();
        tcb.state = ThreadState::INACTIVE;
        self.dequeue(thread);
    }

    /// Lets a thread that does not run go on at the instruction that entered the kernel.
    pub(crate) fn resume(&mut self, thread: Ref<Tcb>) {
        if self.get(thread).state.is_runnable() {
            return;
        }
        self.cancel_ipc(thread);
        self.get_mut(thread).state = ThreadState::RESTART;
        self.wake_with_refills(thread);
    }

    /// The thread is going away: it stops, and lets go of what it is bound to. Its slots are left
    /// for the zombie that its capability becomes.
    pub(crate) fn finalise_thread(&mut self, thread: Ref<Tcb>) {
        self.unbind_notification(thread);
        if let Some(context) = self.get(thread).sched_context.get() {
            self.take_from_thread(context);
        }
        self.suspend(thread);
        self.machine.release_fpu(thread);
    }
}

impl Tcb {
    /// Remembers where a thread that is about to go on in user mode would, for its next restart.
    pub(crate) fn keep_position(&mut self) {
        if self.state == ThreadState::RUNNING {
            self.context.complete();
            self.context.fault_ip = self.context.rip;
        }
    }

    /// Brings the thread to where it goes on in user mode.
    #[inline]
    pub(crate) fn resume(&mut self) {
        if self.state == ThreadState::RESTART {
            self.context.rip = self.context.instruction();
            self.state = ThreadState::RUNNING;
        }
    }

    /// Lets the thread go on where its written registers say.
    fn take_position(&mut self) {
        self.context.complete();
        self.context.rip = self.context.fault_ip;
    }
}
