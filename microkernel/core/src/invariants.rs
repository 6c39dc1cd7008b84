//! What is true of the capabilities of a kernel between any two steps: checked by tests, by brute
//! force, from the memory itself.

use crate::cap::{Cap, Zombie, ZombieKind, ZombieState};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::memory::{Link, PhysAddr, Ref};
use crate::slot::{Slot, TCB_SLOTS};
use d3os_abi::{SLOT_SIZE_BITS, size_bits};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Slots that exist although no capability leads to them.
#[derive(Clone, Copy, Debug)]
pub struct SlotArray {
    /// The first of them.
    pub first: Ref<Slot>,
    /// How many.
    pub count: u64,
}

/// Every slot that a walk met, and what it holds.
struct Census {
    caps: Vec<(Ref<Slot>, Cap)>,
}

impl<M: Machine> Kernel<M> {
    /// Checks the derivation lists, the zombies and the use of memory, starting from `roots` and
    /// the interrupt table; panics with what is wrong.
    ///
    /// # Panics
    /// If the kernel's state contradicts itself: that is what tests call it for.
    pub fn check_invariants(&self, roots: &[SlotArray]) {
        let census = self.census(roots);
        for (slot, cap) in &census.caps {
            self.check_links(*slot);
            match cap {
                Cap::Zombie(zombie) => self.check_zombie(*slot, *zombie),
                Cap::Untyped { .. } => self.check_cleared(*slot, *cap),
                _ => {}
            }
        }
        self.check_homes(&census, roots);
        self.check_lists(&census);
        self.check_memory(&census);
    }

    /// Slots of zombies, found from `roots`: deletions that are not finished.
    #[must_use]
    pub fn zombies(&self, roots: &[SlotArray]) -> Vec<Ref<Slot>> {
        let caps = self.census(roots).caps;
        caps.into_iter().filter(|(_, cap)| matches!(cap, Cap::Zombie(_))).map(|(s, _)| s).collect()
    }

    fn census(&self, roots: &[SlotArray]) -> Census {
        let mut found = HashSet::new();
        let mut caps = Vec::new();
        let mut work: Vec<Ref<Slot>> = Vec::new();
        for array in roots {
            work.extend((0..array.count).map(|i| array.first.index(i)));
        }
        while let Some(slot) = work.pop() {
            if !found.insert(slot) {
                continue;
            }
            let content = *self.get(slot);
            let cap = content.cap();
            if cap == Cap::Null {
                let unlinked = content.prev.is_none() && content.next().is_none();
                assert!(unlinked, "empty slot {slot:?} in the list");
                continue;
            }
            caps.push((slot, cap));
            work.extend(content.prev.get().into_iter().chain(content.next()));
            if let Some(SlotArray { first, count }) = slots_of(slot, cap) {
                work.extend((0..count).map(|i| first.index(i)));
            }
        }
        Census { caps }
    }

    pub(crate) fn check_links(&self, slot: Ref<Slot>) {
        let content = self.get(slot);
        if let Some(prev) = content.prev.get() {
            assert_eq!(self.get(prev).next(), Some(slot), "{slot:?}: predecessor links elsewhere");
            assert!(!self.get(prev).is_empty(), "{slot:?}: predecessor is empty");
        }
        if let Some(next) = content.next() {
            assert_eq!(self.get(next).prev, Link::to(slot), "{slot:?}: successor links elsewhere");
            assert!(!self.get(next).is_empty(), "{slot:?}: successor is empty");
        }
    }

    /// Nothing above the cursor but itself, and a worklist that is linked both ways.
    fn check_zombie(&self, slot: Ref<Slot>, zombie: Zombie) {
        let object = zombie.object(slot);
        let cursor = match zombie.state {
            ZombieState::Active { cursor } => cursor,
            ZombieState::Waiting { previous } => {
                let Cap::Zombie(before) = self.cap_at(previous) else {
                    panic!("{slot:?} waits behind {previous:?}, which is no zombie")
                };
                assert_eq!(before.next, Some(slot), "{slot:?} waits behind a list without it");
                slot
            }
        };
        let last = object.offset((zombie.kind.slots() - 1) * size_of::<Slot>() as u64);
        assert!(object <= cursor.address() && cursor.address() <= last, "{slot:?}: cursor outside");
        let mut above = cursor.address().offset(size_of::<Slot>() as u64);
        while above <= last {
            let other = Ref::<Slot>::at(above);
            assert!(other == slot || self.get(other).is_empty(), "{slot:?}: {other:?} left behind");
            above = above.offset(size_of::<Slot>() as u64);
        }
        if let Some(next) = zombie.next {
            let Cap::Zombie(behind) = self.cap_at(next) else {
                panic!("{slot:?} goes on with {next:?}, which is no zombie")
            };
            assert_eq!(behind.state, ZombieState::Waiting { previous: slot });
        }
    }

