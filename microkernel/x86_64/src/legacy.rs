//! The PC's old devices: two interrupt controllers that are silenced, and the clocks that the time
//! stamp counter is measured against.

use crate::calibration::{Clocks, Reference};
use crate::instructions::{in8, in32, out8, time_stamp};

/// Moves the two 8259 interrupt controllers' vectors out of the exceptions' way, and masks them.
pub(crate) fn silence_interrupt_controllers() {
    for (port, first_vector, wiring) in [(0x20, 0x20, 1 << 2), (0xa0, 0x28, 2)] {
        out8(port, 0x11);
        out8(port + 1, first_vector);
        out8(port + 1, wiring);
        out8(port + 1, 0x01);
        out8(port + 1, 0xff);
    }
}

/// Channel 2 of the 8254 interval timer.
pub(crate) struct IntervalTimer;

impl IntervalTimer {
    /// Its rate.
    pub(crate) const REFERENCE: Reference = Reference { hertz: 1_193_182, mask: 0xffff };
    const CHANNEL: u16 = 0x42;
    const COMMAND: u16 = 0x43;
    const SPEAKER: u16 = 0x61;

    /// Starts counting, with the speaker off.
    pub(crate) fn start() -> Self {
        const CHANNEL_2_RATE_GENERATOR: u8 = 0xb4;
        out8(Self::SPEAKER, in8(Self::SPEAKER) & !3 | 1);
        out8(Self::COMMAND, CHANNEL_2_RATE_GENERATOR);
        out8(Self::CHANNEL, 0);
        out8(Self::CHANNEL, 0);
        Self
    }
}

impl Clocks for IntervalTimer {
    fn counter(&mut self) -> u64 {
        time_stamp()
    }

    fn reference(&mut self) -> u64 {
        const LATCH_CHANNEL_2: u8 = 0x80;
        out8(Self::COMMAND, LATCH_CHANNEL_2);
        let value = u16::from_le_bytes([in8(Self::CHANNEL), in8(Self::CHANNEL)]);
        (!value).into()
    }
}

/// ACPI's power management timer.
pub(crate) struct PowerTimer {
    /// Its I/O port.
    pub(crate) port: u16,
}

impl PowerTimer {
    /// Its rate; the upper byte exists on some machines only.
    pub(crate) const REFERENCE: Reference = Reference { hertz: 3_579_545, mask: 0xff_ffff };
}

impl Clocks for PowerTimer {
    fn counter(&mut self) -> u64 {
        time_stamp()
    }

    fn reference(&mut self) -> u64 {
        in32(self.port).into()
    }
}
