//! Threads (manual, chapter 6).

use crate::objects::{Endpoint, Notification, Reply, SchedContext, WaitQueue};
use crate::scheduler::Place;
use crate::{
    Answer, Cap, Decoded, Invocation, Kernel, KernelObject, Link, Machine, Outcome, PhysAddr,
    Preempted, Ref, Slot, SyscallError,
};
use d3os_abi::{CNodeCapData, CapRights, Label, REGISTERS, TCB_FLAG_FPU_DISABLED};
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
    /// The instruction that entered the kernel: where a restart goes on, what faults report.
    pub fault_ip: u64,
    /// How the thread entered, so how it may be left: 0 through SYSCALL (RCX and R11 are free to
    /// clobber, SYSRET serves), 1 through an interrupt or exception (IRETQ, every register kept).
    /// Whoever writes registers of a thread sets it to 1.
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
    /// As FNINIT and LDMXCSR 0x1f80 leave it.
    pub const INITIAL: Self = {
        let mut bytes = [0; 512];
        bytes[0] = 0x7f;
        bytes[1] = 0x03;
        bytes[24] = 0x80;
        bytes[25] = 0x1f;
        Self(bytes)
    };
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
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct SendTerms {
    /// The capability's badge.
    pub(crate) badge: u64,
    /// The capability's rights, as a word.
    pub(crate) rights: u64,
    /// Whether the sender then waits for a reply (1) or not (0).
    pub(crate) is_call: u64,
}

/// A fault whose message has not been answered, as it is stored; [`crate::fault`] knows its words.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
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
    /// The thread before it in the ready or release queue.
    pub(crate) schedule_prev: Link<Tcb>,
    /// The thread after it in the ready or release queue.
    pub(crate) schedule_next: Link<Tcb>,
    /// The thread before it in an endpoint's or notification's queue.
    pub(crate) wait_prev: Link<Tcb>,
    /// The thread after it in an endpoint's or notification's queue.
    pub(crate) wait_next: Link<Tcb>,
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
    pub(crate) unused: [u8; 4],
}

impl KernelObject for Tcb {}
const _: () = assert!(size_of::<Tcb>() <= 1 << d3os_abi::size_bits::TCB);
const _: () = assert!(core::mem::offset_of!(Tcb, fpu) % 16 == 0);

/// A capability to be put into one of a thread's slots, and where it comes from. Null empties it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewCap {
    cap: Cap,
    source: Ref<Slot>,
}

/// A new IPC buffer: its frame (Null: none) and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewBuffer {
    frame: NewCap,
    address: PhysAddr,
    writable: bool,
}

/// What `TCB_CopyRegisters` is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyPlan {
    source: Ref<Tcb>,
    suspend_source: bool,
    resume_target: bool,
    frame: bool,
    integer: bool,
}

/// A decoded invocation of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcbRequest {
    ReadRegisters {
        suspend: bool,
        count: usize,
    },
    WriteRegisters {
        resume: bool,
        count: usize,
    },
    CopyRegisters(CopyPlan),
    Configure {
        cspace: NewCap,
        vspace: NewCap,
        buffer: NewBuffer,
    },
    SetSpace {
        fault_handler: NewCap,
        cspace: NewCap,
        vspace: NewCap,
    },
    SetPriority(u8),
    SetMcPriority(u8),
    SetSchedParams {
        mcp: u8,
        priority: u8,
        context: Option<Ref<SchedContext>>,
        fault_handler: NewCap,
    },
    SetTimeoutEndpoint(NewCap),
    SetIpcBuffer(NewBuffer),
    Suspend,
    Resume,
    BindNotification(Ref<Notification>),
    UnbindNotification,
    SetTlsBase(u64),
    SetFlags {
        clear: u64,
        set: u64,
    },
}

/// Bits of the first word of the register methods.
mod flag {
    /// `ReadRegisters`, `CopyRegisters`: suspend the source.
    pub(super) const SUSPEND_SOURCE: u64 = 1;
    /// `WriteRegisters`: resume the target.
    pub(super) const RESUME_TARGET: u64 = 1;
    /// `CopyRegisters`: resume the target.
    pub(super) const COPY_RESUME_TARGET: u64 = 2;
    /// `CopyRegisters`: copy the frame registers.
    pub(super) const TRANSFER_FRAME: u64 = 4;
    /// `CopyRegisters`: copy the integer registers.
    pub(super) const TRANSFER_INTEGER: u64 = 8;
}

