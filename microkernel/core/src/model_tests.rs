//! Random sequences of capability operations, preempted at random, against an obvious model: a
//! tree of capabilities. (What is given up after a preemption is tested by `fuzz`.)

use crate::cap::Cap;
use crate::cap_world::{FREE, ROOT, ROOT_RADIX, UNTYPED, World};
use crate::delete::Preempted;
use crate::error::{LookupFailure, SyscallError};
use crate::invocation::Invocation;
use crate::memory::Ref;
use crate::slot::{Slot, TCB_SLOTS};
use d3os_abi::{CNodeCapData, CapRights, Label, ObjectType};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};

const UNTYPED_BITS: u8 = 16;
const STEPS_PER_CASE: usize = 200;
const CASES: u32 = 2600;
/// Below this many steps a run has not tested what it is there for.
const LEAST_STEPS: u64 = 200_000;

/// What is to be done; numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
struct Op {
    verb: Verb,
    numbers: [u16; 3],
    data: u64,
    /// Preemption points until an interrupt waits.
    patience: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Retype(ObjectType, u8),
    Copy,
    Mint,
    Move,
    Mutate,
    Rotate,
    Delete,
    Revoke,
    /// Puts a copy into a slot of a thread, as setting its spaces does.
    Equip,
}

fn verb() -> impl Strategy<Value = Verb> {
    let retype = |kind, sizes: std::ops::Range<u8>| sizes.prop_map(move |s| Verb::Retype(kind, s));
    prop_oneof![
        6 => retype(ObjectType::CNode, 1..4),
        3 => retype(ObjectType::Untyped, 7..14),
        2 => retype(ObjectType::Endpoint, 0..1),
        2 => retype(ObjectType::Tcb, 0..1),
        1 => retype(ObjectType::Notification, 0..1),
        1 => retype(ObjectType::Reply, 0..1),
        1 => retype(ObjectType::SmallPage, 0..1),
        8 => Just(Verb::Copy),
        5 => Just(Verb::Mint),
        8 => Just(Verb::Move),
        3 => Just(Verb::Mutate),
        4 => Just(Verb::Rotate),
        8 => Just(Verb::Delete),
        3 => Just(Verb::Revoke),
        4 => Just(Verb::Equip),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let patience = prop_oneof![1 => Just(None), 2 => (0u32..5).prop_map(Some)];
    let data = prop_oneof![0u64..4, (0u64..8, 0u8..5).prop_map(|(g, s)| CNodeCapData::new(g, s).0)];
    (verb(), any::<[u16; 3]>(), data, patience).prop_map(|(verb, numbers, data, patience)| Op {
        verb,
        numbers,
        data,
        patience,
    })
}

/// A slot, and how the thread names it: the CNode capability in slot `node` of its root, an index
/// below that, and the index's bits.
#[derive(Clone, Copy, Debug)]
struct Place {
    node: u64,
    index: u64,
    depth: u64,
    slot: Ref<Slot>,
}

/// Every slot that can be named, but those with the first capabilities.
fn places(world: &World) -> Vec<Place> {
    let root = |index| Place { node: ROOT, index, depth: 64, slot: world.slot(index) };
    let mut places: Vec<Place> = (FREE..1 << ROOT_RADIX).map(root).collect();
    for node in FREE..1 << ROOT_RADIX {
        let Cap::CNode { object, radix, guard_size, guard } = world.cap(node) else { continue };
        if radix == ROOT_RADIX {
            continue;
        }
        let depth = u64::from(guard_size + radix);
        places.extend((0..1u64 << radix).map(|i| Place {
            node,
            index: guard << radix | i,
            depth,
            slot: object.index(i),
        }));
    }
    places
}

/// An operation on slots that were chosen.
#[derive(Clone, Copy, Debug)]
enum Action {
    Retype { untyped: Ref<Slot>, kind: ObjectType, size: u8, dest: Place, count: u64 },
    Copy { source: Place, dest: Place, rights: CapRights },
    Mint { source: Place, dest: Place, rights: CapRights, data: u64 },
    Move { source: Place, dest: Place },
    Mutate { source: Place, dest: Place, data: u64 },
    Rotate { source: Place, pivot: Place, dest: Place, data: u64 },
    Delete { target: Place },
    Revoke { target: Place },
    Equip { source: Ref<Slot>, dest: Ref<Slot> },
}

/// Chooses slots: mostly full ones to take from and empty ones to put to.
fn choose(world: &World, op: &Op) -> Option<Action> {
    let places = places(world);
    let is_empty = |place: &Place| world.cap_in(place.slot) == Cap::Null;
    let (empty, full): (Vec<Place>, Vec<Place>) = places.iter().copied().partition(is_empty);
    let [a, b, c] = op.numbers.map(usize::from);
    let pick = |list: &[Place], number: usize| {
        let list = if number.is_multiple_of(16) || list.is_empty() { &places[..] } else { list };
        list[number / 16 % list.len()]
    };
    let (source, dest, pivot) = (pick(&full, a), pick(&empty, b), pick(&full, c));
    let rights = CapRights::from_word((c & 15) as u64 | if c % 3 == 0 { 15 } else { 0 });
    let of_kind = |wanted: fn(&Cap) -> bool| -> Vec<Place> {
        full.iter().copied().filter(|place| wanted(&world.cap_in(place.slot))).collect()
    };
    Some(match op.verb {
        Verb::Retype(kind, size) => {
            let untypeds = of_kind(|cap| matches!(cap, Cap::Untyped { .. }));
            let choice = a % (untypeds.len() + 1);
            let untyped = untypeds.get(choice).map_or(world.slot(UNTYPED), |place| place.slot);
            Action::Retype { untyped, kind, size, dest, count: 1 + c as u64 % 2 }
        }
        Verb::Copy => Action::Copy { source, dest, rights },
        Verb::Mint => Action::Mint { source, dest, rights, data: op.data },
        Verb::Move => Action::Move { source, dest },
        Verb::Mutate => Action::Mutate { source, dest, data: op.data },
        Verb::Rotate => {
            let dest = if b % 4 == 0 { source } else { dest };
            Action::Rotate { source, pivot, dest, data: op.data }
        }
        Verb::Delete => Action::Delete { target: source },
        // The first untyped now and then: everything goes.
        Verb::Revoke if a % 64 == 1 => Action::Revoke {
            target: Place { node: ROOT, index: UNTYPED, depth: 64, slot: world.slot(UNTYPED) },
        },
        Verb::Revoke => Action::Revoke { target: source },
        Verb::Equip => {
            let threads = of_kind(|cap| matches!(cap, Cap::Thread { .. }));
            let place = threads.get(b % threads.len().max(1))?;
            let Cap::Thread { object } = world.cap_in(place.slot) else { return None };
            let dest = object.cast::<Slot>().index(c as u64 % TCB_SLOTS);
            Action::Equip { source: source.slot, dest }
        }
    })
}

impl World {
    fn cap_in(&self, slot: Ref<Slot>) -> Cap {
        self.kernel.cap_at(slot)
    }

    /// The system call of an action; `Equip` is none.
    fn invocation(&mut self, action: &Action) -> Option<Invocation> {
        let transfer =
            |source: Place, dest: Place| [dest.index, dest.depth, source.index, source.depth];
        let (label, node, words, roots) = match *action {
            Action::Retype { untyped, kind, size, dest, count } => {
                // The node is named as the root argument itself, at depth 0.
                let radix_bits = match self.cap(dest.node) {
                    Cap::CNode { radix, .. } => radix,
                    other => panic!("{other:?}"),
                };
                let offset = dest.index & ((1 << radix_bits) - 1);
                let words = vec![kind as u64, size.into(), 0, 0, offset, count];
                let root = self.slot(dest.node);
                return Some(self.message(untyped, Label::UntypedRetype, &words, &[root]));
            }
            Action::Copy { source, dest, rights } => {
                let words = [&transfer(source, dest)[..], &[rights.word()]].concat();
                (Label::CNodeCopy, dest.node, words, vec![source.node])
            }
            Action::Mint { source, dest, rights, data } => {
                let words = [&transfer(source, dest)[..], &[rights.word(), data]].concat();
                (Label::CNodeMint, dest.node, words, vec![source.node])
            }
            Action::Move { source, dest } => {
                (Label::CNodeMove, dest.node, transfer(source, dest).to_vec(), vec![source.node])
            }
            Action::Mutate { source, dest, data } => {
                let words = [&transfer(source, dest)[..], &[data]].concat();
                (Label::CNodeMutate, dest.node, words, vec![source.node])
            }
            Action::Rotate { source, pivot, dest, data } => {
                let words = vec![
                    dest.index,
                    dest.depth,
                    data,
                    pivot.index,
                    pivot.depth,
                    data,
                    source.index,
                    source.depth,
                ];
                (Label::CNodeRotate, dest.node, words, vec![pivot.node, source.node])
            }
            Action::Delete { target } => {
                (Label::CNodeDelete, target.node, vec![target.index, target.depth], vec![])
            }
            Action::Revoke { target } => {
                (Label::CNodeRevoke, target.node, vec![target.index, target.depth], vec![])
            }
            Action::Equip { .. } => return None,
        };
        let roots: Vec<_> = roots.into_iter().map(|root| self.slot(root)).collect();
        Some(self.message(self.slot(node), label, &words, &roots))
    }

    /// A copy into a thread's slot, if there is room and it can be copied.
    fn equip(&mut self, source: Ref<Slot>, dest: Ref<Slot>) -> Result<(), SyscallError> {
        self.kernel.ensure_empty(dest)?;
        let cap = self.kernel.derive_cap(source, self.cap_in(source))?;
        if cap.is_null() {
            return Err(SyscallError::IllegalOperation);
        }
        self.kernel.insert_derived(dest, cap, source);
        Ok(())
    }

    /// Goes on with a deletion that has deleted the capability through which it was asked for: somebody
    /// else does.
    fn go_on(&mut self, action: &Action) -> Result<(), Preempted> {
        match *action {
            Action::Delete { target } => self.kernel.delete(target.slot),
            Action::Revoke { target } => self.kernel.revoke(target.slot),
            _ => panic!("{action:?} deletes nothing"),
        }
    }

    /// Carries out, started again as often as it is preempted, and finishes deletions whose
    /// beginning was destroyed by themselves.
    fn complete(&mut self, action: &Action, patience: Option<u32>) -> Result<(), SyscallError> {
        let Some(inv) = self.invocation(action) else {
            let Action::Equip { source, dest } = *action else { unreachable!() };
            return self.equip(source, dest);
        };
        let invoked = self.kernel.invoked(&inv);
        loop {
            self.kernel.machine.preempt_after.set(patience);
            let outcome = match invoked.same_object(self.kernel.invoked(&inv)) {
                true => self.kernel.perform(self.kernel.invoked(&inv).tag(), &inv)?.map(|_| ()),
                false => self.go_on(action),
            };
            self.kernel.machine.preempt_after.set(None);
            if outcome != Err(Preempted) {
                break;
            }
            self.check();
        }
        while let Some(zombie) = self.kernel.zombies(&Self::roots()).first() {
            self.kernel.delete(*zombie).expect("no interrupt waits");
        }
        Ok(())
    }
}

/// A capability in the model's tree.
struct Node {
    cap: Cap,
    slot: Ref<Slot>,
    /// What is derived from it is its child, else its sibling.
    original: bool,
    parent: Option<usize>,
    /// Youngest first.
    children: Vec<usize>,
}

/// The model: a tree, and which node lies where.
#[derive(Default)]
struct Model {
    nodes: HashMap<usize, Node>,
    at: HashMap<Ref<Slot>, usize>,
    roots: Vec<usize>,
    next_id: usize,
}

impl Model {
    fn new(world: &World) -> Self {
        let mut model = Self::default();
        for slot in [world.slot(ROOT), world.slot(UNTYPED), world.buffer_slot()] {
            let id = model.add(slot, world.cap_in(slot), true, None);
            model.roots.push(id);
        }
        let cspace = world.cspace_slot();
        model.derive(world.slot(ROOT), cspace, world.cap_in(cspace));
        model
    }

    fn add(&mut self, slot: Ref<Slot>, cap: Cap, original: bool, parent: Option<usize>) -> usize {
        let id = self.next_id;
        self.next_id += 1;
        self.nodes.insert(id, Node { cap, slot, original, parent, children: Vec::new() });
        assert_eq!(self.at.insert(slot, id), None);
        id
    }

    fn cap(&self, slot: Ref<Slot>) -> Cap {
        self.at.get(&slot).map_or(Cap::Null, |id| self.nodes[id].cap)
    }

    fn derive(&mut self, source: Ref<Slot>, dest: Ref<Slot>, cap: Cap) {
        let from = self.at[&source];
        let original = match (self.nodes[&from].cap, cap) {
            (Cap::Untyped { .. }, _) => true,
            (Cap::Endpoint { badge, .. }, Cap::Endpoint { badge: new, .. })
            | (Cap::Notification { badge, .. }, Cap::Notification { badge: new, .. }) => {
                badge != new
            }
            _ => false,
        };
        if self.nodes[&from].original {
            let id = self.add(dest, cap, original, Some(from));
            self.nodes.get_mut(&from).unwrap().children.insert(0, id);
        } else {
            let parent = self.nodes[&from].parent;
            let id = self.add(dest, cap, original, parent);
            let siblings = self.siblings(parent);
            let place = siblings.iter().position(|sibling| *sibling == from).unwrap();
            siblings.insert(place + 1, id);
        }
    }

    fn siblings(&mut self, parent: Option<usize>) -> &mut Vec<usize> {
        match parent {
            Some(parent) => &mut self.nodes.get_mut(&parent).unwrap().children,
            None => &mut self.roots,
        }
    }

    /// Takes a node out; its children become its parent's.
    fn remove(&mut self, id: usize) -> Cap {
        let node = self.nodes.remove(&id).unwrap();
        self.at.remove(&node.slot);
        for child in &node.children {
            self.nodes.get_mut(child).unwrap().parent = node.parent;
        }
        let siblings = self.siblings(node.parent);
        let place = siblings.iter().position(|sibling| *sibling == id).unwrap();
        siblings.splice(place..=place, node.children);
        node.cap
    }

    fn delete(&mut self, slot: Ref<Slot>) {
        let Some(id) = self.at.get(&slot).copied() else { return };
        let cap = self.remove(id);
        if self.nodes.values().any(|node| node.cap.same_object(cap)) {
            return;
        }
        let (first, count) = match cap {
            Cap::CNode { object, radix, .. } => (object, 1 << radix),
            Cap::Thread { object } => (object.cast(), TCB_SLOTS),
            _ => return,
        };
        for index in 0..count {
            self.delete(first.index(index));
        }
    }

    fn revoke(&mut self, slot: Ref<Slot>) {
        let Some(id) = self.at.get(&slot).copied() else { return };
        while let Some(child) = self.nodes.get(&id).and_then(|node| node.children.first()) {
            self.delete(self.nodes[child].slot);
        }
    }

    fn transfer(&mut self, source: Ref<Slot>, dest: Ref<Slot>, cap: Cap) {
        let id = self.at.remove(&source).unwrap();
        let node = self.nodes.get_mut(&id).unwrap();
        (node.slot, node.cap) = (dest, cap);
        assert_eq!(self.at.insert(dest, id), None);
    }

    /// What a copy holds.
    fn copied(&mut self, source: Ref<Slot>, cap: Option<Cap>) -> Result<Cap, SyscallError> {
        let id = self.at[&source];
        match cap.ok_or(SyscallError::IllegalOperation)? {
            Cap::Untyped { .. } if !self.nodes[&id].children.is_empty() => {
                Err(SyscallError::RevokeFirst)
            }
            cap => Ok(cap),
        }
    }

    fn copy(
        &mut self,
        source: Ref<Slot>,
        dest: Ref<Slot>,
        cap: Option<Cap>,
    ) -> Result<(), SyscallError> {
        let cap = self.copied(source, cap)?;
        if let Cap::Untyped { size_bits, .. } = cap {
            self.set_free(source, 1 << size_bits);
        }
        self.derive(source, dest, cap);
        Ok(())
    }

    fn set_free(&mut self, slot: Ref<Slot>, now: u64) {
        let node = self.nodes.get_mut(&self.at[&slot]).unwrap();
        if let Cap::Untyped { free, .. } = &mut node.cap {
            *free = now;
        }
    }

    /// What the operation is to answer, and does to the tree.
    fn apply(&mut self, action: &Action, world: &World) -> Result<(), SyscallError> {
        match *action {
            Action::Retype { untyped, kind, size, dest, count } => {
                self.retype(world, untyped, (kind, size), dest, count)
            }
            Action::Copy { source, dest, rights } => {
                let cap = self.ends(source, dest)?;
                self.copy(source.slot, dest.slot, Some(cap.mask_rights(rights)))
            }
            Action::Mint { source, dest, rights, data } => {
                let cap = self.ends(source, dest)?;
                self.copy(source.slot, dest.slot, cap.mask_rights(rights).with_data(data))
            }
            Action::Move { source, dest } => {
                let cap = self.ends(source, dest)?;
                self.transfer(source.slot, dest.slot, cap);
                Ok(())
            }
            Action::Mutate { source, dest, data } => {
                let cap = self.ends(source, dest)?.moved_with_data(data);
                let cap = cap.ok_or(SyscallError::IllegalOperation)?;
                self.transfer(source.slot, dest.slot, cap);
                Ok(())
            }
            Action::Rotate { source, pivot, dest, data } => self.rotate(source, pivot, dest, data),
            Action::Delete { target } => {
                self.delete(target.slot);
                Ok(())
            }
            Action::Revoke { target } => {
                self.revoke(target.slot);
                Ok(())
            }
            Action::Equip { source, dest } => match self.cap(source) {
                _ if self.at.contains_key(&dest) => Err(SyscallError::DeleteFirst),
                Cap::Null => Err(SyscallError::IllegalOperation),
                cap => self.copy(source, dest, Some(cap)),
            },
        }
    }

    /// The capability that goes from one place to the other.
    fn ends(&self, source: Place, dest: Place) -> Result<Cap, SyscallError> {
        if self.at.contains_key(&dest.slot) {
            return Err(SyscallError::DeleteFirst);
        }
        self.full(source, true)
    }

    fn full(&self, place: Place, source: bool) -> Result<Cap, SyscallError> {
        let bits_left = u8::try_from(place.depth).unwrap();
        let failure = LookupFailure::MissingCapability { bits_left };
        match self.cap(place.slot) {
            Cap::Null => Err(SyscallError::FailedLookup { source, failure }),
            cap => Ok(cap),
        }
    }

    fn rotate(
        &mut self,
        source: Place,
        pivot: Place,
        dest: Place,
        data: u64,
    ) -> Result<(), SyscallError> {
        if pivot.slot == source.slot || pivot.slot == dest.slot {
            return Err(SyscallError::IllegalOperation);
        }
        if source.slot != dest.slot && self.at.contains_key(&dest.slot) {
            return Err(SyscallError::DeleteFirst);
        }
        let first = self.full(source, true)?;
        let second = self.full(pivot, false)?;
        let (Some(first), Some(second)) =
            (first.moved_with_data(data), second.moved_with_data(data))
        else {
            return Err(SyscallError::IllegalOperation);
        };
        let aside = Ref::at(crate::memory::PhysAddr(0));
        self.transfer(source.slot, aside, first);
        self.transfer(pivot.slot, dest.slot, second);
        self.transfer(aside, pivot.slot, first);
        Ok(())
    }

    fn retype(
        &mut self,
        world: &World,
        untyped: Ref<Slot>,
        (kind, user_size): (ObjectType, u8),
        dest: Place,
        count: u64,
    ) -> Result<(), SyscallError> {
        let Cap::CNode { object, radix, .. } = world.cap(dest.node) else { unreachable!() };
        let offset = dest.index & ((1 << radix) - 1);
        if count > (1 << radix) - offset {
            return Err(SyscallError::Range { min: 1, max: (1 << radix) - offset });
        }
        let slots: Vec<_> = (0..count).map(|i| object.index(offset + i)).collect();
        if slots.iter().any(|slot| self.at.contains_key(slot)) {
            return Err(SyscallError::DeleteFirst);
        }
        let Cap::Untyped { base, size_bits, free, .. } = self.cap(untyped) else { unreachable!() };
        let has_children = !self.nodes[&self.at[&untyped]].children.is_empty();
        let free = if has_children { free } else { 0 };
        let bytes = 1u64 << kind.size_bits(user_size);
        let start = free.next_multiple_of(bytes);
        if start + count * bytes > 1 << size_bits {
            return Err(SyscallError::NotEnoughMemory((1 << size_bits) - free));
        }
        self.set_free(untyped, start + count * bytes);
        for (i, slot) in (0..).zip(slots) {
            let at = base.offset(start + i * bytes);
            self.derive(untyped, slot, made(kind, user_size, at));
        }
        Ok(())
    }

    /// Every slot, in the order of the derivation.
    fn order(&self) -> Vec<Vec<Ref<Slot>>> {
        self.roots.iter().map(|root| self.subtree(*root)).collect()
    }

    fn subtree(&self, id: usize) -> Vec<Ref<Slot>> {
        let node = &self.nodes[&id];
        let below = node.children.iter().flat_map(|child| self.subtree(*child));
        std::iter::once(node.slot).chain(below).collect()
    }

    fn compare(&self, world: &World) {
        for list in self.order() {
            assert!(world.kernel.get(list[0]).prev.is_none(), "{:?} is the first", list[0]);
            let mut next = Some(list[0]);
            for slot in list {
                assert_eq!(next, Some(slot), "the order of the derivation");
                next = world.kernel.get(slot).next();
            }
            assert_eq!(next, None, "the end of the list");
        }
        for (id, node) in &self.nodes {
            assert_eq!(world.cap_in(node.slot), node.cap, "in {:?}", node.slot);
            let below: HashSet<_> = self.subtree(*id).into_iter().skip(1).collect();
            assert_eq!(world.kernel.descendants(node.slot), below, "below {:?}", node.cap);
        }
    }
}

/// The first capability to a new object.
fn made(kind: ObjectType, size: u8, at: crate::memory::PhysAddr) -> Cap {
    let object = at;
    match kind {
        ObjectType::Untyped => Cap::Untyped { base: at, size_bits: size, device: false, free: 0 },
        ObjectType::CNode => {
            Cap::CNode { object: Ref::at(object), radix: size, guard_size: 0, guard: 0 }
        }
        ObjectType::Tcb => Cap::Thread { object: Ref::at(object) },
        ObjectType::Endpoint => {
            Cap::Endpoint { object: Ref::at(object), badge: 0, rights: CapRights::ALL }
        }
        ObjectType::Notification => {
            Cap::Notification { object: Ref::at(object), badge: 0, rights: CapRights::READ_WRITE }
        }
        ObjectType::Reply => Cap::Reply { object: Ref::at(object), can_grant: true },
        ObjectType::SmallPage => Cap::Frame {
            base: at,
            size: d3os_abi::FrameSize::Small,
            rights: CapRights::READ_WRITE,
            device: false,
            mapping: None,
        },
        other => panic!("{other:?} is not made here"),
    }
}

/// Revokes the first untyped, preempted at every point, and uses all its memory again.
fn everything_can_be_used_again(world: &mut World) {
    world.kernel.machine.preempt_after.set(Some(0));
    world.revoke(UNTYPED).unwrap();
    world.kernel.machine.preempt_after.set(None);
    world.check();
    assert_eq!(world.kernel.zombies(&World::roots()), []);
    for index in FREE..1 << ROOT_RADIX {
        world.delete(index).unwrap();
    }
    let pages = 1 << (UNTYPED_BITS - 12);
    world.retype(UNTYPED, ObjectType::SmallPage, 0, FREE, pages).unwrap();
    world.check();
}

fn run(test: impl Fn(&[Op])) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let sequences = prop::collection::vec(op(), 1..STEPS_PER_CASE);
    let result = TestRunner::new(config).run(&sequences, |ops| {
        test(&ops);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn capabilities_agree_with_a_tree() {
    let (steps, done) = (Cell::new(0u64), Cell::new(0u64));
    run(|ops| {
        let mut world = World::new(UNTYPED_BITS);
        let mut model = Model::new(&world);
        for op in ops {
            let Some(action) = choose(&world, op) else { continue };
            let expected = model.apply(&action, &world);
            let result = world.complete(&action, op.patience);
            assert_eq!(result, expected, "{action:?}");
            world.check();
            model.compare(&world);
            steps.set(steps.get() + 1);
            done.set(done.get() + u64::from(result.is_ok()));
        }
        everything_can_be_used_again(&mut world);
    });
    println!("{} steps, {} of them carried out", steps.get(), done.get());
    assert!(steps.get() >= LEAST_STEPS, "only {} steps", steps.get());
    assert!(done.get() >= LEAST_STEPS / 2, "only {} steps were carried out", done.get());
}
