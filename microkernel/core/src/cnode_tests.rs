//! Invocations of CNodes: what they do, and which error comes first.

use crate::cap::{Asid, Cap, Mapping, TableLevel};
use crate::cap_world::{FREE, ROOT, UNTYPED, World};
use crate::error::{LookupFailure, SyscallError};
use crate::invocation::Answer;
use crate::memory::{PhysAddr, Ref};
use d3os_abi::{CNodeCapData, CapRights, FrameSize, Label, ObjectType};

const EMPTY: u64 = 40;

/// Slots: an endpoint at `FREE`, a notification, a CNode of 8 slots, a thread.
fn world() -> World {
    let mut world = World::new(16);
    world.retype(UNTYPED, ObjectType::Endpoint, 0, FREE, 1).unwrap();
    world.retype(UNTYPED, ObjectType::Notification, 0, NOTIFICATION, 1).unwrap();
    world.retype(UNTYPED, ObjectType::CNode, 3, NODE, 1).unwrap();
    world.retype(UNTYPED, ObjectType::Tcb, 0, THREAD, 1).unwrap();
    world
}

const ENDPOINT: u64 = FREE;
const NOTIFICATION: u64 = FREE + 1;
const NODE: u64 = FREE + 2;
const THREAD: u64 = FREE + 3;

fn badge(cap: Cap) -> u64 {
    match cap {
        Cap::Endpoint { badge, .. } | Cap::Notification { badge, .. } => badge,
        other => panic!("{other:?} has no badge"),
    }
}

fn missing(source: bool, bits_left: u8) -> SyscallError {
    SyscallError::FailedLookup { source, failure: LookupFailure::MissingCapability { bits_left } }
}

#[test]
fn a_copy_has_the_rights_that_were_asked_for() {
    let mut world = world();
    world.copy_with(ENDPOINT, EMPTY, CapRights::READ_WRITE).unwrap();
    let Cap::Endpoint { rights, .. } = world.cap(EMPTY) else { panic!() };
    assert_eq!(rights, CapRights::READ_WRITE);
    // And no more than its source.
    world.copy(EMPTY, EMPTY + 1).unwrap();
    assert_eq!(world.cap(EMPTY + 1), world.cap(EMPTY));
    world.check();
}

#[test]
fn copies_are_children_of_the_original_not_of_each_other() {
    let mut world = world();
    world.copy(ENDPOINT, EMPTY).unwrap();
    world.copy(EMPTY, EMPTY + 1).unwrap();
    world.revoke(EMPTY).unwrap();
    assert_ne!(world.cap(EMPTY + 1), Cap::Null);
    world.revoke(ENDPOINT).unwrap();
    assert_eq!((world.cap(EMPTY), world.cap(EMPTY + 1)), (Cap::Null, Cap::Null));
    assert_ne!(world.cap(ENDPOINT), Cap::Null);
    world.check();
}

#[test]
fn a_minted_badge_begins_a_family_of_its_own() {
    let mut world = world();
    world.mint(ENDPOINT, EMPTY, 5).unwrap();
    world.copy(EMPTY, EMPTY + 1).unwrap();
    world.mint(ENDPOINT, EMPTY + 2, 5).unwrap();
    world.copy(ENDPOINT, EMPTY + 3).unwrap();
    assert_eq!(badge(world.cap(EMPTY + 1)), 5);
    world.revoke(EMPTY).unwrap();
    assert_eq!(world.cap(EMPTY + 1), Cap::Null);
    assert_ne!(world.cap(EMPTY + 2), Cap::Null, "another mint with the same badge is no child");
    assert_ne!(world.cap(EMPTY + 3), Cap::Null);
    world.check();
}

