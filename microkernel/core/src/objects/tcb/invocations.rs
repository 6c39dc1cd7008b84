//! What a thread can be asked to do.

use super::{Tcb, TcbSlot};
use crate::objects::{Notification, SchedContext};
use crate::{
    Answer, Cap, Decoded, Invocation, Kernel, Link, Machine, Outcome, PhysAddr, Preempted, Ref,
    Slot, SyscallError, ensure, ensure_range,
};
use d3os_abi::{CapRights, Label, REGISTERS, TCB_FLAG_FPU_DISABLED};

/// A capability to be put into one of a thread's slots, and where it comes from. Null empties it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewCap {
    cap: Cap,
    source: Ref<Slot>,
}

/// A new CSpace and VSpace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewSpace {
    cspace: NewCap,
    vspace: NewCap,
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

/// What `TCB_SetSchedParams` is to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SchedParams {
    mcp: u8,
    priority: u8,
    context: Option<Ref<SchedContext>>,
    fault_handler: NewCap,
}

/// A decoded invocation of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcbRequest {
    ReadRegisters { suspend: bool, count: usize },
    WriteRegisters { resume: bool, count: usize },
    CopyRegisters(CopyPlan),
    Configure { space: NewSpace, buffer: NewBuffer },
    SetSpace { fault_handler: NewCap, space: NewSpace },
    SetPriority(u8),
    SetMcPriority(u8),
    SetSchedParams(SchedParams),
    SetTimeoutEndpoint(NewCap),
    SetIpcBuffer(NewBuffer),
    Suspend,
    Resume,
    BindNotification(Ref<Notification>),
    UnbindNotification,
    SetTlsBase(u64),
    SetFlags { clear: u64, set: u64 },
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

/// Words before the registers in a `WriteRegisters` message.
const WRITE_REGISTERS_HEAD: usize = 2;

/// Decoding.
impl<M: Machine> Kernel<M> {
    /// Decodes an invocation of `thread`.
    pub(crate) fn decode_tcb(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        Ok(match inv.label()? {
            Label::TcbReadRegisters => self.decode_read_registers(inv, thread)?,
            Label::TcbWriteRegisters => self.decode_write_registers(inv, thread)?,
            Label::TcbCopyRegisters => self.decode_copy_registers(inv)?,
            Label::TcbConfigure => self.decode_configure(inv, thread)?,
            Label::TcbSetPriority => TcbRequest::SetPriority(self.decode_priority(inv, 0)?),
            Label::TcbSetMcPriority => TcbRequest::SetMcPriority(self.decode_priority(inv, 0)?),
            Label::TcbSetSchedParams => self.decode_sched_params(inv, thread)?,
            Label::TcbSetTimeoutEndpoint => {
                TcbRequest::SetTimeoutEndpoint(self.decode_handler(inv, 0)?)
            }
            Label::TcbSetIpcBuffer => {
                TcbRequest::SetIpcBuffer(self.decode_buffer(inv, 0, self.argument(inv, 0)?)?)
            }
            Label::TcbSetSpace => self.decode_set_space(inv, thread)?,
            Label::TcbSuspend => TcbRequest::Suspend,
            Label::TcbResume => TcbRequest::Resume,
            Label::TcbBindNotification => self.decode_bind_notification(inv, thread)?,
            Label::TcbUnbindNotification if !self.get(thread).notification.is_none() => {
                TcbRequest::UnbindNotification
            }
            Label::TcbSetTlsBase => TcbRequest::SetTlsBase(self.argument(inv, 0)?),
            Label::TcbSetFlags => {
                let [clear, set] = self.arguments(inv, 0)?;
                TcbRequest::SetFlags { clear, set }
            }
            _ => return Err(SyscallError::IllegalOperation),
        })
    }

    fn decode_read_registers(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        let [flags, count] = self.arguments(inv, 0)?;
        ensure_range(count, 1, REGISTERS as u64)?;
        self.ensure_not_current(thread)?;
        let suspend = flags & flag::SUSPEND_SOURCE != 0;
        Ok(TcbRequest::ReadRegisters { suspend, count: register_count(count) })
    }

