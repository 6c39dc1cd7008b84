//! What a thread can be asked to do.

use super::{Tcb, TcbSlot};
use crate::cap::{RawCap, tag};
use crate::objects::{SchedContext, check_ipc_buffer};
use crate::{
    Answer, Cap, Decoded, Invocation, Kernel, Link, Machine, Outcome, PhysAddr, Preempted, Ref,
    Slot, SyscallError, ensure, ensure_range,
};
use d3os_abi::{CapRights, FRAME_REGISTERS, Label, REGISTERS, TCB_FLAG_FPU_DISABLED};

/// A capability to be put into one of a thread's slots, and where it comes from. Null empties it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewCap {
    cap: RawCap,
    source: Ref<Slot>,
}

/// What is to become of a thread; `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    handler: Option<(TcbSlot, NewCap)>,
    /// CSpace and VSpace.
    space: Option<[NewCap; 2]>,
    /// The IPC buffer's frame (null: none), and where the buffer lies.
    buffer: Option<(NewCap, PhysAddr)>,
    mcp: Option<u8>,
    priority: Option<u8>,
    /// The scheduling context to run on, or none.
    context: Option<Option<Ref<SchedContext>>>,
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

impl<M: Machine> Kernel<M> {
    /// Does what `thread` is asked to do.
    pub(crate) fn invoke_tcb(&mut self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<Outcome> {
        let none = Change::default();
        let change = match inv.label()? {
            Label::TcbConfigure => {
                let buffer = Some(self.decode_buffer(inv, 2, self.argument(inv, 2)?)?);
                let space = Some(self.decode_space(inv, thread, 0)?);
                Change { space, buffer, ..none }
            }
            Label::TcbSetPriority => {
                Change { priority: Some(self.decode_priority(inv, 0)?), ..none }
            }
            Label::TcbSetMcPriority => Change { mcp: Some(self.decode_priority(inv, 0)?), ..none },
            Label::TcbSetSchedParams => self.decode_sched_params(inv, thread)?,
            Label::TcbSetTimeoutEndpoint => {
                let handler = Some((TcbSlot::TimeoutHandler, self.decode_handler(inv, 0)?));
                Change { handler, ..none }
            }
            Label::TcbSetIpcBuffer => {
                let buffer = Some(self.decode_buffer(inv, 0, self.argument(inv, 0)?)?);
                Change { buffer, ..none }
            }
            Label::TcbSetSpace => {
                self.argument(inv, 1)?;
                self.extra_cap(inv, 2)?;
                let space = Some(self.decode_space(inv, thread, 1)?);
                let handler = Some((TcbSlot::FaultHandler, self.decode_handler(inv, 0)?));
                Change { handler, space, ..none }
            }
            label => return self.invoke_tcb_at_once(label, inv, thread).map(Ok),
        };
        Ok(self.change(inv, thread, change).map(|()| Answer::Empty))
    }

    /// As [`Kernel::invoke_tcb`], where nothing has to be deleted for it.
    fn invoke_tcb_at_once(
        &mut self,
        label: Label,
        inv: &Invocation,
        thread: Ref<Tcb>,
    ) -> Decoded<Answer> {
        match label {
            Label::TcbReadRegisters => return self.read_registers(inv, thread),
            Label::TcbWriteRegisters => self.write_registers(inv, thread)?,
            Label::TcbCopyRegisters => self.copy_registers(inv, thread)?,
            Label::TcbSuspend => self.suspend(thread),
            Label::TcbResume => self.resume(thread),
            Label::TcbBindNotification => self.bind_notification(inv, thread)?,
            Label::TcbUnbindNotification if !self.get(thread).notification.is_none() => {
                self.unbind_notification(thread);
            }
            Label::TcbSetTlsBase => self.set_tls_base(thread, self.argument(inv, 0)?),
            Label::TcbSetFlags => return self.set_flags(inv, thread),
            _ => return Err(SyscallError::IllegalOperation),
        }
        Ok(Answer::Empty)
    }

    fn ensure_not_current(&self, thread: Ref<Tcb>) -> Decoded<()> {
        ensure(self.scheduler.current != Link::to(thread), SyscallError::IllegalOperation)
    }

    /// The new CSpace and VSpace: extra capabilities from `first` on, and words 0 and 1.
    fn decode_space(
        &self,
        inv: &Invocation,
        thread: Ref<Tcb>,
        first: usize,
    ) -> Decoded<[NewCap; 2]> {
        self.ensure_settled(Self::tcb_slot(thread, TcbSlot::CSpace))?;
        self.ensure_settled(Self::tcb_slot(thread, TcbSlot::VSpace))?;
        let source = self.extra_slot(inv, first)?;
        let cap = with_guard(self.get(source).raw, self.argument(inv, 0)?);
        let cspace = NewCap { cap: self.derive_cap(source, cap)?, source };
        ensure(cspace.cap.as_cnode().is_some(), SyscallError::IllegalOperation)?;
        let source = self.extra_slot(inv, first + 1)?;
        let vspace = NewCap { cap: self.derive_cap(source, self.get(source).raw)?, source };
        ensure(self.vspace_root(vspace.cap).is_some(), SyscallError::IllegalOperation)?;
        Ok([cspace, vspace])
    }

    /// Replacing the last capability of a CNode would delete all that is in it, which may take
    /// long; that has to be asked for by itself.
    fn ensure_settled(&self, slot: Ref<Slot>) -> Decoded<()> {
        let kind = self.get(slot).raw.tag();
        let takes_long = kind == tag::ZOMBIE || kind == tag::CNODE && self.is_final(slot);
        ensure(!takes_long, SyscallError::IllegalOperation)
    }

    /// A fault or timeout handler: an endpoint that faults can be sent to and answered from, or
    /// none.
    fn decode_handler(&self, inv: &Invocation, index: usize) -> Decoded<NewCap> {
        let source = self.extra_slot(inv, index)?;
        let cap = self.get(source).raw;
        let answers = CapRights::GRANT.or(CapRights::GRANT_REPLY);
        let valid = cap.is_null()
            || cap.as_endpoint().is_some_and(|(_, _, rights)| {
                rights.contains(CapRights::WRITE) && rights.and(answers) != CapRights::NONE
            });
        ensure(valid, SyscallError::InvalidCapability(index as u64 + 1))?;
        Ok(NewCap { cap, source })
    }

    fn decode_buffer(
        &self,
        inv: &Invocation,
        index: usize,
        address: u64,
    ) -> Decoded<(NewCap, PhysAddr)> {
        let source = self.extra_slot(inv, index)?;
        if address == 0 {
            return Ok((NewCap { cap: RawCap::NULL, source }, PhysAddr(0)));
        }
        let cap = self.derive_cap(source, self.get(source).raw)?;
        Ok((NewCap { cap, source }, check_ipc_buffer(cap, address)?))
    }

    /// A priority that the thread given as authority may give.
    fn decode_priority(&self, inv: &Invocation, index: usize) -> Decoded<u8> {
        let word = self.argument(inv, index)?;
        let mcp = self.get(self.extra_thread(inv, 0)?).mcp;
        let too_high = SyscallError::Range { min: 0, max: mcp.into() };
        u8::try_from(word).ok().filter(|priority| *priority <= mcp).ok_or(too_high)
    }

    fn decode_sched_params(&self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<Change> {
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
        let handler = Some((TcbSlot::FaultHandler, self.decode_handler(inv, 2)?));
        let (mcp, priority, context) = (Some(mcp), Some(priority), Some(context));
        Ok(Change { handler, mcp, priority, context, ..Change::default() })
    }

    fn bind_notification(&mut self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<()> {
        match self.extra_cap(inv, 0)?.1 {
            Cap::Notification { object, rights, .. }
                if self.get(thread).notification.is_none()
                    && rights.contains(CapRights::READ)
                    && self.get(object).bound_thread.is_none()
                    && self.get(object).waiting.head.is_none() =>
            {
                self.get_mut(thread).notification = Link::to(object);
                self.get_mut(object).bound_thread = Link::to(thread);
                Ok(())
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
fn with_guard(cap: RawCap, word: u64) -> RawCap {
    if word == 0 { cap } else { cap.moved_with_data(word).unwrap_or(RawCap::NULL) }
}

/// Carrying out.
impl<M: Machine> Kernel<M> {
    fn read_registers(&mut self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<Answer> {
        let [flags, count] = self.arguments(inv, 0)?;
        ensure_range(count, 1, REGISTERS as u64)?;
        self.ensure_not_current(thread)?;
        if flags & flag::SUSPEND_SOURCE != 0 {
            self.suspend(thread);
        }
        let context = self.get(thread).context;
        let words: [u64; REGISTERS] = core::array::from_fn(|index| context.read_register(index));
        let words = &words[..register_count(count)];
        Ok(Answer::Written(self.set_message_words(inv.thread, words)))
    }

    fn write_registers(&mut self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<()> {
        let [flags, count] = self.arguments(inv, 0)?;
        let sent = (inv.length - WRITE_REGISTERS_HEAD) as u64;
        ensure(count <= sent, SyscallError::TruncatedMessage)?;
        self.ensure_not_current(thread)?;
        for index in 0..register_count(count) {
            if let Some(word) = self.message_word(inv.thread, WRITE_REGISTERS_HEAD + index) {
                self.get_mut(thread).context.write_register(index, word);
            }
        }
        self.get_mut(thread).take_position();
        if flags & flag::RESUME_TARGET != 0 {
            self.resume(thread);
        }
        Ok(())
    }

    fn copy_registers(&mut self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<()> {
        let (flags, source) = (self.argument(inv, 0)?, self.extra_thread(inv, 0)?);
        if flags & flag::SUSPEND_SOURCE != 0 {
            self.suspend(source);
        }
        if flags & flag::COPY_RESUME_TARGET != 0 {
            self.resume(thread);
        }
        let from = self.get(source).context;
        let tcb = self.get_mut(thread);
        if flags & flag::TRANSFER_FRAME != 0 {
            tcb.context.copy_registers(&from, 0..FRAME_REGISTERS);
            tcb.take_position();
        }
        if flags & flag::TRANSFER_INTEGER != 0 {
            tcb.context.copy_registers(&from, FRAME_REGISTERS..REGISTERS);
            self.machine.reload(thread);
        }
        Ok(())
    }

    fn change(
        &mut self,
        inv: &Invocation,
        thread: Ref<Tcb>,
        change: Change,
    ) -> Result<(), Preempted> {
        if let Some((slot, handler)) = change.handler {
            self.replace_cap(inv, thread, slot, handler)?;
        }
        if let Some(space) = change.space {
            self.replace_space(inv, thread, space)?;
        }
        if let Some(buffer) = change.buffer {
            self.replace_buffer(inv, thread, buffer)?;
        }
        if let Some(mcp) = change.mcp {
            self.get_mut(thread).mcp = mcp;
        }
        if let Some(priority) = change.priority {
            self.set_priority(thread, priority);
        }
        match (change.context, self.get(thread).sched_context.get()) {
            (Some(Some(new)), None) => self.bind_thread(new, thread),
            (Some(None), Some(old)) => self.take_from_thread(old),
            _ => {}
        }
        Ok(())
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
        if still_there && !new.cap.is_null() {
            self.insert_derived(slot, new.cap, new.source);
        }
        Ok(())
    }

    fn replace_space(
        &mut self,
        inv: &Invocation,
        thread: Ref<Tcb>,
        [cspace, vspace]: [NewCap; 2],
    ) -> Result<(), Preempted> {
        self.replace_cap(inv, thread, TcbSlot::CSpace, cspace)?;
        self.replace_cap(inv, thread, TcbSlot::VSpace, vspace)?;
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
        (frame, address): (NewCap, PhysAddr),
    ) -> Result<(), Preempted> {
        self.replace_cap(inv, thread, TcbSlot::IpcBuffer, frame)?;
        let rights = frame.cap.frame_rights();
        let tcb = self.get_mut(thread);
        tcb.ipc_buffer = if rights.contains(CapRights::READ) { address } else { PhysAddr(0) };
        tcb.ipc_buffer_writable = u64::from(rights == CapRights::READ_WRITE);
        Ok(())
    }

    /// Sets a thread's FS base.
    pub(crate) fn set_tls_base(&mut self, thread: Ref<Tcb>, base: u64) {
        self.get_mut(thread).context.set_fs_base(base);
        self.machine.reload(thread);
    }

    fn set_flags(&mut self, inv: &Invocation, thread: Ref<Tcb>) -> Decoded<Answer> {
        let [clear, set] = self.arguments(inv, 0)?;
        let tcb = self.get_mut(thread);
        let flags = (tcb.flags & !clear) | (set & TCB_FLAG_FPU_DISABLED);
        tcb.flags = flags;
        self.machine.save_fpu(thread);
        self.machine.release_fpu(thread);
        Ok(Answer::Word(flags))
    }
}