#[test]
fn orphans_do_not_join_another_mint_of_the_same_badge() {
    let mut world = world();
    world.mint(ENDPOINT, EMPTY, 5).unwrap();
    world.copy(EMPTY, EMPTY + 1).unwrap();
    // Stands before the first family in the list.
    world.mint(ENDPOINT, EMPTY + 2, 5).unwrap();
    world.delete(EMPTY).unwrap();
    world.revoke(EMPTY + 2).unwrap();
    assert_ne!(world.cap(EMPTY + 1), Cap::Null);
    world.revoke(ENDPOINT).unwrap();
    assert_eq!(world.cap(EMPTY + 1), Cap::Null);
    world.check();
}

#[test]
fn a_badge_cannot_be_changed() {
    let mut world = world();
    world.mint(NOTIFICATION, EMPTY, 3).unwrap();
    let refused = Err(SyscallError::IllegalOperation);
    assert_eq!(world.mint(EMPTY, EMPTY + 1, 4), refused);
    assert_eq!(world.mint(EMPTY, EMPTY + 1, 0), refused);
    assert_eq!(world.mutate(NOTIFICATION, EMPTY + 1, 4), refused);
    assert_eq!(world.mutate(EMPTY, EMPTY + 1, 3), refused);
    assert_eq!(badge(world.cap(EMPTY)), 3);
}

#[test]
fn mutating_a_cnode_gives_it_a_guard_in_its_new_place() {
    let mut world = world();
    world.copy(NODE, EMPTY).unwrap();
    world.mutate(NODE, EMPTY + 1, CNodeCapData::new(0b101, 3).0).unwrap();
    let Cap::CNode { guard_size: 3, guard: 0b101, radix: 3, .. } = world.cap(EMPTY + 1) else {
        panic!("{:?}", world.cap(EMPTY + 1))
    };
    assert_eq!(world.cap(NODE), Cap::Null);
    world.revoke(EMPTY + 1).unwrap();
    assert_eq!(world.cap(EMPTY), Cap::Null, "what was moved is still the parent of its copies");
    assert_eq!(
        world.mutate(EMPTY + 1, EMPTY, CNodeCapData::new(0, 62).0),
        Err(SyscallError::IllegalOperation)
    );
    world.check();
}

#[test]
fn moving_keeps_everything() {
    let mut world = world();
    world.mint(ENDPOINT, EMPTY, 9).unwrap();
    let cap = world.cap(EMPTY);
    world.move_to(EMPTY, EMPTY + 1).unwrap();
    assert_eq!((world.cap(EMPTY), world.cap(EMPTY + 1)), (Cap::Null, cap));
    world.check();
}

#[test]
fn rotating_moves_two_capabilities_at_once() {
    let mut world = world();
    let (node, thread) = (world.cap(NODE), world.cap(THREAD));
    let roots = [world.slot(ROOT), world.slot(ROOT)];
    let guard = CNodeCapData::new(1, 1).0;
    world.root(Label::CNodeRotate, &[EMPTY, 64, 0, THREAD, 64, guard, NODE, 64], &roots).unwrap();
    assert_eq!((world.cap(EMPTY), world.cap(NODE)), (thread, Cap::Null));
    assert_eq!(Some(world.cap(THREAD)), node.moved_with_data(guard));
    world.check();
    // With the source as destination the two change places.
    world.root(Label::CNodeRotate, &[EMPTY, 64, 0, THREAD, 64, 0, EMPTY, 64], &roots).unwrap();
    assert_eq!((world.cap(EMPTY), world.cap(THREAD)), (node, thread));
    world.check();
}

#[test]
fn rotating_neighbours_of_the_list() {
    let mut world = world();
    world.copy(NODE, EMPTY).unwrap();
    let guarded = CNodeCapData::new(1, 2).0;
    let roots = [world.slot(ROOT), world.slot(ROOT)];
    for _ in 0..2 {
        world
            .root(Label::CNodeRotate, &[NODE, 64, guarded, EMPTY, 64, 0, NODE, 64], &roots)
            .unwrap();
        world.check();
    }
    world.revoke(NODE).unwrap();
    assert_eq!(world.cap(EMPTY), Cap::Null);
}