    fn decode_write_registers(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        let [flags, count] = self.arguments(inv, 0)?;
        let sent = (inv.length - WRITE_REGISTERS_HEAD) as u64;
        ensure(count <= sent, SyscallError::TruncatedMessage)?;
        self.ensure_not_current(thread)?;
        let resume = flags & flag::RESUME_TARGET != 0;
        Ok(TcbRequest::WriteRegisters { resume, count: register_count(count) })
    }

    fn ensure_not_current(&self, thread: Ref<Tcb>) -> Decoded<()> {
        ensure(self.scheduler.current != Link::to(thread), SyscallError::IllegalOperation)
    }

    fn decode_copy_registers(&self, inv: &Invocation) -> Decoded<TcbRequest> {
        let flags = self.argument(inv, 0)?;
        Ok(TcbRequest::CopyRegisters(CopyPlan {
            source: self.extra_thread(inv, 0)?,
            suspend_source: flags & flag::SUSPEND_SOURCE != 0,
            resume_target: flags & flag::COPY_RESUME_TARGET != 0,
            frame: flags & flag::TRANSFER_FRAME != 0,
            integer: flags & flag::TRANSFER_INTEGER != 0,
        }))
    }

    fn decode_configure(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        let address = self.argument(inv, 2)?;
        let buffer = self.decode_buffer(inv, 2, address)?;
        Ok(TcbRequest::Configure { space: self.decode_space(inv, thread, 0)?, buffer })
    }

    fn decode_set_space(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        self.argument(inv, 1)?;
        self.extra_cap(inv, 2)?;
        let space = self.decode_space(inv, thread, 1)?;
        Ok(TcbRequest::SetSpace { fault_handler: self.decode_handler(inv, 0)?, space })
    }

    /// The new CSpace and VSpace: extra capabilities from `first` on, and words 0 and 1.
    fn decode_space(&self, inv: &Invocation, thread: Ref<Tcb>, first: usize) -> Decoded<NewSpace> {
        self.ensure_settled(Self::tcb_slot(thread, TcbSlot::CSpace))?;
        self.ensure_settled(Self::tcb_slot(thread, TcbSlot::VSpace))?;
        let (source, cap) = self.extra_cap(inv, first)?;
        let cap = self.derive_cap(source, with_guard(cap, self.argument(inv, 0)?))?;
        ensure(matches!(cap, Cap::CNode { .. }), SyscallError::IllegalOperation)?;
        let cspace = NewCap { cap, source };
        let (source, cap) = self.extra_cap(inv, first + 1)?;
        let cap = self.derive_cap(source, cap)?;
        ensure(self.vspace_root(cap).is_some(), SyscallError::IllegalOperation)?;
        Ok(NewSpace { cspace, vspace: NewCap { cap, source } })
    }

    /// Replacing the last capability of a CNode would delete all that is in it, which may take
    /// long; that has to be asked for by itself.
    fn ensure_settled(&self, slot: Ref<Slot>) -> Decoded<()> {
        let takes_long = match self.cap_at(slot) {
            Cap::Zombie { .. } => true,
            Cap::CNode { .. } => self.is_final(slot),
            _ => false,
        };
        ensure(!takes_long, SyscallError::IllegalOperation)
    }

    /// A fault or timeout handler: an endpoint that faults can be sent to and answered from, or
    /// none.
    fn decode_handler(&self, inv: &Invocation, index: usize) -> Decoded<NewCap> {
        let (source, cap) = self.extra_cap(inv, index)?;
        let valid = match cap {
            Cap::Null => true,
            Cap::Endpoint { rights, .. } => {
                let answers = CapRights::GRANT.or(CapRights::GRANT_REPLY);
                rights.contains(CapRights::WRITE) && rights.and(answers) != CapRights::NONE
            }
            _ => false,
        };
        ensure(valid, SyscallError::InvalidCapability(index as u64 + 1))?;
        Ok(NewCap { cap, source })
    }

