//! Scheduling contexts: who may use how much of the processor. All times in microseconds.

use d3os_abi::{Label, SCHED_CONTEXT_SPORADIC};

use super::thread::Tcb;
use super::{Capability, Error, capabilities, invoke};
use crate::sys::{self, Cptr};

capabilities! {
    /// The authority over one core's time.
    SchedControl;
    /// A share of a core's time.
    SchedContext;
    /// The authority to put threads into domains.
    DomainSet;
}

/// What becomes of budget that a thread has not used when it blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Server {
    /// It is given up: constant bandwidth.
    #[default]
    ConstantBandwidth,
    /// It is kept for later: a sporadic server.
    Sporadic,
}

/// A share of a core's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// Time per period.
    pub budget_us: u64,
    /// The period; equal to the budget it means "no limit".
    pub period_us: u64,
    /// Refills beyond the least, as far as the object has room.
    pub extra_refills: u64,
    /// What timeout faults tell.
    pub badge: u64,
    /// What becomes of unused budget.
    pub server: Server,
}

impl SchedControl {
    /// Gives `context` this share of the core's time.
    ///
    /// # Errors
    /// [`Error::Range`] for times and refills out of range, and the rest of the kernel's.
    pub fn configure(self, context: SchedContext, bandwidth: Bandwidth) -> Result<(), Error> {
        let flags = match bandwidth.server {
            Server::ConstantBandwidth => 0,
            Server::Sporadic => SCHED_CONTEXT_SPORADIC,
        };
        let Bandwidth { budget_us, period_us, extra_refills, badge, .. } = bandwidth;
        let words = [budget_us, period_us, extra_refills, badge, flags];
        invoke(self.cptr(), Label::SchedControlConfigureFlags, &words, &[context.cptr()])
    }
}

impl SchedContext {
    /// Binds it to a thread or a notification.
    ///
    /// # Errors
    /// [`Error::IllegalOperation`] where either is bound already, and the rest of the kernel's.
    pub fn bind(self, object: Cptr) -> Result<(), Error> {
        invoke(self.cptr(), Label::SchedContextBind, &[], &[object])
    }

    /// Unbinds whatever it is bound to.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unbind(self) -> Result<(), Error> {
        invoke(self.cptr(), Label::SchedContextUnbind, &[], &[])
    }

    /// Unbinds a thread or a notification.
    ///
    /// # Errors
    /// [`Error::IllegalOperation`] where it is not bound to that, and the rest of the kernel's.
    pub fn unbind_object(self, object: Cptr) -> Result<(), Error> {
        invoke(self.cptr(), Label::SchedContextUnbindObject, &[], &[object])
    }

    /// Time used since this was last asked (here, by a yield, or by a timeout fault).
    ///
    /// # Errors
    /// The kernel's.
    pub fn consumed(self) -> Result<u64, Error> {
        invoke(self.cptr(), Label::SchedContextConsumed, &[], &[])?;
        Ok(sys::word(0))
    }

    /// Lets the thread of this context run before others of its priority; tells the time used
    /// as [`Self::consumed`] does.
    ///
    /// # Errors
    /// The kernel's.
    pub fn yield_to(self) -> Result<u64, Error> {
        invoke(self.cptr(), Label::SchedContextYieldTo, &[], &[])?;
        Ok(sys::word(0))
    }
}

impl DomainSet {
    /// Puts a thread into a domain.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(self, domain: u8, thread: Tcb) -> Result<(), Error> {
        invoke(self.cptr(), Label::DomainSetSet, &[u64::from(domain)], &[thread.cptr()])
    }

    /// Sets an entry of the domain schedule.
    ///
    /// # Errors
    /// The kernel's.
    pub fn schedule_configure(self, index: u64, domain: u8, duration: u64) -> Result<(), Error> {
        let words = [index, u64::from(domain), duration];
        invoke(self.cptr(), Label::DomainSetScheduleConfigure, &words, &[])
    }

    /// Sets where the domain schedule begins.
    ///
    /// # Errors
    /// The kernel's.
    pub fn schedule_set_start(self, index: u64) -> Result<(), Error> {
        invoke(self.cptr(), Label::DomainSetScheduleSetStart, &[index], &[])
    }
}
