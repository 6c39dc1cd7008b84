//! CNodes and the slots in them.

use d3os_abi::{CapRights, Label};

use super::{Capability, Error, capabilities, invoke};

capabilities! {
    /// A table of capability slots.
    CNode;
}

impl CNode {
    /// The slot at `index`, an address of `depth` bits looked up from here.
    #[must_use]
    pub const fn slot(self, index: u64, depth: u8) -> Slot {
        Slot { root: self, index, depth }
    }
}

/// A slot, as invocations name it: an address looked up from a CNode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Where the look-up begins.
    pub root: CNode,
    /// The address.
    pub index: u64,
    /// Bits of the address to resolve.
    pub depth: u8,
}

/// Slots in a row, as the retype of untyped memory names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotRun {
    /// Where the look-up of the CNode begins; with depth 0 it is that CNode.
    pub root: CNode,
    /// The CNode's address.
    pub index: u64,
    /// Bits of the address to resolve.
    pub depth: u8,
    /// The first slot in that CNode.
    pub offset: u64,
}

impl SlotRun {
    /// The slots of `root` itself, from `offset` on.
    #[must_use]
    pub const fn within(root: CNode, offset: u64) -> Self {
        Self { root, index: 0, depth: 0, offset }
    }
}

impl Slot {
    /// As two words of a message.
    const fn words(self) -> [u64; 2] {
        [self.index, self.depth as u64]
    }
}

/// Every operation on a slot fails with [`Error::FailedLookup`] where a slot does not exist and
/// with [`Error::DeleteFirst`] where a destination is not empty.
impl Slot {
    /// Deletes every capability derived from the one here.
    ///
    /// # Errors
    /// The kernel's.
    pub fn revoke(self) -> Result<(), Error> {
        invoke(self.root.cptr(), Label::CNodeRevoke, &self.words(), &[])
    }

    /// Deletes the capability here; the object goes with its last one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete(self) -> Result<(), Error> {
        invoke(self.root.cptr(), Label::CNodeDelete, &self.words(), &[])
    }

    /// Cancels the waiting sends that used the same badge as the capability here.
    ///
    /// # Errors
    /// The kernel's.
    pub fn cancel_badged_sends(self) -> Result<(), Error> {
        invoke(self.root.cptr(), Label::CNodeCancelBadgedSends, &self.words(), &[])
    }

    /// Copies `source`'s capability here, with no more than `rights`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn copy_from(self, source: Self, rights: CapRights) -> Result<(), Error> {
        let ([index, depth], [from, from_depth]) = (self.words(), source.words());
        let words = [index, depth, from, from_depth, rights.word()];
        invoke(self.root.cptr(), Label::CNodeCopy, &words, &[source.root.cptr()])
    }

    /// Copies `source`'s capability here, with no more than `rights` and with a badge (endpoint,
    /// notification) or a guard (CNode).
    ///
    /// # Errors
    /// The kernel's.
    pub fn mint_from(self, source: Self, rights: CapRights, badge: u64) -> Result<(), Error> {
        let ([index, depth], [from, from_depth]) = (self.words(), source.words());
        let words = [index, depth, from, from_depth, rights.word(), badge];
        invoke(self.root.cptr(), Label::CNodeMint, &words, &[source.root.cptr()])
    }

    /// Moves `source`'s capability here.
    ///
    /// # Errors
    /// The kernel's.
    pub fn move_from(self, source: Self) -> Result<(), Error> {
        let ([index, depth], [from, from_depth]) = (self.words(), source.words());
        let words = [index, depth, from, from_depth];
        invoke(self.root.cptr(), Label::CNodeMove, &words, &[source.root.cptr()])
    }

    /// Moves `source`'s capability here and gives it a badge or guard.
    ///
    /// # Errors
    /// The kernel's.
    pub fn mutate_from(self, source: Self, badge: u64) -> Result<(), Error> {
        let ([index, depth], [from, from_depth]) = (self.words(), source.words());
        let words = [index, depth, from, from_depth, badge];
        invoke(self.root.cptr(), Label::CNodeMutate, &words, &[source.root.cptr()])
    }

    /// Moves `pivot`'s capability here and `source`'s to where `pivot`'s was, giving each a
    /// badge or guard (0 leaves it).
    ///
    /// # Errors
    /// The kernel's.
    pub fn rotate(
        self,
        badge: u64,
        pivot: Self,
        pivot_badge: u64,
        source: Self,
    ) -> Result<(), Error> {
        let [index, depth] = self.words();
        let ([pivot_index, pivot_depth], [from, from_depth]) = (pivot.words(), source.words());
        let words = [index, depth, badge, pivot_index, pivot_depth, pivot_badge, from, from_depth];
        let roots = [pivot.root.cptr(), source.root.cptr()];
        invoke(self.root.cptr(), Label::CNodeRotate, &words, &roots)
    }
}
