//! What lies where in a kernel's memory: every object, and which capabilities name it. Kept up to
//! date from the changes that the kernel makes, each of which must be to something that lives.

use crate::cap::{Cap, RawCap, ZombieKind};
use crate::kernel::Kernel;
use crate::memory::{PhysAddr, Ref};
use crate::objects::Tcb;
use crate::simulation::{Change, RAM_BASE, SimulatedMachine};
use crate::slot::{Slot, TCB_SLOTS};
use std::collections::BTreeMap;

/// Bytes of a slot.
const SLOT: u64 = size_of::<Slot>() as u64;

/// What an object is; a zombie counts as what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Null,
    Untyped,
    Endpoint,
    Notification,
    Reply,
    CNode,
    Thread,
    SchedContext,
    SchedControl,
    Frame,
    Table,
    VSpace,
    AsidControl,
    AsidPool,
    IrqControl,
    IrqHandler,
    IoPortControl,
    IoPort,
    Domain,
    Signal,
    CoreControl,
    /// The kernel's own: its table of interrupt slots.
    Interrupts,
}

/// How many there are.
const KINDS: usize = Kind::Interrupts as usize + 1;

impl Kind {
    pub(super) fn of(cap: Cap) -> Self {
        match cap {
            Cap::Null => Self::Null,
            Cap::Untyped { .. } => Self::Untyped,
            Cap::Endpoint { .. } => Self::Endpoint,
            Cap::Notification { .. } => Self::Notification,
            Cap::Reply { .. } => Self::Reply,
            Cap::CNode { .. } => Self::CNode,
            Cap::Thread { .. } => Self::Thread,
            Cap::SchedContext { .. } => Self::SchedContext,
            Cap::SchedControl { .. } => Self::SchedControl,
            Cap::Frame { .. } => Self::Frame,
            Cap::Table { .. } => Self::Table,
            Cap::VSpace { .. } => Self::VSpace,
            Cap::AsidControl => Self::AsidControl,
            Cap::AsidPool { .. } => Self::AsidPool,
            Cap::IrqControl => Self::IrqControl,
            Cap::IrqHandler { .. } => Self::IrqHandler,
            Cap::Signal { .. } => Self::Signal,
            Cap::CoreControl => Self::CoreControl,
            Cap::IoPortControl => Self::IoPortControl,
            Cap::IoPort { .. } => Self::IoPort,
            Cap::Domain => Self::Domain,
            Cap::Zombie(zombie) => match zombie.kind {
                ZombieKind::CNode(_) => Self::CNode,
                ZombieKind::Tcb => Self::Thread,
            },
        }
    }
}

/// An object, and the slots of the capabilities to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) kind: Kind,
    bits: u8,
    pub(super) caps: Vec<u64>,
}

impl Object {
    /// Capability slots at its start.
    fn slots(&self) -> u64 {
        match self.kind {
            Kind::CNode | Kind::Interrupts => (1 << self.bits) / SLOT,
            Kind::Thread => TCB_SLOTS,
            _ => 0,
        }
    }
}

/// What a step has touched and is still there, by kind and address; and what it has ended.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) slots: Vec<Ref<Slot>>,
    pub(super) objects: Vec<(Kind, PhysAddr)>,
    pub(super) dead: Vec<(Kind, PhysAddr)>,
    pub(super) born: Vec<(Kind, PhysAddr)>,
}

/// See the module.
pub(super) struct Ledger {
    /// Every slot-sized piece of RAM, as the capability that it held when it was last looked at.
    known: Vec<RawCap>,
    /// Objects by their first byte; none lies in another. Untyped memory is apart.
    pub(super) objects: BTreeMap<u64, Object>,
    /// Untyped memory by first byte and size, with the slots of its capabilities.
    untypeds: BTreeMap<(u64, u8), Vec<u64>>,
    /// Every slot that is not empty, by kind.
    by_kind: [Vec<u64>; KINDS],
    /// Where in the list of its kind each slot stands.
    ranks: Vec<u32>,
}

fn index_of(slot: u64) -> usize {
    usize::try_from((slot - RAM_BASE) / SLOT).unwrap()
}

