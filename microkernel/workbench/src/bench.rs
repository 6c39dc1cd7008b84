//! Memory, slots and addresses for one test or operation after the other.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::any::Any;

use libd3os::abi::{BootInfo, CapRights, FrameSize, ObjectType, VmAttributes};
use libd3os::cap::{
    Bandwidth, CNode, Capability, Endpoint, Error, Frame, LookupFailure, Notification,
    PageDirectory, PageTable, Pdpt, Reply, SchedContext, SchedControl, SlotRun, Untyped, VSpace,
};
use libd3os::sys::Cptr;

use crate::initial::{ASID_POOL, CNODE, DEPTH, IMAGE_BASE, VSPACE, slot_of, smallest_ram};

/// log2 of the memory.
const MEMORY_BITS: u8 = 24;
/// Addresses that nothing of the image is near to.
const WINDOW: u64 = 0x2000_0000_0000;
/// Objects that one invocation makes at most.
const FAN_OUT: u64 = 256;

/// Memory, slots and addresses, and what was made of them.
pub struct Workbench {
    boot: &'static BootInfo,
    memory: Untyped,
    first_slot: u64,
    next_slot: u64,
    next_address: u64,
    kept: Vec<Box<dyn Any>>,
}

/// The `n`th of capabilities in a row.
#[must_use]
pub fn nth(first: Cptr, n: u64) -> Cptr {
    Cptr::new(first.address() + n)
}

impl Workbench {
    /// Takes over what the root task has, but for the first `taken` empty slots.
    ///
    /// # Panics
    /// Without 16 MiB of RAM in one piece.
    #[must_use]
    pub fn new(boot: &'static BootInfo, taken: u64) -> Self {
        let memory = smallest_ram(boot, MEMORY_BITS).expect("16 MiB of RAM in one piece");
        let first_slot = boot.empty.start + taken;
        let (next_slot, next_address) = (first_slot, WINDOW);
        Self { boot, memory, first_slot, next_slot, next_address, kept: Vec::new() }
    }

    /// What the kernel told the root task.
    #[must_use]
    pub fn boot(&self) -> &'static BootInfo {
        self.boot
    }

    /// Takes everything back: objects go with their memory, capabilities that were made of the root
    /// task's own with their slots.
    ///
    /// # Errors
    /// The kernel's.
    pub fn reset(&mut self) -> Result<(), Error> {
        slot_of(self.memory.cptr()).revoke()?;
        for index in self.first_slot..self.next_slot {
            CNODE.slot(index, DEPTH).delete()?;
        }
        self.next_slot = self.first_slot;
        self.next_address = WINDOW;
        self.kept.clear();
        Ok(())
    }

    /// Keeps a value where it is until everything is taken back.
    pub(crate) fn keep<T: 'static>(&mut self, value: T) -> &T {
        self.kept.push(Box::new(value));
        self.kept.last().and_then(|kept| kept.downcast_ref()).expect("just put there")
    }

    /// The memory that everything is made of.
    #[must_use]
    pub fn memory(&self) -> Untyped {
        self.memory
    }

    /// An empty slot.
    pub fn empty_slot(&mut self) -> Cptr {
        self.empty_slots(1)
    }

    /// The first of `count` empty slots.
    pub fn empty_slots(&mut self, count: u64) -> Cptr {
        self.next_slot += count;
        Cptr::new(self.next_slot - count)
    }

    /// `size`'s bytes of addresses that are not in use, aligned to that.
    pub fn addresses(&mut self, size: FrameSize) -> u64 {
        let start = self.next_address.next_multiple_of(size.bytes());
        self.next_address = start + size.bytes();
        start
    }

    /// The authority over this core's time.
    #[must_use]
    pub fn sched_control(&self) -> SchedControl {
        SchedControl::new(Cptr::new(self.boot.sched_control.start))
    }
}

/// Objects. All fail as the kernel does.
#[expect(clippy::missing_errors_doc, reason = "the same for all: the kernel's errors")]
impl Workbench {
    /// Makes an object.
    pub fn make(&mut self, kind: ObjectType, size_bits: u8) -> Result<Cptr, Error> {
        self.make_many(kind, size_bits, 1)
    }

    /// Makes objects; the first capability of those in a row.
    pub fn make_many(
        &mut self,
        kind: ObjectType,
        size_bits: u8,
        count: u64,
    ) -> Result<Cptr, Error> {
        self.make_many_of(self.memory, kind, size_bits, count)
    }

    /// Makes objects of other memory.
    pub fn make_many_of(
        &mut self,
        memory: Untyped,
        kind: ObjectType,
        size_bits: u8,
        count: u64,
    ) -> Result<Cptr, Error> {
        let first = self.empty_slots(count);
        let mut done = 0;
        while done < count {
            let step = FAN_OUT.min(count - done);
            let run = SlotRun::within(CNODE, nth(first, done).address());
            memory.retype(kind, size_bits, run, step)?;
            done += step;
        }
        Ok(first)
    }

