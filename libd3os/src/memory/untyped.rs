//! Untyped memory in blocks of powers of two: a buddy allocator over capabilities.
//!
//! A block is split by retyping it into two blocks of half its size, and comes together again
//! by revoking it once both halves are free. So the pool never knows addresses: the tree of
//! blocks is the tree of capabilities.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use d3os_abi::{MAX_UNTYPED_BITS, MIN_UNTYPED_BITS, ObjectType};

use super::{Kernel, MemoryError, SlotPool};

/// A block of untyped memory, taken from a [`UntypedPool`] and to be given back to it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a block that is not given back is lost"]
pub struct Block {
    node: usize,
    slot: u64,
    bits: u8,
}

impl Block {
    /// Slot of its untyped capability.
    #[must_use]
    pub const fn slot(&self) -> u64 {
        self.slot
    }

    /// log2 of its bytes.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Taken,
    /// Into the nodes of this number and the next.
    Split(usize),
    /// The node stands for no block at present.
    Unused,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    slot: u64,
    bits: u8,
    parent: Option<usize>,
    state: State,
}

const SIZES: usize = MAX_UNTYPED_BITS as usize + 1;

/// Untyped memory that is not in use.
#[derive(Debug)]
pub struct UntypedPool {
    nodes: Vec<Node>,
    /// First of two neighbouring nodes that stand for no block.
    unused: Vec<usize>,
    /// Free blocks by size.
    free: [BTreeSet<usize>; SIZES],
}

impl Default for UntypedPool {
    fn default() -> Self {
        Self { nodes: Vec::new(), unused: Vec::new(), free: [const { BTreeSet::new() }; SIZES] }
    }
}

impl UntypedPool {
    /// Adds an untyped of 2 to the power of `bits` bytes from which nothing was made. Sizes that
    /// the kernel does not have are left out.
    pub fn add(&mut self, slot: u64, bits: u8) {
        if !(MIN_UNTYPED_BITS..=MAX_UNTYPED_BITS).contains(&bits) {
            return;
        }
        let node = self.nodes.len();
        self.nodes.push(Node { slot, bits, parent: None, state: State::Free });
        self.free[usize::from(bits)].insert(node);
    }

    /// Bytes that are free.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.free.iter().zip(0..).map(|(blocks, bits)| (blocks.len() as u64) << bits).sum()
    }

    /// Takes a block of 2 to the power of `bits` bytes, splitting a larger one if need be.
    ///
    /// # Errors
    /// [`MemoryError`]; nothing is lost then, though blocks may have been split.
    pub fn take(
        &mut self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
        bits: u8,
    ) -> Result<Block, MemoryError> {
        let wanted = bits.max(MIN_UNTYPED_BITS);
        loop {
            let node = self.smallest(wanted).ok_or(MemoryError::OutOfMemory { bits })?;
            let Node { slot, bits, .. } = self.nodes[node];
            if bits == wanted {
                self.set(node, State::Taken);
                return Ok(Block { node, slot, bits });
            }
            self.split(kernel, slots, node)?;
        }
    }

    /// Gives a block back; whatever was made from it is deleted.
    ///
    /// # Errors
    /// The kernel's. The block is then left out of use: what is in it is not known.
    pub fn give_back(
        &mut self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
        block: Block,
    ) -> Result<(), MemoryError> {
        kernel.revoke(block.slot)?;
        self.set(block.node, State::Free);
        let mut node = block.node;
        while let Some(parent) = self.nodes[node].parent {
            let State::Split(first) = self.nodes[parent].state else { break };
            let both_free = [first, first + 1].map(|half| self.nodes[half].state == State::Free);
            if both_free != [true, true] {
                break;
            }
            self.join(kernel, slots, parent, first)?;
            node = parent;
        }
        Ok(())
    }

    /// The smallest free block of at least `bits`.
    fn smallest(&self, bits: u8) -> Option<usize> {
        self.free.iter().skip(usize::from(bits)).find_map(|blocks| blocks.first().copied())
    }

    fn split(
        &mut self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
        node: usize,
    ) -> Result<(), MemoryError> {
        let Node { slot, bits, .. } = self.nodes[node];
        let half_slots = slots.take_run(2)?;
        if let Err(error) = kernel.retype(slot, ObjectType::Untyped, bits - 1, half_slots, 2) {
            slots.give_back(half_slots, 2);
            return Err(error.into());
        }
        let first = self.two_nodes();
        for (half, slot) in [(first, half_slots), (first + 1, half_slots + 1)] {
            let parent = Some(node);
            self.nodes[half] = Node { slot, bits: bits - 1, parent, state: State::Unused };
            self.set(half, State::Free);
        }
        self.set(node, State::Split(first));
        Ok(())
    }

    fn join(
        &mut self,
        kernel: &mut impl Kernel,
        slots: &mut SlotPool,
        parent: usize,
        first: usize,
    ) -> Result<(), MemoryError> {
        kernel.revoke(self.nodes[parent].slot)?;
        slots.give_back(self.nodes[first].slot, 2);
        self.set(first, State::Unused);
        self.set(first + 1, State::Unused);
        self.unused.push(first);
        self.set(parent, State::Free);
        Ok(())
    }

    fn two_nodes(&mut self) -> usize {
        self.unused.pop().unwrap_or_else(|| {
            let first = self.nodes.len();
            let blank = Node { slot: 0, bits: 0, parent: None, state: State::Unused };
            self.nodes.extend([blank, blank]);
            first
        })
    }

    /// Changes a node's state and keeps the lists of free blocks right.
    fn set(&mut self, node: usize, state: State) {
        let blocks = &mut self.free[usize::from(self.nodes[node].bits)];
        if state == State::Free {
            blocks.insert(node);
        } else {
            blocks.remove(&node);
        }
        self.nodes[node].state = state;
    }
}

