//! What a test makes its objects of: memory, slots and addresses that are taken back after it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::any::Any;
use libd3os::abi::{
    BootInfo, CapRights, FrameSize, ObjectType, UntypedDescriptor, VmAttributes, slot,
};
use libd3os::cap::{
    AsidControl, AsidPool, CNode, Capability, DomainSet, Endpoint, Error, Frame, IoPort,
    IoPortControl, IrqControl, LookupFailure, Notification, PageDirectory, PageTable, Pdpt, Reply,
    SchedControl, Slot, SlotRun, Tcb, Untyped, VSpace,
};
use libd3os::sys::Cptr;

use crate::check::Failure;
use crate::console::Console;

/// The root task's own capabilities.
pub(crate) const CNODE: CNode = CNode::new(Cptr::new(slot::CNODE));
pub(crate) const TCB: Tcb = Tcb::new(Cptr::new(slot::TCB));
pub(crate) const VSPACE: VSpace = VSpace::new(Cptr::new(slot::VSPACE));
pub(crate) const ASID_CONTROL: AsidControl = AsidControl::new(Cptr::new(slot::ASID_CONTROL));
pub(crate) const ASID_POOL: AsidPool = AsidPool::new(Cptr::new(slot::ASID_POOL));
pub(crate) const IRQ_CONTROL: IrqControl = IrqControl::new(Cptr::new(slot::IRQ_CONTROL));
pub(crate) const IO_PORT_CONTROL: IoPortControl =
    IoPortControl::new(Cptr::new(slot::IO_PORT_CONTROL));
pub(crate) const DOMAIN: DomainSet = DomainSet::new(Cptr::new(slot::DOMAIN));
/// Bits of an address in the root task's capability space.
pub(crate) const DEPTH: u8 = 64;

/// log2 of the memory that a test gets.
const ARENA_BITS: u8 = 24;
/// Addresses that nothing of the image is near to.
const WINDOW: u64 = 0x2000_0000_0000;

/// Memory, slots and addresses for one test after the other.
pub(crate) struct Arena {
    boot: &'static BootInfo,
    domains: u8,
    memory: Untyped,
    serial: IoPort,
    first_slot: u64,
    next_slot: u64,
    next_address: u64,
    kept: Vec<Box<dyn Any>>,
    notes: Vec<String>,
}

/// The slot of the root task's CNode that holds the capability at `cptr`.
pub(crate) fn slot_of(cptr: Cptr) -> Slot {
    CNODE.slot(cptr.address(), DEPTH)
}

impl Arena {
    /// Takes over what the root task has, but for the console and the slots that it took.
    pub(crate) fn new(boot: &'static BootInfo, console: Console, domains: u8) -> Self {
        let memory = smallest_ram(boot, ARENA_BITS).expect("16 MiB of RAM in one piece");
        let first_slot = boot.empty.start + Console::SLOTS;
        Self {
            boot,
            domains,
            memory,
            serial: console.serial(),
            first_slot,
            next_slot: first_slot,
            next_address: WINDOW,
            kept: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn boot(&self) -> &'static BootInfo {
        self.boot
    }

    /// Scheduling domains of this kernel.
    pub(crate) fn domains(&self) -> u8 {
        self.domains
    }

    /// The first serial port, which results are printed to between tests.
    pub(crate) fn serial(&self) -> IoPort {
        self.serial
    }

    /// Takes back all that the test has made: objects go with their memory, capabilities that were
    /// made of the root task's own with their slots.
    pub(crate) fn reset(&mut self) -> Result<(), Error> {
        slot_of(self.memory.cptr()).revoke()?;
        for index in self.first_slot..self.next_slot {
            CNODE.slot(index, DEPTH).delete()?;
        }
        self.next_slot = self.first_slot;
        self.next_address = WINDOW;
        self.kept.clear();
        Ok(())
    }

    /// Keeps a value where it is until the test is over and its threads are gone.
    pub(crate) fn keep<T: 'static>(&mut self, value: T) -> *const T {
        let boxed = Box::new(value);
        let address = core::ptr::from_ref(&*boxed);
        self.kept.push(boxed);
        address
    }

    /// Something to be told beside the test's result.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// What was noted since this was last asked.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        core::mem::take(&mut self.notes)
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

    /// The memory that everything of the test is made of.
    pub(crate) fn memory(&self) -> Untyped {
        self.memory
    }