/// Decoding.
impl<M: Machine> Kernel<M> {
    /// Decodes an invocation of `thread`.
    pub(crate) fn decode_tcb(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        let Some(label) = Label::from_number(inv.label) else {
            return Err(SyscallError::IllegalOperation);
        };
        match label {
            Label::TcbReadRegisters => self.decode_read_registers(inv, thread),
            Label::TcbWriteRegisters => self.decode_write_registers(inv, thread),
            Label::TcbCopyRegisters => self.decode_copy_registers(inv),
            Label::TcbConfigure => self.decode_configure(inv, thread),
            Label::TcbSetPriority => Ok(TcbRequest::SetPriority(self.decode_priority(inv, 0)?)),
            Label::TcbSetMcPriority => Ok(TcbRequest::SetMcPriority(self.decode_priority(inv, 0)?)),
            Label::TcbSetSchedParams => self.decode_sched_params(inv, thread),
            Label::TcbSetTimeoutEndpoint => {
                Ok(TcbRequest::SetTimeoutEndpoint(self.decode_handler(inv, 0, 1)?))
            }
            Label::TcbSetIpcBuffer => {
                let address = self.argument(inv, 0)?;
                Ok(TcbRequest::SetIpcBuffer(self.decode_buffer(inv, 0, address)?))
            }
            Label::TcbSetSpace => self.decode_set_space(inv, thread),
            Label::TcbSuspend => Ok(TcbRequest::Suspend),
            Label::TcbResume => Ok(TcbRequest::Resume),
            Label::TcbBindNotification => self.decode_bind_notification(inv, thread),
            Label::TcbUnbindNotification if self.get(thread).notification.is_none() => {
                Err(SyscallError::IllegalOperation)
            }
            Label::TcbUnbindNotification => Ok(TcbRequest::UnbindNotification),
            Label::TcbSetTlsBase => Ok(TcbRequest::SetTlsBase(self.argument(inv, 0)?)),
            Label::TcbSetFlags => Ok(TcbRequest::SetFlags {
                clear: self.argument(inv, 0)?,
                set: self.argument(inv, 1)?,
            }),
            _ => Err(SyscallError::IllegalOperation),
        }
    }

    fn decode_read_registers(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        let (flags, count) = (self.argument(inv, 0)?, self.argument(inv, 1)?);
        if !(1..=REGISTERS as u64).contains(&count) {
            return Err(SyscallError::Range { min: 1, max: REGISTERS as u64 });
        }
        self.check_not_current(thread)?;
        let suspend = flags & flag::SUSPEND_SOURCE != 0;
        Ok(TcbRequest::ReadRegisters { suspend, count: register_count(count) })
    }

    fn decode_write_registers(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        let (flags, count) = (self.argument(inv, 0)?, self.argument(inv, 1)?);
        if count > inv.length as u64 - WRITE_REGISTERS_HEAD as u64 {
            return Err(SyscallError::TruncatedMessage);
        }
        self.check_not_current(thread)?;
        let resume = flags & flag::RESUME_TARGET != 0;
        Ok(TcbRequest::WriteRegisters { resume, count: register_count(count) })
    }

    fn check_not_current(&self, thread: Ref<Tcb>) -> Decoded<()> {
        let is_current = self.scheduler.current == Link::to(thread);
        if is_current { Err(SyscallError::IllegalOperation) } else { Ok(()) }
    }

    fn decode_copy_registers(&self, inv: &Invocation) -> Decoded<TcbRequest> {
        let flags = self.argument(inv, 0)?;
        let Cap::Thread { object: source } = self.extra_cap(inv, 0)?.1 else {
            return Err(SyscallError::InvalidCapability(1));
        };
        Ok(TcbRequest::CopyRegisters(CopyPlan {
            source,
            suspend_source: flags & flag::SUSPEND_SOURCE != 0,
            resume_target: flags & flag::COPY_RESUME_TARGET != 0,
            frame: flags & flag::TRANSFER_FRAME != 0,
            integer: flags & flag::TRANSFER_INTEGER != 0,
        }))
    }

    fn decode_configure(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        let address = self.argument(inv, 2)?;
        self.extra_cap(inv, 2)?;
        let buffer = self.decode_buffer(inv, 2, address)?;
        let (cspace, vspace) = self.decode_space(inv, thread, 0)?;
        Ok(TcbRequest::Configure { cspace, vspace, buffer })
    }

    fn decode_set_space(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        self.argument(inv, 1)?;
        self.extra_cap(inv, 2)?;
        let (cspace, vspace) = self.decode_space(inv, thread, 1)?;
        let fault_handler = self.decode_handler(inv, 0, 1)?;
        Ok(TcbRequest::SetSpace { fault_handler, cspace, vspace })
    }

