//! What a root task begins with: its capabilities, and the memory that BootInfo lists.

use libd3os::abi::{BootInfo, UntypedDescriptor, slot};
use libd3os::cap::{
    AsidControl, AsidPool, CNode, DomainSet, IoPortControl, IrqControl, Slot, Tcb, Untyped, VSpace,
};
use libd3os::sys::Cptr;

/// The CNode that holds its capabilities.
pub const CNODE: CNode = CNode::new(Cptr::new(slot::CNODE));
/// Its first thread.
pub const TCB: Tcb = Tcb::new(Cptr::new(slot::TCB));
/// Its address space.
pub const VSPACE: VSpace = VSpace::new(Cptr::new(slot::VSPACE));
/// The authority to make pools of address-space identifiers.
pub const ASID_CONTROL: AsidControl = AsidControl::new(Cptr::new(slot::ASID_CONTROL));
/// The pool that its own identifier is from.
pub const ASID_POOL: AsidPool = AsidPool::new(Cptr::new(slot::ASID_POOL));
/// The authority over interrupts.
pub const IRQ_CONTROL: IrqControl = IrqControl::new(Cptr::new(slot::IRQ_CONTROL));
/// The authority over ports.
pub const IO_PORT_CONTROL: IoPortControl = IoPortControl::new(Cptr::new(slot::IO_PORT_CONTROL));
/// The authority over domains.
pub const DOMAIN: DomainSet = DomainSet::new(Cptr::new(slot::DOMAIN));

/// Bits of an address in its capability space.
pub const DEPTH: u8 = 64;
/// Where the linker script puts its image, which has no gaps.
pub const IMAGE_BASE: u64 = 0x40_0000;

/// The slot of [`CNODE`] that holds the capability at `cptr`.
#[must_use]
pub fn slot_of(cptr: Cptr) -> Slot {
    CNODE.slot(cptr.address(), DEPTH)
}

/// Descriptions of all untyped memory, with their capabilities.
pub fn untypeds(boot: &'static BootInfo) -> impl Iterator<Item = (Untyped, UntypedDescriptor)> {
    let caps = (boot.untyped.start..boot.untyped.end).map(|cptr| Untyped::new(Cptr::new(cptr)));
    caps.zip(boot.untyped_list.iter().copied())
}

/// The smallest RAM of at least 2^`bits` bytes in one piece.
#[must_use]
pub fn smallest_ram(boot: &'static BootInfo, bits: u8) -> Option<Untyped> {
    untypeds(boot)
        .filter(|(_, about)| about.is_device == 0 && about.size_bits >= bits)
        .min_by_key(|(_, about)| about.size_bits)
        .map(|(untyped, _)| untyped)
}
