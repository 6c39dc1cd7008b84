//! The doorbell between cores over the kernel's objects, for a root task that holds them itself. A
//! program's is in `program_window`.

use super::Doorbell;
use crate::cap::{IrqHandler, Notification, Signal};

/// Wakes a peer on another core through a signal line, and waits for one from there.
///
/// The kernel hands a line's signals on like interrupts, one at a time: after each, the line must
/// be acknowledged before the next comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreBell {
    /// The sending end of the line to the peer's core.
    pub peer: Signal,
    /// What this side waits for: the notification that the line from the peer's core is bound to.
    pub own: Notification,
    /// The receiving end of that line.
    pub line: IrqHandler,
}

impl Doorbell for CoreBell {
    fn signal(&self) {
        self.peer.send();
    }

    fn wait(&self) {
        let _bits = self.own.wait();
        // Fails only for a handler that was deleted, whose line stays silent in any case; the
        // rings notice that the peer is gone.
        let _gone = self.line.ack();
    }
}
