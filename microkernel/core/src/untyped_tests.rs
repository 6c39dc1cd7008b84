//! Retyping: bounds, errors in order, alignment, clearing, and when memory can be used again.

use crate::cap::Cap;
use crate::cap_world::{FREE, ROOT, ROOT_RADIX, UNTYPED, UNTYPED_BASE, World};
use crate::delete::Preempted;
use crate::error::{LookupFailure, SyscallError};
use crate::invocation::Answer;
use crate::memory::{PhysAddr, Ref};
use crate::objects::PageTable;
use d3os_abi::{Label, ObjectType};
use zerocopy::IntoBytes;

const SLOTS: u64 = 1 << ROOT_RADIX;

fn retype_error(world: &mut World, words: [u64; 6]) -> SyscallError {
    let (untyped, root) = (world.slot(UNTYPED), world.slot(ROOT));
    world.invoke(untyped, Label::UntypedRetype, &words, &[root]).unwrap_err()
}

fn free(world: &World, index: u64) -> u64 {
    match world.cap(index) {
        Cap::Untyped { free, .. } => free,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_type_becomes_its_capability() {
    let mut world = World::new(22);
    let mut dest = FREE;
    for kind in ObjectType::ALL {
        let size = match kind {
            ObjectType::Untyped | ObjectType::SchedContext => 9,
            ObjectType::CNode => 4,
            ObjectType::HugePage => continue,
            _ => 0,
        };
        if kind == ObjectType::LargePage {
            continue;
        }
        world.retype(UNTYPED, kind, size, dest, 1).unwrap();
        let (base, bits) = world.cap(dest).memory(world.slot(dest)).unwrap();
        assert_eq!(bits, kind.size_bits(u8::try_from(size).unwrap()), "{kind:?}");
        assert!(base.is_aligned(bits) && base >= UNTYPED_BASE, "{kind:?} at {base:?}");
        dest += 1;
    }
    world.check();
    world.retype(UNTYPED, ObjectType::LargePage, 0, dest, 1).unwrap();
    world.check();
    world.revoke(UNTYPED).unwrap();
    world.check();
    assert!((FREE..=dest).all(|index| world.cap(index) == Cap::Null));
}

#[test]
fn arguments_are_checked_in_the_manuals_order() {
    let mut world = World::new(16);
    let range = |min, max| SyscallError::Range { min, max };
    let cases = [
        ([14, 64, 0, 0, SLOTS, 0], SyscallError::InvalidArgument(0)),
        ([4, 64, 0, 0, SLOTS, 0], range(0, 47)),
        ([4, 43, 0, 0, SLOTS, 0], range(0, 47)),
        ([0, 48, 0, 0, SLOTS, 0], range(0, 47)),
        ([4, 0, 0, 0, SLOTS, 0], SyscallError::InvalidArgument(1)),
        ([0, 3, 0, 0, SLOTS, 0], SyscallError::InvalidArgument(1)),
        ([5, 6, 0, 0, SLOTS, 0], SyscallError::InvalidArgument(1)),
        ([2, 0, 0, 0, SLOTS, 0], range(0, SLOTS - 1)),
        ([2, 0, 0, 0, 60, 0], range(1, 256)),
        ([2, 0, 0, 0, 60, 257], range(1, 256)),
        ([2, 0, 0, 0, 60, 5], range(1, 4)),
        ([2, 0, 0, 0, 0, 2], SyscallError::DeleteFirst),
        ([2, 0, 0, 65, 60, 1], range(1, 64)),
        ([10, 0, 0, 0, FREE, 17], SyscallError::NotEnoughMemory(1 << 16)),
    ];
    for (words, expected) in cases {
        assert_eq!(retype_error(&mut world, words), expected, "{words:?}");
    }
}

#[test]
fn the_node_is_the_root_itself_or_found_below_it() {
    let mut world = World::new(16);
    let missing = |bits_left| SyscallError::FailedLookup {
        source: false,
        failure: LookupFailure::MissingCapability { bits_left },
    };
    assert_eq!(retype_error(&mut world, [2, 0, UNTYPED, 64, FREE, 1]), missing(64));
    assert_eq!(retype_error(&mut world, [2, 0, FREE, 64, FREE, 1]), missing(64));
    let (untyped, words) = (world.slot(UNTYPED), [2, 0, 0, 0, FREE, 1]);
    let refused = world.invoke(untyped, Label::UntypedRetype, &words, &[untyped]);
    assert_eq!(refused, Err(missing(0)));
    assert_eq!(
        world.invoke(untyped, Label::UntypedRetype, &words, &[]),
        Err(SyscallError::TruncatedMessage)
    );
    world.retype(UNTYPED, ObjectType::CNode, 3, FREE, 1).unwrap();
    let root = world.slot(ROOT);
    let words = [2, 0, FREE, 64, 5, 3];
    let made = world.invoke(untyped, Label::UntypedRetype, &words, &[root]);
    assert_eq!(made, Ok(Ok(Answer::Empty)));
    let Cap::CNode { object, .. } = world.cap(FREE) else { panic!() };
    assert!(matches!(world.kernel.cap_at(object.index(7)), Cap::Endpoint { .. }));
    assert_eq!(
        retype_error(&mut world, [2, 0, FREE, 64, 6, 3]),
        SyscallError::Range { min: 1, max: 2 }
    );
    world.check();
}

#[test]
fn memory_is_handed_out_upwards_and_aligned() {
    let mut world = World::new(16);
    world.retype(UNTYPED, ObjectType::Endpoint, 0, FREE, 3).unwrap();
    assert_eq!(free(&world, UNTYPED), 48);
    world.retype(UNTYPED, ObjectType::Tcb, 0, FREE + 3, 1).unwrap();
    assert_eq!(free(&world, UNTYPED), 4096);
    let Cap::Thread { object } = world.cap(FREE + 3) else { panic!() };
    assert_eq!(object.address(), UNTYPED_BASE.offset(2048));
    world.check();
    let left = (1 << 16) - 4096;
    assert_eq!(retype_error(&mut world, [0, 16, 0, 0, 20, 1]), SyscallError::NotEnoughMemory(left));
    world.retype(UNTYPED, ObjectType::SmallPage, 0, 20, 15).unwrap();
    assert_eq!(retype_error(&mut world, [2, 0, 0, 0, 40, 1]), SyscallError::NotEnoughMemory(0));
    world.check();
}

#[test]
fn an_untyped_without_children_begins_again() {
    let mut world = World::new(14);
    world.retype(UNTYPED, ObjectType::SmallPage, 0, FREE, 4).unwrap();
    world.delete(FREE + 1).unwrap();
    assert_eq!(retype_error(&mut world, [2, 0, 0, 0, 40, 1]), SyscallError::NotEnoughMemory(0));
    world.revoke(UNTYPED).unwrap();
    world.retype(UNTYPED, ObjectType::SmallPage, 0, FREE, 4).unwrap();
    world.check();
}

#[test]
fn a_copied_untyped_leaves_nothing_to_its_source() {
    let mut world = World::new(14);
    world.copy(UNTYPED, FREE).unwrap();
    assert_eq!(retype_error(&mut world, [2, 0, 0, 0, 40, 1]), SyscallError::NotEnoughMemory(0));
    world.retype(FREE, ObjectType::Endpoint, 0, FREE + 1, 1).unwrap();
    world.check();
    world.delete(FREE).unwrap();
    world.check();
    assert_eq!(retype_error(&mut world, [2, 0, 0, 0, 40, 1]), SyscallError::NotEnoughMemory(0));
    world.delete(FREE + 1).unwrap();
    world.retype(UNTYPED, ObjectType::Endpoint, 0, FREE + 1, 1).unwrap();
    assert_eq!(free(&world, UNTYPED), 16);
}

#[test]
fn device_memory_makes_frames_and_untypeds_only() {
    let mut world = World::new(14);
    let device =
        Cap::Untyped { base: PhysAddr(0x4000_0000_0000), size_bits: 46, device: true, free: 0 };
    world.kernel.vacate(world.slot(UNTYPED));
    world.kernel.insert_root(world.slot(UNTYPED), device);
    for kind in ObjectType::ALL {
        let size = if matches!(kind, ObjectType::CNode) { 4 } else { 12 };
        let allowed = matches!(
            kind,
            ObjectType::Untyped
                | ObjectType::SmallPage
                | ObjectType::LargePage
                | ObjectType::HugePage
        );
        let words = [kind as u64, size, 0, 0, FREE, 2];
        if !allowed {
            assert_eq!(
                retype_error(&mut world, words),
                SyscallError::InvalidArgument(1),
                "{kind:?}"
            );
            continue;
        }
        world.retype(UNTYPED, kind, size, FREE, 2).unwrap();
        let (Cap::Frame { device, .. } | Cap::Untyped { device, .. }) = world.cap(FREE) else {
            panic!()
        };
        assert!(device, "{kind:?}");
        world.check();
        world.revoke(UNTYPED).unwrap();
    }
    // Too little memory is told before the wrong type is.
    let words = [ObjectType::CNode as u64, 42, 0, 0, FREE, 1];
    assert_eq!(retype_error(&mut world, words), SyscallError::NotEnoughMemory(1 << 46));
}

fn words_of_page(world: &World, page: u64) -> [u64; 512] {
    let table: Ref<PageTable> = Ref::at(UNTYPED_BASE.offset(page * 4096));
    world.kernel.get(table).entries
}

#[test]
fn objects_are_cleared_and_nothing_else_is() {
    let mut world = World::new(16);
    world.retype(UNTYPED, ObjectType::SmallPage, 0, FREE, 2).unwrap();
    world.retype(UNTYPED, ObjectType::Untyped, 12, FREE + 2, 1).unwrap();
    for page in 0..4 {
        let expected = if page < 2 { 0 } else { u64::MAX };
        assert!(words_of_page(&world, page).iter().all(|word| *word == expected), "page {page}");
    }
}

#[test]
fn clearing_goes_on_where_it_was_preempted() {
    let mut world = World::new(20);
    let words = [ObjectType::SmallPage as u64, 0, 0, 0, FREE, 32];
    let (untyped, root) = (world.slot(UNTYPED), world.slot(ROOT));
    world.retype(UNTYPED, ObjectType::Endpoint, 0, 60, 1).unwrap();
    let mut preemptions = 0;
    loop {
        world.kernel.machine.preempt_after.set(Some(3));
        let outcome = world.invoke(untyped, Label::UntypedRetype, &words, &[root]).unwrap();
        world.check();
        if outcome == Ok(Answer::Empty) {
            break;
        }
        assert_eq!(world.cap(FREE), Cap::Null, "nothing is made before everything is clear");
        preemptions += 1;
    }
    assert_eq!(preemptions, 7, "every attempt clears four granules, and does none twice");
    for page in 1..33 {
        assert_eq!(words_of_page(&world, page), [0; 512]);
    }
}

#[test]
fn another_retype_may_come_between() {
    let mut world = World::new(20);
    let large = [ObjectType::CNode as u64, 12, 0, 0, FREE, 1];
    let (untyped, root) = (world.slot(UNTYPED), world.slot(ROOT));
    world.retype(UNTYPED, ObjectType::Endpoint, 0, 60, 1).unwrap();
    world.kernel.machine.preempt_after.set(Some(2));
    let outcome = world.invoke(untyped, Label::UntypedRetype, &large, &[root]).unwrap();
    assert_eq!(outcome, Err(Preempted));
    world.kernel.machine.preempt_after.set(None);
    world.check();
    // Were the gap before the large object counted as cleared, this would be full of ones.
    world.retype(UNTYPED, ObjectType::Notification, 0, 61, 1).unwrap();
    let Cap::Notification { object, .. } = world.cap(61) else { panic!() };
    assert!(world.kernel.get(object).as_bytes().iter().all(|byte| *byte == 0));
    world.check();
    world.retype(UNTYPED, ObjectType::CNode, 12, FREE, 1).unwrap();
    world.check();
}

#[test]
fn progress_survives_only_where_it_is_true() {
    let mut world = World::new(20);
    let words = [ObjectType::SmallPage as u64, 0, 0, 0, FREE, 32];
    let (untyped, root) = (world.slot(UNTYPED), world.slot(ROOT));
    world.kernel.machine.preempt_after.set(Some(4));
    let outcome = world.invoke(untyped, Label::UntypedRetype, &words, &[root]).unwrap();
    assert_eq!(outcome, Err(Preempted));
    world.kernel.machine.preempt_after.set(None);
    // What was cleared is used, made dirty and given back: it must be cleared again.
    world.retype(UNTYPED, ObjectType::SmallPage, 0, FREE, 1).unwrap();
    let page: Ref<PageTable> = Ref::at(UNTYPED_BASE);
    world.kernel.get_mut(page).entries = [7; 512];
    world.revoke(UNTYPED).unwrap();
    world.retype(UNTYPED, ObjectType::SmallPage, 0, FREE, 32).unwrap();
    assert!((0..32).all(|page| words_of_page(&world, page) == [0; 512]));
    world.check();
}

#[test]
fn only_retype_is_asked_of_an_untyped() {
    let mut world = World::new(14);
    let untyped = world.slot(UNTYPED);
    let refused = world.invoke(untyped, Label::CNodeDelete, &[0, 64], &[]);
    assert_eq!(refused, Err(SyscallError::IllegalOperation));
}
