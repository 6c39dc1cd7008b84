//! Untyped memory and retype.

use libd3os::abi::{CapRights, FrameSize, Label, ObjectType};
use libd3os::cap::{CNode, Capability, Error, Frame, LookupFailure, SlotRun, Untyped, invoke};
use libd3os::sys::Cptr;

use super::tests;
use crate::arena::{Arena, CNODE, slot_of, smallest_ram, untypeds};
use crate::check::{Outcome, check, check_eq};
use crate::machine;

tests![
    makes_every_type,
    makes_many_at_once,
    is_used_up,
    is_whole_again_without_children,
    refuses_wrong_sizes_and_numbers,
    refuses_occupied_slots,
    device_memory_becomes_frames_only,
    new_memory_is_zero,
    a_parent_of_memory_is_not_copied,
];

/// What only an object of this type does without arguments.
fn does(kind: ObjectType) -> Option<(Label, Result<(), Error>)> {
    let truncated = Err(Error::TruncatedMessage);
    Some(match kind {
        ObjectType::Untyped => (Label::UntypedRetype, truncated),
        ObjectType::Tcb => (Label::TcbSetPriority, truncated),
        ObjectType::CNode => (Label::CNodeDelete, truncated),
        ObjectType::SchedContext => (Label::SchedContextConsumed, Ok(())),
        ObjectType::Pdpt => (Label::PdptMap, truncated),
        ObjectType::PageDirectory => (Label::PageDirectoryMap, truncated),
        ObjectType::PageTable => (Label::PageTableMap, truncated),
        ObjectType::SmallPage | ObjectType::LargePage | ObjectType::HugePage => {
            (Label::PageUnmap, Ok(()))
        }
        ObjectType::Endpoint | ObjectType::Notification | ObjectType::Reply | ObjectType::Pml4 => {
            return None;
        }
    })
}

fn makes_every_type(arena: &mut Arena) -> Outcome {
    for kind in ObjectType::ALL {
        if kind == ObjectType::HugePage {
            continue;
        }
        let cptr = arena.make(kind, 8)?;
        if let Some((label, expected)) = does(kind) {
            check_eq!(invoke(cptr, label, &[], &[]), expected, "{kind:?}");
            let other =
                if label == Label::PageUnmap { Label::TcbSuspend } else { Label::PageUnmap };
            check_eq!(invoke(cptr, other, &[], &[]), Err(Error::IllegalOperation), "{kind:?}");
        }
    }
    let cptr = arena.empty_slot();
    let huge = smallest_ram(arena.boot(), 30);
    check!(huge.is_some(), "no 1 GiB in one piece: start with -m 3G");
    if let Some(huge) = huge {
        huge.retype(ObjectType::HugePage, 0, SlotRun::within(CNODE, cptr.address()), 1)?;
        check!(Frame::new(cptr).address()? % (1 << 30) == 0, "not aligned");
    }
    Ok(())
}

fn makes_many_at_once(arena: &mut Arena) -> Outcome {
    let first = arena.empty_slots(256);
    let run = SlotRun::within(CNODE, first.address());
    arena.memory().retype(ObjectType::SmallPage, 0, run, 256)?;
    let frame = |n: u64| Frame::new(Cptr::new(first.address() + n));
    let base = frame(0).address()?;
    for n in 0..256 {
        check_eq!(frame(n).address()?, base + n * 4096, "frame {n}");
    }
    Ok(())
}

fn is_used_up(arena: &mut Arena) -> Outcome {
    let untyped = arena.untyped(14)?;
    let first = arena.empty_slots(8);
    let run = |n| SlotRun::within(CNODE, first.address() + n);
    untyped.retype(ObjectType::Endpoint, 0, run(0), 1)?;
    untyped.retype(ObjectType::SmallPage, 0, run(1), 2)?;
    let left = untyped.retype(ObjectType::SmallPage, 0, run(3), 2);
    check_eq!(left, Err(Error::NotEnoughMemory { available: 4096 }));
    untyped.retype(ObjectType::SmallPage, 0, run(3), 1)?;
    let left = untyped.retype(ObjectType::Endpoint, 0, run(4), 1);
    check_eq!(left, Err(Error::NotEnoughMemory { available: 0 }));
    Ok(())
}

fn is_whole_again_without_children(arena: &mut Arena) -> Outcome {
    let untyped = arena.untyped(16)?;
    let inner = arena.empty_slot();
    let run = SlotRun::within(CNODE, inner.address());
    for _ in 0..3 {
        untyped.retype(ObjectType::Untyped, 16, run, 1)?;
        let page = arena.empty_slot();
        let page_run = SlotRun::within(CNODE, page.address());
        Untyped::new(inner).retype(ObjectType::SmallPage, 0, page_run, 1)?;
        let again = untyped.retype(ObjectType::Untyped, 16, page_run, 1);
        check!(again.is_err(), "memory was given out twice");
        slot_of(untyped.cptr()).revoke()?;
        check!(Frame::new(page).address().is_err(), "the grandchild lives");
        check!(invoke(inner, Label::UntypedRetype, &[], &[]).is_err(), "the child lives");
    }
    Ok(())
}