    /// A smaller untyped.
    pub fn untyped(&mut self, size_bits: u8) -> Result<Untyped, Error> {
        Ok(Untyped::new(self.make(ObjectType::Untyped, size_bits)?))
    }

    /// An endpoint.
    pub fn endpoint(&mut self) -> Result<Endpoint, Error> {
        Ok(Endpoint::new(self.make(ObjectType::Endpoint, 0)?))
    }

    /// A notification.
    pub fn notification(&mut self) -> Result<Notification, Error> {
        Ok(Notification::new(self.make(ObjectType::Notification, 0)?))
    }

    /// A reply object.
    pub fn reply(&mut self) -> Result<Reply, Error> {
        Ok(Reply::new(self.make(ObjectType::Reply, 0)?))
    }

    /// A CNode of 2^`radix` slots.
    pub fn cnode(&mut self, radix: u8) -> Result<CNode, Error> {
        Ok(CNode::new(self.make(ObjectType::CNode, radix)?))
    }

    /// A frame.
    pub fn frame(&mut self, size: FrameSize) -> Result<Frame, Error> {
        Ok(Frame::new(self.make(size.object_type(), 0)?))
    }

    /// A scheduling context of 2^`bits` bytes with this share of the core's time.
    pub fn sched_context(&mut self, bits: u8, bandwidth: Bandwidth) -> Result<SchedContext, Error> {
        let context = SchedContext::new(self.make(ObjectType::SchedContext, bits)?);
        self.sched_control().configure(context, bandwidth)?;
        Ok(context)
    }

    /// A copy of a capability with these rights and a badge (0 leaves it).
    pub fn mint(&mut self, source: Cptr, rights: CapRights, badge: u64) -> Result<Cptr, Error> {
        let copy = self.empty_slot();
        slot_of(copy).mint_from(slot_of(source), rights, badge)?;
        Ok(copy)
    }

    /// A copy of a capability.
    pub fn copy(&mut self, source: Cptr) -> Result<Cptr, Error> {
        let copy = self.empty_slot();
        slot_of(copy).copy_from(slot_of(source), CapRights::ALL)?;
        Ok(copy)
    }
}

/// Address spaces. All fail as the kernel does.
#[expect(clippy::missing_errors_doc, reason = "the same for all: the kernel's errors")]
impl Workbench {
    /// Maps a frame in an address space, making the tables that are missing.
    pub fn map_at(
        &mut self,
        space: VSpace,
        frame: Frame,
        address: u64,
        rights: CapRights,
    ) -> Result<(), Error> {
        loop {
            match frame.map(space, address, rights, VmAttributes::WriteBack) {
                Err(Error::FailedLookup {
                    failure: LookupFailure::MissingCapability { bits_left },
                    ..
                }) => self.make_table(space, address, bits_left)?,
                other => return other,
            }
        }
    }

    /// Makes the table whose absence a look-up told.
    pub fn make_table(&mut self, space: VSpace, address: u64, bits_left: u64) -> Result<(), Error> {
        let attributes = VmAttributes::WriteBack;
        match bits_left {
            39 => {
                let table = Pdpt::new(self.make(ObjectType::Pdpt, 0)?);
                table.map(space, address, attributes)
            }
            30 => {
                let table = PageDirectory::new(self.make(ObjectType::PageDirectory, 0)?);
                table.map(space, address, attributes)
            }
            _ => {
                let table = PageTable::new(self.make(ObjectType::PageTable, 0)?);
                table.map(space, address, attributes)
            }
        }
    }

    /// Maps a frame for reading and writing somewhere in the root task's address space.
    pub fn map(&mut self, frame: Frame, size: FrameSize) -> Result<u64, Error> {
        let address = self.addresses(size);
        self.map_at(VSPACE, frame, address, CapRights::READ_WRITE)?;
        Ok(address)
    }

    /// A new address space.
    pub fn address_space(&mut self) -> Result<VSpace, Error> {
        let space = VSpace::new(self.make(ObjectType::Pml4, 0)?);
        ASID_POOL.assign(space)?;
        Ok(space)
    }

    /// An address space with everything that the root task's image has, so that a thread in it finds
    /// the same code, statics and heap at the same addresses.
    pub fn twin_address_space(&mut self) -> Result<VSpace, Error> {
        let space = self.address_space()?;
        let frames = self.boot.user_image_frames;
        for (cptr, page) in (frames.start..frames.end).zip(0..) {
            let copy = Frame::new(self.copy(Cptr::new(cptr))?);
            let address = IMAGE_BASE + FrameSize::Small.bytes() * page;
            self.map_at(space, copy, address, CapRights::READ_WRITE)?;
        }
        Ok(space)
    }
}
