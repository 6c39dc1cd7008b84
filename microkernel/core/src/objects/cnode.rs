//! CNodes: copying, moving, deleting and revoking capabilities (manual, chapter 3).

use crate::cap::RawCap;
use crate::{
    Answer, Decoded, Invocation, Kernel, Machine, Outcome, Ref, Slot, SyscallError, ensure,
};
use d3os_abi::{CapRights, Label};

impl<M: Machine> Kernel<M> {
    /// Copies, moves, deletes or revokes capabilities.
    ///
    /// # Errors
    /// As the manual lists them for each invocation.
    #[inline(never)]
    pub(crate) fn invoke_cnode(&mut self, inv: &Invocation) -> Decoded<Outcome> {
        let label = inv.label()?;
        ensure(is_cnode_label(label), SyscallError::IllegalOperation)?;
        let [index, depth] = self.arguments(inv, 0)?;
        let dest = self.lookup_target_slot(self.invoked(inv), index, depth, false)?;
        let ended = match label {
            Label::CNodeRevoke => self.revoke(dest),
            Label::CNodeDelete => self.delete(dest),
            Label::CNodeCancelBadgedSends => match self.get(dest).raw.as_endpoint() {
                Some((endpoint, badge, CapRights::ALL)) => {
                    self.cancel_badged_sends(endpoint, badge)
                }
                _ => return Err(SyscallError::IllegalOperation),
            },
            Label::CNodeRotate => Ok(self.rotate(inv, dest)?),
            _ => Ok(self.transfer_cap(label, inv, dest)?),
        };
        Ok(ended.map(|()| Answer::Empty))
    }

    /// Copies a capability to `dest` or moves it there, as it is or changed.
    #[inline(always)]
    fn transfer_cap(&mut self, label: Label, inv: &Invocation, dest: Ref<Slot>) -> Decoded<()> {
        let (source, cap) = self.decode_transfer(inv, dest)?;
        let cap = match label {
            Label::CNodeCopy => Some(cap.mask_rights(CapRights::from_word(self.argument(inv, 4)?))),
            Label::CNodeMint => {
                let [rights, data] = self.arguments(inv, 4)?;
                cap.mask_rights(CapRights::from_word(rights)).with_data(data)
            }
            Label::CNodeMutate => cap.moved_with_data(self.argument(inv, 4)?),
            _ => Some(cap),
        };
        let cap = cap.ok_or(SyscallError::IllegalOperation)?;
        if matches!(label, Label::CNodeMove | Label::CNodeMutate) {
            self.move_cap(dest, source, cap);
            return Ok(());
        }
        let cap = self.derive_cap(source, cap)?;
        ensure(!cap.is_null(), SyscallError::IllegalOperation)?;
        self.insert_derived(dest, cap, source);
        Ok(())
    }

    /// Moves the pivot to `dest` and the source to where the pivot was, each changed.
    fn rotate(&mut self, inv: &Invocation, dest: Ref<Slot>) -> Decoded<()> {
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
        if source == dest {
            self.swap_caps(source, pivot);
            self.update_cap(pivot, source_cap);
            self.update_cap(dest, pivot_cap);
        } else {
            self.move_cap(dest, pivot, pivot_cap);
            self.move_cap(pivot, source, source_cap);
        }
        Ok(())
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
}

const fn is_cnode_label(label: Label) -> bool {
    let number = label.number();
    Label::CNodeRevoke.number() <= number && number <= Label::CNodeRotate.number()
}
