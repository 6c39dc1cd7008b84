//! A kernel on the simulated machine with one thread, its CNode and untyped memory: for the tests
//! of capabilities.

use crate::cap::Cap;
use crate::delete::Preempted;
use crate::error::SyscallError;
use crate::invariants::SlotArray;
use crate::invocation::{Invocation, Outcome};
use crate::kernel::Kernel;
use crate::memory::{PhysAddr, Ref};
use crate::objects::{IRQ_VECTORS, PageTable, Tcb, TcbSlot};
use crate::simulation::{RAM_BASE, SimulatedMachine};
use crate::slot::{Slot, TCB_SLOTS};
use d3os_abi::{CapRights, FrameSize, Label, ObjectType};

/// log2 of the slots of the root CNode.
pub(crate) const ROOT_RADIX: u8 = 6;
/// Slot of the root CNode that holds the capability to itself.
pub(crate) const ROOT: u64 = 1;
/// Slot with the untyped memory.
pub(crate) const UNTYPED: u64 = 2;
/// First slot that is empty at the start.
pub(crate) const FREE: u64 = 3;

const PAGE: u64 = 4096;
const THREAD: PhysAddr = PhysAddr(RAM_BASE + PAGE);
const BUFFER: PhysAddr = PhysAddr(RAM_BASE + 2 * PAGE);
const CNODE: PhysAddr = PhysAddr(RAM_BASE + 3 * PAGE);
/// Pages before the untyped memory; it is aligned to 4 MiB.
const RESERVED_PAGES: u64 = 768;
/// Where the untyped memory begins.
pub(crate) const UNTYPED_BASE: PhysAddr = PhysAddr(RAM_BASE + RESERVED_PAGES * PAGE);

/// The kernel and its thread. Slots are named by their index in the root CNode.
pub(crate) struct World {
    pub(crate) kernel: Kernel<SimulatedMachine>,
    pub(crate) thread: Ref<Tcb>,
}

impl World {
    /// A world with an untyped of 2^`untyped_bits` bytes of memory that is full of ones.
    pub(crate) fn new(untyped_bits: u8) -> Self {
        let pages = RESERVED_PAGES + (1 << untyped_bits).max(PAGE) / PAGE;
        let machine = SimulatedMachine::new(usize::try_from(pages).unwrap());
        let mut world =
            Self { kernel: Kernel::new(machine, 0, PhysAddr(RAM_BASE)), thread: Ref::at(THREAD) };
        world.kernel.insert_root(world.slot(ROOT), root_cnode());
        world.start_thread();
        let cap =
            Cap::Untyped { base: UNTYPED_BASE, size_bits: untyped_bits, device: false, free: 0 };
        world.kernel.insert_root(world.slot(UNTYPED), cap);
        for page in 0..(1u64 << untyped_bits) / PAGE {
            let table: Ref<PageTable> = Ref::at(UNTYPED_BASE.offset(page * PAGE));
            world.kernel.get_mut(table).entries = [u64::MAX; 512];
        }
        world
    }

    fn start_thread(&mut self) {
        self.kernel.init_thread(self.thread);
        let tcb = self.kernel.get_mut(self.thread);
        tcb.ipc_buffer = BUFFER;
        tcb.ipc_buffer_writable = 1;
        self.kernel.insert_derived(self.cspace_slot(), root_cnode(), self.slot(ROOT));
        let rights = CapRights::READ_WRITE;
        let (base, size) = (BUFFER, FrameSize::Small);
        let frame = Cap::Frame { base, size, rights, device: false, mapping: None };
        self.kernel.insert_root(self.buffer_slot(), frame);
    }

    /// The thread's slot with its capability space: a copy of the one in [`ROOT`].
    pub(crate) fn cspace_slot(&self) -> Ref<Slot> {
        self.thread.cast::<Slot>().index(TcbSlot::CSpace as u64)
    }

    /// The thread's slot with the frame of its buffer.
    pub(crate) fn buffer_slot(&self) -> Ref<Slot> {
        self.thread.cast::<Slot>().index(TcbSlot::IpcBuffer as u64)
    }

    /// A slot of the root CNode.
    pub(crate) fn slot(&self, index: u64) -> Ref<Slot> {
        assert!(index < 1 << ROOT_RADIX);
        Ref::at(CNODE).index(index)
    }

    /// What it holds.
    pub(crate) fn cap(&self, index: u64) -> Cap {
        self.kernel.cap_at(self.slot(index))
    }

