//! CNodes: copying, moving and deleting capabilities.

use libd3os::abi::{CNodeCapData, CapRights, ObjectType};
use libd3os::cap::{CNode, Capability, Error, LookupFailure, Notification, Slot, SlotRun};
use libd3os::sys::Cptr;

use super::tests;
use crate::arena::{Arena, CNODE, slot_of};
use crate::check::{Outcome, check, check_eq};
use crate::raw;

tests![
    a_copy_is_the_same_object,
    a_badge_is_given_once,
    moving_leaves_nothing,
    mutating_gives_a_guard,
    rotating_moves_two,
    rights_shrink,
    deleting_the_original_keeps_the_copy,
    revoking_takes_all_that_was_derived,
    nested_nodes_with_guards_are_resolved,
    addresses_that_lead_nowhere,
    empty_and_occupied_slots,
    a_deleted_node_takes_its_contents,
    nodes_within_each_other_can_be_deleted,
];

/// Whether a notification capability works, by signalling it and polling the original.
fn reaches(copy: Cptr, original: Notification) -> bool {
    let _ = original.poll();
    raw::signal(copy);
    original.poll() != 0
}

/// A notification with a badge, and a slot's worth of its capabilities.
fn badged(arena: &mut Arena, badge: u64) -> Result<(Notification, Cptr), Error> {
    let notification = arena.notification()?;
    let copy = arena.mint(notification.cptr(), CapRights::ALL, badge)?;
    Ok((notification, copy))
}

fn a_copy_is_the_same_object(arena: &mut Arena) -> Outcome {
    let (notification, minted) = badged(arena, 5)?;
    let copy = arena.copy(minted)?;
    raw::signal(copy);
    check_eq!(notification.poll(), 5, "the badge is copied too");
    Ok(())
}

fn a_badge_is_given_once(arena: &mut Arena) -> Outcome {
    let (_, minted) = badged(arena, 5)?;
    let dest = arena.empty_slot();
    let again = slot_of(dest).mint_from(slot_of(minted), CapRights::ALL, 6);
    check!(again.is_err(), "a badge was replaced");
    Ok(())
}

fn moving_leaves_nothing(arena: &mut Arena) -> Outcome {
    let (notification, minted) = badged(arena, 1)?;
    let dest = arena.empty_slot();
    slot_of(dest).move_from(slot_of(minted))?;
    check!(reaches(dest, notification));
    let gone = slot_of(minted).move_from(slot_of(minted));
    check!(gone.is_err(), "moved onto itself");
    let back = slot_of(minted).copy_from(slot_of(minted), CapRights::ALL);
    check!(back.is_err(), "the source is still there");
    slot_of(minted).move_from(slot_of(dest))?;
    check!(reaches(minted, notification));
    Ok(())
}

/// Whether a CNode capability addresses slots that lie below this guard.
fn has_guard(arena: &mut Arena, node: Cptr, guard: CNodeCapData) -> Result<bool, Error> {
    let endpoint = arena.endpoint()?;
    let probe = slot_of(endpoint.cptr());
    let bits = guard.guard_size() + NODE_BITS;
    let place = CNode::new(node).slot(guard.guard() << NODE_BITS | 5, bits);
    Ok(place.move_from(probe).is_ok() && place.delete().is_ok())
}

/// log2 of the slots of these tests' nodes.
const NODE_BITS: u8 = 4;

fn mutating_gives_a_guard(arena: &mut Arena) -> Outcome {
    let node = arena.cnode(NODE_BITS)?;
    let dest = arena.empty_slot();
    let guard = CNodeCapData::new(0b1011, 4);
    slot_of(dest).mutate_from(slot_of(node.cptr()), guard.0)?;
    check!(has_guard(arena, dest, guard)?);
    check!(!has_guard(arena, dest, CNodeCapData::new(0, 4))?);
    let copied = slot_of(arena.empty_slot()).copy_from(slot_of(node.cptr()), CapRights::ALL);
    check!(copied.is_err(), "it was copied, not moved");
    // Badges are for minting.
    let endpoint = arena.endpoint()?;
    let other = slot_of(arena.empty_slot());
    let badge = other.mutate_from(slot_of(endpoint.cptr()), 1);
    check_eq!(badge, Err(Error::IllegalOperation));
    Ok(())
}

