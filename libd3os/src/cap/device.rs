//! Interrupts and I/O ports.

use d3os_abi::Label;

use super::ipc::Notification;
use super::slot::Slot;
use super::{Capability, Error, capabilities, invoke};
use crate::observe::note_interrupt;
use crate::sys;

capabilities! {
    /// The authority over interrupts.
    IrqControl;
    /// One interrupt.
    IrqHandler;
    /// The authority over I/O ports.
    IoPortControl;
    /// A range of I/O ports.
    IoPort;
    /// One signal line of one core, to signal.
    Signal;
    /// The authority to stop and start the other cores.
    CoreControl;
}

/// An input of an IOAPIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IrqPin {
    /// Which IOAPIC.
    pub io_apic: u64,
    /// Which input.
    pub pin: u64,
    /// Announces for as long as it is active, not by a change.
    pub level_triggered: bool,
    /// A low voltage is "on".
    pub active_low: bool,
}

/// The device that sends a message-signalled interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MsiSource {
    /// PCI bus.
    pub bus: u64,
    /// PCI device.
    pub device: u64,
    /// PCI function.
    pub function: u64,
    /// The device's number for it.
    pub handle: u64,
}

/// I/O ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoPortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

impl IrqControl {
    /// Takes over a legacy interrupt; with an IOAPIC that is an illegal operation.
    ///
    /// # Errors
    /// The kernel's.
    pub fn get(self, irq: u64, destination: Slot) -> Result<(), Error> {
        let words = [irq, destination.index, u64::from(destination.depth)];
        invoke(self.cptr(), Label::IrqControlGet, &words, &[destination.root.cptr()])
    }

    /// Takes over an IOAPIC input, delivered as `vector` (0 to 107).
    ///
    /// # Errors
    /// [`Error::RevokeFirst`] where the vector is taken, and the rest of the kernel's.
    pub fn get_io_apic(self, destination: Slot, pin: IrqPin, vector: u64) -> Result<(), Error> {
        let words = [
            destination.index,
            u64::from(destination.depth),
            pin.io_apic,
            pin.pin,
            u64::from(pin.level_triggered),
            u64::from(pin.active_low),
            vector,
        ];
        invoke(self.cptr(), Label::IrqControlGetIoApic, &words, &[destination.root.cptr()])
    }

    /// Takes over a message-signalled interrupt, delivered as `vector` (0 to 107).
    ///
    /// # Errors
    /// [`Error::RevokeFirst`] where the vector is taken, and the rest of the kernel's.
    pub fn get_msi(self, destination: Slot, source: MsiSource, vector: u64) -> Result<(), Error> {
        let MsiSource { bus, device, function, handle } = source;
        let depth = u64::from(destination.depth);
        let words = [destination.index, depth, bus, device, function, handle, vector];
        invoke(self.cptr(), Label::IrqControlGetMsi, &words, &[destination.root.cptr()])
    }
}

impl IrqControl {
    /// Makes the sending end of signal line `line` of core `core` (of this one, too).
    ///
    /// # Errors
    /// [`Error::Range`] where there is no such core or line, and the rest of the kernel's.
    pub fn issue_signal(self, destination: Slot, core: u32, line: u32) -> Result<(), Error> {
        let depth = u64::from(destination.depth);
        let words = [core.into(), line.into(), destination.index, depth];
        invoke(self.cptr(), Label::IrqControlIssueSignal, &words, &[destination.root.cptr()])
    }

    /// Takes over signal line `line` of this core: what arrives on it is an interrupt like any.
    ///
    /// # Errors
    /// [`Error::RevokeFirst`] where the line is taken, and the rest of the kernel's.
    pub fn get_signal(self, destination: Slot, line: u32) -> Result<(), Error> {
        let words = [line.into(), destination.index, u64::from(destination.depth)];
        invoke(self.cptr(), Label::IrqControlGetSignal, &words, &[destination.root.cptr()])
    }
}

