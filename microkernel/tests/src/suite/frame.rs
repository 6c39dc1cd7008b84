//! Frames in the root task's own address space.

use libd3os::abi::{CapRights, FrameSize, USER_TOP, VmAttributes};
use libd3os::cap::{Capability, Error, Frame, LookupFailure, SlotRun, VSpace};
use libd3os::sys::Cptr;

use super::tests;
use crate::arena::{Arena, CNODE, VSPACE, slot_of, smallest_ram, untypeds};
use crate::check::{Outcome, check, check_eq};
use crate::machine;
use libd3os::abi::ObjectType;

tests![
    every_size_maps_and_aliases,
    a_device_is_reached,
    missing_tables_are_told_from_the_top,
    a_mapping_is_not_replaced,
    a_capability_has_one_mapping,
    addresses_are_checked,
    all_attributes_work,
    a_deleted_capability_takes_its_mapping,
];

const SIZES: [FrameSize; 3] = [FrameSize::Small, FrameSize::Large, FrameSize::Huge];

/// A frame of any size; the largest comes from outside the arena.
fn frame(arena: &mut Arena, size: FrameSize) -> Result<Frame, Error> {
    if size != FrameSize::Huge {
        return arena.frame(size);
    }
    let slot = arena.empty_slot();
    let memory = smallest_ram(arena.boot(), 30).ok_or(Error::NotEnoughMemory { available: 0 })?;
    memory.retype(ObjectType::HugePage, 0, SlotRun::within(CNODE, slot.address()), 1)?;
    Ok(Frame::new(slot))
}

fn every_size_maps_and_aliases(arena: &mut Arena) -> Outcome {
    for size in SIZES {
        let original = frame(arena, size)?;
        let copy = Frame::new(arena.copy(original.cptr())?);
        let (first, second) = (arena.map(original, size)?, arena.map(copy, size)?);
        check!(original.address()? % size.bytes() == 0, "not aligned to its size");
        for offset in [0, size.bytes() / 2, size.bytes() - 8] {
            machine::write(first + offset, offset ^ 0xd305);
            check_eq!(machine::read(second + offset), offset ^ 0xd305, "{size:?} at {offset:#x}");
        }
        original.unmap()?;
        check_eq!(machine::read(second), 0xd305, "the other mapping stays");
    }
    Ok(())
}

/// The HPET tells its maker and period in its first register.
fn a_device_is_reached(arena: &mut Arena) -> Outcome {
    const HPET: u64 = 0xfed0_0000;
    let found = untypeds(arena.boot()).find(|(_, about)| {
        about.is_device == 1 && (about.paddr..about.paddr + (1 << about.size_bits)).contains(&HPET)
    });
    let Some((device, about)) = found else {
        check!(false, "no device memory at {HPET:#x}");
        return Ok(());
    };
    // Frames are made from the start of an untyped: pass over those before.
    let mut skip = (HPET - about.paddr) >> 12;
    while skip > 0 {
        let bits = skip.ilog2();
        let slot = arena.empty_slot();
        let run = SlotRun::within(CNODE, slot.address());
        device.retype(ObjectType::Untyped, 12 + u8::try_from(bits).unwrap_or(0), run, 1)?;
        skip -= 1 << bits;
    }
    let slot = arena.empty_slot();
    device.retype(ObjectType::SmallPage, 0, SlotRun::within(CNODE, slot.address()), 1)?;
    let frame = Frame::new(slot);
    let address = arena.addresses(FrameSize::Small);
    let probe = arena.frame(FrameSize::Small)?;
    arena.map_at(VSPACE, probe, address, CapRights::READ)?;
    probe.unmap()?;
    frame.map(VSPACE, address, CapRights::READ_WRITE, VmAttributes::CacheDisabled)?;
    check_eq!(frame.address()?, HPET);
    let capabilities = machine::read(address);
    check_eq!(capabilities >> 16 & 0xffff, 0x8086, "HPET's maker");
    slot_of(device.cptr()).revoke()?;
    Ok(())
}

fn missing_tables_are_told_from_the_top(arena: &mut Arena) -> Outcome {
    let page = arena.frame(FrameSize::Small)?;
    let address = 0x1230_0000_0000;
    for expected in [39, 30, 21] {
        let failure = LookupFailure::MissingCapability { bits_left: expected };
        let result = page.map(VSPACE, address, CapRights::READ, VmAttributes::WriteBack);
        check_eq!(result, Err(Error::FailedLookup { source: false, failure }));
        arena.make_table(VSPACE, address, expected)?;
    }
    page.map(VSPACE, address, CapRights::READ, VmAttributes::WriteBack)?;
    check_eq!(machine::read(address), 0);
    Ok(())
}