#[test]
fn errors_of_rotation_in_order() {
    let mut world = world();
    let roots = [world.slot(ROOT), world.slot(ROOT)];
    let mut rotate = |dest, pivot, pivot_data: u64, source, depth: u64| {
        let words = [dest, 64, pivot_data, pivot, 64, 0, source, depth];
        world.root(Label::CNodeRotate, &words, &roots)
    };
    assert_eq!(rotate(EMPTY, NODE, 0, NODE, 64), Err(SyscallError::IllegalOperation));
    assert_eq!(rotate(NODE, NODE, 0, THREAD, 64), Err(SyscallError::IllegalOperation));
    assert_eq!(rotate(ENDPOINT, NODE, 0, THREAD, 64), Err(SyscallError::DeleteFirst));
    assert_eq!(rotate(EMPTY, EMPTY + 1, 0, EMPTY + 2, 64), Err(missing(true, 64)));
    assert_eq!(rotate(EMPTY, EMPTY + 1, 0, THREAD, 64), Err(missing(false, 64)));
    assert_eq!(rotate(EMPTY, ENDPOINT, 0, THREAD, 64), Err(SyscallError::IllegalOperation));
    assert_eq!(rotate(EMPTY, NODE, 0, THREAD, 65), Err(SyscallError::Range { min: 1, max: 64 }));
    let short = world.root(Label::CNodeRotate, &[EMPTY, 64, 0, NODE, 64, 0, THREAD], &roots);
    assert_eq!(short, Err(SyscallError::TruncatedMessage));
    let one_root = [world.slot(ROOT)];
    let short = world.root(Label::CNodeRotate, &[EMPTY, 64, 0, NODE, 64, 0, THREAD, 64], &one_root);
    assert_eq!(short, Err(SyscallError::TruncatedMessage));
}

#[test]
fn errors_of_copying_in_order() {
    let mut world = world();
    let root = [world.slot(ROOT)];
    let copy = Label::CNodeCopy;
    assert_eq!(world.root(copy, &[EMPTY], &root), Err(SyscallError::TruncatedMessage));
    let bad_depth = world.root(copy, &[EMPTY, 0], &[]);
    assert_eq!(bad_depth, Err(SyscallError::Range { min: 1, max: 64 }), "before the length");
    let no_root = world.root(copy, &[EMPTY, 64, ENDPOINT, 64, 15], &[]);
    assert_eq!(no_root, Err(SyscallError::TruncatedMessage));
    let occupied = world.root(copy, &[NODE, 64, EMPTY, 64, 15], &root);
    assert_eq!(occupied, Err(SyscallError::DeleteFirst), "before the source is looked up");
    assert_eq!(world.copy(EMPTY, EMPTY + 1), Err(missing(true, 64)));
    let not_a_cnode = [world.slot(THREAD)];
    assert_eq!(
        world.root(copy, &[EMPTY, 64, ENDPOINT, 64, 15], &not_a_cnode),
        Err(SyscallError::FailedLookup { source: true, failure: LookupFailure::InvalidRoot })
    );
    let no_rights = world.root(copy, &[EMPTY, 64, ENDPOINT, 64], &root);
    assert_eq!(no_rights, Err(SyscallError::TruncatedMessage));
    let no_badge = world.root(Label::CNodeMint, &[EMPTY, 64, ENDPOINT, 64, 15], &root);
    assert_eq!(no_badge, Err(SyscallError::TruncatedMessage));
    assert_eq!(world.cap(EMPTY), Cap::Null);
}

