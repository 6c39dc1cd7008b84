//! How an address in a capability space is resolved (manual, chapter 3.3).
//!
//! Each CNode on the way takes its guard and then its radix from the top of the bits that are left.

use crate::cap::{RawCap, low_bits, tag};
use crate::objects::{Tcb, TcbSlot};
use crate::{
    Decoded, Kernel, LookupFailure, Machine, Ref, Slot, SyscallError, ensure, ensure_range,
};

/// Bits of an address.
const WORD_BITS: u8 = 64;

impl<M: Machine> Kernel<M> {
    /// The slot that `cptr` names in the capability space of `thread`; it may be empty. Bits that are
    /// left when something else than a CNode is met are ignored.
    ///
    /// # Errors
    /// A root that is no CNode, a guard that differs, or fewer bits than a CNode takes.
    #[inline]
    pub(crate) fn lookup(&self, thread: Ref<Tcb>, cptr: u64) -> Result<Ref<Slot>, LookupFailure> {
        match self.lookup_directly(thread, cptr) {
            Some(slot) => Ok(slot),
            None => self.lookup_stepwise(thread, cptr),
        }
    }

    /// The slot that `cptr` names where the root resolves all of it: what nearly every capability
    /// space is like. `None` where it does not, or the look-up fails.
    #[inline(always)]
    pub(crate) fn lookup_directly(&self, thread: Ref<Tcb>, cptr: u64) -> Option<Ref<Slot>> {
        self.get(thread).slots[TcbSlot::CSpace as usize].raw.slot_of_word(cptr)
    }

    #[inline(never)]
    fn lookup_stepwise(&self, thread: Ref<Tcb>, cptr: u64) -> Result<Ref<Slot>, LookupFailure> {
        let root = self.get(thread).slots[TcbSlot::CSpace as usize].raw;
        self.resolve(root, cptr, WORD_BITS).map(|(slot, _)| slot)
    }

    /// The slot that the low `depth` bits (1 to 64) of `index` name below `root`; all of them must
    /// be used.
    ///
    /// # Errors
    /// As [`Kernel::lookup`], and `DepthMismatch` where bits are left.
    pub(crate) fn lookup_slot(
        &self,
        root: impl Into<RawCap>,
        index: u64,
        depth: u64,
    ) -> Result<Ref<Slot>, LookupFailure> {
        let depth = u8::try_from(depth).unwrap_or(WORD_BITS).min(WORD_BITS);
        match self.resolve(root.into(), index, depth)? {
            (slot, 0) => Ok(slot),
            (_, bits_left) => Err(LookupFailure::DepthMismatch { bits_found: 0, bits_left }),
        }
    }

    /// As [`Kernel::lookup_slot`], for an argument of an invocation; `source` tells the caller
    /// which of its two addresses failed.
    ///
    /// # Errors
    /// `FailedLookup`, or `Range` for a depth outside 1 to 64.
    #[inline]
    pub(crate) fn lookup_target_slot(
        &self,
        root: impl Into<RawCap>,
        index: u64,
        depth: u64,
        source: bool,
    ) -> Decoded<Ref<Slot>> {
        let root = root.into();
        match root.slot_of_word(index) {
            Some(slot) if depth == WORD_BITS.into() => Ok(slot),
            _ => self.lookup_target_stepwise(root, index, depth, source),
        }
    }

    #[inline(never)]
    fn lookup_target_stepwise(
        &self,
        root: RawCap,
        index: u64,
        depth: u64,
        source: bool,
    ) -> Decoded<Ref<Slot>> {
        let failed = |failure| SyscallError::FailedLookup { source, failure };
        ensure(root.tag() == tag::CNODE, failed(LookupFailure::InvalidRoot))?;
        ensure_range(depth, 1, WORD_BITS.into())?;
        self.lookup_slot(root, index, depth).map_err(failed)
    }

    /// Checks that `slot` can take a capability.
    ///
    /// # Errors
    /// `DeleteFirst` where it already holds one.
    pub(crate) fn ensure_empty(&self, slot: Ref<Slot>) -> Decoded<()> {
        ensure(self.get(slot).is_empty(), SyscallError::DeleteFirst)
    }

    /// Follows the low `bits` bits of `index` from `root` until they are used up or something else
    /// than a CNode is met; tells how many are left.
    #[inline]
    fn resolve(
        &self,
        root: RawCap,
        index: u64,
        mut bits: u8,
    ) -> Result<(Ref<Slot>, u8), LookupFailure> {
        let mut node = root.as_cnode().ok_or(LookupFailure::InvalidRoot)?;
        loop {
            let (slots, radix, guard_size, guard) = node;
            let prefix = index & low_bits(bits);
            if guard_size > bits || guard_size != 0 && prefix >> (bits - guard_size) != guard {
                return Err(LookupFailure::GuardMismatch { guard, guard_size, bits_left: bits });
            }
            let taken = guard_size + radix;
            if taken > bits {
                return Err(LookupFailure::DepthMismatch { bits_found: taken, bits_left: bits });
            }
            bits -= taken;
            let slot = slots.index(index >> bits & low_bits(radix));
            if bits == 0 {
                return Ok((slot, 0));
            }
            match self.get(slot).raw.as_cnode() {
                Some(next) => node = next,
                None => return Ok((slot, bits)),
            }
        }
    }
}
