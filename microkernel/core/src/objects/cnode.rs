//! CNodes: copying, moving, deleting and revoking capabilities (manual, chapter 3).

use crate::cap::RawCap;
use crate::objects::Endpoint;
use crate::{
    Answer, Decoded, Invocation, Kernel, Machine, Outcome, Ref, Slot, SyscallError, ensure,
};
use d3os_abi::{CapRights, Label};

/// A checked invocation of a CNode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CNodeRequest {
    /// Puts `cap`, derived from `source`, into `dest`.
    Insert { dest: Ref<Slot>, source: Ref<Slot>, cap: RawCap },
    /// Moves `source` to `dest`, where it is `cap`.
    Move { dest: Ref<Slot>, source: Ref<Slot>, cap: RawCap },
    /// Moves `pivot` to `dest` and `source` to `pivot`, each to be what stands beside it.
    Rotate { dest: Ref<Slot>, pivot: (Ref<Slot>, RawCap), source: (Ref<Slot>, RawCap) },
    /// Deletes what was derived from a slot.
    Revoke(Ref<Slot>),
    /// Empties a slot.
    Delete(Ref<Slot>),
    /// Makes sends through capabilities with this badge fail.
    CancelBadgedSends { endpoint: Ref<Endpoint>, badge: u64 },
}

impl<M: Machine> Kernel<M> {
    /// Checks an invocation of a CNode.
    ///
    /// # Errors
    /// As the manual lists them for each invocation.
    pub(crate) fn decode_cnode(&self, inv: &Invocation) -> Decoded<CNodeRequest> {
        let label = inv.label()?;
        ensure(is_cnode_label(label), SyscallError::IllegalOperation)?;
        let [index, depth] = self.arguments(inv, 0)?;
        let dest = self.lookup_target_slot(self.invoked(inv), index, depth, false)?;
        match label {
            Label::CNodeRevoke => Ok(CNodeRequest::Revoke(dest)),
            Label::CNodeDelete => Ok(CNodeRequest::Delete(dest)),
            Label::CNodeCancelBadgedSends => self.decode_cancel_badged_sends(dest),
            Label::CNodeCopy => self.decode_copy(inv, dest),
            Label::CNodeMint => self.decode_mint(inv, dest),
            Label::CNodeMove => self.decode_move(inv, dest),
            Label::CNodeMutate => self.decode_mutate(inv, dest),
            _ => self.decode_rotate(inv, dest),
        }
    }

    /// Carries out a checked invocation of a CNode.
    pub(crate) fn perform_cnode(&mut self, request: CNodeRequest) -> Outcome {
        match request {
            CNodeRequest::Insert { dest, source, cap } => self.insert_derived(dest, cap, source),
            CNodeRequest::Move { dest, source, cap } => self.move_cap(dest, source, cap),
            CNodeRequest::Rotate { dest, pivot, source } => self.rotate(dest, pivot, source),
            CNodeRequest::Revoke(slot) => self.revoke(slot)?,
            CNodeRequest::Delete(slot) => self.delete(slot)?,
            CNodeRequest::CancelBadgedSends { endpoint, badge } => {
                self.cancel_badged_sends(endpoint, badge)?;
            }
        }
        Ok(Answer::Empty)
    }

    fn decode_cancel_badged_sends(&self, slot: Ref<Slot>) -> Decoded<CNodeRequest> {
        match self.get(slot).raw.as_endpoint() {
            Some((endpoint, badge, CapRights::ALL)) => {
                Ok(CNodeRequest::CancelBadgedSends { endpoint, badge })
            }
            _ => Err(SyscallError::IllegalOperation),
        }
    }

    #[inline(always)]
    fn decode_copy(&self, inv: &Invocation, dest: Ref<Slot>) -> Decoded<CNodeRequest> {
        let (source, cap) = self.decode_transfer(inv, dest)?;
        let rights = CapRights::from_word(self.argument(inv, 4)?);
        self.derived(dest, source, Some(cap.mask_rights(rights)))
    }