fn rotating_moves_two(arena: &mut Arena) -> Outcome {
    let nodes = [arena.cnode(NODE_BITS)?, arena.cnode(NODE_BITS)?];
    let [first, second] = [CNodeCapData::new(1, 2), CNodeCapData::new(2, 2)];
    let [pivot, source] = nodes.map(|node| slot_of(node.cptr()));
    let dest = arena.empty_slot();
    slot_of(dest).rotate(first.0, pivot, second.0, source)?;
    let middle = Cptr::new(pivot.index);
    check!(has_guard(arena, dest, first)?, "the pivot's went to the destination");
    check!(has_guard(arena, middle, second)?, "the source's went to the pivot");
    let empty = slot_of(arena.empty_slot());
    check!(empty.move_from(source).is_err(), "the source's slot is not empty");
    // With the destination being the source, two capabilities trade places.
    slot_of(dest).rotate(second.0, pivot, first.0, slot_of(dest))?;
    check!(has_guard(arena, dest, second)? && has_guard(arena, middle, first)?);
    check_eq!(slot_of(dest).rotate(0, pivot, 0, pivot), Err(Error::IllegalOperation));
    Ok(())
}

fn rights_shrink(arena: &mut Arena) -> Outcome {
    let notification = arena.notification()?;
    let receive = arena.mint(notification.cptr(), CapRights::READ, 1)?;
    raw::signal(receive);
    check_eq!(notification.poll(), 0, "signalled without the right to");
    let back = arena.copy(receive)?;
    raw::signal(back);
    check_eq!(notification.poll(), 0, "the right came back");
    Ok(())
}

fn deleting_the_original_keeps_the_copy(arena: &mut Arena) -> Outcome {
    let notification = arena.notification()?;
    let sender = arena.copy(notification.cptr())?;
    let waiter = arena.copy(notification.cptr())?;
    slot_of(notification.cptr()).delete()?;
    raw::signal(sender);
    slot_of(notification.cptr()).copy_from(slot_of(waiter), CapRights::ALL)?;
    raw::nb_wait(waiter);
    Ok(())
}

fn revoking_takes_all_that_was_derived(arena: &mut Arena) -> Outcome {
    let endpoint = arena.endpoint()?;
    let inner = arena.cnode(4)?;
    let minted = arena.mint(endpoint.cptr(), CapRights::ALL, 1)?;
    let grandchild = arena.copy(minted)?;
    let elsewhere = inner.slot(3, 4);
    elsewhere.copy_from(slot_of(minted), CapRights::READ)?;
    slot_of(endpoint.cptr()).revoke()?;
    for gone in [slot_of(minted), slot_of(grandchild), elsewhere] {
        let dest = slot_of(arena.empty_slot());
        let copied = dest.copy_from(gone, CapRights::ALL);
        check!(copied.is_err(), "{gone:?} is still there");
    }
    arena.copy(endpoint.cptr())?;
    Ok(())
}

fn nested_nodes_with_guards_are_resolved(arena: &mut Arena) -> Outcome {
    let notification = arena.notification()?;
    let (outer, inner) = (arena.cnode(4)?, arena.cnode(4)?);
    let guarded = CNodeCapData::new(0b101, 3).0;
    outer.slot(9, 4).mint_from(slot_of(inner.cptr()), CapRights::ALL, guarded)?;
    // Outer index 9, guard 101, inner index 6.
    let address = 9 << 7 | 0b101 << 4 | 6;
    outer.slot(address, 11).mint_from(slot_of(notification.cptr()), CapRights::ALL, 1)?;
    let back = arena.empty_slot();
    slot_of(back).move_from(inner.slot(6, 4))?;
    check!(reaches(back, notification));
    let mismatch = outer.slot(9 << 7 | 0b100 << 4 | 6, 11).delete();
    let failure = LookupFailure::GuardMismatch { bits_left: 7, guard: 0b101, guard_bits: 3 };
    check_eq!(mismatch, Err(Error::FailedLookup { source: false, failure }));
    Ok(())
}