    /// The new CSpace and VSpace: extra capabilities from `first` on, and words 0 and 1.
    fn decode_space(
        &self,
        inv: &Invocation,
        thread: Ref<Tcb>,
        first: usize,
    ) -> Decoded<(NewCap, NewCap)> {
        self.check_slot_settled(Self::tcb_slot(thread, TcbSlot::CSpace))?;
        self.check_slot_settled(Self::tcb_slot(thread, TcbSlot::VSpace))?;
        let (source, cap) = self.extra_cap(inv, first)?;
        let cap = self.derive_cap(source, with_guard(cap, self.argument(inv, 0)?))?;
        if !matches!(cap, Cap::CNode { .. }) {
            return Err(SyscallError::IllegalOperation);
        }
        let cspace = NewCap { cap, source };
        let (source, cap) = self.extra_cap(inv, first + 1)?;
        let cap = self.derive_cap(source, cap)?;
        if self.vspace_root(cap).is_none() {
            return Err(SyscallError::IllegalOperation);
        }
        Ok((cspace, NewCap { cap, source }))
    }

    /// Replacing the last capability of a CNode would delete all that is in it, which may take
    /// long; that has to be asked for by itself.
    fn check_slot_settled(&self, slot: Ref<Slot>) -> Decoded<()> {
        let long = match self.cap_at(slot) {
            Cap::Zombie { .. } => true,
            Cap::CNode { .. } => self.is_final(slot),
            _ => false,
        };
        if long { Err(SyscallError::IllegalOperation) } else { Ok(()) }
    }

    /// A fault or timeout handler: an endpoint that faults can be sent to and answered from, or
    /// none. `argument` is the number to name if it is not.
    fn decode_handler(&self, inv: &Invocation, index: usize, argument: u64) -> Decoded<NewCap> {
        let (source, cap) = self.extra_cap(inv, index)?;
        let valid = match cap {
            Cap::Null => true,
            Cap::Endpoint { rights, .. } => {
                rights.contains(CapRights::WRITE)
                    && (rights.contains(CapRights::GRANT)
                        || rights.contains(CapRights::GRANT_REPLY))
            }
            _ => false,
        };
        if !valid {
            return Err(SyscallError::InvalidCapability(argument));
        }
        Ok(NewCap { cap, source })
    }

    fn decode_buffer(&self, inv: &Invocation, index: usize, address: u64) -> Decoded<NewBuffer> {
        let (source, cap) = self.extra_cap(inv, index)?;
        if address == 0 {
            let frame = NewCap { cap: Cap::Null, source };
            return Ok(NewBuffer { frame, address: PhysAddr(0), writable: false });
        }
        let cap = self.derive_cap(source, cap)?;
        let physical = self.check_ipc_buffer(cap, address)?;
        let (readable, writable) = match cap {
            Cap::Frame { rights, .. } => (rights.read, rights.read && rights.write),
            _ => (false, false),
        };
        let address = if readable { physical } else { PhysAddr(0) };
        Ok(NewBuffer { frame: NewCap { cap, source }, address, writable })
    }

    /// A priority that the thread given as authority may give.
    fn decode_priority(&self, inv: &Invocation, index: usize) -> Decoded<u8> {
        let word = self.argument(inv, index)?;
        let Cap::Thread { object: authority } = self.extra_cap(inv, 0)?.1 else {
            return Err(SyscallError::InvalidCapability(1));
        };
        let mcp = self.get(authority).mcp;
        match u8::try_from(word) {
            Ok(priority) if priority <= mcp => Ok(priority),
            _ => Err(SyscallError::Range { min: 0, max: mcp.into() }),
        }
    }

    fn decode_sched_params(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        self.argument(inv, 1)?;
        self.extra_cap(inv, 2)?;
        let mcp = self.decode_priority(inv, 0)?;
        let priority = self.decode_priority(inv, 1)?;
        let context = match self.extra_cap(inv, 1)?.1 {
            Cap::SchedContext { object, .. } => {
                if !self.get(object).thread.is_none() {
                    return Err(SyscallError::IllegalOperation);
                }
                self.check_bindable(object, thread)?;
                Some(object)
            }
            Cap::Null => {
                self.check_not_current(thread)?;
                None
            }
            _ => return Err(SyscallError::InvalidCapability(2)),
        };
        let fault_handler = self.decode_handler(inv, 2, 3)?;
        Ok(TcbRequest::SetSchedParams { mcp, priority, context, fault_handler })
    }