    /// Slots that exist without a capability to them.
    pub(crate) fn roots() -> [SlotArray; 3] {
        [
            SlotArray { first: Ref::at(PhysAddr(RAM_BASE)), count: IRQ_VECTORS as u64 },
            SlotArray { first: Ref::at(THREAD), count: TCB_SLOTS },
            SlotArray { first: Ref::at(CNODE), count: 1 << ROOT_RADIX },
        ]
    }

    pub(crate) fn check(&self) {
        self.kernel.check_invariants(&Self::roots());
    }

    /// Invokes the capability in `slot`.
    pub(crate) fn invoke(
        &mut self,
        slot: Ref<Slot>,
        label: Label,
        words: &[u64],
        caps: &[Ref<Slot>],
    ) -> Result<Outcome, SyscallError> {
        let inv = self.message(slot, label, words, caps);
        self.kernel.perform(self.kernel.invoked(&inv).tag(), &inv)
    }

    /// Lays a message in the thread's registers and buffer.
    pub(crate) fn message(
        &mut self,
        slot: Ref<Slot>,
        label: Label,
        words: &[u64],
        caps: &[Ref<Slot>],
    ) -> Invocation {
        let word = |index: usize| words.get(index).copied().unwrap_or(0);
        let context = &mut self.kernel.get_mut(self.thread).context;
        (context.r10, context.r8, context.r9, context.r15) = (word(0), word(1), word(2), word(3));
        let buffer: Ref<PageTable> = Ref::at(BUFFER);
        for (index, word) in words.iter().enumerate().skip(4) {
            self.kernel.get_mut(buffer).entries[1 + index] = *word;
        }
        Invocation {
            label: label.number(),
            length: words.len(),
            slot,
            extra: std::array::from_fn(|index| caps.get(index).copied().into()),
            thread: self.thread,
        }
    }

    /// Invokes the root CNode, until it is not preempted any more.
    pub(crate) fn root(
        &mut self,
        label: Label,
        words: &[u64],
        caps: &[Ref<Slot>],
    ) -> Result<(), SyscallError> {
        while self.invoke(self.slot(ROOT), label, words, caps)? == Err(Preempted) {
            self.check();
        }
        Ok(())
    }

    pub(crate) fn copy(&mut self, source: u64, dest: u64) -> Result<(), SyscallError> {
        self.copy_with(source, dest, CapRights::ALL)
    }

    pub(crate) fn copy_with(
        &mut self,
        source: u64,
        dest: u64,
        rights: CapRights,
    ) -> Result<(), SyscallError> {
        self.root(Label::CNodeCopy, &[dest, 64, source, 64, rights.word()], &[self.slot(ROOT)])
    }

    pub(crate) fn mint(&mut self, source: u64, dest: u64, data: u64) -> Result<(), SyscallError> {
        let words = [dest, 64, source, 64, CapRights::ALL.word(), data];
        self.root(Label::CNodeMint, &words, &[self.slot(ROOT)])
    }

    pub(crate) fn move_to(&mut self, source: u64, dest: u64) -> Result<(), SyscallError> {
        self.root(Label::CNodeMove, &[dest, 64, source, 64], &[self.slot(ROOT)])
    }

    pub(crate) fn mutate(&mut self, source: u64, dest: u64, data: u64) -> Result<(), SyscallError> {
        self.root(Label::CNodeMutate, &[dest, 64, source, 64, data], &[self.slot(ROOT)])
    }

    pub(crate) fn delete(&mut self, index: u64) -> Result<(), SyscallError> {
        self.root(Label::CNodeDelete, &[index, 64], &[])
    }

    pub(crate) fn revoke(&mut self, index: u64) -> Result<(), SyscallError> {
        self.root(Label::CNodeRevoke, &[index, 64], &[])
    }

    /// Makes `count` objects from the untyped in `untyped`, into slots from `dest`.
    pub(crate) fn retype(
        &mut self,
        untyped: u64,
        kind: ObjectType,
        size: u64,
        dest: u64,
        count: u64,
    ) -> Result<(), SyscallError> {
        let words = [kind as u64, size, 0, 0, dest, count];
        let (untyped, root) = (self.slot(untyped), self.slot(ROOT));
        while self.invoke(untyped, Label::UntypedRetype, &words, &[root])? == Err(Preempted) {
            self.check();
        }
        Ok(())
    }
}

fn root_cnode() -> Cap {
    let (object, radix) = (Ref::at(CNODE), ROOT_RADIX);
    Cap::CNode { object, radix, guard_size: 64 - radix, guard: 0 }
}
