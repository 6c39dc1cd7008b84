//! Addresses of capabilities: guards, depths, and what is reported when they lead nowhere.

use crate::cap::Cap;
use crate::cap_world::{FREE, ROOT, ROOT_RADIX, World};
use crate::error::{LookupFailure, SyscallError};
use crate::memory::{PhysAddr, Ref};
use crate::objects::Tcb;
use crate::slot::Slot;
use d3os_abi::ObjectType;
use proptest::prelude::*;

const NODE_RADIX: u8 = 3;

/// A world with an 8-slot CNode in slot `FREE`, whose capability has this guard.
fn world_with_node(guard_size: u8, guard: u64) -> (World, Ref<Slot>) {
    let mut world = World::new(14);
    world.retype(crate::cap_world::UNTYPED, ObjectType::CNode, NODE_RADIX.into(), FREE, 1).unwrap();
    let Cap::CNode { object, radix, .. } = world.cap(FREE) else { panic!() };
    world.kernel.update_cap(world.slot(FREE), Cap::CNode { object, radix, guard_size, guard });
    (world, object)
}

/// A root of radix 6 without guard whose slot `FREE` leads to the node: addresses are 6 bits, the
/// guard, 3 bits, and whatever is left.
fn bare_root(world: &World) -> Cap {
    Cap::CNode { object: world.slot(0), radix: ROOT_RADIX, guard_size: 0, guard: 0 }
}

/// What `cptr` names in a thread's capability space.
fn lookup(world: &World, thread: Ref<Tcb>, cptr: u64) -> Result<(Ref<Slot>, Cap), LookupFailure> {
    world.kernel.lookup(thread, cptr).map(|slot| (slot, world.kernel.cap_at(slot)))
}

#[test]
fn an_index_of_64_bits_names_a_slot_of_the_root() {
    let world = World::new(14);
    let found = lookup(&world, world.thread, ROOT).unwrap();
    assert_eq!(found, (world.slot(ROOT), world.cap(ROOT)));
    let empty = lookup(&world, world.thread, FREE).unwrap();
    assert_eq!(empty, (world.slot(FREE), Cap::Null), "an empty slot is found like others");
}

#[test]
fn the_roots_guard_is_compared() {
    let world = World::new(14);
    let failure = lookup(&world, world.thread, 1 << ROOT_RADIX | ROOT).unwrap_err();
    let guard_size = 64 - ROOT_RADIX;
    assert_eq!(failure, LookupFailure::GuardMismatch { guard: 0, guard_size, bits_left: 64 });
}

#[test]
fn nested_nodes_take_guard_and_radix_in_turn() {
    let (world, node) = world_with_node(5, 0b10110);
    let root = bare_root(&world);
    let index = FREE << 8 | 0b10110 << 3 | 6;
    assert_eq!(world.kernel.lookup_slot(root, index, 14), Ok(node.index(6)));
    // The depth cuts the address from above: bits beyond it do not matter.
    assert_eq!(world.kernel.lookup_slot(root, index | 0xff << 20, 14), Ok(node.index(6)));
    assert_eq!(world.kernel.lookup_slot(root, FREE, 6), Ok(world.slot(FREE)));
}

#[test]
fn failures_tell_how_far_the_way_led() {
    let (world, _) = world_with_node(5, 0b10110);
    let root = bare_root(&world);
    let failure = |index, depth| world.kernel.lookup_slot(root, index, depth).unwrap_err();
    assert_eq!(
        failure(FREE << 8 | 0b10111 << 3, 14),
        LookupFailure::GuardMismatch { guard: 0b10110, guard_size: 5, bits_left: 8 }
    );
    assert_eq!(
        failure(FREE << 4, 10),
        LookupFailure::GuardMismatch { guard: 0b10110, guard_size: 5, bits_left: 4 },
        "fewer bits than the guard has"
    );
    assert_eq!(
        failure(FREE << 7 | 0b10110 << 2, 13),
        LookupFailure::DepthMismatch { bits_found: 8, bits_left: 7 },
        "the guard fits, the radix does not"
    );
    assert_eq!(
        failure(FREE << 14 | 0b10110 << 9, 20),
        LookupFailure::DepthMismatch { bits_found: 0, bits_left: 6 },
        "bits are left at the end"
    );
    assert_eq!(
        world.kernel.lookup_slot(Cap::Domain, 0, 64).unwrap_err(),
        LookupFailure::InvalidRoot
    );
}