#[cfg(test)]
pub(super) mod model {
    //! A kernel that knows where each untyped lies and refuses what the real one would.

    use super::*;
    use crate::abi::{CapRights, VmAttributes};
    use crate::cap::{Error, Frame, VSpace};
    use crate::memory::Table;
    use alloc::collections::BTreeMap;

    #[derive(Debug, Default)]
    pub(crate) struct ModelKernel {
        /// Slot to address, size, and what it is.
        pub(crate) caps: BTreeMap<u64, (u64, u8, ObjectType)>,
        pub(crate) parents: BTreeMap<u64, u64>,
        pub(crate) tables: Vec<Table>,
        pub(crate) frames: Vec<u64>,
    }

    impl ModelKernel {
        pub(crate) fn with_untyped(slot: u64, address: u64, bits: u8) -> Self {
            let mut kernel = Self::default();
            kernel.caps.insert(slot, (address, bits, ObjectType::Untyped));
            kernel
        }

        fn children(&self, slot: u64) -> Vec<u64> {
            self.parents.iter().filter(|(_, p)| **p == slot).map(|(child, _)| *child).collect()
        }
    }

    impl Kernel for ModelKernel {
        fn retype(
            &mut self,
            untyped: u64,
            kind: ObjectType,
            size_bits: u8,
            first: u64,
            count: u64,
        ) -> Result<(), Error> {
            let bits = kind.size_bits(size_bits);
            let Some(&(address, parent_bits, ObjectType::Untyped)) = self.caps.get(&untyped) else {
                return Err(Error::InvalidCapability { index: 0 });
            };
            if !self.children(untyped).is_empty() || count << bits > 1 << parent_bits {
                return Err(Error::NotEnoughMemory { available: 0 });
            }
            for number in 0..count {
                if self.caps.contains_key(&(first + number)) {
                    return Err(Error::DeleteFirst);
                }
            }
            for number in 0..count {
                self.caps.insert(first + number, (address + (number << bits), bits, kind));
                self.parents.insert(first + number, untyped);
            }
            Ok(())
        }

        fn revoke(&mut self, slot: u64) -> Result<(), Error> {
            for child in self.children(slot) {
                self.revoke(child)?;
                self.caps.remove(&child);
                self.parents.remove(&child);
            }
            Ok(())
        }

        fn map_table(&mut self, slot: u64, table: Table, _: VSpace) -> Result<(), Error> {
            match self.caps.get(&slot) {
                Some((_, _, kind)) if *kind == table.object_type() => {
                    self.tables.push(table);
                    Ok(())
                }
                _ => Err(Error::InvalidCapability { index: 0 }),
            }
        }

        fn map_frame(
            &mut self,
            _: Frame,
            _: VSpace,
            address: u64,
            _: CapRights,
            _: VmAttributes,
        ) -> Result<(), Error> {
            self.frames.push(address);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::model::ModelKernel;
    use super::*;
    use proptest::prelude::*;

    const FIRST_SLOT: u64 = 100;

    proptest! {
        #[test]
        fn blocks_never_overlap_and_all_come_back(
            steps in prop::collection::vec((4u8..14, any::<prop::sample::Index>()), 1..120),
        ) {
            let mut kernel = ModelKernel::with_untyped(1, 0x10_0000, 14);
            let mut slots = SlotPool::new(FIRST_SLOT..1000);
            let mut pool = UntypedPool::default();
            pool.add(1, 14);
            let mut taken: Vec<Block> = Vec::new();
            for (bits, choice) in steps {
                if choice.index(2) == 0 && !taken.is_empty() {
                    let block = taken.swap_remove(choice.index(taken.len()));
                    pool.give_back(&mut kernel, &mut slots, block).expect("the model agrees");
                } else if let Ok(block) = pool.take(&mut kernel, &mut slots, bits) {
                    prop_assert_eq!(block.bits(), bits);
                    prop_assert_eq!(kernel.caps[&block.slot()].1, bits);
                    taken.push(block);
                }
                let mut ranges: Vec<_> = taken.iter().map(|block| kernel.caps[&block.slot]).collect();
                ranges.sort_unstable_by_key(|(address, ..)| *address);
                for pair in ranges.windows(2) {
                    prop_assert!(pair[0].0 + (1 << pair[0].1) <= pair[1].0);
                }
                let used: u64 = taken.iter().map(|block| 1 << block.bits).sum();
                prop_assert_eq!(pool.available() + used, 1 << 14);
            }
            for block in taken {
                pool.give_back(&mut kernel, &mut slots, block).expect("the model agrees");
            }
            prop_assert_eq!(kernel.caps.len(), 1);
            prop_assert_eq!(slots, SlotPool::new(FIRST_SLOT..1000));
            prop_assert!(pool.take(&mut kernel, &mut SlotPool::default(), 14).is_ok());
        }
    }

    #[test]
    fn failures_lose_nothing() {
        let mut kernel = ModelKernel::with_untyped(1, 0, 12);
        let mut pool = UntypedPool::default();
        pool.add(1, 12);
        pool.add(2, 99);
        let mut none = SlotPool::default();
        assert_eq!(pool.take(&mut kernel, &mut none, 11), Err(MemoryError::OutOfSlots));
        let large = pool.take(&mut kernel, &mut none, 13);
        assert_eq!(large, Err(MemoryError::OutOfMemory { bits: 13 }));
        assert_eq!(pool.available(), 1 << 12);
    }
}
