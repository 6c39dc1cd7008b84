//! Invocations of kernel objects.

use kernel_workbench::{CNODE, VSPACE, Workbench, slot_of};
use libd3os::abi::{CapRights, FrameSize, ObjectType, VmAttributes};
use libd3os::cap::{Capability, Error, SlotRun};

use crate::checked_laps;

/// log2 of the memory that objects are made of and made of again.
const UNTYPED_BITS: u8 = 12;

/// A page mapped and unmapped, its tables being there.
pub(crate) fn map_unmap(bench: &mut Workbench) -> Result<(), Error> {
    let frame = bench.frame(FrameSize::Small)?;
    let address = bench.map(frame, FrameSize::Small)?;
    frame.unmap()?;
    checked_laps(|| {
        frame.map(VSPACE, address, CapRights::READ_WRITE, VmAttributes::WriteBack)?;
        frame.unmap()
    })
}

/// A capability copied, and the copy deleted.
pub(crate) fn copy_delete(bench: &mut Workbench) -> Result<(), Error> {
    let source = slot_of(bench.endpoint()?.cptr());
    let copy = slot_of(bench.empty_slot());
    checked_laps(|| {
        copy.copy_from(source, CapRights::ALL)?;
        copy.delete()
    })
}

/// An endpoint made and destroyed.
pub(crate) fn retype_endpoint(bench: &mut Workbench) -> Result<(), Error> {
    retype(bench, ObjectType::Endpoint)
}

/// A frame made and destroyed; its memory is cleared each time.
pub(crate) fn retype_frame(bench: &mut Workbench) -> Result<(), Error> {
    retype(bench, ObjectType::SmallPage)
}

fn retype(bench: &mut Workbench, kind: ObjectType) -> Result<(), Error> {
    let memory = bench.untyped(UNTYPED_BITS)?;
    let place = bench.empty_slot();
    let run = SlotRun::within(CNODE, place.address());
    let slot = slot_of(place);
    checked_laps(|| {
        memory.retype(kind, 0, run, 1)?;
        slot.delete()
    })
}
