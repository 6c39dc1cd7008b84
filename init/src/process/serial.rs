//! Polled output to the first serial port: for what init has to say before a driver runs, and for
//! its last words.

use core::fmt::{self, Write};

use libd3os::cap::{Error, IoPort, IoPortRange};
use libd3os::service::log::Level;
use libd3os::sys::Cptr;
use spin::Once;

use super::kernel::{IO_PORT_CONTROL, own_slot};

/// The first serial port's registers on every PC.
pub(super) const PORTS: IoPortRange = IoPortRange { first: 0x3f8, last: 0x3ff };

const DATA: u16 = PORTS.first;
const LINE_STATUS: u16 = PORTS.first + 5;
/// Room for a byte.
const READY: u8 = 1 << 5;
/// The last bit of the last byte has left.
const IDLE: u8 = 1 << 6;
/// Looks at the line before a byte is given up: some milliseconds, hundreds of character times.
const PATIENCE: u32 = 20_000;

static FIRST: Once<Serial> = Once::new();

/// Has init's own panics shown on this port, which is all that is left to show them on.
pub(super) fn show_panics_on(serial: Serial) {
    FIRST.call_once(|| serial);
    libd3os::logging::set_sink(|_: Level, target, message| {
        if let Some(mut serial) = FIRST.get().copied() {
            // Writing to the port cannot fail.
            let _ = writeln!(serial, "init: {target}: {message}");
        }
    });
}

/// The port. Its registers may be in a driver's hands at the same time: a byte then appears
/// among the driver's, no more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Serial {
    port: IoPort,
}

impl Serial {
    /// Takes the ports, with their capability in `slot`.
    pub(super) fn take(slot: u64) -> Result<Self, Error> {
        IO_PORT_CONTROL.issue(PORTS, own_slot(slot))?;
        Ok(Self { port: IoPort::new(Cptr::new(slot)) })
    }

    /// Whether everything that was written has left.
    pub(super) fn is_idle(self) -> bool {
        self.port.in8(LINE_STATUS).is_ok_and(|status| status & IDLE != 0)
    }

    fn put(self, byte: u8) {
        for _ in 0..PATIENCE {
            if self.port.in8(LINE_STATUS).is_ok_and(|status| status & READY != 0) {
                break;
            }
            core::hint::spin_loop();
        }
        // A port that refuses leaves nothing to tell it to.
        let _ = self.port.out8(DATA, byte);
    }
}

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.put(b'\r');
            }
            self.put(byte);
        }
        Ok(())
    }
}
