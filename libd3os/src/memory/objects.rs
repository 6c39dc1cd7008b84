//! Kernel objects one by one: each in a block of its own, so that each can be destroyed alone.

use d3os_abi::ObjectType;

use super::untyped::{Block, UntypedPool};
use super::{Kernel, MemoryError, SlotPool};
use crate::cap::Capability;
use crate::sys::Cptr;

/// A kernel object and the memory that it is made of.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an object that is not destroyed keeps its memory"]
pub struct Object {
    slot: u64,
    block: Block,
}

impl Object {
    /// Slot of its capability.
    #[must_use]
    pub const fn slot(&self) -> u64 {
        self.slot
    }

    /// Its capability, believed to be of this type.
    #[must_use]
    pub fn cap<C: Capability>(&self) -> C {
        C::from_cptr(Cptr::new(self.slot))
    }
}

/// Makes and destroys kernel objects.
#[derive(Debug, Default)]
pub struct Objects {
    untyped: UntypedPool,
    slots: SlotPool,
}

impl Objects {
    /// A maker of objects that has these slots and no memory yet.
    #[must_use]
    pub fn new(slots: SlotPool) -> Self {
        Self { untyped: UntypedPool::default(), slots }
    }

    /// Adds an untyped of 2 to the power of `bits` bytes from which nothing was made.
    pub fn add_untyped(&mut self, slot: u64, bits: u8) {
        self.untyped.add(slot, bits);
    }

    /// Bytes that are free.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.untyped.available()
    }

    /// Empty slots.
    #[must_use]
    pub fn free_slots(&self) -> u64 {
        self.slots.available()
    }

    /// The slots, for capabilities that are not objects of their own.
    pub fn slots(&mut self) -> &mut SlotPool {
        &mut self.slots
    }

    /// Sets untyped memory aside, 2 to the power of `bits` bytes, for whatever is to be made of it.
    ///
    /// # Errors
    /// [`MemoryError`]; nothing is lost then.
    pub fn set_aside(&mut self, kernel: &mut impl Kernel, bits: u8) -> Result<Block, MemoryError> {
        self.untyped.take(kernel, &mut self.slots, bits)
    }

    /// Takes back what was set aside; whatever was made of it is deleted.
    ///
    /// # Errors
    /// The kernel's. The memory is then left out of use.
    pub fn take_back(&mut self, kernel: &mut impl Kernel, block: Block) -> Result<(), MemoryError> {
        self.untyped.give_back(kernel, &mut self.slots, block)
    }

    /// Makes an object; `size_bits` as for [`crate::cap::Untyped::retype`].
    ///
    /// # Errors
    /// [`MemoryError`]; nothing is lost then.
    pub fn make(
        &mut self,
        kernel: &mut impl Kernel,
        kind: ObjectType,
        size_bits: u8,
    ) -> Result<Object, MemoryError> {
        let slot = self.slots.take()?;
        self.make_at(kernel, kind, size_bits, slot)
            .inspect_err(|_| self.slots.give_back(slot, 1))
            .map(|block| Object { slot, block })
    }

    /// Destroys an object, and every capability to it.
    ///
    /// # Errors
    /// The kernel's. The object's memory is then left out of use.
    pub fn destroy(&mut self, kernel: &mut impl Kernel, object: Object) -> Result<(), MemoryError> {
        self.untyped.give_back(kernel, &mut self.slots, object.block)?;
        self.slots.give_back(object.slot, 1);
        Ok(())
    }

    fn make_at(
        &mut self,
        kernel: &mut impl Kernel,
        kind: ObjectType,
        size_bits: u8,
        slot: u64,
    ) -> Result<Block, MemoryError> {
        let block = self.untyped.take(kernel, &mut self.slots, kind.size_bits(size_bits))?;
        if let Err(error) = kernel.retype(block.slot(), kind, size_bits, slot, 1) {
            // Giving back a block that was just taken revokes nothing.
            self.untyped.give_back(kernel, &mut self.slots, block)?;
            return Err(error.into());
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::super::untyped::model::ModelKernel;
    use super::*;
    use proptest::prelude::*;

    fn objects() -> (ModelKernel, Objects) {
        let mut objects = Objects::new(SlotPool::new(100..200));
        objects.add_untyped(1, 16);
        (ModelKernel::with_untyped(1, 0, 16), objects)
    }

    proptest! {
        #[test]
        fn memory_and_slots_come_back(kinds in prop::collection::vec(0usize..14, 1..20)) {
            let (mut kernel, mut objects) = objects();
            let mut made = alloc::vec::Vec::new();
            for kind in kinds.into_iter().map(|number| ObjectType::ALL[number]) {
                if let Ok(object) = objects.make(&mut kernel, kind, 7) {
                    prop_assert_eq!(kernel.caps[&object.slot()].2, kind);
                    made.push(object);
                }
            }
            for object in made {
                objects.destroy(&mut kernel, object).expect("the model agrees");
            }
            prop_assert_eq!(objects.available(), 1 << 16);
            prop_assert_eq!(objects.slots().available(), 100);
            prop_assert_eq!(kernel.caps.len(), 1);
        }
    }

    #[test]
    fn what_is_set_aside_is_not_used_for_objects() {
        let (mut kernel, mut objects) = objects();
        let block = objects.set_aside(&mut kernel, 15).expect("half of it");
        assert_eq!(objects.available(), 1 << 15);
        let large = objects.make(&mut kernel, ObjectType::Untyped, 16);
        assert_eq!(large, Err(MemoryError::OutOfMemory { bits: 16 }));
        objects.take_back(&mut kernel, block).expect("the model agrees");
        assert_eq!((objects.available(), objects.slots().available()), (1 << 16, 100));
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_loses_nothing() {
        let (mut kernel, mut objects) = objects();
        let huge = objects.make(&mut kernel, ObjectType::HugePage, 0);
        assert_eq!(huge, Err(MemoryError::OutOfMemory { bits: 30 }));
        assert_eq!((objects.available(), objects.slots().available()), (1 << 16, 100));
    }
}
