//! Address-space identifiers.

use libd3os::abi::{CapRights, FaultLabel, FrameSize, ObjectType, VmAttributes};
use libd3os::cap::{AsidPool, Capability, Error, Untyped, VSpace};

use super::tests;
use crate::arena::{ASID_CONTROL, ASID_POOL, Arena, slot_of};
use crate::check::{Outcome, check, check_eq};
use crate::raw;
use crate::worker::Options;

tests![
    without_an_identifier_nothing_is_mapped,
    a_root_gets_one_identifier,
    pools_are_made_until_there_are_eight,
    pools_are_made_of_a_page_of_untyped,
    a_deleted_pool_stops_its_threads,
];

fn pool(arena: &mut Arena) -> Result<AsidPool, Error> {
    let untyped = arena.untyped(12)?;
    let dest = arena.empty_slot();
    ASID_CONTROL.make_pool(untyped, slot_of(dest))?;
    Ok(AsidPool::new(dest))
}

fn without_an_identifier_nothing_is_mapped(arena: &mut Arena) -> Outcome {
    let space = VSpace::new(arena.make(ObjectType::Pml4, 0)?);
    let page = arena.frame(FrameSize::Small)?;
    let result = page.map(space, 0, CapRights::READ, VmAttributes::WriteBack);
    check_eq!(result, Err(Error::InvalidCapability { index: 1 }));
    check_eq!(arena.make_table(space, 0, 39), Err(Error::InvalidCapability { index: 1 }));
    ASID_POOL.assign(space)?;
    arena.map_at(space, page, 0x1000, CapRights::READ)?;
    Ok(())
}

fn a_root_gets_one_identifier(arena: &mut Arena) -> Outcome {
    let pool = pool(arena)?;
    let space = VSpace::new(arena.make(ObjectType::Pml4, 0)?);
    pool.assign(space)?;
    check_eq!(pool.assign(space), Err(Error::InvalidCapability { index: 1 }));
    let page = arena.frame(FrameSize::Small)?;
    check_eq!(pool.assign(VSpace::new(page.cptr())), Err(Error::InvalidCapability { index: 1 }));
    Ok(())
}

/// One is the root task's, so there are seven more.
fn pools_are_made_until_there_are_eight(arena: &mut Arena) -> Outcome {
    let mut pools = alloc::vec::Vec::new();
    for _ in 0..7 {
        pools.push(pool(arena)?);
    }
    check_eq!(pool(arena).err(), Some(Error::DeleteFirst));
    slot_of(pools[3].cptr()).delete()?;
    let again = pool(arena)?;
    let space = VSpace::new(arena.make(ObjectType::Pml4, 0)?);
    again.assign(space)?;
    Ok(())
}

fn pools_are_made_of_a_page_of_untyped(arena: &mut Arena) -> Outcome {
    let dest = slot_of(arena.empty_slot());
    let large = arena.untyped(13)?;
    check_eq!(ASID_CONTROL.make_pool(large, dest), Err(Error::InvalidCapability { index: 1 }));
    let page = arena.frame(FrameSize::Small)?;
    let wrong = ASID_CONTROL.make_pool(Untyped::new(page.cptr()), dest);
    check_eq!(wrong, Err(Error::InvalidCapability { index: 1 }));
    let untyped = arena.untyped(12)?;
    let occupied = slot_of(page.cptr());
    check_eq!(ASID_CONTROL.make_pool(untyped, occupied), Err(Error::DeleteFirst));
    ASID_CONTROL.make_pool(untyped, dest)?;
    let other = slot_of(arena.empty_slot());
    check_eq!(ASID_CONTROL.make_pool(untyped, other), Err(Error::RevokeFirst));
    Ok(())
}

fn a_deleted_pool_stops_its_threads(arena: &mut Arena) -> Outcome {
    let pool = pool(arena)?;
    let space = VSpace::new(arena.make(ObjectType::Pml4, 0)?);
    pool.assign(space)?;
    let frames = arena.boot().user_image_frames;
    for (index, cptr) in (frames.start..frames.end).enumerate() {
        let copy = arena.copy(libd3os::sys::Cptr::new(cptr))?;
        let address = crate::arena::IMAGE_BASE + 4096 * index as u64;
        arena.map_at(space, libd3os::cap::Frame::new(copy), address, CapRights::READ_WRITE)?;
    }
    let (faults, reply) = (arena.endpoint()?, arena.reply()?);
    let turn = faults.cptr();
    let options = Options { vspace: space, ..Options::faults_to(faults) };
    arena.spawn(options, move |_| {
        loop {
            raw::call(turn, raw::info(0x77, 0), [0; 4]);
        }
    })?;
    check_eq!(raw::recv(faults.cptr(), reply.cptr()).info.label(), 0x77);
    slot_of(pool.cptr()).delete()?;
    raw::send(reply.cptr(), raw::info(0, 0), [0; 4]);
    let message = raw::recv(faults.cptr(), reply.cptr());
    check_eq!(message.info.label(), FaultLabel::VmFault as u64);
    check!(message.words[2] == 1, "an instruction fetch");
    let page = arena.frame(FrameSize::Small)?;
    let result = page.map(space, 0x1000, CapRights::READ, VmAttributes::WriteBack);
    check!(matches!(result, Err(Error::FailedLookup { .. })), "{result:?}");
    Ok(())
}
