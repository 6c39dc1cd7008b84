//! System call numbers: what RDX holds at the SYSCALL instruction, as a signed word.

use crate::numbered::numbered;

numbered! {
    /// A system call of the MCS configuration.
    pub enum Syscall: i64 {
        /// Send, then wait for the reply.
        Call = -1,
        /// Reply through a reply object, then receive.
        ReplyRecv = -2,
        /// Non-blocking send, then receive with a reply object.
        NBSendRecv = -3,
        /// Non-blocking send, then wait.
        NBSendWait = -4,
        /// Send and block until received.
        Send = -5,
        /// Send if a receiver waits, else drop.
        NBSend = -6,
        /// Receive with a reply object.
        Recv = -7,
        /// Receive if a sender waits.
        NBRecv = -8,
        /// Receive without a reply object.
        Wait = -9,
        /// Poll a notification or endpoint without a reply object.
        NBWait = -10,
        /// Give up the rest of this period's budget.
        Yield = -11,
        /// Print one character (debug builds).
        DebugPutChar = -12,
        /// Print the scheduler's state (debug builds).
        DebugDumpScheduler = -13,
        /// Halt the machine (debug builds).
        DebugHalt = -14,
        /// Tell the type of a capability (debug builds).
        DebugCapIdentify = -15,
        /// Print a capability space (debug builds).
        DebugSnapshot = -16,
        /// Name a thread for the kernel's messages (debug builds).
        DebugNameThread = -17,
        /// Send an IPI; exists in multiprocessor configurations only, an error here (debug builds).
        DebugSendIPI = -18,
        /// Tell a thread's core (debug builds).
        DebugGetThreadAffinity = -19,
        /// Set the caller's own FS base.
        SetTLSBase = -33,
    }
}