    /// What an untyped counts as cleared is zero.
    fn check_cleared(&self, slot: Ref<Slot>, cap: Cap) {
        let Cap::Untyped { base, free, device: false, .. } = cap else { return };
        let end = base.offset(self.cleared_bytes(slot));
        let mut at = base.offset(free);
        while at < end {
            assert_eq!(self.get(Ref::<RawWord>::at(at)).0, [0; 2], "{slot:?}: {at:?} not cleared");
            at = at.offset(size_of::<RawWord>() as u64);
        }
    }

    /// Every occupied slot lies among the roots or in an object that a capability keeps alive.
    fn check_homes(&self, census: &Census, roots: &[SlotArray]) {
        let mut homes: Vec<(PhysAddr, PhysAddr)> = census
            .caps
            .iter()
            .filter_map(|(slot, cap)| slots_of(*slot, *cap))
            .chain(roots.iter().copied())
            .map(|array| (array.first.address(), array.first.index(array.count).address()))
            .collect();
        homes.sort_unstable();
        homes.dedup();
        for (slot, cap) in &census.caps {
            let at = slot.address();
            let place = homes.partition_point(|(start, _)| *start <= at);
            let lives = place > 0 && at < homes[place - 1].1;
            assert!(lives, "{cap:?} in {slot:?} lies in no live object");
        }
    }

    /// Capabilities to one object stand next to each other, and no zombie's object has another one.
    fn check_lists(&self, census: &Census) {
        let mut objects: HashMap<(PhysAddr, u8, u64), usize> = HashMap::new();
        let mut runs: HashMap<(PhysAddr, u8, u64), usize> = HashMap::new();
        for (slot, cap) in &census.caps {
            let Some(key) = object_key(*slot, *cap) else { continue };
            *objects.entry(key).or_default() += 1;
            let content = self.get(*slot);
            let starts = content.prev.get().is_none_or(|prev| !cap.same_object(self.cap_at(prev)));
            *runs.entry(key).or_default() += usize::from(starts);
            if matches!(cap, Cap::Zombie(_)) {
                assert!(starts, "zombies never continue a run");
            }
        }
        for (key, count) in runs {
            assert_eq!(count, 1, "capabilities to {key:?} are not next to each other");
        }
        for (slot, cap) in &census.caps {
            if let Cap::Zombie(zombie) = cap {
                let key = object_key(*slot, *cap).expect("zombies have memory");
                assert_eq!(objects[&key], 1, "{:?} is dead and still named", zombie.object(*slot));
            }
        }
    }

    /// Objects do not overlap, except that an untyped's used part holds what was made from it, and
    /// those are its descendants.
    fn check_memory(&self, census: &Census) {
        let mut extents = BTreeSet::new();
        for (slot, cap) in &census.caps {
            let Some((base, bits)) = cap.memory(*slot) else { continue };
            if !matches!(cap, Cap::Untyped { .. }) {
                extents.insert((base, PhysAddr(base.0 + (1 << bits)), kind_of(*cap)));
            }
        }
        let mut end = PhysAddr(0);
        for (start, stop, _) in &extents {
            assert!(*start >= end, "objects overlap at {start:?}");
            end = *stop;
        }
        for (slot, cap) in &census.caps {
            if let Cap::Untyped { base, size_bits, free, .. } = cap {
                self.check_untyped(census, *slot, (*base, *size_bits), *free);
            }
        }
    }

    fn check_untyped(&self, census: &Census, slot: Ref<Slot>, extent: (PhysAddr, u8), free: u64) {
        let (base, size_bits) = extent;
        let descendants = self.descendants(slot);
        let end = base.0 + (1 << size_bits);
        for (other, cap) in &census.caps {
            let Some((start, bits)) = cap.memory(*other) else { continue };
            if *other == slot || start < base || start.0 >= end || bits > size_bits {
                continue;
            }
            let whole = bits == size_bits && matches!(cap, Cap::Untyped { .. });
            if descendants.contains(other) {
                let used = start.0 + (1 << bits) - base.0;
                assert!(used <= free, "{cap:?} is beyond what {slot:?} gave out");
            } else {
                assert!(whole, "{cap:?} in {other:?} lies in {slot:?} and is no child of it");
            }
        }
    }

