//! Fault messages: what a fault endpoint receives.

use crate::numbered::numbered;

numbered! {
    /// The fault's type: the label of the message.
    pub enum FaultLabel: u64 {
        /// No fault.
        Null = 0,
        /// Words: IP, address (cptr), in receive phase, look-up failure kind, then its description.
        Cap = 1,
        /// Words: RAX RBX RCX RDX RSI RDI RBP R8..R15 FaultIP SP FLAGS number.
        UnknownSyscall = 2,
        /// Words: FaultIP, SP, FLAGS, exception number, error code.
        UserException = 3,
        /// Words: the badge given at configuration, consumed time in microseconds.
        Timeout = 5,
        /// Words: IP, address, 1 for an instruction fetch, page-fault error code.
        VmFault = 6,
    }
}

/// Lengths of fault messages and of the replies to them, in words.
pub mod length {
    /// Unknown system call, and its reply.
    pub const UNKNOWN_SYSCALL: usize = 19;
    /// Words of an unknown-syscall reply that rewrite registers (all but the number).
    pub const UNKNOWN_SYSCALL_REPLY: usize = 18;
    /// User exception.
    pub const USER_EXCEPTION: usize = 5;
    /// Words of a user-exception reply that rewrite registers.
    pub const USER_EXCEPTION_REPLY: usize = 3;
    /// Timeout.
    pub const TIMEOUT: usize = 2;
    /// Words of a timeout reply: IP RSP FLAGS RAX RBX RCX RDX RSI RDI RBP R8..R15 TLS_BASE.
    pub const TIMEOUT_REPLY: usize = 19;
    /// Page fault.
    pub const VM_FAULT: usize = 4;
}