impl Signal {
    /// Signals. Signals that arrive before the last one was acknowledged become one.
    pub fn send(self) {
        sys::signal(self.cptr());
    }
}

impl CoreControl {
    /// Stops a core at once, whatever it does; it stays so until it is started.
    ///
    /// # Errors
    /// [`Error::Range`] where there is no such core, or it is this one.
    pub fn stop(self, core: u32) -> Result<(), Error> {
        invoke(self.cptr(), Label::CoreControlStop, &[core.into()], &[])
    }

    /// Starts a stopped core anew, from an empty instance. Leave it 10 ms after the stop.
    ///
    /// # Errors
    /// [`Error::Range`] where there is no such core, or it is this one.
    pub fn start(self, core: u32) -> Result<(), Error> {
        invoke(self.cptr(), Label::CoreControlStart, &[core.into()], &[])
    }
}

impl IrqHandler {
    /// Lets the interrupt come again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ack(self) -> Result<(), Error> {
        note_interrupt();
        invoke(self.cptr(), Label::IrqHandlerAck, &[], &[])
    }

    /// Has the interrupt signal this notification, with the badge of this capability.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_notification(self, notification: Notification) -> Result<(), Error> {
        invoke(self.cptr(), Label::IrqHandlerSetNotification, &[], &[notification.cptr()])
    }

    /// Has the interrupt signal nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn clear(self) -> Result<(), Error> {
        invoke(self.cptr(), Label::IrqHandlerClear, &[], &[])
    }
}

impl IoPortControl {
    /// Makes a capability for a range of ports.
    ///
    /// # Errors
    /// [`Error::RevokeFirst`] where one of them is taken, and the rest of the kernel's.
    pub fn issue(self, range: IoPortRange, destination: Slot) -> Result<(), Error> {
        let words = [
            u64::from(range.first),
            u64::from(range.last),
            destination.index,
            u64::from(destination.depth),
        ];
        invoke(self.cptr(), Label::IoPortControlIssue, &words, &[destination.root.cptr()])
    }
}

/// Ports are absolute numbers. Every access fails with the kernel's error where the port is not
/// in the capability's range.
impl IoPort {
    fn read(self, label: Label, port: u16) -> Result<u64, Error> {
        invoke(self.cptr(), label, &[u64::from(port)], &[])?;
        Ok(sys::word(0))
    }

    fn write(self, label: Label, port: u16, value: u64) -> Result<(), Error> {
        invoke(self.cptr(), label, &[u64::from(port), value], &[])
    }

    /// Reads a byte.
    ///
    /// # Errors
    /// The kernel's.
    pub fn in8(self, port: u16) -> Result<u8, Error> {
        Ok(self.read(Label::IoPortIn8, port)?.to_le_bytes()[0])
    }

    /// Reads two bytes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn in16(self, port: u16) -> Result<u16, Error> {
        let [low, high, ..] = self.read(Label::IoPortIn16, port)?.to_le_bytes();
        Ok(u16::from_le_bytes([low, high]))
    }

    /// Reads four bytes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn in32(self, port: u16) -> Result<u32, Error> {
        let [a, b, c, d, ..] = self.read(Label::IoPortIn32, port)?.to_le_bytes();
        Ok(u32::from_le_bytes([a, b, c, d]))
    }

    /// Writes a byte.
    ///
    /// # Errors
    /// The kernel's.
    pub fn out8(self, port: u16, value: u8) -> Result<(), Error> {
        self.write(Label::IoPortOut8, port, u64::from(value))
    }

    /// Writes two bytes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn out16(self, port: u16, value: u16) -> Result<(), Error> {
        self.write(Label::IoPortOut16, port, u64::from(value))
    }

    /// Writes four bytes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn out32(self, port: u16, value: u32) -> Result<(), Error> {
        self.write(Label::IoPortOut32, port, u64::from(value))
    }
}
