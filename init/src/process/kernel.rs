//! Init's own capabilities.

use core::ops::Range;

use libd3os::abi::{BootInfo, CNodeCapData, CapRights, ObjectType, VmAttributes, slot};
use libd3os::cap::{
    AsidPool, CNode, Error, Frame, IoPortControl, IrqControl, SchedContext, SchedControl, Slot,
    SlotRun, Space, Tcb, Untyped, VSpace,
};
use libd3os::memory::{Kernel, RootCNode, Table};
use libd3os::sys::Cptr;

/// Init's CNode, as the kernel made it.
const ROOT: CNode = CNode::new(Cptr::new(slot::CNODE));
/// A second one, of init's own: the first is too small for all that the programs are made of. It is in
/// a slot that has no use on this architecture.
pub(super) const SECOND: CNode = CNode::new(Cptr::new(slot::SMMU_SID_CONTROL));
/// What init's threads name things in: a CNode with these two in it.
pub(super) const SPACE: CNode = CNode::new(Cptr::new(slot::SMMU_CB_CONTROL));
/// The first address in [`SECOND`].
const SECOND_SLOTS: u64 = 1 << SECOND_BITS;
/// log2 of the addresses that each of the two has.
const SECOND_BITS: u8 = 16;
/// log2 of the CNodes that [`SPACE`] has room for.
const SPACE_BITS: u8 = 1;
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

/// The kernel's side of memory management, over init's CNodes.
pub(super) const MEMORY: OwnSlots = OwnSlots;

/// Bits of an address in init's capability space.
const ADDRESS_BITS: u8 = 64;

/// The slot at this address of init's capability space.
pub(super) const fn own_slot(address: u64) -> Slot {
    let (cnode, index) = place(address);
    cnode.slot(index, ADDRESS_BITS)
}

/// The CNode of an address, and the place in it.
const fn place(address: u64) -> (CNode, u64) {
    match address.checked_sub(SECOND_SLOTS) {
        None => (ROOT, address),
        Some(index) => (SECOND, index),
    }
}

/// Memory management over init's CNodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnSlots;

impl Kernel for OwnSlots {
    fn retype(
        &mut self,
        untyped: u64,
        kind: ObjectType,
        size_bits: u8,
        first: u64,
        count: u64,
    ) -> Result<(), Error> {
        make(Untyped::new(Cptr::new(untyped)), kind, size_bits, first, count)
    }

    fn revoke(&mut self, slot: u64) -> Result<(), Error> {
        own_slot(slot).revoke()
    }

    fn map_table(&mut self, slot: u64, table: Table, vspace: VSpace) -> Result<(), Error> {
        RootCNode::new(ROOT, ADDRESS_BITS).map_table(slot, table, vspace)
    }

    fn map_frame(
        &mut self,
        frame: Frame,
        vspace: VSpace,
        address: u64,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> Result<(), Error> {
        frame.map(vspace, address, rights, attributes)
    }
}

/// Has init name things in the kernel's CNode, of 2 to the power of `root` slots, and, from
/// [`SECOND_SLOTS`] on, in another (slot, log2 of its slots); `above` is the slot of one for the two.
/// Tells the new addresses.
///
/// ```text
/// address   47 bits of 0 | 1 bit: which | 16 bits: guard and slot, in ROOT 3 and 13
/// ```
pub(super) fn widen(root: u8, (second, bits): (u64, u8), above: u64) -> Result<Range<u64>, Error> {
    let guard = |size: u8| CNodeCapData::new(0, size).0;
    let (space, all) = (CNode::new(Cptr::new(above)), CapRights::ALL);
    let below = [(slot::CNODE, root), (second, bits)];
    for (number, (from, slots)) in (0..).zip(below) {
        let entry = space.slot(number, SPACE_BITS);
        entry.mint_from(own_slot(from), all, guard(SECOND_BITS.saturating_sub(slots)))?;
    }
    let named = own_slot(slot::SMMU_CB_CONTROL);
    named.mint_from(own_slot(above), all, guard(ADDRESS_BITS - SPACE_BITS - SECOND_BITS))?;
    let named = own_slot(slot::SMMU_SID_CONTROL);
    named.mint_from(own_slot(second), all, guard(ADDRESS_BITS - bits))?;
    THREAD.set_space(Cptr::NULL, Space { cspace: SPACE, cspace_data: 0, vspace: VSPACE })?;
    Ok(SECOND_SLOTS..SECOND_SLOTS + (1 << bits))
}

/// What the CNode above the two takes as its size, and the most that the second can have.
pub(super) const WIDEST: (u8, u8) = (SPACE_BITS, SECOND_BITS);

/// Makes objects into slots of init's own, from `first` on.
pub(super) fn make(
    from: Untyped,
    object: ObjectType,
    user_bits: u8,
    first: u64,
    count: u64,
) -> Result<(), Error> {
    let (cnode, first) = place(first);
    from.retype(object, user_bits, SlotRun::within(cnode, first), count)
}

/// The time of the core that init runs on.
pub(super) fn sched_control(info: &BootInfo) -> SchedControl {
    SchedControl::new(Cptr::new(info.sched_control.start))
}
