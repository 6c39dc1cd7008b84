//! Interrupts: the control object and handlers (manual, chapter 8.1).
//!
//! An interrupt that arrives is masked and signalled; the handler's acknowledgement unmasks it.

use crate::{
    Answer, Cap, Decoded, InterruptTrigger, Invocation, Kernel, Machine, Outcome, Preempted, Ref,
    Slot, SyscallError, ensure,
};
use d3os_abi::{CapRights, Label, MAX_IRQ_VECTOR};

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

/// Where the interrupts of a new handler come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IrqSource {
    /// A pin of an I/O APIC.
    IoApic(u8, u8, InterruptTrigger),
    /// The device sends the vector by itself.
    Msi,
}

/// A new handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IrqControlRequest {
    source: IrqSource,
    vector: u8,
    dest: Ref<Slot>,
}

/// What a handler was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IrqHandlerRequest {
    /// Let the next interrupt come.
    Acknowledge,
    /// Signal this notification from now on.
    SetNotification {
        /// Its capability.
        cap: Cap,
        /// Where that lies.
        source: Ref<Slot>,
    },
    /// Signal nothing any more.
    Clear,
}

fn check_range(value: u64, max: u64) -> Decoded<u8> {
    let error = SyscallError::Range { min: 0, max };
    u8::try_from(value).ok().filter(|_| value <= max).ok_or(error)
}

impl<M: Machine> Kernel<M> {
    /// The slot of the notification that vector `vector` signals.
    pub(crate) fn irq_slot(&self, vector: u8) -> Ref<Slot> {
        self.irq_slots.index(vector.into())
    }

    /// Checks an invocation of the interrupt control object.
    pub(crate) fn decode_irq_control(&self, inv: &Invocation) -> Decoded<IrqControlRequest> {
        let is_msi = match inv.label()? {
            Label::IrqControlGetIoApic => false,
            Label::IrqControlGetMsi => true,
            _ => return Err(SyscallError::IllegalOperation),
        };
        let [index, depth, .., vector] = self.arguments::<7>(inv, 0)?;
        let (_, root) = self.extra_cap(inv, 0)?;
        let vector = check_range(vector, MAX_IRQ_VECTOR)?;
        ensure(!self.irqs.is_in_use(vector), SyscallError::RevokeFirst)?;
        let dest = self.empty_slot(root, index, depth)?;
        let source = if is_msi { self.decode_msi(inv)? } else { self.decode_ioapic(inv)? };
        Ok(IrqControlRequest { source, vector, dest })
    }

    fn decode_ioapic(&self, inv: &Invocation) -> Decoded<IrqSource> {
        let ioapics = (0..u8::MAX).take_while(|&i| self.machine.ioapic_pins(i).is_some()).count();
        let last = (ioapics as u64).checked_sub(1).ok_or(SyscallError::IllegalOperation)?;
        let ioapic = check_range(self.argument(inv, 2)?, last)?;
        let pins = self.machine.ioapic_pins(ioapic).ok_or(SyscallError::IllegalOperation)?;
        let pin = check_range(self.argument(inv, 3)?, u64::from(pins).saturating_sub(1))?;
        let level = check_range(self.argument(inv, 4)?, 1)? == 1;
        let active_low = check_range(self.argument(inv, 5)?, 1)? == 1;
        Ok(IrqSource::IoApic(ioapic, pin, InterruptTrigger { level, active_low }))
    }

    /// The device's address serves the caller's bookkeeping only; without an interrupt-remapping
    /// unit the kernel has no use for it.
    fn decode_msi(&self, inv: &Invocation) -> Decoded<IrqSource> {
        check_range(self.argument(inv, 2)?, 255)?;
        check_range(self.argument(inv, 3)?, 31)?;
        check_range(self.argument(inv, 4)?, 7)?;
        Ok(IrqSource::Msi)
    }

    /// Issues a handler.
    pub(crate) fn perform_irq_control(
        &mut self,
        inv: &Invocation,
        request: IrqControlRequest,
    ) -> Outcome {
        let IrqControlRequest { source, vector, dest } = request;
        self.irqs.in_use |= 1 << vector;
        if let IrqSource::IoApic(ioapic, pin, trigger) = source {
            self.machine.route_ioapic(ioapic, pin, trigger, vector);
        }
        self.insert_derived(dest, Cap::IrqHandler { vector }, inv.slot);
        Ok(Answer::Empty)
    }

    /// Checks an invocation of a handler.
    pub(crate) fn decode_irq_handler(&self, inv: &Invocation) -> Decoded<IrqHandlerRequest> {
        match inv.label()? {
            Label::IrqHandlerAck => Ok(IrqHandlerRequest::Acknowledge),
            Label::IrqHandlerClear => Ok(IrqHandlerRequest::Clear),
            Label::IrqHandlerSetNotification => match self.extra_cap(inv, 0)? {
                (source, cap @ Cap::Notification { rights, .. })
                    if rights.contains(CapRights::WRITE) =>
                {
                    Ok(IrqHandlerRequest::SetNotification { cap, source })
                }
                _ => Err(SyscallError::InvalidCapability(1)),
            },
            _ => Err(SyscallError::IllegalOperation),
        }
    }

    /// Carries out what was asked of a handler.
    pub(crate) fn perform_irq_handler(
        &mut self,
        inv: &Invocation,
        request: IrqHandlerRequest,
    ) -> Outcome {
        let Cap::IrqHandler { vector } = self.invoked(inv).unpack() else {
            return Ok(Answer::Empty);
        };
        match request {
            IrqHandlerRequest::Acknowledge => self.acknowledge(vector),
            IrqHandlerRequest::Clear => self.forget_notification(vector)?,
            IrqHandlerRequest::SetNotification { cap, source } => {
                self.forget_notification(vector)?;
                self.insert_derived(self.irq_slot(vector), cap, source);
                if self.irqs.unacknowledged & 1 << vector == 0 {
                    self.machine.unmask_interrupt(vector);
                }
            }
        }
        Ok(Answer::Empty)
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

    fn acknowledge(&mut self, vector: u8) {
        self.irqs.unacknowledged &= !(1 << vector);
        self.machine.unmask_interrupt(vector);
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
    pub(crate) fn handle_interrupt(&mut self, vector: u8) {
        self.machine.mask_interrupt(vector);
        if u64::from(vector) > MAX_IRQ_VECTOR || !self.irqs.is_in_use(vector) {
            return;
        }
        self.irqs.unacknowledged |= 1 << vector;
        if let Cap::Notification { object, badge, .. } = self.cap_at(self.irq_slot(vector)) {
            self.signal(object, badge);
        }
    }
}
