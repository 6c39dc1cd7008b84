//! The objects of the API, a file each.

use crate::cap::RawCap;
use crate::{Decoded, Kernel, Machine, Ref, Slot};
mod asid;
mod cnode;
mod domain;
mod endpoint;
mod frame;
mod io_port;
mod irq;
mod notification;
mod paging;
mod queue;
mod registers;
mod reply;
mod sched_context;
mod tcb;
mod untyped;

pub use asid::AsidPool;
pub use domain::DOMAINS;
pub(crate) use domain::DomainSchedule;
pub use endpoint::Endpoint;
pub(crate) use endpoint::Waiting;
pub(crate) use frame::check_ipc_buffer;
pub(crate) use io_port::IoPorts;
pub use irq::IRQ_VECTORS;
pub(crate) use irq::IrqTable;
pub use notification::Notification;
pub use paging::PageTable;
pub(crate) use queue::{Neighbours, Queue};
pub use reply::Reply;
pub(crate) use sched_context::MIN_REFILLS;
pub use sched_context::{Refill, SchedContext};
#[cfg(feature = "debug-syscalls")]
pub(crate) use tcb::NAME_LENGTH;
pub use tcb::{Context, FpuState, Tcb, TcbSlot, ThreadState};
pub(crate) use tcb::{FaultRecord, Queued, SendTerms};
pub(crate) use untyped::MAX_RAM_UNTYPED_BITS;

impl<M: Machine> Kernel<M> {
    /// The slot that a new capability was asked to go to.
    ///
    /// # Errors
    /// `FailedLookup` where there is no such slot, `DeleteFirst` where it is occupied.
    pub(crate) fn empty_slot(
        &self,
        root: impl Into<RawCap>,
        index: u64,
        depth: u64,
    ) -> Decoded<Ref<Slot>> {
        let slot = self.lookup_target_slot(root, index, depth, false)?;
        self.ensure_empty(slot)?;
        Ok(slot)
    }
}
