//! One kernel instance: its state, and the entry that every trap takes.

use crate::fault::Fault;
use crate::objects::{AsidPool, DomainSchedule, IoPorts, IrqTable, Tcb, ThreadState};
use crate::scheduler::Scheduler;
use crate::{KernelObject, Link, Machine, PhysAddr, Ref, Slot};
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
    pub(crate) irqs: IrqTable,
    /// Port ranges that were issued.
    pub(crate) io_ports: IoPorts,
    /// When each domain has its turn.
    pub(crate) domains: DomainSchedule,
    /// Counts capabilities to page-table roots that were deleted, from 1: roots that threads remember
    /// from an earlier epoch are to be looked up anew.
    pub(crate) space_epoch: u64,
}

impl<M: Machine> Kernel<M> {
    /// An instance with nothing in it. `irq_slots` is memory for one zeroed [`Slot`] per interrupt
    /// vector ([`crate::objects::IRQ_VECTORS`]), never given out.
    pub fn new(machine: M, core: u32, irq_slots: PhysAddr) -> Self {
        let scheduler = Scheduler::new(
            machine.now(),
            machine.ticks_per_microsecond(),
            machine.timer_precision(),
        );
        Self {
            machine,
            core,
            work: 0,
            scheduler,
            asid_pools: [Link::NONE; ASID_POOL_COUNT],
            irq_slots: Ref::at(irq_slots),
            irqs: IrqTable::default(),
            io_ports: IoPorts::new(),
            domains: DomainSchedule::new(),
            space_epoch: 1,
        }
    }

    /// Handles the event that the kernel was entered for and decides what the core does next. The
    /// next thread's address space is active and the timer is set when it returns; the caller
    /// loads the registers and the FPU.
    pub fn handle(&mut self, event: Event) -> Next {
        match event {
            Event::Syscall(number) => self.any_syscall(number),
            Event::PageFault { address, error_code } => self.page_fault(address, error_code),
            Event::Exception { vector, error_code } => {
                self.user_fault(Fault::UserException { vector, error_code })
            }
            Event::Interrupt(vector) => self.interrupt(vector),
            Event::Timer => self.timer(),
        }
    }

    fn any_syscall(&mut self, number: i64) -> Next {
        match self.fast_message(number) {
            Some(thread) => Next::Thread(thread),
            None => self.fast_signal(number).unwrap_or_else(|| self.syscall(number)),
        }
    }

    /// As [`Kernel::handle`], for a system call that cannot go a short way.
    #[inline]
    pub fn syscall(&mut self, number: i64) -> Next {
        let Some(thread) = self.current_thread() else { return Next::Idle };
        self.update_time();
        self.handle_syscall(thread, number);
        self.leave()
    }

    /// As [`Kernel::handle`], for a page fault.
    #[inline]
    pub fn page_fault(&mut self, address: u64, error_code: u64) -> Next {
        let fault = Fault::Vm { address, error_code };
        match self.fast_page_fault(fault) {
            Some(handler) => Next::Thread(handler),
            None => self.user_fault(fault),
        }
    }

    /// As [`Kernel::handle`], for an interrupt.
    #[inline]
    pub fn interrupt(&mut self, vector: u8) -> Next {
        self.update_time();
        self.check_budget();
        self.handle_interrupt(vector);
        self.leave()
    }

    fn timer(&mut self) -> Next {
        self.update_time();
        self.scheduler.reprogram = true;
        self.check_budget();
        self.leave()
    }

    /// What the core does first, after boot.
    pub fn start(&mut self) -> Next {
        self.scheduler.now = self.machine.now();
        self.scheduler.consumed = 0;
        self.leave()
    }

    /// A thread's name, for panics and debug output: UTF-8 by convention only, without padding.
    pub fn thread_name(&self, thread: Ref<Tcb>) -> &[u8] {
        let name = &self.get(thread).name;
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        &name[..length]
    }

    /// Chooses who runs and brings it to where it goes on in user mode.
    #[inline]
    pub(crate) fn leave(&mut self) -> Next {
        match self.unchanged() {
            Some(thread) => Next::Thread(thread),
            None => self.leave_changed(),
        }
    }

    fn leave_changed(&mut self) -> Next {
        self.schedule();
        let Some(thread) = self.scheduler.current.get() else { return Next::Idle };
        let tcb = self.get_mut(thread);
        tcb.resume();
        if !tcb.yield_to.is_none() {
            self.complete_yield(thread);
        }
        Next::Thread(thread)
    }

    /// A fault of the running thread, if it still has budget to have one; else it does the same
    /// again when it has.
    #[inline(never)]
    fn user_fault(&mut self, fault: Fault) -> Next {
        self.update_time();
        if let (true, Some(thread)) = (self.check_budget_or_restart(), self.current_thread()) {
            self.raise_fault(thread, fault);
        }
        self.leave()
    }

    /// Like `check_budget`, but a thread whose budget has run out repeats what it entered the
    /// kernel for.
    pub(crate) fn check_budget_or_restart(&mut self) -> bool {
        if self.check_budget() {
            return true;
        }
        if let Some(thread) = self.current_thread() {
            let tcb = self.get_mut(thread);
            if tcb.state == ThreadState::RUNNING {
                tcb.state = ThreadState::RESTART;
            }
        }
        false
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
