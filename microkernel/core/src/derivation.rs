//! Who was derived from whom (manual, chapter 3.1).
//!
//! Slots of related capabilities form a doubly linked list in which what was derived from a
//! capability stands directly behind it: an order like a tree's, written out depth first. Whether
//! a slot is the child of one before it follows from two flags and from what both name:
//!
//! - An *original* (a retyped object's first capability, an issued interrupt or port range, an
//!   untyped, an endpoint or notification capability that was given its badge) is the parent of
//!   what follows it, as far as that lies in the original's memory or names the same object.
//!   Copies of a copy are siblings of it: children of the original.
//! - A badged original is the parent of capabilities with its badge only, up to the next slot that
//!   *starts a group* (the original of another mint, be it with the same badge).
//!
//! So capabilities to one object stand next to each other, and a slot is the object's last one
//! exactly if neither neighbour names the object.

use crate::cap::{RawCap, tag};
use crate::{Cap, Decoded, Kernel, Link, Machine, Ref, Slot, SyscallError, ensure};

impl<M: Machine> Kernel<M> {
    /// The capability in `slot`.
    #[inline]
    pub(crate) fn cap_at(&self, slot: Ref<Slot>) -> Cap {
        self.get(slot).cap()
    }

    /// Replaces the capability in `slot` by another form of it, in the same place of the derivation.
    pub(crate) fn update_cap(&mut self, slot: Ref<Slot>, cap: impl Into<RawCap>) {
        self.get_mut(slot).raw = cap.into();
    }

    /// Puts `cap` into the empty slot `dest`, derived from nothing.
    pub(crate) fn insert_root(&mut self, dest: Ref<Slot>, cap: impl Into<RawCap>) {
        self.place(dest, Slot::original(cap.into()));
    }

    /// Puts `cap` into the empty slot `dest`, derived from the capability in `source`.
    ///
    /// A copy of an untyped takes all its memory: `source` counts as used up until it is gone.
    #[inline]
    pub(crate) fn insert_derived(
        &mut self,
        dest: Ref<Slot>,
        cap: impl Into<RawCap>,
        source: Ref<Slot>,
    ) {
        let (from, cap) = (self.get(source).raw, cap.into());
        if from.tag() == tag::UNTYPED && from.same_object(cap) {
            self.update_cap(source, from.with_free(1 << from.size_bits()));
        }
        let mut slot = if starts_group(from, cap) { Slot::original(cap) } else { Slot::copy(cap) };
        slot.prev = Link::to(source);
        slot.set_next(self.get(source).next());
        self.place(dest, slot);
    }

    /// Puts capabilities to `count` objects, of which `first` names the first and each takes `bytes`, into
    /// the empty slots from `dest` on, made of the untyped in `source`.
    pub(crate) fn insert_made(
        &mut self,
        dest: Ref<Slot>,
        first: RawCap,
        bytes: u64,
        count: u64,
        source: Ref<Slot>,
    ) {
        let behind = self.get(source).next();
        let (mut cap, mut place, mut next) = (first, dest, behind);
        for left in (0..count).rev() {
            let mut slot = Slot::original(cap);
            slot.prev = Link::to(if left == 0 { source } else { place.index(1) });
            slot.set_next(next);
            *self.get_mut(place) = slot;
            (cap, next, place) = (cap.further(bytes), Some(place), place.index(1));
        }
        self.get_mut(source).set_next(next);
        if let Some(behind) = behind {
            self.get_mut(behind).prev = Link::to(dest);
        }
    }

    /// Moves the capability in `source`, as `cap`, to the empty slot `dest`.
    pub(crate) fn move_cap(&mut self, dest: Ref<Slot>, source: Ref<Slot>, cap: impl Into<RawCap>) {
        let mut slot = core::mem::take(self.get_mut(source));
        slot.raw = cap.into();
        self.place(dest, slot);
        self.zombie_was_moved(dest);
    }

    /// Exchanges two slots, one of which may be empty; each capability keeps its place in the
    /// derivation.
    pub(crate) fn swap_caps(&mut self, one: Ref<Slot>, two: Ref<Slot>) {
        let (first, second) = (*self.get(one), *self.get(two));
        // Neighbours in the list link to each other, and so will to the places exchanged.
        self.place(two, relink(first, two, one));
        self.place(one, relink(second, one, two));
        self.zombie_was_moved(one);
        self.zombie_was_moved(two);
    }

