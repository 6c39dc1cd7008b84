//! Untyped memory and retyping it into objects (manual, chapter 2.4).
//!
//! An untyped hands out its memory from the bottom up. When nothing of what was made from it is
//! left, it begins again at its start.
//!
//! Memory is cleared when an object is made of it, not when it is given back, so that splitting a
//! large untyped into smaller ones costs nothing. Clearing goes in granules with a preemption point
//! after each; how far it came is kept beside the untyped's free offset, so that the restarted
//! retype goes on there (and another one that comes between profits from it).

use crate::cap::{RawCap, tag};
use crate::{
    Answer, Decoded, Invocation, Kernel, Machine, Outcome, PhysAddr, Preempted, Ref, Slot,
    SyscallError, ensure, ensure_range,
};
use d3os_abi::{
    Label, MAX_UNTYPED_BITS, MIN_SCHED_CONTEXT_BITS, MIN_UNTYPED_BITS, ObjectType, RETYPE_FAN_OUT,
};

/// log2 of the bytes that are cleared between two preemption points: a microsecond's work. Progress
/// is counted in granules and has 28 bits, so RAM may be given out in untypeds of at most 2^40 bytes.
const GRANULE_BITS: u8 = 12;
/// log2 of the largest untyped of RAM, for the boot code to observe.
pub(crate) const MAX_RAM_UNTYPED_BITS: u8 = GRANULE_BITS + 28;

/// A checked retype: `count` objects from `start`, into slots from `dest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetypeRequest {
    kind: ObjectType,
    user_size: u8,
    start: PhysAddr,
    count: u64,
    dest: Ref<Slot>,
    device: bool,
    /// The untyped has no children left: it begins at its start.
    reset: bool,
}

impl RetypeRequest {
    fn object_bits(&self) -> u8 {
        self.kind.size_bits(self.user_size)
    }
}

impl<M: Machine> Kernel<M> {
    /// Checks a retype.
    ///
    /// # Errors
    /// As the manual lists them for `Untyped_Retype`.
    pub(crate) fn decode_untyped(&self, inv: &Invocation) -> Decoded<RetypeRequest> {
        inv.ensure_label(Label::UntypedRetype)?;
        let untyped = self.invoked(inv);
        let [kind, size, index, depth, offset, count] = self.arguments(inv, 0)?;
        let root = self.extra_raw(inv, 0)?;
        let (kind, user_size) = check_object(kind, size)?;
        let node = self.retype_node(root, index, depth)?;
        let dest = self.retype_slots(node, offset, count)?;

        let reset = !self.has_children(inv.slot);
        let free = if reset { 0 } else { untyped.free() };
        let object_bits = kind.size_bits(user_size);
        let bytes_left = (1 << untyped.size_bits()) - free;
        let fits = bytes_left >> object_bits >= count;
        ensure(fits, SyscallError::NotEnoughMemory(bytes_left))?;
        let device = untyped.is_device();
        ensure(!device || may_be_device_memory(kind), SyscallError::InvalidArgument(1))?;
        let start = untyped.address().offset(free.next_multiple_of(1 << object_bits));
        Ok(RetypeRequest { kind, user_size, start, count, dest, device, reset })
    }

    /// Makes the objects of a checked retype.
    pub(crate) fn perform_untyped(&mut self, inv: &Invocation, request: RetypeRequest) -> Outcome {
        // A retype that was preempted has set the offset back already, and its progress counts.
        let untyped = self.invoked(inv);
        if request.reset && untyped.free() != 0 {
            self.update_cap(inv.slot, untyped.with_free(0));
        }
        let end = request.start.offset(request.count << request.object_bits());
        if !request.device && request.kind != ObjectType::Untyped {
            self.clear_untyped(inv.slot, request.start, end)?;
        }
        let untyped = self.invoked(inv);
        self.update_cap(inv.slot, untyped.with_free(end.0 - untyped.address().0));
        let RetypeRequest { kind, user_size, start, count, dest, device, .. } = request;
        let bytes = 1 << request.object_bits();
        self.init_objects(kind, (0..count).map(|index| start.offset(index * bytes)));
        let first = RawCap::first(kind, user_size, device, start);
        self.insert_made(dest, first, bytes, count, inv.slot);
        Ok(Answer::Empty)
    }