fn slot_at(address: u64) -> Ref<Slot> {
    Ref::at(PhysAddr(address))
}

impl Ledger {
    /// For `pages` of RAM, of which the first holds the interrupt slots, and CNodes that are there
    /// from the start.
    pub(super) fn new(pages: usize, cnodes: &[(PhysAddr, u8)]) -> Self {
        let slots = pages * 4096 / 32;
        let mut ledger = Self {
            known: vec![RawCap::default(); slots],
            objects: BTreeMap::new(),
            untypeds: BTreeMap::new(),
            by_kind: [const { Vec::new() }; KINDS],
            ranks: vec![0; slots],
        };
        let interrupts = Object { kind: Kind::Interrupts, bits: 12, caps: vec![0] };
        ledger.objects.insert(RAM_BASE, interrupts);
        for (base, bits) in cnodes {
            let object = Object { kind: Kind::CNode, bits: *bits, caps: Vec::new() };
            ledger.objects.insert(base.0, object);
        }
        ledger
    }

    /// The slots of all capabilities of a kind.
    pub(super) fn of_kind(&self, kind: Kind) -> &[u64] {
        &self.by_kind[kind as usize]
    }

    /// The object that holds this byte.
    pub(super) fn object_with(&self, address: u64) -> Option<(u64, &Object)> {
        let (base, object) = self.objects.range(..=address).next_back()?;
        (address - base < 1 << object.bits).then_some((*base, object))
    }

    /// Whether an object of this kind begins here.
    pub(super) fn lives(&self, kind: Kind, at: PhysAddr) -> bool {
        self.objects.get(&at.0).is_some_and(|object| object.kind == kind)
    }