    fn decode_mint(&self, inv: &Invocation, dest: Ref<Slot>) -> Decoded<CNodeRequest> {
        let (source, cap) = self.decode_transfer(inv, dest)?;
        let [rights, data] = self.arguments(inv, 4)?;
        let cap = cap.mask_rights(CapRights::from_word(rights)).with_data(data);
        self.derived(dest, source, cap)
    }

    fn decode_move(&self, inv: &Invocation, dest: Ref<Slot>) -> Decoded<CNodeRequest> {
        let (source, cap) = self.decode_transfer(inv, dest)?;
        Ok(CNodeRequest::Move { dest, source, cap })
    }

    fn decode_mutate(&self, inv: &Invocation, dest: Ref<Slot>) -> Decoded<CNodeRequest> {
        let (source, cap) = self.decode_transfer(inv, dest)?;
        let cap = cap.moved_with_data(self.argument(inv, 4)?);
        Ok(CNodeRequest::Move { dest, source, cap: cap.ok_or(SyscallError::IllegalOperation)? })
    }

    fn decode_rotate(&self, inv: &Invocation, dest: Ref<Slot>) -> Decoded<CNodeRequest> {
        let [pivot_data, pivot_index, pivot_depth, source_data, source_index, source_depth] =
            self.arguments(inv, 2)?;
        let (pivot_root, source_root) = (self.extra_raw(inv, 0)?, self.extra_raw(inv, 1)?);
        let source = self.lookup_target_slot(source_root, source_index, source_depth, true)?;
        let pivot = self.lookup_target_slot(pivot_root, pivot_index, pivot_depth, false)?;
        ensure(pivot != source && pivot != dest, SyscallError::IllegalOperation)?;
        if source != dest {
            self.ensure_empty(dest)?;
        }
        let source_cap = self.occupied(source, source_depth, true)?.moved_with_data(source_data);
        let pivot_cap = self.occupied(pivot, pivot_depth, false)?.moved_with_data(pivot_data);
        let (Some(source_cap), Some(pivot_cap)) = (source_cap, pivot_cap) else {
            return Err(SyscallError::IllegalOperation);
        };
        Ok(CNodeRequest::Rotate { dest, pivot: (pivot, pivot_cap), source: (source, source_cap) })
    }

    /// Where a capability is to come from, and it; checks that it can go to `dest`.
    #[inline(always)]
    fn decode_transfer(&self, inv: &Invocation, dest: Ref<Slot>) -> Decoded<(Ref<Slot>, RawCap)> {
        let [index, depth] = self.arguments(inv, 2)?;
        let root = self.extra_raw(inv, 0)?;
        self.ensure_empty(dest)?;
        let source = self.lookup_target_slot(root, index, depth, true)?;
        Ok((source, self.occupied(source, depth, true)?))
    }

    /// The capability in a slot that was found at `depth` and must not be empty.
    fn occupied(&self, slot: Ref<Slot>, depth: u64, source: bool) -> Decoded<RawCap> {
        let cap = self.get(slot).raw;
        ensure(!cap.is_null(), SyscallError::missing(depth, source))?;
        Ok(cap)
    }

    /// The request to insert what may be derived from `cap`, which stands for the one in `source`.
    #[inline]
    fn derived(
        &self,
        dest: Ref<Slot>,
        source: Ref<Slot>,
        cap: Option<RawCap>,
    ) -> Decoded<CNodeRequest> {
        let cap = cap.ok_or(SyscallError::IllegalOperation)?;
        let cap = self.derive_cap(source, cap)?;
        ensure(!cap.is_null(), SyscallError::IllegalOperation)?;
        Ok(CNodeRequest::Insert { dest, source, cap })
    }

    fn rotate(
        &mut self,
        dest: Ref<Slot>,
        (pivot, pivot_cap): (Ref<Slot>, RawCap),
        (source, source_cap): (Ref<Slot>, RawCap),
    ) {
        if source == dest {
            self.swap_caps(source, pivot);
            self.update_cap(pivot, source_cap);
            self.update_cap(dest, pivot_cap);
        } else {
            self.move_cap(dest, pivot, pivot_cap);
            self.move_cap(pivot, source, source_cap);
        }
    }
}

const fn is_cnode_label(label: Label) -> bool {
    let number = label.number();
    Label::CNodeRevoke.number() <= number && number <= Label::CNodeRotate.number()
}