    fn decode_buffer(&self, inv: &Invocation, index: usize, address: u64) -> Decoded<NewBuffer> {
        let (source, cap) = self.extra_cap(inv, index)?;
        if address == 0 {
            let frame = NewCap { cap: Cap::Null, source };
            return Ok(NewBuffer { frame, address: PhysAddr(0), writable: false });
        }
        let cap = self.derive_cap(source, cap)?;
        let (physical, rights) = self.check_ipc_buffer(cap, address)?;
        let address = if rights.read { physical } else { PhysAddr(0) };
        let writable = rights.read && rights.write;
        Ok(NewBuffer { frame: NewCap { cap, source }, address, writable })
    }

    /// A priority that the thread given as authority may give.
    fn decode_priority(&self, inv: &Invocation, index: usize) -> Decoded<u8> {
        let word = self.argument(inv, index)?;
        let mcp = self.get(self.extra_thread(inv, 0)?).mcp;
        let too_high = SyscallError::Range { min: 0, max: mcp.into() };
        u8::try_from(word).ok().filter(|priority| *priority <= mcp).ok_or(too_high)
    }

    fn decode_sched_params(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        self.argument(inv, 1)?;
        self.extra_cap(inv, 2)?;
        let (mcp, priority) = (self.decode_priority(inv, 0)?, self.decode_priority(inv, 1)?);
        let context = match self.extra_cap(inv, 1)?.1 {
            Cap::SchedContext { object, .. } => {
                ensure(self.get(object).thread.is_none(), SyscallError::IllegalOperation)?;
                self.check_bindable(object, thread)?;
                Some(object)
            }
            Cap::Null => {
                self.ensure_not_current(thread)?;
                None
            }
            _ => return Err(SyscallError::InvalidCapability(2)),
        };
        let fault_handler = self.decode_handler(inv, 2)?;
        Ok(TcbRequest::SetSchedParams(SchedParams { mcp, priority, context, fault_handler }))
    }

    fn decode_bind_notification(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<TcbRequest> {
        match self.extra_cap(inv, 0)?.1 {
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

fn register_count(count: u64) -> usize {
    usize::try_from(count).unwrap_or(REGISTERS).min(REGISTERS)
}

/// A CNode capability with the guard that the word tells (0: as it is); a guard that does not fit
/// leaves nothing.
fn with_guard(cap: Cap, word: u64) -> Cap {
    if word == 0 { cap } else { cap.moved_with_data(word).unwrap_or(Cap::Null) }
}

/// Carrying out.
impl<M: Machine> Kernel<M> {
    /// Carries out an invocation of `thread`.
    pub(crate) fn perform_tcb(
        &mut self,
        inv: &Invocation,
        thread: Ref<Tcb>,
        request: TcbRequest,
    ) -> Outcome {
        match request {
            TcbRequest::ReadRegisters { suspend, count } => {
                return Ok(self.read_registers(inv, thread, suspend, count));
            }
            TcbRequest::WriteRegisters { resume, count } => {
                self.write_registers(inv, thread, resume, count);
            }
            TcbRequest::CopyRegisters(plan) => self.copy_registers(thread, plan),
            TcbRequest::Configure { space, buffer } => {
                self.replace_space(inv, thread, space)?;
                self.replace_buffer(inv, thread, buffer)?;
            }
            TcbRequest::SetSpace { fault_handler, space } => {
                self.replace_cap(inv, thread, TcbSlot::FaultHandler, fault_handler)?;
                self.replace_space(inv, thread, space)?;
            }
            TcbRequest::SetPriority(priority) => self.set_priority(thread, priority),
            TcbRequest::SetMcPriority(mcp) => self.get_mut(thread).mcp = mcp,
            TcbRequest::SetSchedParams(SchedParams { mcp, priority, context, fault_handler }) => {
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
            TcbRequest::SetFlags { clear, set } => return Ok(self.set_flags(thread, clear, set)),
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
        let words: [u64; REGISTERS] = core::array::from_fn(|index| context.read_register(index));
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
        space: NewSpace,
    ) -> Result<(), Preempted> {
        self.replace_cap(inv, thread, TcbSlot::CSpace, space.cspace)?;
        self.replace_cap(inv, thread, TcbSlot::VSpace, space.vspace)?;
        self.get_mut(thread).space_epoch = 0;
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
}