    /// Makes an object.
    pub(crate) fn make(&mut self, kind: ObjectType, size_bits: u8) -> Result<Cptr, Error> {
        let cptr = self.empty_slot();
        let run = SlotRun::within(CNODE, cptr.address());
        self.memory.retype(kind, size_bits, run, 1)?;
        Ok(cptr)
    }

    pub(crate) fn untyped(&mut self, size_bits: u8) -> Result<Untyped, Error> {
        Ok(Untyped::new(self.make(ObjectType::Untyped, size_bits)?))
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

    pub(crate) fn cnode(&mut self, radix: u8) -> Result<CNode, Error> {
        Ok(CNode::new(self.make(ObjectType::CNode, radix)?))
    }

    pub(crate) fn frame(&mut self, size: FrameSize) -> Result<Frame, Error> {
        Ok(Frame::new(self.make(size.object_type(), 0)?))
    }

    /// A copy of a capability with these rights and a badge (0 leaves it).
    pub(crate) fn mint(
        &mut self,
        source: Cptr,
        rights: CapRights,
        badge: u64,
    ) -> Result<Cptr, Error> {
        let copy = self.empty_slot();
        slot_of(copy).mint_from(slot_of(source), rights, badge)?;
        Ok(copy)
    }

    /// A copy of a capability.
    pub(crate) fn copy(&mut self, source: Cptr) -> Result<Cptr, Error> {
        let copy = self.empty_slot();
        slot_of(copy).copy_from(slot_of(source), CapRights::ALL)?;
        Ok(copy)
    }

    pub(crate) fn sched_control(&self) -> SchedControl {
        SchedControl::new(Cptr::new(self.boot.sched_control.start))
    }

    /// `bytes` addresses that are not in use, aligned to a page of this size.
    pub(crate) fn addresses(&mut self, size: FrameSize) -> u64 {
        let start = self.next_address.next_multiple_of(size.bytes());
        self.next_address = start + size.bytes();
        start
    }

    /// Maps a frame in an address space, making the tables that are missing.
    pub(crate) fn map_at(
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
    pub(crate) fn make_table(
        &mut self,
        space: VSpace,
        address: u64,
        bits_left: u64,
    ) -> Result<(), Error> {
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
    pub(crate) fn map(&mut self, frame: Frame, size: FrameSize) -> Result<u64, Error> {
        let address = self.addresses(size);
        self.map_at(VSPACE, frame, address, CapRights::READ_WRITE)?;
        Ok(address)
    }

    /// A new address space.
    pub(crate) fn address_space(&mut self) -> Result<VSpace, Error> {
        let space = VSpace::new(self.make(ObjectType::Pml4, 0)?);
        ASID_POOL.assign(space)?;
        Ok(space)
    }

    /// An address space with everything that the root task's image has, so that a thread in it finds
    /// the same code, statics and heap at the same addresses.
    pub(crate) fn twin_address_space(&mut self) -> Result<VSpace, Failure> {
        let space = self.address_space()?;
        let frames = self.boot.user_image_frames;
        for (index, cptr) in (frames.start..frames.end).enumerate() {
            let copy = Frame::new(self.copy(Cptr::new(cptr))?);
            let address = IMAGE_BASE + 4096 * index as u64;
            self.map_at(space, copy, address, CapRights::READ_WRITE)?;
        }
        Ok(space)
    }
}

/// Where the linker script puts the image; it has no gaps.
pub(crate) const IMAGE_BASE: u64 = 0x40_0000;

/// Descriptions of all untyped memory, with their capabilities.
pub(crate) fn untypeds(
    boot: &'static BootInfo,
) -> impl Iterator<Item = (Untyped, UntypedDescriptor)> {
    let caps = (boot.untyped.start..boot.untyped.end).map(|cptr| Untyped::new(Cptr::new(cptr)));
    caps.zip(boot.untyped_list.iter().copied())
}

/// The smallest RAM of at least 2^`bits` bytes.
pub(crate) fn smallest_ram(boot: &'static BootInfo, bits: u8) -> Option<Untyped> {
    untypeds(boot)
        .filter(|(_, about)| about.is_device == 0 && about.size_bits >= bits)
        .min_by_key(|(_, about)| about.size_bits)
        .map(|(untyped, _)| untyped)
}
