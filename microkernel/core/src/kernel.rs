//! One kernel instance: its state, and the entry that every trap takes.

use crate::machine::Machine;
use crate::memory::{KernelObject, Link, PhysAddr, Ref};
use crate::objects::{AsidPool, IoPorts, Tcb};
use crate::scheduler::Scheduler;
use crate::slot::Slot;
use d3os_abi::ASID_POOL_COUNT;

/// Why the kernel was entered; the interrupted thread's registers are already in its TCB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SYSCALL, with the number in RDX.
    Syscall(i64),
    /// A page fault of the current thread.
    PageFault {
        /// CR2.
        address: u64,
        /// The processor's error code (bit 4: instruction fetch).
        error_code: u64,
    },
    /// Another exception of the current thread.
    Exception {
        /// Exception vector.
        vector: u8,
        /// Error code, or zero.
        error_code: u64,
    },
    /// User interrupt vector (0 to 107).
    Interrupt(u8),
    /// The deadline has passed.
    Timer,
}

/// What the core does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Return to this thread.
    Thread(Ref<Tcb>),
    /// Halt until an interrupt.
    Idle,
}

/// The state of one kernel instance.
pub struct Kernel<M> {
    /// The hardware.
    pub machine: M,
    /// Number of this instance.
    pub(crate) core: u32,
    /// Units of work since the last question whether an interrupt waits.
    pub(crate) work: u32,
    /// Who runs, who is ready, who waits for budget.
    pub(crate) scheduler: Scheduler,
    /// ASID pools in use.
    pub(crate) asid_pools: [Link<AsidPool>; ASID_POOL_COUNT],
    /// Slots that hold the notification capability of each user interrupt vector.
    pub(crate) irq_slots: Ref<Slot>,
    /// Interrupt vectors in use.
    pub(crate) irqs: crate::objects::IrqTable,
    /// Port ranges that were issued.
    pub(crate) io_ports: IoPorts,
}

impl<M: Machine> Kernel<M> {
    /// An instance with nothing in it. `irq_slots` is memory for one zeroed [`Slot`] per user
    /// interrupt vector (108), never given out.
    pub fn new(machine: M, core: u32, irq_slots: PhysAddr) -> Self {
        let scheduler = Scheduler::new(machine.now());
        Self {
            machine,
            core,
            work: 0,
            scheduler,
            asid_pools: [Link::NONE; ASID_POOL_COUNT],
            irq_slots: Ref::at(irq_slots),
            irqs: crate::objects::IrqTable::new(),
            io_ports: IoPorts::new(),
        }
    }

    /// The kernel object at `r`.
    pub(crate) fn get<T: KernelObject>(&self, r: Ref<T>) -> &T {
        self.machine.object(r)
    }

    /// The kernel object at `r`, to change it.
    pub(crate) fn get_mut<T: KernelObject>(&mut self, r: Ref<T>) -> &mut T {
        self.machine.object_mut(r)
    }
}