    /// Takes the capability out of `slot`; what was derived from it stays.
    pub(crate) fn vacate(&mut self, slot: Ref<Slot>) {
        let gone = core::mem::take(self.get_mut(slot));
        let next = gone.next();
        if let Some(prev) = gone.prev.get() {
            self.get_mut(prev).set_next(next);
        }
        let Some(next) = next else { return };
        let follower = self.get_mut(next);
        follower.prev = gone.prev;
        // Copies of a badged original do not become children of one with the same badge before it.
        if gone.starts_group() && gone.raw.same_object(follower.raw) {
            follower.set_starts_group();
        }
    }

    /// What a copy of `cap`, which lies in `slot`, holds; nothing where it cannot be copied but that
    /// is no error in a message that carries it.
    ///
    /// # Errors
    /// `RevokeFirst` for an untyped that has children, `IllegalOperation` for a paging structure
    /// that is mapped nowhere: a copy could be mapped elsewhere.
    #[inline]
    pub(crate) fn derive_cap(&self, slot: Ref<Slot>, cap: impl Into<RawCap>) -> Decoded<RawCap> {
        let cap = cap.into();
        match cap.tag() {
            tag::UNTYPED => self.ensure_no_children(slot).map(|()| cap),
            tag::ZOMBIE | tag::IRQ_CONTROL | tag::IO_PORT_CONTROL => Ok(RawCap::NULL),
            tag::TABLE | tag::VSPACE if cap.mapping().is_none() => {
                Err(SyscallError::IllegalOperation)
            }
            // Each frame capability stands for one mapping.
            tag::FRAME => Ok(cap.with_mapping(None)),
            _ => Ok(cap),
        }
    }

    /// Whether something was derived from the capability in `slot` and is still there.
    pub(crate) fn has_children(&self, slot: Ref<Slot>) -> bool {
        self.first_child(slot).is_some()
    }

    /// Checks that the capability in `slot` has no children.
    ///
    /// # Errors
    /// `RevokeFirst` if it has.
    pub(crate) fn ensure_no_children(&self, slot: Ref<Slot>) -> Decoded<()> {
        ensure(!self.has_children(slot), SyscallError::RevokeFirst)
    }

    /// The slot behind `slot` in the derivation list, if it is derived from it.
    pub(crate) fn first_child(&self, slot: Ref<Slot>) -> Option<Ref<Slot>> {
        let next = self.get(slot).next()?;
        self.is_parent(slot, next).then_some(next)
    }

    /// Whether no other capability names the object of the one in `slot`.
    #[inline]
    pub(crate) fn is_final(&self, slot: Ref<Slot>) -> bool {
        let this = self.get(slot);
        let names_it = |other: Ref<Slot>| this.raw.same_object(self.get(other).raw);
        !this.prev.get().is_some_and(names_it) && !this.next().is_some_and(names_it)
    }

    /// Whether what lies in `child`, somewhere behind `parent` in the list with nothing but
    /// `parent`'s descendants between, is derived from `parent`.
    #[inline]
    pub(crate) fn is_parent(&self, parent: Ref<Slot>, child: Ref<Slot>) -> bool {
        let (upper, lower) = (self.get(parent), self.get(child));
        if !upper.is_original() {
            return false;
        }
        let (cap, other) = (upper.raw, lower.raw);
        match cap.tag() {
            tag::UNTYPED => cap.covers(other, child),
            tag::IRQ_CONTROL => matches!(other.tag(), tag::IRQ_HANDLER | tag::SIGNAL),
            tag::IO_PORT_CONTROL => other.tag() == tag::IO_PORT,
            // Issued twice, neither is derived from the other.
            tag::SIGNAL => cap.same_object(other) && !lower.starts_group(),
            _ => {
                let badge = cap.badge();
                let in_group = badge == 0 || badge == other.badge() && !lower.starts_group();
                cap.same_object(other) && in_group
            }
        }
    }

    /// Writes `slot` at `place` and lets its neighbours know.
    fn place(&mut self, place: Ref<Slot>, slot: Slot) {
        *self.get_mut(place) = slot;
        if let Some(prev) = slot.prev.get() {
            self.get_mut(prev).set_next(Some(place));
        }
        if let Some(next) = slot.next() {
            self.get_mut(next).prev = Link::to(place);
        }
    }
}

/// `slot` with links to `to`, where it goes, turned into links to `from`, where it was.
fn relink(mut slot: Slot, to: Ref<Slot>, from: Ref<Slot>) -> Slot {
    if slot.prev == Link::to(to) {
        slot.prev = Link::to(from);
    }
    if slot.next() == Some(to) {
        slot.set_next(Some(from));
    }
    slot
}

/// Whether `cap`, derived from `source`, is an original: it can have children of its own.
const fn starts_group(source: RawCap, cap: RawCap) -> bool {
    match source.tag() {
        tag::UNTYPED | tag::IRQ_CONTROL | tag::IO_PORT_CONTROL => true,
        _ => source.badge() != cap.badge(),
    }
}
