//! Threads beside the root task's.

use kernel_workbench::{CNODE, TCB, Workbench};
use libd3os::abi::{CapRights, FrameSize, ObjectType};
use libd3os::cap::{Bandwidth, CNode, Error, SchedContext, Server, Space, Tcb, VSpace};
use libd3os::sys::Cptr;

use crate::machine;

/// log2 of a scheduling context's bytes.
const CONTEXT_BITS: u8 = 8;
/// More than a round takes by far.
const TIME_SLICE: Bandwidth = Bandwidth {
    budget_us: 10_000,
    period_us: 10_000,
    extra_refills: 0,
    badge: 0,
    server: Server::ConstantBandwidth,
};

/// A thread beside the root task's.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    context: SchedContext,
}

/// How it is to run.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) priority: u8,
    pub(crate) cspace: CNode,
    pub(crate) space: VSpace,
    /// Who is told of its faults; null: nobody.
    pub(crate) fault_endpoint: Cptr,
}

impl Terms {
    /// At this priority in this address space, with the root task's capabilities.
    pub(crate) const fn new(priority: u8, space: VSpace) -> Self {
        Self { priority, cspace: CNODE, space, fault_endpoint: Cptr::NULL }
    }
}

impl Peer {
    /// Starts a thread that runs `body` and then stops (the body does not return where the thread
    /// cannot name itself).
    pub(crate) fn start(
        bench: &mut Workbench,
        terms: Terms,
        body: impl Fn() + 'static,
    ) -> Result<Self, Error> {
        let tcb = Tcb::new(bench.make(ObjectType::Tcb, 0)?);
        let frame = bench.frame(FrameSize::Small)?;
        let buffer = bench.addresses(FrameSize::Small);
        bench.map_at(terms.space, frame, buffer, CapRights::READ_WRITE)?;
        let space = Space { cspace: terms.cspace, cspace_data: 0, vspace: terms.space };
        tcb.configure(space, buffer, frame)?;
        let context = bench.sched_context(CONTEXT_BITS, TIME_SLICE)?;
        tcb.set_sched_params(TCB, terms.priority, terms.priority, context, terms.fault_endpoint)?;
        let registers = bench.registers(tcb, move || {
            machine::attach(buffer);
            body();
        });
        tcb.write_registers(&registers, true)?;
        Ok(Self { context })
    }

    /// Takes its time away: from now on it runs on what callers lend.
    pub(crate) fn make_passive(self) -> Result<(), Error> {
        self.context.unbind()
    }
}