#[test]
fn what_cannot_be_copied() {
    let mut world = world();
    let slot = world.slot(EMPTY);
    let refused = [Cap::IrqControl, Cap::IoPortControl]
        .into_iter()
        .chain([Cap::Table { object: table(), level: TableLevel::PageTable, mapping: None }])
        .chain([Cap::VSpace { root: table(), asid: None }]);
    for cap in refused {
        world.kernel.insert_root(slot, cap);
        assert_eq!(world.copy(EMPTY, EMPTY + 1), Err(SyscallError::IllegalOperation), "{cap:?}");
        world.kernel.vacate(slot);
    }
    assert_eq!(world.copy(UNTYPED, EMPTY + 1), Err(SyscallError::RevokeFirst));
}

fn table() -> Ref<crate::objects::PageTable> {
    Ref::at(PhysAddr(crate::simulation::RAM_BASE + 0x8000))
}

#[test]
fn a_copy_of_a_mapped_frame_is_not_mapped() {
    let mut world = world();
    let rights = CapRights::READ_WRITE;
    let mapping = Some(Mapping { asid: Asid(1), vaddr: 0x40_0000 });
    let (base, size) = (table().address(), FrameSize::Small);
    let cap = |mapping| Cap::Frame { base, size, rights, device: false, mapping };
    world.kernel.insert_root(world.slot(EMPTY), cap(mapping));
    world.copy(EMPTY, EMPTY + 1).unwrap();
    assert_eq!((world.cap(EMPTY), world.cap(EMPTY + 1)), (cap(mapping), cap(None)));
}

#[test]
fn cancelling_needs_every_right() {
    let mut world = world();
    world.mint(ENDPOINT, EMPTY, 1).unwrap();
    world.copy_with(EMPTY, EMPTY + 1, CapRights::READ_WRITE).unwrap();
    let cancel = Label::CNodeCancelBadgedSends;
    assert_eq!(world.root(cancel, &[EMPTY, 64], &[]), Ok(()));
    let refused = Err(SyscallError::IllegalOperation);
    assert_eq!(world.root(cancel, &[EMPTY + 1, 64], &[]), refused);
    assert_eq!(world.root(cancel, &[NOTIFICATION, 64], &[]), refused);
    assert_eq!(world.root(cancel, &[EMPTY + 2, 64], &[]), refused);
}

#[test]
fn other_labels_are_illegal_and_empty_slots_can_be_deleted() {
    let mut world = world();
    let refused = Err(SyscallError::IllegalOperation);
    for label in [Label::UntypedRetype, Label::TcbSuspend, Label::IrqControlGet] {
        assert_eq!(world.root(label, &[0, 64], &[]), refused);
    }
    assert_eq!(world.delete(EMPTY), Ok(()));
    assert_eq!(world.revoke(EMPTY), Ok(()));
}

#[test]
fn the_last_capability_to_an_interrupt_frees_its_vector() {
    let mut world = world();
    world.kernel.insert_root(world.slot(EMPTY), Cap::IrqControl);
    let control = world.slot(EMPTY);
    let root = [world.slot(ROOT)];
    let words = [EMPTY + 1, 64, 0, 4, 0, 0, 7];
    let issue = |world: &mut World, dest| {
        let words = [dest, words[1], words[2], words[3], words[4], words[5], words[6]];
        world.invoke(control, Label::IrqControlGetIoApic, &words, &root).map(|_| ())
    };
    issue(&mut world, EMPTY + 1).unwrap();
    world.copy(EMPTY + 1, EMPTY + 2).unwrap();
    let handler = world.slot(EMPTY + 1);
    let notification = [world.slot(NOTIFICATION)];
    let set = world.invoke(handler, Label::IrqHandlerSetNotification, &[], &notification);
    assert_eq!(set, Ok(Ok(Answer::Empty)));
    world.check();
    world.delete(EMPTY + 1).unwrap();
    assert!(issue(&mut world, EMPTY + 3).is_err(), "a copy still holds the vector");
    world.revoke(EMPTY).unwrap();
    assert_eq!(world.cap(EMPTY + 2), Cap::Null);
    world.check();
    issue(&mut world, EMPTY + 3).unwrap();
}