fn refuses_wrong_sizes_and_numbers(arena: &mut Arena) -> Outcome {
    let memory = arena.memory();
    let slot = arena.empty_slot();
    let run = SlotRun::within(CNODE, slot.address());
    let retype = |kind, bits, run, count| memory.retype(kind, bits, run, count);
    let range = |result| matches!(result, Err(Error::Range { .. }));
    check!(range(retype(ObjectType::Endpoint, 0, run, 0)));
    check!(range(retype(ObjectType::Endpoint, 0, run, 257)));
    let small = retype(ObjectType::Untyped, 3, run, 1);
    check_eq!(small, Err(Error::InvalidArgument { index: 1 }), "an untyped of 8 bytes");
    check!(range(retype(ObjectType::Untyped, 48, run, 1)));
    check!(range(retype(ObjectType::CNode, 63, run, 1)));
    let small = retype(ObjectType::SchedContext, 6, run, 1);
    check_eq!(small, Err(Error::InvalidArgument { index: 1 }), "time of 64 bytes");
    let words = [99, 0, 0, 0, slot.address(), 1];
    let unknown = invoke(memory.cptr(), Label::UntypedRetype, &words, &[CNODE.cptr()]);
    check_eq!(unknown, Err(Error::InvalidArgument { index: 0 }));
    let outside = SlotRun::within(CNODE, 8192);
    check!(range(retype(ObjectType::Endpoint, 0, outside, 1)));
    check!(range(retype(ObjectType::Endpoint, 0, SlotRun::within(CNODE, 8191), 2)));
    let nowhere = SlotRun { root: CNODE, index: slot.address(), depth: 64, offset: 0 };
    let failed = retype(ObjectType::Endpoint, 0, nowhere, 1);
    check!(matches!(failed, Err(Error::FailedLookup { .. })), "{failed:?}");
    let no_root = SlotRun { root: CNode::new(slot), ..nowhere };
    let failed = retype(ObjectType::Endpoint, 0, no_root, 1);
    let expected = Error::FailedLookup { source: false, failure: LookupFailure::InvalidRoot };
    check!(failed == Err(expected) || failed == Err(Error::InvalidCapability { index: 1 }));
    retype(ObjectType::Endpoint, 0, run, 1)?;
    Ok(())
}

fn refuses_occupied_slots(arena: &mut Arena) -> Outcome {
    let first = arena.empty_slots(4);
    let run = |n| SlotRun::within(CNODE, first.address() + n);
    arena.memory().retype(ObjectType::Endpoint, 0, run(2), 1)?;
    let all = arena.memory().retype(ObjectType::SmallPage, 0, run(0), 4);
    check_eq!(all, Err(Error::DeleteFirst));
    check!(Frame::new(first).address().is_err(), "some were made all the same");
    arena.memory().retype(ObjectType::SmallPage, 0, run(0), 2)?;
    Ok(())
}

fn device_memory_becomes_frames_only(arena: &mut Arena) -> Outcome {
    let hpet = untypeds(arena.boot()).find(|(_, about)| {
        about.is_device == 1
            && (about.paddr..about.paddr + (1 << about.size_bits)).contains(&0xfed0_0000)
    });
    let Some((device, _)) = hpet else {
        check!(false, "no device memory at 0xfed00000");
        return Ok(());
    };
    let slot = arena.empty_slot();
    let run = SlotRun::within(CNODE, slot.address());
    for kind in [ObjectType::Tcb, ObjectType::Endpoint, ObjectType::CNode, ObjectType::PageTable] {
        let made = device.retype(kind, 4, run, 1);
        check_eq!(made, Err(Error::InvalidArgument { index: 1 }), "{kind:?}");
    }
    device.retype(ObjectType::SmallPage, 0, run, 1)?;
    let frame = Frame::new(slot);
    let tcb = libd3os::cap::Tcb::new(arena.make(ObjectType::Tcb, 0)?);
    let buffer = tcb.set_ipc_buffer(0x1000, frame);
    check!(buffer.is_err(), "a device as IPC buffer");
    Ok(())
}

fn new_memory_is_zero(arena: &mut Arena) -> Outcome {
    let untyped = arena.untyped(21)?;
    let slot = arena.empty_slot();
    let run = SlotRun::within(CNODE, slot.address());
    for _ in 0..2 {
        untyped.retype(ObjectType::LargePage, 0, run, 1)?;
        let address = arena.map(Frame::new(slot), FrameSize::Large)?;
        for offset in (0..1 << 21).step_by(4096 - 8) {
            check_eq!(machine::read(address + offset), 0, "offset {offset:#x}");
            machine::write(address + offset, u64::MAX);
        }
        slot_of(untyped.cptr()).revoke()?;
    }
    Ok(())
}

fn a_parent_of_memory_is_not_copied(arena: &mut Arena) -> Outcome {
    let untyped = arena.untyped(13)?;
    arena.copy(untyped.cptr())?;
    let slot = arena.empty_slot();
    let run = SlotRun::within(CNODE, slot.address());
    slot_of(untyped.cptr()).revoke()?;
    untyped.retype(ObjectType::SmallPage, 0, run, 1)?;
    let dest = arena.empty_slot();
    let copied = slot_of(dest).copy_from(slot_of(untyped.cptr()), CapRights::ALL);
    check_eq!(copied, Err(Error::RevokeFirst));
    Ok(())
}
