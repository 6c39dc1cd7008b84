//! Threads.

use crate::abi::{Label, REGISTERS, UserRegisters};

use super::ipc::Notification;
use super::memory::{Frame, VSpace};
use super::sched::SchedContext;
use super::slot::CNode;
use super::{Capability, Error, capabilities, invoke};
use crate::sys::{self, Cptr};

capabilities! {
    /// A thread control block.
    Tcb;
}

/// What a thread names things in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its capability space.
    pub cspace: CNode,
    /// Guard word for that capability ([`d3os_abi::CNodeCapData`]); 0 leaves the capability's own.
    pub cspace_data: u64,
    /// Its address space.
    pub vspace: VSpace,
}

/// What [`Tcb::copy_registers`] copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyParts {
    /// Frame registers: instruction pointer, stack pointer, flags and the general ones.
    pub frame: bool,
    /// Integer registers: FS and GS base.
    pub integer: bool,
}

impl Tcb {
    /// Sets what the thread names things in, and its IPC buffer.
    ///
    /// # Errors
    /// The kernel's.
    pub fn configure(self, space: Space, buffer: u64, frame: Frame) -> Result<(), Error> {
        let caps = [space.cspace.cptr(), space.vspace.cptr(), frame.cptr()];
        invoke(self.cptr(), Label::TcbConfigure, &[space.cspace_data, 0, buffer], &caps)
    }

    /// Sets what the thread names things in, and who gets its faults (null: nobody).
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_space(self, fault_endpoint: Cptr, space: Space) -> Result<(), Error> {
        let caps = [fault_endpoint, space.cspace.cptr(), space.vspace.cptr()];
        invoke(self.cptr(), Label::TcbSetSpace, &[space.cspace_data, 0], &caps)
    }

    /// Sets the thread's IPC buffer.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_ipc_buffer(self, buffer: u64, frame: Frame) -> Result<(), Error> {
        invoke(self.cptr(), Label::TcbSetIpcBuffer, &[buffer], &[frame.cptr()])
    }

    /// Sets the priority; at most `authority`'s maximum.
    ///
    /// # Errors
    /// [`Error::Range`] above that maximum, and the rest of the kernel's.
    pub fn set_priority(self, authority: Self, priority: u8) -> Result<(), Error> {
        let words = [u64::from(priority)];
        invoke(self.cptr(), Label::TcbSetPriority, &words, &[authority.cptr()])
    }

    /// Sets the maximum priority that the thread can give; at most `authority`'s.
    ///
    /// # Errors
    /// [`Error::Range`] above that maximum, and the rest of the kernel's.
    pub fn set_mc_priority(self, authority: Self, maximum: u8) -> Result<(), Error> {
        let words = [u64::from(maximum)];
        invoke(self.cptr(), Label::TcbSetMcPriority, &words, &[authority.cptr()])
    }

    /// Sets maximum priority, priority, scheduling context and fault endpoint (null: nobody).
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_sched_params(
        self,
        authority: Self,
        maximum: u8,
        priority: u8,
        context: SchedContext,
        fault_endpoint: Cptr,
    ) -> Result<(), Error> {
        let words = [u64::from(maximum), u64::from(priority)];
        let caps = [authority.cptr(), context.cptr(), fault_endpoint];
        invoke(self.cptr(), Label::TcbSetSchedParams, &words, &caps)
    }

    /// Sets who is told when the thread's budget runs out (null: nobody).
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_timeout_endpoint(self, endpoint: Cptr) -> Result<(), Error> {
        invoke(self.cptr(), Label::TcbSetTimeoutEndpoint, &[], &[endpoint])
    }

    /// Stops the thread, also in the middle of a call.
    ///
    /// # Errors
    /// The kernel's.
    pub fn suspend(self) -> Result<(), Error> {
        invoke(self.cptr(), Label::TcbSuspend, &[], &[])
    }

    /// Lets the thread run.
    ///
    /// # Errors
    /// The kernel's.
    pub fn resume(self) -> Result<(), Error> {
        invoke(self.cptr(), Label::TcbResume, &[], &[])
    }

    /// Binds a notification: its signals also end the thread's waiting at an endpoint.
    ///
    /// # Errors
    /// [`Error::IllegalOperation`] where either is bound already, and the rest of the kernel's.
    pub fn bind_notification(self, notification: Notification) -> Result<(), Error> {
        invoke(self.cptr(), Label::TcbBindNotification, &[], &[notification.cptr()])
    }

    /// Unbinds the notification.
    ///
    /// # Errors
    /// [`Error::IllegalOperation`] where none is bound, and the rest of the kernel's.
    pub fn unbind_notification(self) -> Result<(), Error> {
        invoke(self.cptr(), Label::TcbUnbindNotification, &[], &[])
    }

    /// Sets the thread's FS base.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_tls_base(self, base: u64) -> Result<(), Error> {
        invoke(self.cptr(), Label::TcbSetTlsBase, &[base], &[])
    }

    /// Clears and sets flags ([`d3os_abi::TCB_FLAG_FPU_DISABLED`]); tells the flags after that.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_flags(self, clear: u64, set: u64) -> Result<u64, Error> {
        invoke(self.cptr(), Label::TcbSetFlags, &[clear, set], &[])?;
        Ok(sys::word(0))
    }

    /// Reads the thread's registers, stopping it first if `suspend`.
    ///
    /// # Errors
    /// [`Error::IllegalOperation`] for the caller's own thread, and the rest of the kernel's.
    pub fn read_registers(self, suspend: bool) -> Result<UserRegisters, Error> {
        let words = [u64::from(suspend), REGISTERS as u64];
        invoke(self.cptr(), Label::TcbReadRegisters, &words, &[])?;
        Ok(UserRegisters::from_words(core::array::from_fn(sys::word)))
    }

    /// Writes the thread's registers and lets it run if `resume`.
    ///
    /// # Errors
    /// [`Error::IllegalOperation`] for the caller's own thread, and the rest of the kernel's.
    pub fn write_registers(self, registers: &UserRegisters, resume: bool) -> Result<(), Error> {
        let mut words = [0; 2 + REGISTERS];
        words[0] = u64::from(resume);
        words[1] = REGISTERS as u64;
        words[2..].copy_from_slice(&registers.to_words());
        invoke(self.cptr(), Label::TcbWriteRegisters, &words, &[])
    }

    /// Copies parts of `source`'s registers to this thread.
    ///
    /// # Errors
    /// The kernel's.
    pub fn copy_registers(
        self,
        source: Self,
        suspend_source: bool,
        resume_target: bool,
        parts: CopyParts,
    ) -> Result<(), Error> {
        let flags = u64::from(suspend_source)
            | u64::from(resume_target) << 1
            | u64::from(parts.frame) << 2
            | u64::from(parts.integer) << 3;
        invoke(self.cptr(), Label::TcbCopyRegisters, &[flags], &[source.cptr()])
    }
}
