//! Init's own capabilities.

use libd3os::abi::{BootInfo, ObjectType, slot};
use libd3os::cap::{
    AsidPool, CNode, Error, IoPortControl, IrqControl, SchedContext, SchedControl, Slot, SlotRun,
    Tcb, Untyped, VSpace,
};
use libd3os::memory::RootCNode;
use libd3os::sys::Cptr;

/// Init's CNode.
pub(super) const ROOT: CNode = CNode::new(Cptr::new(slot::CNODE));
/// Init's thread.
pub(super) const THREAD: Tcb = Tcb::new(Cptr::new(slot::TCB));
/// What the kernel gives the root task's thread to run with.
pub(super) const CONTEXT: SchedContext = SchedContext::new(Cptr::new(slot::SCHED_CONTEXT));
/// The priority that the kernel gives it.
pub(super) const PRIORITY: u8 = 255;
/// Init's address space.
pub(super) const VSPACE: VSpace = VSpace::new(Cptr::new(slot::VSPACE));
/// Address space identifiers.
pub(super) const ASID_POOL: AsidPool = AsidPool::new(Cptr::new(slot::ASID_POOL));
/// Interrupts.
pub(super) const IRQ_CONTROL: IrqControl = IrqControl::new(Cptr::new(slot::IRQ_CONTROL));
/// I/O ports.
pub(super) const IO_PORT_CONTROL: IoPortControl =
    IoPortControl::new(Cptr::new(slot::IO_PORT_CONTROL));

/// The kernel's side of memory management, over init's CNode.
pub(super) const MEMORY: RootCNode = RootCNode::new(ROOT, ADDRESS_BITS);

/// Bits of an address in init's capability space.
const ADDRESS_BITS: u8 = 64;

/// The slot at this address of init's capability space.
pub(super) const fn own_slot(address: u64) -> Slot {
    ROOT.slot(address, ADDRESS_BITS)
}

/// Makes objects into slots of init's own, from `first` on.
pub(super) fn make(
    from: Untyped,
    object: ObjectType,
    user_bits: u8,
    first: u64,
    count: u64,
) -> Result<(), Error> {
    from.retype(object, user_bits, SlotRun::within(ROOT, first), count)
}

/// The time of the core that init runs on.
pub(super) fn sched_control(info: &BootInfo) -> SchedControl {
    SchedControl::new(Cptr::new(info.sched_control.start))
}
