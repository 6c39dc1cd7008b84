//! Interrupts: the control object and handlers (manual, chapter 8.1), signals between cores, and
//! the control of the other cores.
//!
//! An interrupt that arrives is masked and signalled; the handler's acknowledgement unmasks it.
//!
//! A signal line is one interrupt vector of the core that it leads to. Its receiving end is a handler
//! like any: a line that has delivered stays masked until it is acknowledged, and what arrives
//! meanwhile is kept as one. Instances share nothing but the interrupt itself.
//!
//! A core that is stopped keeps nothing: starting it makes a new instance with a new root task, from
//! the boot module. What others share with it (signal lines, pool memory) is for its owners to
//! withdraw before. Only instance 0 can do it.

use crate::{
    Answer, Cap, CoreControl, Decoded, InterruptTrigger, Invocation, Kernel, Machine, Outcome,
    Preempted, Ref, Slot, SyscallError, ensure,
};
use d3os_abi::{CapRights, FIRST_SIGNAL_VECTOR, Label, MAX_IRQ_VECTOR, SIGNAL_LINES};

/// Interrupt vectors: devices', then (after a gap) the signal lines'.
pub const IRQ_VECTORS: usize = FIRST_SIGNAL_VECTOR as usize + SIGNAL_LINES as usize;
const _: () = assert!(IRQ_VECTORS <= u128::BITS as usize);

/// State of the user interrupt vectors: a bit each.
#[derive(Debug, Default)]
pub(crate) struct IrqTable {
    /// A handler was issued.
    in_use: u128,
    /// An interrupt arrived and was not acknowledged yet.
    unacknowledged: u128,
}

impl IrqTable {
    fn is_in_use(&self, vector: u8) -> bool {
        self.in_use & 1 << vector != 0
    }
}

fn check_range(value: u64, max: u64) -> Decoded<u8> {
    let error = SyscallError::Range { min: 0, max };
    u8::try_from(value).ok().filter(|_| value <= max).ok_or(error)
}

fn check_line(line: u64) -> Decoded<u8> {
    check_range(line, u64::from(SIGNAL_LINES) - 1)
}

impl<M: Machine> Kernel<M> {
    /// The slot of the notification that vector `vector` signals.
    pub(crate) fn irq_slot(&self, vector: u8) -> Ref<Slot> {
        self.irq_slots.index(vector.into())
    }

    /// Issues a handler, or the sending end of a signal line.
    pub(crate) fn invoke_irq_control(&mut self, inv: &Invocation) -> Decoded<Answer> {
        let (label, root) = (inv.label()?, || Ok(self.extra_cap(inv, 0)?.1));
        let (cap, root, [index, depth]) = match label {
            Label::IrqControlGetIoApic | Label::IrqControlGetMsi => {
                let [index, depth, .., vector] = self.arguments::<7>(inv, 0)?;
                let root = root()?;
                let vector = check_range(vector, MAX_IRQ_VECTOR)?;
                (Cap::IrqHandler { vector }, root, [index, depth])
            }
            Label::IrqControlGetSignal => {
                let [line, place @ ..] = self.arguments::<3>(inv, 0)?;
                let root = root()?;
                let vector = FIRST_SIGNAL_VECTOR + check_line(line)?;
                (Cap::IrqHandler { vector }, root, place)
            }
            Label::IrqControlIssueSignal => {
                let [core, line, place @ ..] = self.arguments::<4>(inv, 0)?;
                let root = root()?;
                let core = self.check_core(core, 0)?;
                (Cap::Signal { core, line: check_line(line)? }, root, place)
            }
            _ => return Err(SyscallError::IllegalOperation),
        };
        if let Cap::IrqHandler { vector } = cap {
            ensure(!self.irqs.is_in_use(vector), SyscallError::RevokeFirst)?;
        }
        let dest = self.empty_slot(root, index, depth)?;
        // By itself a device or a core sends the vector; from a pin it is routed.
        let pin = match label {
            Label::IrqControlGetIoApic => Some(self.decode_ioapic(inv)?),
            Label::IrqControlGetMsi => self.check_msi(inv)?,
            _ => None,
        };
        if let Cap::IrqHandler { vector } = cap {
            self.irqs.in_use |= 1 << vector;
            if let Some((ioapic, pin, trigger)) = pin {
                self.machine.route_ioapic(ioapic, pin, trigger, vector);
            }
        }
        self.insert_derived(dest, cap, inv.slot);
        Ok(Answer::Empty)
    }

