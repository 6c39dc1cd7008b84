//! What other files of the core are about to define: an inherent method of the same name wins.

use crate::cap::Cap;
use crate::delete::Preempted;
use crate::error::SyscallError;
use crate::invocation::Invocation;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::memory::Ref;
use crate::objects::{Endpoint, Notification, PageTable, Reply, SchedContext, Tcb};
use crate::slot::Slot;

#[expect(unused_variables, reason = "goes away with the definitions")]
pub(crate) trait Pending {
    fn argument(&self, inv: &Invocation, index: usize) -> Result<u64, SyscallError> {
        unreachable!()
    }
    fn extra_cap(&self, inv: &Invocation, index: usize) -> Result<(Ref<Slot>, Cap), SyscallError> {
        unreachable!()
    }
    fn finalise_endpoint(&mut self, e: Ref<Endpoint>) {}
    fn finalise_notification(&mut self, e: Ref<Notification>) {}
    fn finalise_reply(&mut self, e: Ref<Reply>) {}
    fn finalise_thread(&mut self, e: Ref<Tcb>) {}
    fn finalise_sched_context(&mut self, e: Ref<SchedContext>) {}
    fn cancel_badged_sends(&mut self, e: Ref<Endpoint>, badge: u64) -> Result<(), Preempted> {
        Ok(())
    }
    fn finalise_frame(&mut self, cap: Cap) {}
    fn finalise_table(&mut self, cap: Cap) {}
    fn finalise_vspace(&mut self, cap: Cap) {}
    fn finalise_asid_pool(&mut self, cap: Cap) {}
    fn finalise_irq_handler(&mut self, vector: u8) {}
    fn finalise_io_port(&mut self, first: u16, last: u16) {}
    fn init_thread(&mut self, e: Ref<Tcb>) {}
    fn init_sched_context(&mut self, e: Ref<SchedContext>, bits: u8) {}
    fn init_vspace_root(&mut self, e: Ref<PageTable>) {}
}
impl<M: Machine> Pending for Kernel<M> {}
