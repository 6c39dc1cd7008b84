//! The objects of the API, a file each.

mod asid;
mod cnode;
mod domain;
mod endpoint;
mod frame;
mod io_port;
mod irq;
mod notification;
mod paging;
mod reply;
mod sched_context;
mod tcb;
mod untyped;

pub use asid::AsidPool;
pub use endpoint::Endpoint;
pub use io_port::IoPorts;
pub use irq::IrqTable;
pub use notification::Notification;
pub use paging::PageTable;
pub use reply::Reply;
pub use sched_context::SchedContext;
pub use tcb::{Context, FpuState, Tcb, TcbSlot};

use crate::cap::Cap;
use crate::error::SyscallError;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::memory::Ref;
use crate::slot::Slot;

impl<M: Machine> Kernel<M> {
    /// The slot that a new capability was asked to go to.
    ///
    /// # Errors
    /// `FailedLookup` where there is no such slot, `DeleteFirst` where it is occupied.
    pub(crate) fn empty_slot(
        &self,
        root: Cap,
        index: u64,
        depth: u64,
    ) -> Result<Ref<Slot>, SyscallError> {
        let slot = self.lookup_target_slot(root, index, depth, false)?;
        if self.get(slot).is_empty() { Ok(slot) } else { Err(SyscallError::DeleteFirst) }
    }
}
