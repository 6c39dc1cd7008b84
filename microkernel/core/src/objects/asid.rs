//! Address-space identifiers: the control object and pools (manual, chapter 7.1.2).
//!
//! A mapping is recorded as identifier and address. The pools are what the identifiers are looked
//! up in, so deleting a pool or a root is enough to make every such record harmless.

use crate::cap::RawCap;
use crate::objects::PageTable;
use crate::vspace::POOL_GONE;
use crate::{
    Answer, Asid, Cap, Decoded, Invocation, Kernel, Link, Machine, Mapping, Ref, SyscallError,
    ensure,
};
use d3os_abi::{ASID_POOL_ENTRIES, Label, size_bits};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A pool of address-space identifiers: the page-table root that each one names.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(4096))]
pub struct AsidPool {
    pub(crate) roots: [Link<PageTable>; ASID_POOL_ENTRIES],
}

impl Asid {
    /// The identifier at `entry` of pool `pool`.
    pub(crate) const fn in_pool(pool: u8, entry: u16) -> Self {
        Self((pool as u16) << 9 | entry)
    }

    const fn pool(self) -> u8 {
        (self.0 >> 9) as u8
    }
}

impl<M: Machine> Kernel<M> {
    /// Makes a pool from an untyped.
    pub(crate) fn invoke_asid_control(&mut self, inv: &Invocation) -> Decoded<Answer> {
        inv.ensure_label(Label::AsidControlMakePool)?;
        let [index, depth] = self.arguments(inv, 0)?;
        let source = self.extra_slot(inv, 0)?;
        let untyped = self.get(source).raw;
        let root = self.extra_raw(inv, 1)?;
        let pool = self.free_asid_pool().ok_or(SyscallError::DeleteFirst)?;
        let Cap::Untyped { size_bits: size_bits::ASID_POOL, device: false, .. } = untyped.unpack()
        else {
            return Err(SyscallError::InvalidCapability(1));
        };
        self.ensure_no_children(source)?;
        let dest = self.empty_slot(root, index, depth)?;
        let bytes = 1 << untyped.size_bits();
        self.update_cap(source, untyped.with_free(bytes));
        self.machine.clear(untyped.address(), bytes);
        let object = untyped.object();
        let cap = Cap::AsidPool { object, base: Asid::in_pool(pool, 0) };
        self.insert_derived(dest, cap, source);
        self.asid_pools[usize::from(pool)] = Link::to(object);
        Ok(Answer::Empty)
    }

    fn free_asid_pool(&self) -> Option<u8> {
        let index = self.asid_pools.iter().position(|pool| pool.is_none())?;
        u8::try_from(index).ok()
    }

    /// Gives a root an identifier.
    pub(crate) fn invoke_asid_pool(&mut self, inv: &Invocation) -> Decoded<Answer> {
        let Cap::AsidPool { object: pool, base } = self.invoked(inv).unpack() else {
            return Err(SyscallError::InvalidCapability(0));
        };
        inv.ensure_label(Label::AsidPoolAssign)?;
        let (vspace, cap) = self.extra_cap(inv, 0)?;
        let Cap::VSpace { root, asid: None } = cap else {
            return Err(SyscallError::InvalidCapability(1));
        };
        let registered = self.asid_pools[usize::from(base.pool())].get().ok_or(POOL_GONE)?;
        ensure(registered == pool, SyscallError::InvalidCapability(0))?;
        let asid = self.free_asid(pool, base).ok_or(SyscallError::DeleteFirst)?;
        self.get_mut(pool).roots[usize::from(asid.0) % ASID_POOL_ENTRIES] = Link::to(root);
        self.update_cap(vspace, Cap::VSpace { root, asid: Some(asid) });
        Ok(Answer::Empty)
    }

    /// Identifier 0 is never given out, so that a zero in a capability can mean none.
    fn free_asid(&self, pool: Ref<AsidPool>, base: Asid) -> Option<Asid> {
        let first = u16::from(base.pool() == 0);
        let roots = self.get(pool).roots.iter().zip(0u16..).skip(first.into());
        let (_, entry) = { roots }.find(|(root, _)| root.is_none())?;
        Some(Asid::in_pool(base.pool(), entry))
    }

    /// The last capability to a root goes away: its identifier names nothing from now on.
    pub(crate) fn finalise_vspace(&mut self, cap: RawCap) {
        let (Some(Mapping { asid, .. }), Some(_)) = (cap.mapping(), self.vspace_root(cap)) else {
            return;
        };
        if let Some(pool) = self.asid_pools[usize::from(asid.pool())].get() {
            self.get_mut(pool).roots[usize::from(asid.0) % ASID_POOL_ENTRIES] = Link::NONE;
        }
        self.leave_address_space();
    }

    /// The last capability to a pool goes away: so do the identifiers in it.
    pub(crate) fn finalise_asid_pool(&mut self, object: Ref<AsidPool>, base: Asid) {
        let index = usize::from(base.pool());
        if self.asid_pools[index] == Link::to(object) {
            self.asid_pools[index] = Link::NONE;
            self.leave_address_space();
        }
    }

    /// An address space may have ended. The processor must not go on with its tables, whose memory
    /// can be reused from now on, even if no thread is left to switch to.
    fn leave_address_space(&mut self) {
        self.space_epoch += 1;
        match self.current_thread() {
            Some(thread) => self.load_address_space(thread),
            None => self.machine.set_address_space(self.machine.kernel_address_space()),
        }
    }
}