fn a_mapping_is_not_replaced(arena: &mut Arena) -> Outcome {
    let (first, second) = (arena.frame(FrameSize::Small)?, arena.frame(FrameSize::Small)?);
    let address = arena.map(first, FrameSize::Small)?;
    machine::write(address, 1);
    let result = second.map(VSPACE, address, CapRights::READ_WRITE, VmAttributes::WriteBack);
    check_eq!(result, Err(Error::DeleteFirst));
    let large = arena.frame(FrameSize::Large)?;
    let below = address & !(FrameSize::Large.bytes() - 1);
    let result = large.map(VSPACE, below, CapRights::READ_WRITE, VmAttributes::WriteBack);
    check_eq!(result, Err(Error::DeleteFirst), "a page table is there");
    check_eq!(machine::read(address), 1);
    first.unmap()?;
    second.map(VSPACE, address, CapRights::READ_WRITE, VmAttributes::WriteBack)?;
    check_eq!(machine::read(address), 0, "the second frame");
    Ok(())
}

fn a_capability_has_one_mapping(arena: &mut Arena) -> Outcome {
    let page = arena.frame(FrameSize::Small)?;
    let address = arena.map(page, FrameSize::Small)?;
    let attributes = VmAttributes::WriteBack;
    let elsewhere = page.map(VSPACE, address + 4096, CapRights::READ, attributes);
    check_eq!(elsewhere, Err(Error::InvalidArgument { index: 0 }));
    let space = arena.address_space()?;
    let elsewhere = page.map(space, address, CapRights::READ, attributes);
    check_eq!(elsewhere, Err(Error::InvalidCapability { index: 1 }));
    page.map(VSPACE, address, CapRights::READ, attributes)?;
    page.map(VSPACE, address, CapRights::READ_WRITE, attributes)?;
    machine::write(address, 3);
    page.unmap()?;
    page.unmap()?;
    page.map(VSPACE, address + 4096, CapRights::READ, attributes)?;
    check_eq!(machine::read(address + 4096), 3);
    Ok(())
}

fn addresses_are_checked(arena: &mut Arena) -> Outcome {
    for size in [FrameSize::Small, FrameSize::Large] {
        let page = arena.frame(size)?;
        let map =
            |space, address| page.map(space, address, CapRights::READ, VmAttributes::WriteBack);
        check_eq!(map(VSPACE, 0x1234), Err(Error::Alignment));
        let outside = Err(Error::InvalidArgument { index: 0 });
        for address in [USER_TOP, 1 << 47, !0xfff, 0xffff_8000_0000_0000] {
            check_eq!(map(VSPACE, address), outside, "{address:#x}");
        }
        let wrong = VSpace::new(page.cptr());
        check_eq!(map(wrong, 0), Err(Error::InvalidCapability { index: 1 }));
        check_eq!(map(VSpace::new(Cptr::NULL), 0), Err(Error::InvalidCapability { index: 1 }));
    }
    let top = arena.frame(FrameSize::Small)?;
    arena.map_at(VSPACE, top, USER_TOP - 4096, CapRights::READ_WRITE)?;
    machine::write(USER_TOP - 8, 5);
    check_eq!(machine::read(USER_TOP - 8), 5, "the last word of user space");
    Ok(())
}

fn all_attributes_work(arena: &mut Arena) -> Outcome {
    for attributes in [
        VmAttributes::WriteBack,
        VmAttributes::WriteThrough,
        VmAttributes::CacheDisabled,
        VmAttributes::Uncacheable,
        VmAttributes::WriteCombining,
    ] {
        let page = arena.frame(FrameSize::Small)?;
        let address = arena.map(page, FrameSize::Small)?;
        page.map(VSPACE, address, CapRights::READ_WRITE, attributes)?;
        machine::write(address, 0x77);
        check_eq!(machine::read(address), 0x77, "{attributes:?}");
    }
    Ok(())
}

fn a_deleted_capability_takes_its_mapping(arena: &mut Arena) -> Outcome {
    let page = arena.frame(FrameSize::Small)?;
    let copy = arena.copy(page.cptr())?;
    let address = arena.map(page, FrameSize::Small)?;
    slot_of(page.cptr()).delete()?;
    let other = arena.frame(FrameSize::Small)?;
    other.map(VSPACE, address, CapRights::READ, VmAttributes::WriteBack)?;
    check_eq!(machine::read(address), 0);
    // The copy was not mapped; deleting it leaves the new mapping alone.
    slot_of(copy).delete()?;
    check_eq!(machine::read(address), 0);
    Ok(())
}