fn addresses_that_lead_nowhere(arena: &mut Arena) -> Outcome {
    let node = arena.cnode(4)?;
    let failed = |result: Result<(), Error>| match result {
        Err(Error::FailedLookup { failure, .. }) => Some(failure),
        _ => None,
    };
    let deep = failed(node.slot(1, 5).delete());
    check!(matches!(deep, Some(LookupFailure::DepthMismatch { .. })), "{deep:?}");
    let shallow = failed(node.slot(1, 3).delete());
    check!(matches!(shallow, Some(LookupFailure::DepthMismatch { .. })), "{shallow:?}");
    for depth in [0, 65, 255] {
        let result = node.slot(1, depth).delete();
        check!(result.is_err(), "a depth of {depth}");
    }
    let endpoint = arena.endpoint()?;
    let no_root = Slot { root: CNode::new(endpoint.cptr()), index: 0, depth: 4 };
    let dest = slot_of(arena.empty_slot());
    let result = failed(dest.copy_from(no_root, CapRights::ALL));
    check_eq!(result, Some(LookupFailure::InvalidRoot));
    Ok(())
}

fn empty_and_occupied_slots(arena: &mut Arena) -> Outcome {
    let endpoint = arena.endpoint()?;
    let empty = slot_of(arena.empty_slot());
    let other = slot_of(arena.empty_slot());
    let occupied = slot_of(endpoint.cptr());
    let result = other.copy_from(empty, CapRights::ALL);
    check!(matches!(result, Err(Error::FailedLookup { source: true, .. })), "{result:?}");
    let result = other.move_from(empty);
    check!(matches!(result, Err(Error::FailedLookup { source: true, .. })), "{result:?}");
    check_eq!(occupied.copy_from(occupied, CapRights::ALL), Err(Error::DeleteFirst));
    empty.delete()?;
    empty.revoke()?;
    Ok(())
}

fn a_deleted_node_takes_its_contents(arena: &mut Arena) -> Outcome {
    let node = arena.cnode(8)?;
    let memory = arena.untyped(16)?;
    for index in 0..200 {
        memory.retype(ObjectType::Endpoint, 0, SlotRun::within(node, index), 1)?;
    }
    let inside = arena.empty_slot();
    slot_of(inside).copy_from(node.slot(7, 8), CapRights::ALL)?;
    slot_of(node.cptr()).delete()?;
    // The copy keeps one object; revoking the memory takes that too.
    let reply = arena.reply()?;
    let found = raw::nb_recv(inside, reply.cptr());
    check_eq!(found.info.0, 0, "the endpoint that was copied lives");
    slot_of(memory.cptr()).revoke()?;
    let dest = slot_of(arena.empty_slot());
    check!(dest.copy_from(slot_of(inside), CapRights::ALL).is_err(), "it outlived its memory");
    memory.retype(ObjectType::Untyped, 16, SlotRun::within(CNODE, dest.index), 1)?;
    Ok(())
}

/// Circles of nodes that hold each other are unreachable, and go with their memory.
fn nodes_within_each_other_can_be_deleted(arena: &mut Arena) -> Outcome {
    let memory = arena.untyped(16)?;
    for _ in 0..2 {
        let nodes = arena.empty_slots(2);
        let run = SlotRun::within(CNODE, nodes.address());
        memory.retype(ObjectType::CNode, 4, run, 2)?;
        let (first, second) = (CNode::new(nodes), CNode::new(Cptr::new(nodes.address() + 1)));
        first.slot(1, 4).copy_from(slot_of(first.cptr()), CapRights::ALL)?;
        second.slot(15, 4).copy_from(slot_of(first.cptr()), CapRights::ALL)?;
        second.slot(0, 4).copy_from(slot_of(second.cptr()), CapRights::ALL)?;
        first.slot(2, 4).move_from(slot_of(second.cptr()))?;
        slot_of(first.cptr()).delete()?;
        slot_of(memory.cptr()).revoke()?;
    }
    let whole = arena.empty_slot();
    memory.retype(ObjectType::Untyped, 16, SlotRun::within(CNODE, whole.address()), 1)?;
    Ok(())
}