    fn decode_bind_notification(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        let (_, cap) = self.extra_cap(inv, 0)?;
        match cap {
            Cap::Notification { object, rights, .. }
                if self.get(thread).notification.is_none()
                    && rights.contains(CapRights::READ)
                    && self.get(object).bound_thread.is_none()
                    && self.get(object).waiting.head.is_none() =>
            {
                Ok(TcbRequest::BindNotification(object))
            }
            _ => Err(SyscallError::IllegalOperation),
        }
    }
}

/// Words before the registers in a `WriteRegisters` message.
const WRITE_REGISTERS_HEAD: usize = 2;

fn register_count(count: u64) -> usize {
    usize::try_from(count).unwrap_or(REGISTERS).min(REGISTERS)
}

/// A CNode capability with the guard that the word tells (0: as it is). Other capabilities have no
/// guard; a guard that does not fit leaves nothing.
fn with_guard(cap: Cap, word: u64) -> Cap {
    let data = CNodeCapData(word);
    match cap {
        Cap::CNode { object, radix, .. } if word != 0 => {
            let guard_size = data.guard_size();
            if guard_size + radix > 64 {
                return Cap::Null;
            }
            let guard = data.guard() & ((1 << guard_size) - 1);
            Cap::CNode { object, radix, guard_size, guard }
        }
        _ => cap,
    }
}

/// Carrying out.
impl<M: Machine> Kernel<M> {
    /// Initialises a new thread, whose memory is zero: inactive, of the lowest priority.
    pub(crate) fn init_thread(&mut self, thread: Ref<Tcb>) {
        let tcb = self.get_mut(thread);
        tcb.context = Context::initial();
        tcb.fpu = FpuState::INITIAL;
    }

    /// Carries out an invocation of `thread`.
    pub(crate) fn perform_tcb(
        &mut self,
        inv: &Invocation,
        thread: Ref<Tcb>,
        request: TcbRequest,
    ) -> Outcome {
        match self.change_thread(inv, thread, request) {
            Ok(answer) => Ok(answer),
            Err(Preempted) => Err(Preempted),
        }
    }

    fn change_thread(
        &mut self,
        inv: &Invocation,
        thread: Ref<Tcb>,
        request: TcbRequest,
    ) -> Result<Answer, Preempted> {
        match request {
            TcbRequest::ReadRegisters { suspend, count } => {
                return Ok(self.read_registers(inv, thread, suspend, count));
            }
            TcbRequest::WriteRegisters { resume, count } => {
                self.write_registers(inv, thread, resume, count);
            }
            TcbRequest::CopyRegisters(plan) => self.copy_registers(thread, plan),
            TcbRequest::Configure { cspace, vspace, buffer } => {
                self.replace_space(inv, thread, cspace, vspace)?;
                self.replace_buffer(inv, thread, buffer)?;
            }
            TcbRequest::SetSpace { fault_handler, cspace, vspace } => {
                self.replace_cap(inv, thread, TcbSlot::FaultHandler, fault_handler)?;
                self.replace_space(inv, thread, cspace, vspace)?;
            }
            TcbRequest::SetPriority(priority) => self.set_priority(thread, priority),
            TcbRequest::SetMcPriority(mcp) => self.get_mut(thread).mcp = mcp,
            TcbRequest::SetSchedParams { mcp, priority, context, fault_handler } => {
                self.replace_cap(inv, thread, TcbSlot::FaultHandler, fault_handler)?;
                self.get_mut(thread).mcp = mcp;
                self.set_priority(thread, priority);
                self.replace_sched_context(thread, context);
            }
            TcbRequest::SetTimeoutEndpoint(handler) => {
                self.replace_cap(inv, thread, TcbSlot::TimeoutHandler, handler)?;
            }
            TcbRequest::SetIpcBuffer(buffer) => self.replace_buffer(inv, thread, buffer)?,
            TcbRequest::Suspend => self.suspend(thread),
            TcbRequest::Resume => self.resume(thread),
            TcbRequest::BindNotification(notification) => {
                self.get_mut(thread).notification = Link::to(notification);
                self.get_mut(notification).bound_thread = Link::to(thread);
            }
            TcbRequest::UnbindNotification => self.unbind_notification(thread),
            TcbRequest::SetTlsBase(base) => self.get_mut(thread).context.set_fs_base(base),
            TcbRequest::SetFlags { clear, set } => {
                return Ok(self.set_flags(thread, clear, set));
            }
        }
        Ok(Answer::Empty)
    }

    fn read_registers(
        &mut self,
        inv: &Invocation,
        thread: Ref<Tcb>,
        suspend: bool,
        count: usize,
    ) -> Answer {
        if suspend {
            self.suspend(thread);
        }
        let context = self.get(thread).context;
        let mut words = [0; REGISTERS];
        for (index, word) in words.iter_mut().enumerate() {
            *word = context.read_register(index);
        }
        Answer::Written(self.set_message_words(inv.thread, &words[..count]))
    }