    /// All objects of a kind.
    pub(super) fn objects_of(&self, kind: Kind) -> impl Iterator<Item = PhysAddr> + '_ {
        let mine = self.objects.iter().filter(move |(_, object)| object.kind == kind);
        mine.map(|(base, _)| PhysAddr(*base))
    }

    /// Learns of a step's changes; panics where one is to memory that nothing lives in, or leaves
    /// two objects in one place.
    pub(super) fn update(
        &mut self,
        kernel: &Kernel<SimulatedMachine>,
        changes: &mut Vec<Change>,
    ) -> Touched {
        changes.sort_unstable();
        changes.dedup();
        let mut touched = Touched::default();
        let mut strays = Vec::new();
        for change in changes.iter() {
            if change.cleared {
                self.check_cleared(*change);
            } else if !self.note(*change, &mut touched) {
                strays.push(*change);
            }
        }
        self.renew_slots(kernel, &mut touched);
        for stray in strays {
            let lives = self.note(stray, &mut touched);
            assert!(lives, "{stray:x?} is to memory that nothing lives in");
        }
        let dead = std::mem::take(&mut touched.dead);
        touched.objects.retain(|object| !dead.contains(object));
        touched.dead = dead;
        touched.objects.sort_unstable();
        touched.objects.dedup();
        touched
    }

    /// Only memory that holds no object is cleared.
    fn check_cleared(&self, change: Change) {
        let end = change.start.0 + change.bytes;
        let before = self.objects.range(..end).next_back();
        if let Some((base, object)) = before {
            let apart = base + (1 << object.bits) <= change.start.0;
            assert!(apart, "{change:x?} while {object:x?} lives at {base:#x}");
        }
    }

    /// Notes which slots or which object a change touches; false where nothing lives.
    fn note(&self, change: Change, touched: &mut Touched) -> bool {
        let start = change.start.0;
        let Some((base, object)) = self.object_with(start) else { return false };
        let size = 1 << object.bits;
        assert!(start + change.bytes <= base + size, "{change:x?} goes beyond {object:x?}");
        let in_slots = start - base < object.slots() * SLOT;
        if in_slots && change.bytes == SLOT {
            touched.slots.push(slot_at(start));
        } else if object.kind == Kind::Thread {
            assert_eq!(change.bytes, size_of::<Tcb>() as u64, "part of a thread");
            let first = slot_at(base);
            touched.slots.extend((0..TCB_SLOTS).map(|slot| first.index(slot)));
        } else {
            assert!(!in_slots, "{change:x?} is to slots of {object:x?}");
        }
        touched.objects.push((object.kind, PhysAddr(base)));
        true
    }

    /// Compares the touched slots with what they held.
    fn renew_slots(&mut self, kernel: &Kernel<SimulatedMachine>, touched: &mut Touched) {
        let mut changed: Vec<(u64, RawCap, RawCap)> = Vec::new();
        for slot in &touched.slots {
            let address = slot.address().0;
            let (old, new) = (self.known[index_of(address)], kernel.get(*slot).raw);
            if old != new {
                self.known[index_of(address)] = new;
                changed.push((address, old, new));
            }
        }
        for (slot, old, _) in &changed {
            self.forget(*slot, old.unpack());
        }
        // What memory was given out comes before what was made of it.
        let is_untyped = |cap: Cap| matches!(cap, Cap::Untyped { .. });
        for untyped in [true, false] {
            for (slot, _, new) in &changed {
                let cap = new.unpack();
                if is_untyped(cap) == untyped {
                    self.learn(kernel, *slot, cap, touched);
                }
            }
        }
        for (slot, old, _) in &changed {
            self.bury(kernel, *slot, old.unpack(), touched);
        }
    }

    fn forget(&mut self, slot: u64, cap: Cap) {
        let kind = Kind::of(cap);
        if kind == Kind::Null {
            return;
        }
        let list = &mut self.by_kind[kind as usize];
        let rank = self.ranks[index_of(slot)];
        list.swap_remove(rank as usize);
        if let Some(moved) = list.get(rank as usize) {
            self.ranks[index_of(*moved)] = rank;
        }
        let Some((base, bits)) = cap.memory(slot_at(slot)) else { return };
        let caps = if kind == Kind::Untyped {
            self.untypeds.get_mut(&(base.0, bits)).expect("an untyped that was known")
        } else {
            &mut self.objects.get_mut(&base.0).expect("an object that was known").caps
        };
        let place = caps.iter().position(|other| *other == slot);
        caps.swap_remove(place.expect("a capability that was known"));
    }

    fn learn(
        &mut self,
        kernel: &Kernel<SimulatedMachine>,
        slot: u64,
        cap: Cap,
        touched: &mut Touched,
    ) {
        let kind = Kind::of(cap);
        if kind == Kind::Null {
            return;
        }
        let list = &mut self.by_kind[kind as usize];
        self.ranks[index_of(slot)] = u32::try_from(list.len()).unwrap();
        list.push(slot);
        let Some((base, bits)) = cap.memory(slot_at(slot)) else { return };
        if kind == Kind::Untyped {
            if !self.untypeds.contains_key(&(base.0, bits)) {
                self.check_new_untyped(base, bits);
            }
            self.untypeds.entry((base.0, bits)).or_default().push(slot);
            return;
        }
        if let Some(object) = self.objects.get_mut(&base.0) {
            assert_eq!((object.kind, object.bits), (kind, bits), "{cap:x?} lies in another object");
            object.caps.push(slot);
            return;
        }
        self.check_new_object(kernel, cap, base, bits);
        self.objects.insert(base.0, Object { kind, bits, caps: vec![slot] });
        touched.born.push((kind, base));
        touched.objects.push((kind, base));
    }

    /// A new object overlaps no other, and lies in the used part of an untyped.
    fn check_new_object(
        &self,
        kernel: &Kernel<SimulatedMachine>,
        cap: Cap,
        base: PhysAddr,
        bits: u8,
    ) {
        let end = base.0 + (1 << bits);
        if let Some((other, object)) = self.objects.range(..end).next_back() {
            let apart = other + (1 << object.bits) <= base.0;
            assert!(apart, "{cap:x?} overlaps {object:x?} at {other:#x}");
        }
        let gave = |slot: &u64| match kernel.cap_at(slot_at(*slot)) {
            Cap::Untyped { base: start, free, .. } => end <= start.0 + free,
            _ => false,
        };
        let contains = |(start, size): &(u64, u8)| *start <= base.0 && end <= start + (1 << size);
        let mut around = self.untypeds.iter().filter(|(extent, _)| contains(extent));
        let initial = self.untypeds.is_empty();
        let given = around.any(|(_, caps)| caps.iter().any(gave));
        let caps = || {
            let around = self.untypeds.iter().filter(|(extent, _)| contains(extent));
            let slots = around.flat_map(|(_, caps)| caps.iter().copied());
            slots.map(|slot| (slot, kernel.cap_at(slot_at(slot)))).collect::<Vec<_>>()
        };
        assert!(initial || given, "{cap:x?} was not given out by any of {:x?}", caps());
    }

    /// New untyped memory holds no object, and lies apart from or inside all other.
    fn check_new_untyped(&self, base: PhysAddr, bits: u8) {
        let end = base.0 + (1 << bits);
        if let Some((other, object)) = self.objects.range(..end).next_back() {
            let apart = other + (1 << object.bits) <= base.0;
            assert!(apart, "new untyped at {base:x?} holds {object:x?} at {other:#x}");
        }
        for (start, size) in self.untypeds.keys() {
            let other_end = start + (1 << size);
            let apart = other_end <= base.0 || end <= *start;
            let inside = *start <= base.0 && end <= other_end;
            let unused = self.untypeds[&(*start, *size)].is_empty();
            assert!(apart || inside || unused, "new untyped at {base:x?} overlaps {start:#x}");
        }
    }

    /// If nothing names the object of a capability any more, it is gone; its slots must be empty.
    fn bury(
        &mut self,
        kernel: &Kernel<SimulatedMachine>,
        slot: u64,
        cap: Cap,
        touched: &mut Touched,
    ) {
        let Some((base, bits)) = cap.memory(slot_at(slot)) else { return };
        if let Cap::Untyped { .. } = cap {
            if self.untypeds.get(&(base.0, bits)).is_some_and(Vec::is_empty) {
                self.untypeds.remove(&(base.0, bits));
            }
            return;
        }
        let kind = Kind::of(cap);
        let Some(object) = self.objects.get(&base.0).filter(|object| object.caps.is_empty()) else {
            return;
        };
        let first = slot_at(base.0);
        for index in 0..object.slots() {
            let inner = first.index(index);
            assert!(kernel.get(inner).is_empty(), "{kind:?} is gone, {inner:?} in it is not empty");
        }
        self.objects.remove(&base.0);
        touched.dead.push((kind, base));
    }

    /// Reads every slot of every object that lives, and compares with what is known.
    pub(super) fn check_complete(&self, kernel: &Kernel<SimulatedMachine>) {
        let mut objects: BTreeMap<(u64, u8), (Kind, Vec<u64>)> = BTreeMap::new();
        for (base, object) in &self.objects {
            for slot in (0..object.slots()).map(|index| slot_at(*base).index(index)) {
                let raw = kernel.get(slot).raw;
                assert_eq!(raw, self.known[index_of(slot.address().0)], "{slot:?} has changed");
                let cap = raw.unpack();
                if let Some((base, bits)) = cap.memory(slot) {
                    // Untyped memory may lie where an object lies, of the same size.
                    let key = (base.0 | u64::from(Kind::of(cap) == Kind::Untyped), bits);
                    let entry = objects.entry(key).or_insert((Kind::of(cap), Vec::new()));
                    assert_eq!(entry.0, Kind::of(cap), "{cap:x?} lies in another object");
                    entry.1.push(slot.address().0);
                }
            }
        }
        for ((base, bits), (kind, mut found)) in objects {
            let mut caps = match kind {
                Kind::Untyped => self.untypeds[&(base & !1, bits)].clone(),
                _ => self.objects[&base].caps.clone(),
            };
            caps.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, caps, "capabilities to {kind:?} at {base:#x}");
        }
    }
}

/// log2 of the bytes of a CNode's slots.
pub(super) const fn cnode_bits(radix: u8) -> u8 {
    radix + d3os_abi::SLOT_SIZE_BITS
}
