//! Deletion of nested and circular CNodes and threads, preempted at every point.

use crate::cap::Cap;
use crate::cap_world::{FREE, ROOT, UNTYPED, World};
use crate::memory::Ref;
use crate::slot::Slot;
use d3os_abi::ObjectType;

const UNTYPED_BITS: u8 = 16;
const DEPTH: u64 = 24;
const RADIX: u64 = 2;

/// A way to lay out capabilities; what it leaves in the root is to be deleted.
type Layout = fn(&mut World);

const LAYOUTS: [(&str, Layout); 8] = [
    ("a chain of nodes", chain),
    ("a node in itself", node_in_itself),
    ("two nodes in each other", pair),
    ("two nodes in each other, the first slots", pair_in_first_slots),
    ("a ring of nodes", ring),
    ("a thread in the node that is its space", thread_in_its_space),
    ("a tree of nodes", tree),
    ("a ring of nodes with chains hanging from it", ring_with_chains),
];

fn node(world: &World, index: u64) -> Ref<Slot> {
    match world.cap(index) {
        Cap::CNode { object, .. } => object,
        other => panic!("{other:?}"),
    }
}

/// Copies the capability in `source` to slot `place` of the node in root slot `into`.
fn put(world: &mut World, source: u64, into: u64, place: u64) {
    let dest = node(world, into).index(place);
    let cap = world.cap(source);
    world.kernel.insert_derived(dest, cap, world.slot(source));
}

fn nodes(world: &mut World, count: u64) {
    world.retype(UNTYPED, ObjectType::CNode, RADIX, FREE, count).unwrap();
}

fn chain(world: &mut World) {
    nodes(world, DEPTH);
    for i in 0..DEPTH - 1 {
        put(world, FREE + i + 1, FREE + i, i % 4);
        world.delete(FREE + i + 1).unwrap_or_else(|error| panic!("{error:?}"));
        let inner = node(world, FREE + i).index(i % 4);
        let cap = world.kernel.cap_at(inner);
        // Its own root slot again, for the next one; taken away below.
        world.kernel.insert_derived(world.slot(FREE + i + 1), cap, inner);
    }
    for i in 1..DEPTH {
        world.delete(FREE + i).unwrap();
    }
}

fn node_in_itself(world: &mut World) {
    nodes(world, 1);
    world.retype(UNTYPED, ObjectType::Endpoint, 0, FREE + 1, 1).unwrap();
    put(world, FREE, FREE, 2);
    put(world, FREE + 1, FREE, 0);
    put(world, FREE + 1, FREE, 3);
}

fn pair(world: &mut World) {
    nodes(world, 2);
    put(world, FREE, FREE + 1, 3);
    put(world, FREE + 1, FREE, 3);
    world.delete(FREE + 1).unwrap();
}

fn pair_in_first_slots(world: &mut World) {
    nodes(world, 2);
    put(world, FREE, FREE + 1, 0);
    put(world, FREE + 1, FREE, 0);
    world.delete(FREE + 1).unwrap();
}

fn ring(world: &mut World) {
    nodes(world, 5);
    for i in 0..5 {
        put(world, FREE + (i + 1) % 5, FREE + i, i % 4);
        put(world, FREE + (i + 1) % 5, FREE + i, (i + 2) % 4);
    }
    for i in 1..5 {
        world.delete(FREE + i).unwrap();
    }
}

fn thread_in_its_space(world: &mut World) {
    nodes(world, 1);
    world.retype(UNTYPED, ObjectType::Tcb, 0, FREE + 1, 1).unwrap();
    put(world, FREE + 1, FREE, 1);
    let Cap::Thread { object } = world.cap(FREE + 1) else { panic!() };
    let space = world.cap(FREE);
    world.kernel.insert_derived(object.cast(), space, world.slot(FREE));
    world.delete(FREE + 1).unwrap();
}

fn tree(world: &mut World) {
    nodes(world, 21);
    for i in 1..21 {
        put(world, FREE + i, FREE + (i - 1) / 4, (i - 1) % 4);
    }
    for i in 1..21 {
        world.delete(FREE + i).unwrap();
    }
}

fn ring_with_chains(world: &mut World) {
    nodes(world, 12);
    for i in 0..4 {
        put(world, FREE + (i + 1) % 4, FREE + i, 3 - i);
        put(world, FREE + 4 + i, FREE + i, i);
        put(world, FREE + 8 + i, FREE + 4 + i, 3);
    }
    for i in 1..12 {
        world.delete(FREE + i).unwrap();
    }
}

fn laid_out(layout: Layout) -> World {
    let mut world = World::new(UNTYPED_BITS);
    layout(&mut world);
    world.check();
    world
}

/// Interrupts wait again after this many preemption points.
fn patience(world: &World, points: u32) {
    world.kernel.machine.preempt_after.set(Some(points));
}

/// All the memory is there again.
fn check_all_memory(world: &mut World, name: &str) {
    world.check();
    assert!(!world.kernel.has_children(world.slot(UNTYPED)), "{name}: something is left");
    assert_eq!(world.kernel.zombies(&World::roots()), [], "{name}");
    let pages = 1 << (UNTYPED_BITS - 12);
    world.retype(UNTYPED, ObjectType::SmallPage, 0, FREE, pages).unwrap();
    world.check();
}