    /// Everything that is derived from the capability in `slot`.
    pub(crate) fn descendants(&self, slot: Ref<Slot>) -> HashSet<Ref<Slot>> {
        let mut found = HashSet::new();
        let mut next = self.get(slot).next();
        while let Some(child) = next.filter(|child| self.is_parent(slot, *child)) {
            found.insert(child);
            next = self.get(child).next();
        }
        found
    }
}

/// Sixteen bytes of memory: the smallest object.
#[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable)]
#[repr(C)]
struct RawWord([u64; 2]);

/// The slots of the object that a capability keeps alive.
fn slots_of(slot: Ref<Slot>, cap: Cap) -> Option<SlotArray> {
    match cap {
        Cap::CNode { object, radix, .. } => Some(SlotArray { first: object, count: 1 << radix }),
        Cap::Thread { object } => Some(SlotArray { first: object.cast(), count: TCB_SLOTS }),
        Cap::Zombie(zombie) => {
            let first = Ref::at(zombie.object(slot));
            Some(SlotArray { first, count: zombie.kind.slots() })
        }
        _ => None,
    }
}

impl Cap {
    /// Whether both name the same object, whatever their badges, rights and mappings.
    pub(crate) fn same_object(self, other: Self) -> bool {
        let same_type = core::mem::discriminant(&self) == core::mem::discriminant(&other);
        match (self.object(), other.object()) {
            (Some(one), Some(two)) => same_type && one == two,
            (None, None) => self == other && !matches!(self, Self::Null | Self::Zombie(_)),
            _ => false,
        }
    }

    /// Where the object's memory begins and log2 of its size, for a capability that lies in
    /// `slot`; `None` for what is not made of memory.
    pub(crate) fn memory(self, slot: Ref<Slot>) -> Option<(PhysAddr, u8)> {
        match self {
            Self::Zombie(zombie) => Some((zombie.object(slot), zombie.kind.size_bits())),
            other => other.object(),
        }
    }

    /// As [`Cap::memory`], for all but zombies.
    fn object(self) -> Option<(PhysAddr, u8)> {
        Some(match self {
            Self::Untyped { base, size_bits, .. } => (base, size_bits),
            Self::Endpoint { object, .. } => (object.address(), size_bits::ENDPOINT),
            Self::Notification { object, .. } => (object.address(), size_bits::NOTIFICATION),
            Self::Reply { object, .. } => (object.address(), size_bits::REPLY),
            Self::CNode { object, radix, .. } => (object.address(), radix + SLOT_SIZE_BITS),
            Self::Thread { object } => (object.address(), size_bits::TCB),
            Self::SchedContext { object, size_bits } => (object.address(), size_bits),
            Self::Frame { base, size, .. } => (base, size.bits()),
            Self::Table { object, .. } => (object.address(), size_bits::PAGING),
            Self::VSpace { root, .. } => (root.address(), size_bits::PAGING),
            Self::AsidPool { object, .. } => (object.address(), size_bits::ASID_POOL),
            _ => return None,
        })
    }
}

/// What tells one object from another; a zombie is the same as what it was.
fn object_key(slot: Ref<Slot>, cap: Cap) -> Option<(PhysAddr, u8, u64)> {
    if matches!(cap, Cap::Untyped { .. }) {
        return None;
    }
    cap.memory(slot).map(|(base, bits)| (base, bits, kind_of(cap)))
}

fn kind_of(cap: Cap) -> u64 {
    match cap {
        Cap::Endpoint { .. } => 1,
        Cap::Notification { .. } => 2,
        Cap::Reply { .. } => 3,
        Cap::CNode { .. } | Cap::Zombie(Zombie { kind: ZombieKind::CNode(_), .. }) => 4,
        Cap::Thread { .. } | Cap::Zombie(Zombie { kind: ZombieKind::Tcb, .. }) => 5,
        Cap::SchedContext { .. } => 6,
        Cap::Frame { .. } => 7,
        Cap::Table { .. } => 8,
        Cap::VSpace { .. } => 9,
        Cap::AsidPool { .. } => 10,
        _ => 0,
    }
}
