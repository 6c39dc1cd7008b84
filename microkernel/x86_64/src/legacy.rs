//! The PC's old devices: two interrupt controllers that are silenced, and the clock that the time
//! stamp counter is measured against.

use crate::calibration::{Clocks, Reference};
use crate::instructions::{port_in, port_out, time_stamp};

/// Moves the two 8259 interrupt controllers' vectors out of the exceptions' way, and masks them.
pub(crate) fn silence_interrupt_controllers() {
    for (port, first_vector, wiring) in [(0x20, 0x20, 1 << 2), (0xa0, 0x28, 2)] {
        port_out::<u8>(port, 0x11);
        port_out::<u8>(port + 1, first_vector);
        port_out::<u8>(port + 1, wiring);
        port_out::<u8>(port + 1, 0x01);
        port_out::<u8>(port + 1, 0xff);
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
        port_in::<u32>(self.port).into()
    }
}
