//! Output on the first serial port, and QEMU's exit device.

use core::sync::atomic::{AtomicU64, Ordering};
use libd3os::abi::BootInfo;
use libd3os::cap::{Capability, IoPort, IoPortRange};
use libd3os::logging;
use libd3os::service::log::Level;
use libd3os::sys::Cptr;

use crate::arena::{IO_PORT_CONTROL, slot_of};

/// The first serial port.
pub(crate) const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const ROOM_TO_SEND: u8 = 0x20;
const EXIT: u16 = 0xf4;

/// The ports once more, for a panic, which knows nothing else.
static SERIAL_CPTR: AtomicU64 = AtomicU64::new(0);
static EXIT_CPTR: AtomicU64 = AtomicU64::new(0);

/// Where results go.
#[derive(Clone, Copy)]
pub(crate) struct Console {
    serial: IoPort,
    exit: IoPort,
}

impl Console {
    /// Slots that it takes, the first empty ones.
    pub(crate) const SLOTS: u64 = 2;

    /// Takes the ports, for good.
    pub(crate) fn new(boot: &BootInfo) -> Self {
        let issue = |offset, first, last| {
            let cptr = Cptr::new(boot.empty.start + offset);
            let range = IoPortRange { first, last };
            IO_PORT_CONTROL.issue(range, slot_of(cptr)).expect("nobody else has ports yet");
            IoPort::new(cptr)
        };
        let serial = issue(0, COM1, COM1 + 7);
        let exit = issue(1, EXIT, EXIT + 3);
        SERIAL_CPTR.store(serial.cptr().address(), Ordering::Relaxed);
        EXIT_CPTR.store(exit.cptr().address(), Ordering::Relaxed);
        logging::set_sink(report);
        Self { serial, exit }
    }

    /// Nowhere: the ports are the first instance's.
    pub(crate) const fn absent() -> Self {
        Self { serial: IoPort::new(Cptr::NULL), exit: IoPort::new(Cptr::NULL) }
    }

    /// The serial port.
    pub(crate) fn serial(self) -> IoPort {
        self.serial
    }

    /// Prints, waiting for room.
    pub(crate) fn print(self, text: &str) {
        for byte in text.bytes() {
            while self.serial.in8(LINE_STATUS).is_ok_and(|status| status & ROOM_TO_SEND == 0) {
                core::hint::spin_loop();
            }
            // Without the port there is nobody to tell.
            let _ = self.serial.out8(COM1, byte);
        }
    }

    /// Ends QEMU, if it has the device: its exit code becomes `code` * 2 + 1.
    pub(crate) fn exit(self, code: u32) {
        let _ = self.exit.out32(EXIT, code);
    }
}

/// Records of the library: in these tests, the two lines of a panic. After its last there is nothing
/// more to come.
fn report(_: Level, target: &str, message: &str) {
    let port = |cptr: &AtomicU64| IoPort::new(Cptr::new(cptr.load(Ordering::Relaxed)));
    let console = Console { serial: port(&SERIAL_CPTR), exit: port(&EXIT_CPTR) };
    for text in ["FAILED: ", target, ": ", message, "\n"] {
        console.print(text);
    }
    if message.starts_with("backtrace:") {
        console.exit(1);
    }
}