    fn decode_ioapic(&self, inv: &Invocation) -> Decoded<(u8, u8, InterruptTrigger)> {
        ensure(self.core == 0, SyscallError::IllegalOperation)?;
        let [ioapic, pin, level, polarity] = self.arguments(inv, 2)?;
        let ioapics = (0..u8::MAX).take_while(|&i| self.machine.ioapic_pins(i).is_some()).count();
        let last = (ioapics as u64).checked_sub(1).ok_or(SyscallError::IllegalOperation)?;
        let ioapic = check_range(ioapic, last)?;
        let pins = self.machine.ioapic_pins(ioapic).ok_or(SyscallError::IllegalOperation)?;
        let pin = check_range(pin, u64::from(pins).saturating_sub(1))?;
        let level = check_range(level, 1)? == 1;
        let active_low = check_range(polarity, 1)? == 1;
        Ok((ioapic, pin, InterruptTrigger { level, active_low }))
    }

    /// The device's address serves the caller's bookkeeping only; without an interrupt-remapping
    /// unit the kernel has no use for it.
    fn check_msi<T>(&self, inv: &Invocation) -> Decoded<Option<T>> {
        let [bus, device, function] = self.arguments(inv, 2)?;
        check_range(bus, 255)?;
        check_range(device, 31)?;
        check_range(function, 7)?;
        Ok(None)
    }

    /// A core's number, from `least` on.
    fn check_core(&self, core: u64, least: u32) -> Decoded<u32> {
        let last = self.machine.cores().saturating_sub(1);
        let range = SyscallError::Range { min: least.into(), max: last.into() };
        u32::try_from(core).ok().filter(|core| (least..=last).contains(core)).ok_or(range)
    }

    /// Stops or starts a core. Neither is waited for.
    pub(crate) fn invoke_core_control(&mut self, inv: &Invocation) -> Decoded<Answer> {
        let control = match inv.label()? {
            Label::CoreControlStop => CoreControl::Stop,
            Label::CoreControlStart => CoreControl::Start,
            _ => return Err(SyscallError::IllegalOperation),
        };
        let core = self.check_core(self.argument(inv, 0)?, 1)?;
        self.machine.control_core(core, control);
        Ok(Answer::Empty)
    }

    /// Lets the next interrupt come, signals another notification from now on, or nothing any more.
    pub(crate) fn invoke_irq_handler(&mut self, inv: &Invocation, vector: u8) -> Decoded<Outcome> {
        match inv.label()? {
            Label::IrqHandlerAck => {
                self.irqs.unacknowledged &= !(1 << vector);
                self.machine.unmask_interrupt(vector);
                Ok(Ok(Answer::Empty))
            }
            Label::IrqHandlerClear => Ok(self.forget_notification(vector).map(|()| Answer::Empty)),
            Label::IrqHandlerSetNotification => {
                let (source, cap) = self.extra_cap(inv, 0)?;
                let may_signal = matches!(cap, Cap::Notification { rights, .. }
                    if rights.contains(CapRights::WRITE));
                ensure(may_signal, SyscallError::InvalidCapability(1))?;
                Ok(self.forget_notification(vector).map(|()| {
                    self.insert_derived(self.irq_slot(vector), cap, source);
                    if self.irqs.unacknowledged & 1 << vector == 0 {
                        self.machine.unmask_interrupt(vector);
                    }
                    Answer::Empty
                }))
            }
            _ => Err(SyscallError::IllegalOperation),
        }
    }

    /// Empties the vector's slot, which never holds anything but a notification.
    fn forget_notification(&mut self, vector: u8) -> Result<(), Preempted> {
        let slot = self.irq_slot(vector);
        if let Cap::Notification { object, .. } = self.cap_at(slot) {
            if self.is_final(slot) {
                self.finalise_notification(object)?;
            }
            self.vacate(slot);
        }
        Ok(())
    }

    /// The last capability to a handler goes away: the vector is free again.
    pub(crate) fn finalise_irq_handler(&mut self, vector: u8) -> Result<(), Preempted> {
        self.machine.mask_interrupt(vector);
        self.forget_notification(vector)?;
        self.irqs.in_use &= !(1 << vector);
        self.irqs.unacknowledged &= !(1 << vector);
        Ok(())
    }

    /// User interrupt `vector` has arrived: it stays masked until it is acknowledged.
    #[inline]
    pub(crate) fn handle_interrupt(&mut self, vector: u8) {
        self.machine.mask_interrupt(vector);
        if usize::from(vector) >= IRQ_VECTORS || !self.irqs.is_in_use(vector) {
            return;
        }
        self.irqs.unacknowledged |= 1 << vector;
        let raw = self.get(self.irq_slot(vector)).raw;
        if let Some((notification, badge, _)) = raw.as_notification() {
            self.signal(notification, badge);
        }
    }
}
