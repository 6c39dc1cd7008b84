//! What an operation is made of: memory, slots and addresses that are taken back after it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::any::Any;

use libd3os::abi::{BootInfo, CapRights, ObjectType, VmAttributes, slot};
use libd3os::cap::{
    AsidControl, AsidPool, CNode, Capability, Endpoint, Error, Frame, IoPortControl, IrqControl,
    LookupFailure, Notification, PageDirectory, PageTable, Pdpt, Reply, SchedControl, Slot,
    SlotRun, Tcb, Untyped, VSpace,
};
use libd3os::sys::Cptr;

/// The root task's own capabilities.
pub(crate) const CNODE: CNode = CNode::new(Cptr::new(slot::CNODE));
pub(crate) const TCB: Tcb = Tcb::new(Cptr::new(slot::TCB));
pub(crate) const VSPACE: VSpace = VSpace::new(Cptr::new(slot::VSPACE));
pub(crate) const IRQ_CONTROL: IrqControl = IrqControl::new(Cptr::new(slot::IRQ_CONTROL));
pub(crate) const IO_PORT_CONTROL: IoPortControl =
    IoPortControl::new(Cptr::new(slot::IO_PORT_CONTROL));
pub(crate) const ASID_CONTROL: AsidControl = AsidControl::new(Cptr::new(slot::ASID_CONTROL));
pub(crate) const ASID_POOL: AsidPool = AsidPool::new(Cptr::new(slot::ASID_POOL));

/// Bits of an address in the root task's capability space.
const DEPTH: u8 = 64;
/// log2 of the memory for one operation.
const MEMORY_BITS: u8 = 24;
/// Addresses that nothing of the image is near to.
const WINDOW: u64 = 0x2000_0000_0000;
/// Where the linker script puts the image; it has no gaps.
const IMAGE: u64 = 0x40_0000;
const PAGE: u64 = 4096;
/// Objects that one invocation makes at most.
pub(crate) const FAN_OUT: u64 = 256;

/// Memory, slots and addresses for one operation after the other.
pub(crate) struct Workbench {
    boot: &'static BootInfo,
    memory: Untyped,
    next_slot: u64,
    next_address: u64,
    kept: Vec<Box<dyn Any>>,
}

/// The slot of the root task's CNode that holds the capability at `cptr`.
pub(crate) fn slot_of(cptr: Cptr) -> Slot {
    CNODE.slot(cptr.address(), DEPTH)
}

/// The `n`th of capabilities in a row.
pub(crate) fn nth(first: Cptr, n: u64) -> Cptr {
    Cptr::new(first.address() + n)
}

impl Workbench {
    pub(crate) fn new(boot: &'static BootInfo) -> Self {
        let memory = smallest_ram(boot, MEMORY_BITS).expect("16 MiB of RAM in one piece");
        let next_slot = boot.empty.start;
        Self { boot, memory, next_slot, next_address: WINDOW, kept: Vec::new() }
    }

    /// Takes everything back.
    pub(crate) fn clear(&mut self) -> Result<(), Error> {
        slot_of(self.memory.cptr()).revoke()?;
        for index in self.boot.empty.start..self.next_slot {
            CNODE.slot(index, DEPTH).delete()?;
        }
        self.next_slot = self.boot.empty.start;
        self.next_address = WINDOW;
        self.kept.clear();
        Ok(())
    }

