//! Interrupts: the interval timer wakes a thread while the core idles.

use libd3os::cap::{Error, IoPort, IoPortRange, IrqHandler, IrqPin};

use crate::checked_laps;
use crate::workbench::{IO_PORT_CONTROL, IRQ_CONTROL, Workbench, slot_of};

const TIMER_PORTS: IoPortRange = IoPortRange { first: 0x40, last: 0x43 };
const CHANNEL_0: u16 = 0x40;
const COMMAND: u16 = 0x43;
/// Channel 0, both bytes of the count, a pulse each time it is used up.
const PERIODIC: u8 = 0x34;
/// Channel 0, both bytes of the count, one pulse: none before a count is written.
const ONCE: u8 = 0x30;
/// Ticks of 838 ns between two interrupts: more than a round takes by far.
const PERIOD: u16 = 100;
/// Where the timer's line ends on PC hardware.
const PIN: IrqPin = IrqPin { io_apic: 0, pin: 2, level_triggered: false, active_low: false };
const VECTOR: u64 = 0;

/// A wait, idling, the interrupt, and its acknowledgement.
pub(crate) fn interrupt(bench: &mut Workbench) -> Result<(), Error> {
    let notification = bench.notification()?;
    let (port, handler) = (bench.empty_slot(), bench.empty_slot());
    IO_PORT_CONTROL.issue(TIMER_PORTS, slot_of(port))?;
    IRQ_CONTROL.get_io_apic(slot_of(handler), PIN, VECTOR)?;
    let (port, handler) = (IoPort::new(port), IrqHandler::new(handler));
    handler.set_notification(notification)?;
    start_timer(port)?;
    checked_laps(|| {
        let _ = notification.wait();
        handler.ack()
    })?;
    port.out8(COMMAND, ONCE)
}

fn start_timer(port: IoPort) -> Result<(), Error> {
    let [low, high] = PERIOD.to_le_bytes();
    port.out8(COMMAND, PERIODIC)?;
    port.out8(CHANNEL_0, low)?;
    port.out8(CHANNEL_0, high)
}