#[test]
fn deleting_and_revoking_preempted_at_every_point() {
    for (name, layout) in LAYOUTS {
        let mut world = laid_out(layout);
        patience(&world, 0);
        world.delete(FREE).unwrap();
        world.revoke(UNTYPED).unwrap();
        check_all_memory(&mut world, name);
    }
}

#[test]
fn what_is_not_circular_goes_with_its_last_capability() {
    for layout in [chain, tree] {
        let mut world = laid_out(layout);
        world.delete(FREE).unwrap();
        check_all_memory(&mut world, "no circle");
    }
}

#[test]
fn a_deletion_given_up_at_any_point_is_finished_by_revoking() {
    for (name, layout) in LAYOUTS {
        for points in 0.. {
            let mut world = laid_out(layout);
            patience(&world, points);
            let slot = world.slot(FREE);
            let complete = world.kernel.delete(slot).is_ok();
            world.check();
            patience(&world, 0);
            world.revoke(UNTYPED).unwrap();
            check_all_memory(&mut world, name);
            if complete {
                break;
            }
        }
    }
}

#[test]
fn a_revocation_given_up_at_any_point_is_finished_by_another() {
    for (name, layout) in LAYOUTS {
        let mut complete = false;
        for points in 0.. {
            let mut world = laid_out(layout);
            world.delete(FREE).unwrap();
            patience(&world, points);
            let slot = world.slot(UNTYPED);
            complete |= world.kernel.revoke(slot).is_ok();
            world.check();
            // Zombies that wait for others are deleted on their own, last ones first.
            for zombie in world.kernel.zombies(&World::roots()).into_iter().rev() {
                patience(&world, 1);
                let _ = world.kernel.delete(zombie);
                world.check();
            }
            patience(&world, 0);
            world.revoke(UNTYPED).unwrap();
            check_all_memory(&mut world, name);
            if complete {
                break;
            }
        }
    }
}

#[test]
fn a_deletion_meets_one_that_was_given_up() {
    for (name, layout) in LAYOUTS {
        for points in 0..60 {
            let mut world = laid_out(layout);
            // Everything hangs in slot 1 of an outer node, whose deletion begins meanwhile.
            world.retype(UNTYPED, ObjectType::CNode, RADIX, 50, 1).unwrap();
            let inner = node(&world, 50).index(1);
            let cap = world.cap(FREE);
            let slot = world.slot(FREE);
            world.kernel.move_cap(inner, slot, cap);
            patience(&world, points);
            let _ = world.kernel.delete(inner);
            world.check();
            patience(&world, points / 2);
            world.delete(50).unwrap();
            assert_eq!(world.cap(50), Cap::Null);
            patience(&world, 0);
            world.revoke(UNTYPED).unwrap();
            check_all_memory(&mut world, name);
        }
    }
}

#[test]
fn memory_of_one_untyped_is_free_while_the_circle_goes_on_in_another() {
    for points in 0..40 {
        let mut world = World::new(UNTYPED_BITS);
        let (left, right) = (50, 51);
        world.retype(UNTYPED, ObjectType::Untyped, 12, left, 2).unwrap();
        world.retype(left, ObjectType::CNode, RADIX, FREE, 1).unwrap();
        world.retype(right, ObjectType::CNode, RADIX, FREE + 1, 1).unwrap();
        put(&mut world, FREE, FREE + 1, 2);
        put(&mut world, FREE + 1, FREE, 1);
        world.delete(FREE).unwrap();
        world.delete(FREE + 1).unwrap();
        patience(&world, points);
        world.revoke(left).unwrap();
        assert!(!world.kernel.has_children(world.slot(left)));
        world.check();
        world.kernel.machine.preempt_after.set(None);
        world.retype(left, ObjectType::SmallPage, 0, FREE, 1).unwrap();
        world.revoke(right).unwrap();
        world.retype(right, ObjectType::SmallPage, 0, FREE + 1, 1).unwrap();
        world.check();
    }
}

#[test]
fn a_zombie_cannot_be_copied_but_moved() {
    let mut world = laid_out(chain);
    patience(&world, 3);
    let slot = world.slot(FREE);
    assert!(world.kernel.delete(slot).is_err());
    world.kernel.machine.preempt_after.set(None);
    assert!(matches!(world.cap(FREE), Cap::Zombie(_)));
    assert_eq!(world.copy(FREE, FREE + 1), Err(crate::error::SyscallError::IllegalOperation));
    world.move_to(FREE, FREE + 1).unwrap();
    world.check();
    world.delete(FREE + 1).unwrap();
    check_all_memory(&mut world, "moved");
}

#[test]
fn an_untyped_in_a_node_made_of_it() {
    for points in 0..20 {
        let mut world = World::new(UNTYPED_BITS);
        world.retype(UNTYPED, ObjectType::Untyped, 12, 50, 1).unwrap();
        world.retype(50, ObjectType::CNode, RADIX, FREE, 1).unwrap();
        let place = node(&world, FREE).index(2);
        let (source, cap) = (world.slot(50), world.cap(50));
        world.kernel.move_cap(place, source, cap);
        patience(&world, points);
        while world.kernel.revoke(place).is_err() {
            world.check();
        }
        world.check();
        world.revoke(UNTYPED).unwrap();
        check_all_memory(&mut world, "itself");
    }
}

#[test]
fn the_root_survives_what_it_names() {
    let mut world = laid_out(pair);
    world.copy(ROOT, 50).unwrap();
    world.delete(50).unwrap();
    assert!(matches!(world.cap(ROOT), Cap::CNode { .. }));
    world.check();
}
