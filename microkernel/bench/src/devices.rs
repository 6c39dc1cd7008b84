//! Interrupts: the interval timer wakes a thread while the core idles, or while it works.

use kernel_workbench::{IO_PORT_CONTROL, IRQ_CONTROL, VSPACE, Workbench, slot_of};
use libd3os::cap::{Error, IoPort, IoPortRange, IrqHandler, IrqPin, Notification};
use libd3os::mark::{Phase, mark};

use crate::checked_laps;
use crate::peer::{Peer, Terms};

/// Of the thread that takes interrupts while another works.
const HIGHEST: u8 = 255;

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

/// Ticks between two interrupts that long operations are to let in: 20 microseconds.
const SHORT_PERIOD: u16 = 24;

/// A wait, idling, and the interrupt; apart from that, its acknowledgement.
pub(crate) fn interrupt(bench: &mut Workbench) -> Result<(), Error> {
    let timer = Timer::new(bench)?;
    timer.start(PERIOD)?;
    checked_laps(|| {
        let _ = timer.tick.wait();
        mark(Phase::Apart);
        let result = timer.handler.ack();
        mark(Phase::Apart);
        result
    })?;
    timer.stop()
}

/// The interval timer, and what its interrupt signals.
#[derive(Clone, Copy)]
struct Timer {
    port: IoPort,
    handler: IrqHandler,
    tick: Notification,
}

impl Timer {
    fn new(bench: &mut Workbench) -> Result<Self, Error> {
        let tick = bench.notification()?;
        let (port, handler) = (bench.empty_slot(), bench.empty_slot());
        IO_PORT_CONTROL.issue(TIMER_PORTS, slot_of(port))?;
        IRQ_CONTROL.get_io_apic(slot_of(handler), PIN, VECTOR)?;
        let (port, handler) = (IoPort::new(port), IrqHandler::new(handler));
        handler.set_notification(tick)?;
        Ok(Self { port, handler, tick })
    }

    /// Lets it interrupt every so many of its ticks.
    fn start(self, period: u16) -> Result<(), Error> {
        let [low, high] = period.to_le_bytes();
        self.port.out8(COMMAND, PERIODIC)?;
        self.port.out8(CHANNEL_0, low)?;
        self.port.out8(CHANNEL_0, high)
    }

    fn stop(self) -> Result<(), Error> {
        self.port.out8(COMMAND, ONCE)
    }
}

/// Interrupts one after the other, which a thread of the highest priority takes and marks.
pub(crate) struct Ticker(Timer);

impl Ticker {
    /// Starts the thread and the timer.
    pub(crate) fn start(bench: &mut Workbench) -> Result<Self, Error> {
        let timer = Timer::new(bench)?;
        let terms = Terms::new(HIGHEST, VSPACE);
        Peer::start(bench, terms, move || {
            loop {
                let _ = timer.tick.wait();
                mark(Phase::Interrupted);
                // It cannot be refused; if it were, no more marks would tell so.
                let _ = timer.handler.ack();
            }
        })?;
        timer.start(SHORT_PERIOD)?;
        Ok(Self(timer))
    }

    /// Stops the timer.
    pub(crate) fn stop(self) -> Result<(), Error> {
        self.0.stop()
    }
}