    /// The CNode that takes the new capabilities: `root` itself at depth 0.
    fn retype_node(&self, root: RawCap, index: u64, depth: u64) -> Decoded<RawCap> {
        let node = match depth {
            0 => root,
            _ => self.get(self.lookup_target_slot(root, index, depth, false)?).raw,
        };
        ensure(node.tag() == tag::CNODE, SyscallError::missing(depth, false))?;
        Ok(node)
    }

    /// The first of `count` empty slots of `node` from `offset`.
    fn retype_slots(&self, node: RawCap, offset: u64, count: u64) -> Decoded<Ref<Slot>> {
        let slots = 1u64 << node.size_bits();
        ensure_range(offset, 0, slots - 1)?;
        ensure_range(count, 1, RETYPE_FAN_OUT)?;
        ensure_range(count, 1, slots - offset)?;
        let dest = node.object::<Slot>().index(offset);
        for i in 0..count {
            self.ensure_empty(dest.index(i))?;
        }
        Ok(dest)
    }

    /// Clears an untyped's memory from `start` to `end`, as far as it was not yet.
    fn clear_untyped(
        &mut self,
        slot: Ref<Slot>,
        start: PhysAddr,
        end: PhysAddr,
    ) -> Result<(), Preempted> {
        let untyped = self.get(slot).raw;
        let base = untyped.address();
        let mut from = start.max(base.offset(self.cleared_bytes(slot)));
        while from < end {
            let granule = ((from.0 - base.0) >> GRANULE_BITS) + 1;
            let to = base.offset(granule << GRANULE_BITS).min(end);
            self.machine.clear(from, to.0 - from.0);
            if to == end {
                break;
            }
            from = to;
            // What lies before `start` was not cleared, so it no longer counts as free either.
            let progress = untyped.with_free(start.0 - base.0).with_cleared(granule);
            self.update_cap(slot, progress);
            self.preemption_point()?;
        }
        Ok(())
    }

    /// Up to which offset an untyped's memory, from its free offset on, is known to be zero.
    pub(crate) fn cleared_bytes(&self, slot: Ref<Slot>) -> u64 {
        self.get(slot).raw.cleared() << GRANULE_BITS
    }

    /// Brings objects, of zeroes, into their first state; most are in it.
    fn init_objects(&mut self, kind: ObjectType, objects: impl Iterator<Item = PhysAddr>) {
        match kind {
            ObjectType::Tcb => objects.for_each(|at| self.init_thread(Ref::at(at))),
            ObjectType::Pml4 => objects.for_each(|at| self.init_vspace_root(Ref::at(at))),
            _ => {}
        }
    }
}

/// The type and size arguments of a retype.
fn check_object(kind: u64, size: u64) -> Decoded<(ObjectType, u8)> {
    let kind = ObjectType::from_number(kind).ok_or(SyscallError::InvalidArgument(0))?;
    let too_large = SyscallError::Range { min: 0, max: MAX_UNTYPED_BITS.into() };
    let size = u8::try_from(size).ok().filter(|size| *size < 64).ok_or(too_large)?;
    ensure(kind.size_bits(size) <= MAX_UNTYPED_BITS, too_large)?;
    let least = match kind {
        ObjectType::CNode => 1,
        ObjectType::Untyped => MIN_UNTYPED_BITS,
        ObjectType::SchedContext => MIN_SCHED_CONTEXT_BITS,
        _ => 0,
    };
    ensure(size >= least, SyscallError::InvalidArgument(1))?;
    Ok((kind, size))
}

/// The kernel keeps no data of its own in device memory.
fn may_be_device_memory(kind: ObjectType) -> bool {
    matches!(
        kind,
        ObjectType::Untyped | ObjectType::SmallPage | ObjectType::LargePage | ObjectType::HugePage
    )
}