    fn write_registers(&mut self, inv: &Invocation, thread: Ref<Tcb>, resume: bool, count: usize) {
        for index in 0..count {
            if let Some(word) = self.message_word(inv.thread, WRITE_REGISTERS_HEAD + index) {
                self.get_mut(thread).context.write_register(index, word);
            }
        }
        self.get_mut(thread).take_position();
        if resume {
            self.resume(thread);
        }
    }

    fn copy_registers(&mut self, thread: Ref<Tcb>, plan: CopyPlan) {
        if plan.suspend_source {
            self.suspend(plan.source);
        }
        if plan.resume_target {
            self.resume(thread);
        }
        let from = self.get(plan.source).context;
        let tcb = self.get_mut(thread);
        if plan.frame {
            tcb.context.copy_frame(&from);
            tcb.take_position();
        }
        if plan.integer {
            tcb.context.copy_integer(&from);
        }
    }

    /// Replaces a capability of a thread. Deleting the old one may take the new one, or the thread,
    /// along: then there is nothing to put there.
    fn replace_cap(
        &mut self,
        inv: &Invocation,
        thread: Ref<Tcb>,
        place: TcbSlot,
        new: NewCap,
    ) -> Result<(), Preempted> {
        let slot = Self::tcb_slot(thread, place);
        let offered = self.get(new.source).raw;
        self.delete(slot)?;
        let still_there = self.get(new.source).raw == offered
            && matches!(self.cap_at(inv.slot), Cap::Thread { object } if object == thread);
        if still_there && new.cap != Cap::Null {
            self.insert_derived(slot, new.cap, new.source);
        }
        Ok(())
    }

    fn replace_space(
        &mut self,
        inv: &Invocation,
        thread: Ref<Tcb>,
        cspace: NewCap,
        vspace: NewCap,
    ) -> Result<(), Preempted> {
        self.replace_cap(inv, thread, TcbSlot::CSpace, cspace)?;
        self.replace_cap(inv, thread, TcbSlot::VSpace, vspace)?;
        if self.scheduler.current == Link::to(thread) {
            self.load_address_space(thread);
        }
        Ok(())
    }

    fn replace_buffer(
        &mut self,
        inv: &Invocation,
        thread: Ref<Tcb>,
        buffer: NewBuffer,
    ) -> Result<(), Preempted> {
        self.replace_cap(inv, thread, TcbSlot::IpcBuffer, buffer.frame)?;
        let tcb = self.get_mut(thread);
        tcb.ipc_buffer = buffer.address;
        tcb.ipc_buffer_writable = u64::from(buffer.writable);
        Ok(())
    }

    fn replace_sched_context(&mut self, thread: Ref<Tcb>, new: Option<Ref<SchedContext>>) {
        match (new, self.get(thread).sched_context.get()) {
            (Some(new), None) => self.bind_thread(new, thread),
            (None, Some(old)) => self.take_from_thread(old),
            _ => {}
        }
    }

    fn set_flags(&mut self, thread: Ref<Tcb>, clear: u64, set: u64) -> Answer {
        let tcb = self.get_mut(thread);
        let flags = (tcb.flags & !clear) | (set & TCB_FLAG_FPU_DISABLED);
        tcb.flags = flags;
        if flags & TCB_FLAG_FPU_DISABLED != 0 {
            self.machine.save_fpu(thread);
            self.machine.release_fpu(thread);
        }
        Answer::Word(flags)
    }

    /// Changes a thread's priority, and its place in the queue that it is in.
    pub(crate) fn set_priority(&mut self, thread: Ref<Tcb>, priority: u8) {
        match self.get(thread).state {
            ThreadState::RUNNING | ThreadState::RESTART => {
                let was_ready = self.get(thread).queued == Queued::READY;
                let is_current = self.scheduler.current == Link::to(thread);
                if was_ready || is_current {
                    self.dequeue(thread);
                    self.get_mut(thread).priority = priority;
                    self.make_ready(thread, Place::First);
                    self.reschedule();
                } else {
                    self.get_mut(thread).priority = priority;
                }
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

    fn reinsert_waiting(&mut self, queue: WaitQueue, thread: Ref<Tcb>, priority: u8) -> WaitQueue {
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
            self.context.fault_ip = self.context.rip;
        }
    }

    /// Lets the thread go on where its written registers say.
    fn take_position(&mut self) {
        self.context.rip = self.context.fault_ip;
    }
}
