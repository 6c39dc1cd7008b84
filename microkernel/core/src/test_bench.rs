//! A kernel on the simulated machine with one thread that invokes capabilities: for the tests of
//! memory and devices.

use crate::cap::{Asid, Cap};
use crate::delete::Preempted;
use crate::error::SyscallError;
use crate::invocation::{Answer, Invocation};
use crate::kernel::Kernel;
use crate::memory::{Link, PhysAddr, Ref};
use crate::objects::{AsidPool, PageTable, Tcb, TcbSlot};
use crate::simulation::{RAM_BASE, SimulatedMachine};
use crate::slot::Slot;
use d3os_abi::{CapRights, FrameSize, Label};

const PAGE: u64 = 4096;
const CNODE_RADIX: u8 = 10;

/// The kernel, its thread, and what was used of its memory.
pub(crate) struct Bench {
    pub(crate) kernel: Kernel<SimulatedMachine>,
    thread: Ref<Tcb>,
    ipc_buffer: PhysAddr,
    cnode: Ref<Slot>,
    next_page: u64,
    next_slot: u64,
    next_asid: u16,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let kernel = Kernel::new(SimulatedMachine::new(1024), 0, PhysAddr(RAM_BASE));
        let mut bench = Self {
            kernel,
            thread: Ref::at(PhysAddr(0)),
            ipc_buffer: PhysAddr(0),
            cnode: Ref::at(PhysAddr(0)),
            next_page: 1,
            next_slot: 1,
            next_asid: 1,
        };
        bench.thread = Ref::at(bench.page());
        bench.ipc_buffer = bench.page();
        bench.cnode = Ref::at(bench.pages(8));
        let (thread, buffer) = (bench.thread, bench.ipc_buffer);
        bench.kernel.init_thread(thread);
        let (size, rights) = (FrameSize::Small, CapRights::READ_WRITE);
        let frame = Cap::Frame { base: buffer, size, rights, device: false, mapping: None };
        let slot = thread.cast::<Slot>().index(TcbSlot::IpcBuffer as u64);
        bench.kernel.insert_root(slot, frame);
        let tcb = bench.kernel.get_mut(thread);
        tcb.ipc_buffer = buffer;
        tcb.ipc_buffer_writable = 1;
        bench
    }

    /// A zeroed page that nobody uses.
    pub(crate) fn page(&mut self) -> PhysAddr {
        self.pages(1)
    }

    fn pages(&mut self, count: u64) -> PhysAddr {
        let page = PhysAddr(RAM_BASE + self.next_page * PAGE);
        self.next_page += count;
        page
    }

    /// The slot at `index` of the thread's CNode.
    pub(crate) fn slot(&self, index: u64) -> Ref<Slot> {
        self.cnode.index(index)
    }

    /// Index of an empty slot.
    pub(crate) fn empty(&mut self) -> u64 {
        self.next_slot += 1;
        self.next_slot - 1
    }

    /// Puts `cap` into an empty slot.
    pub(crate) fn root_cap(&mut self, cap: Cap) -> Ref<Slot> {
        let index = self.empty();
        let slot = self.slot(index);
        self.kernel.insert_root(slot, cap);
        slot
    }

    /// A copy of the capability in `source`, as `CNode_Copy` makes it.
    pub(crate) fn copy(&mut self, source: Ref<Slot>) -> Ref<Slot> {
        let index = self.empty();
        let slot = self.slot(index);
        let cap = self.kernel.derive_cap(source, self.kernel.cap_at(source)).unwrap();
        self.kernel.insert_derived(slot, cap, source);
        slot
    }

    /// A capability to the thread's CNode, addressed by plain indices of 64 bits.
    pub(crate) fn cnode_cap(&mut self) -> Ref<Slot> {
        let (object, radix) = (self.cnode, CNODE_RADIX);
        self.root_cap(Cap::CNode { object, radix, guard_size: 64 - radix, guard: 0 })
    }

    /// Pool 0, empty.
    pub(crate) fn asid_pool(&mut self) -> Ref<Slot> {
        let object: Ref<AsidPool> = Ref::at(self.page());
        self.kernel.asid_pools[0] = Link::to(object);
        self.root_cap(Cap::AsidPool { object, base: Asid(0) })
    }

    /// A page-table root with an identifier of pool 0, which exists.
    pub(crate) fn address_space(&mut self) -> (Ref<PageTable>, Ref<Slot>) {
        let root = Ref::at(self.page());
        let asid = self.next_asid;
        self.next_asid += 1;
        let pool = self.kernel.asid_pools[0].get().unwrap();
        self.kernel.get_mut(pool).roots[usize::from(asid)] = Link::to(root);
        (root, self.root_cap(Cap::VSpace { root, asid: Some(Asid(asid)) }))
    }

    /// Invokes the capability in `slot`; answers the reply's word, or 0.
    pub(crate) fn invoke(
        &mut self,
        slot: Ref<Slot>,
        label: Label,
        words: &[u64],
        caps: &[Ref<Slot>],
    ) -> Result<u64, SyscallError> {
        self.invoke_number(slot, label.number(), words, caps)
    }

    /// Like [`Self::invoke`], with any label.
    pub(crate) fn invoke_number(
        &mut self,
        slot: Ref<Slot>,
        label: u64,
        words: &[u64],
        caps: &[Ref<Slot>],
    ) -> Result<u64, SyscallError> {
        self.set_message(words);
        let invocation = Invocation {
            label,
            length: words.len(),
            slot,
            extra: std::array::from_fn(|index| caps.get(index).copied().into()),
            thread: self.thread,
        };
        match self.kernel.perform(self.kernel.get(slot).raw.tag(), &invocation)? {
            Ok(Answer::Word(word)) => Ok(word),
            Ok(_) => Ok(0),
            Err(Preempted) => panic!("nothing here can be preempted"),
        }
    }

    fn set_message(&mut self, words: &[u64]) {
        let word = |index: usize| words.get(index).copied().unwrap_or(0);
        let context = &mut self.kernel.get_mut(self.thread).context;
        (context.r10, context.r8) = (word(0), word(1));
        (context.r9, context.r15) = (word(2), word(3));
        let buffer: Ref<PageTable> = Ref::at(self.ipc_buffer);
        for (index, word) in words.iter().enumerate().skip(4) {
            self.kernel.get_mut(buffer).entries[1 + index] = *word;
        }
    }
}