    /// Keeps a value where it is until everything is taken back.
    pub(crate) fn keep<T: 'static>(&mut self, value: T) -> *const T {
        let boxed = Box::new(value);
        let address = core::ptr::from_ref(&*boxed);
        self.kept.push(boxed);
        address
    }

    /// An empty slot.
    pub(crate) fn empty_slot(&mut self) -> Cptr {
        self.empty_slots(1)
    }

    /// The first of `count` empty slots.
    pub(crate) fn empty_slots(&mut self, count: u64) -> Cptr {
        self.next_slot += count;
        Cptr::new(self.next_slot - count)
    }

    /// The memory that everything is made of.
    pub(crate) fn memory(&self) -> Untyped {
        self.memory
    }

    /// RAM of at least 2^`bits` bytes; the operation that uses it takes it back.
    pub(crate) fn ram(&self, bits: u8) -> Option<Untyped> {
        smallest_ram(self.boot, bits)
    }

    /// Makes an object.
    pub(crate) fn make(&mut self, kind: ObjectType, size_bits: u8) -> Result<Cptr, Error> {
        self.make_many(kind, size_bits, 1)
    }

    /// Makes objects; the first capability of those in a row.
    pub(crate) fn make_many(
        &mut self,
        kind: ObjectType,
        size_bits: u8,
        count: u64,
    ) -> Result<Cptr, Error> {
        let first = self.empty_slots(count);
        retype_many(self.memory, kind, size_bits, first, count)?;
        Ok(first)
    }

    pub(crate) fn endpoint(&mut self) -> Result<Endpoint, Error> {
        Ok(Endpoint::new(self.make(ObjectType::Endpoint, 0)?))
    }

    pub(crate) fn notification(&mut self) -> Result<Notification, Error> {
        Ok(Notification::new(self.make(ObjectType::Notification, 0)?))
    }

    pub(crate) fn reply(&mut self) -> Result<Reply, Error> {
        Ok(Reply::new(self.make(ObjectType::Reply, 0)?))
    }

    pub(crate) fn frame(&mut self) -> Result<Frame, Error> {
        Ok(Frame::new(self.make(ObjectType::SmallPage, 0)?))
    }

    pub(crate) fn sched_control(&self) -> SchedControl {
        SchedControl::new(Cptr::new(self.boot.sched_control.start))
    }

    /// A page of addresses that nothing lies at.
    pub(crate) fn address(&mut self) -> u64 {
        self.next_address += PAGE;
        self.next_address - PAGE
    }

    /// Maps a frame, making the tables that are missing.
    pub(crate) fn map(&mut self, space: VSpace, frame: Frame, address: u64) -> Result<(), Error> {
        loop {
            match frame.map(space, address, CapRights::READ_WRITE, VmAttributes::WriteBack) {
                Err(Error::FailedLookup {
                    failure: LookupFailure::MissingCapability { bits_left },
                    ..
                }) => self.make_table(space, address, bits_left)?,
                other => return other,
            }
        }
    }

    fn make_table(&mut self, space: VSpace, address: u64, bits_left: u64) -> Result<(), Error> {
        let attributes = VmAttributes::WriteBack;
        match bits_left {
            39 => Pdpt::new(self.make(ObjectType::Pdpt, 0)?).map(space, address, attributes),
            30 => {
                let table = PageDirectory::new(self.make(ObjectType::PageDirectory, 0)?);
                table.map(space, address, attributes)
            }
            _ => {
                PageTable::new(self.make(ObjectType::PageTable, 0)?).map(space, address, attributes)
            }
        }
    }

    /// An address space with the root task's whole image, so that a thread in it finds the same
    /// code, statics and heap at the same addresses.
    pub(crate) fn twin_space(&mut self) -> Result<VSpace, Error> {
        let space = VSpace::new(self.make(ObjectType::Pml4, 0)?);
        ASID_POOL.assign(space)?;
        let frames = self.boot.user_image_frames;
        for (source, page) in (frames.start..frames.end).zip(0..) {
            let copy = self.empty_slot();
            slot_of(copy).copy_from(slot_of(Cptr::new(source)), CapRights::ALL)?;
            self.map(space, Frame::new(copy), IMAGE + PAGE * page)?;
        }
        Ok(space)
    }
}

/// Makes objects of `memory` whose capabilities lie in a row from `first` on.
pub(crate) fn retype_many(
    memory: Untyped,
    kind: ObjectType,
    size_bits: u8,
    first: Cptr,
    count: u64,
) -> Result<(), Error> {
    let mut done = 0;
    while done < count {
        let step = FAN_OUT.min(count - done);
        let run = SlotRun::within(CNODE, nth(first, done).address());
        memory.retype(kind, size_bits, run, step)?;
        done += step;
    }
    Ok(())
}

/// The smallest RAM of at least 2^`bits` bytes in one piece.
fn smallest_ram(boot: &'static BootInfo, bits: u8) -> Option<Untyped> {
    let caps = (boot.untyped.start..boot.untyped.end).map(|cptr| Untyped::new(Cptr::new(cptr)));
    caps.zip(&boot.untyped_list)
        .filter(|(_, about)| about.is_device == 0 && about.size_bits >= bits)
        .min_by_key(|(_, about)| about.size_bits)
        .map(|(untyped, _)| untyped)
}