#[test]
fn an_invoked_address_may_have_bits_left() {
    let (mut world, node) = world_with_node(0, 0);
    world.copy(ROOT, FREE + 1).unwrap();
    let cspace = world.thread.cast::<Slot>();
    let root = bare_root(&world);
    world.kernel.update_cap(cspace, root);
    let cptr = FREE << 58 | 5 << 55 | 0x1234;
    let found = lookup(&world, world.thread, cptr);
    assert_eq!(found, Ok((node.index(5), Cap::Null)));
}

#[test]
fn a_thread_without_capability_space_finds_nothing() {
    let world = World::new(14);
    let thread = Ref::at(PhysAddr(crate::simulation::RAM_BASE + 0x5000));
    assert_eq!(lookup(&world, thread, ROOT), Err(LookupFailure::InvalidRoot));
}

#[test]
fn arguments_check_root_then_depth_then_the_way() {
    let world = World::new(14);
    let range = Err(SyscallError::Range { min: 1, max: 64 });
    for depth in [0, 65, u64::MAX] {
        assert_eq!(world.kernel.lookup_target_slot(world.cap(ROOT), 0, depth, true), range);
        assert_eq!(
            world.kernel.lookup_target_slot(Cap::Null, 0, depth, true),
            Err(SyscallError::FailedLookup { source: true, failure: LookupFailure::InvalidRoot })
        );
    }
    let shallow = world.kernel.lookup_target_slot(world.cap(ROOT), 0, 63, false);
    let failure = LookupFailure::DepthMismatch { bits_found: 64, bits_left: 63 };
    assert_eq!(shallow, Err(SyscallError::FailedLookup { source: false, failure }));
}

proptest! {
    /// Against the obvious way: the address written out as bits, taken one by one.
    #[test]
    fn resolving_agrees_with_bit_strings(
        guard_size in 0u8..40, guard in any::<u64>(), index in any::<u64>(), depth in 1u64..65,
        aim in any::<bool>(),
    ) {
        let guard = guard & crate::cap::low_bits(guard_size);
        let (world, node) = world_with_node(guard_size, guard);
        let tail = depth.saturating_sub(u64::from(ROOT_RADIX));
        let index = if aim && depth > 6 { index & ((1 << tail) - 1) | FREE << tail } else { index };
        let found = world.kernel.lookup_slot(bare_root(&world), index, depth);
        let bits: Vec<u64> = (0..depth).rev().map(|i| index >> i & 1).collect();
        prop_assert_eq!(found, expected(&world, node, &bits, (guard_size, guard)));
    }
}

fn number(bits: &[u64]) -> u64 {
    bits.iter().fold(0, |word, bit| word << 1 | bit)
}

fn expected(
    world: &World,
    node: Ref<Slot>,
    bits: &[u64],
    (guard_size, guard): (u8, u64),
) -> Result<Ref<Slot>, LookupFailure> {
    let left = |bits: &[u64]| u8::try_from(bits.len()).unwrap();
    if bits.len() < 6 {
        return Err(LookupFailure::DepthMismatch { bits_found: 6, bits_left: left(bits) });
    }
    let (head, rest) = bits.split_at(6);
    let slot = world.slot(number(head));
    if rest.is_empty() {
        return Ok(slot);
    }
    let (rest, root_again) = match number(head) {
        FREE => (rest, false),
        ROOT => (rest, true),
        _ => return Err(LookupFailure::DepthMismatch { bits_found: 0, bits_left: left(rest) }),
    };
    if root_again {
        // The root's own capability has a guard of 58 zeroes, which with its radix is all 64 bits.
        let failure =
            LookupFailure::GuardMismatch { guard: 0, guard_size: 58, bits_left: left(rest) };
        let matches = rest.len() >= 58 && rest[..58].iter().all(|bit| *bit == 0);
        return Err(if matches {
            LookupFailure::DepthMismatch { bits_found: 64, bits_left: left(rest) }
        } else {
            failure
        });
    }
    let size = usize::from(guard_size);
    if rest.len() < size || number(&rest[..size]) != guard {
        return Err(LookupFailure::GuardMismatch { guard, guard_size, bits_left: left(rest) });
    }
    let (_, tail) = rest.split_at(size);
    match tail.len() {
        0..3 => {
            Err(LookupFailure::DepthMismatch { bits_found: guard_size + 3, bits_left: left(rest) })
        }
        3 => Ok(node.index(number(tail))),
        _ => Err(LookupFailure::DepthMismatch { bits_found: 0, bits_left: left(&tail[3..]) }),
    }
}
