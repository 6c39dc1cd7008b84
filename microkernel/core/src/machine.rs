//! What the kernel needs from the machine.

use crate::objects::Tcb;
use crate::{KernelObject, PhysAddr, Ref};

/// Time: ticks of the time stamp counter.
pub type Ticks = u64;

/// Width of a port access, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum PortWidth {
    /// 8 bits
    Byte = 1,
    /// 16 bits
    Word = 2,
    /// 32 bits
    Long = 4,
}

/// How an IOAPIC pin signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptTrigger {
    /// Level-triggered, else edge.
    pub level: bool,
    /// Active low, else high.
    pub active_low: bool,
}

/// What becomes of another core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreControl {
    /// It stops at once.
    Stop,
    /// It starts anew.
    Start,
}

/// The hardware of one core, as its kernel instance sees it.
///
/// `object` and `object_mut` trust the kernel's invariant that a [`Ref`] points at memory that was
/// retyped to such an object; everything else may be called in any state.
pub trait Machine {
    /// The kernel object at `r`.
    fn object<T: KernelObject>(&self, r: Ref<T>) -> &T;
    /// The kernel object at `r`, to change it.
    fn object_mut<T: KernelObject>(&mut self, r: Ref<T>) -> &mut T;
    /// Zeroes `bytes` (a multiple of 8) of RAM from `start` (8-aligned).
    fn clear(&mut self, start: PhysAddr, bytes: u64);

    /// Now.
    fn now(&self) -> Ticks;
    /// Ticks in a microsecond.
    fn ticks_per_microsecond(&self) -> Ticks;
    /// Deliver [`crate::Event::Timer`] once `deadline` has passed; replaces the last one.
    fn set_deadline(&mut self, deadline: Ticks);
    /// Ticks that programming the timer and entering the kernel take at most: a deadline nearer
    /// than this counts as reached.
    fn timer_precision(&self) -> Ticks;

    /// The page-table root that is active when user code runs next.
    fn set_address_space(&mut self, root: PhysAddr);
    /// The root that holds the kernel's mappings only, for threads without a VSpace.
    fn kernel_address_space(&self) -> PhysAddr;
    /// Fills the kernel's part (upper half) of a new, zeroed page-table root.
    fn init_address_space(&mut self, root: PhysAddr);
    /// Forgets cached translations of one page, in the address space of `root`.
    fn flush_page(&mut self, root: PhysAddr, vaddr: u64);
    /// Forgets all cached translations of the address space of `root`.
    fn flush_address_space(&mut self, root: PhysAddr);

    /// Whether an interrupt waits that the kernel would take: asked at preemption points.
    fn interrupt_pending(&self) -> bool;
    /// Routes an IOAPIC pin to user vector `vector`, masked.
    fn route_ioapic(&mut self, ioapic: u8, pin: u8, trigger: InterruptTrigger, vector: u8);
    /// Number of IOAPICs, and pins of one.
    fn ioapic_pins(&self, ioapic: u8) -> Option<u8>;
    /// Lets user vector `vector` arrive again (after an acknowledgement, or at first binding).
    fn unmask_interrupt(&mut self, vector: u8);
    /// Keeps user vector `vector` from arriving.
    fn mask_interrupt(&mut self, vector: u8);

    /// Kernel instances in the machine, this one included.
    fn cores(&self) -> u32;
    /// Raises signal line `line` of core `core`, which exists (it may be this one).
    fn send_signal(&mut self, core: u32, line: u8);
    /// Stops another core, whatever it does, or lets one that was stopped start anew, from an empty
    /// instance.
    fn control_core(&mut self, core: u32, control: CoreControl);

    /// Reads a port.
    fn port_in(&mut self, port: u16, width: PortWidth) -> u32;
    /// Writes a port.
    fn port_out(&mut self, port: u16, width: PortWidth, value: u32);

    /// A thread's bases have changed: load them before it runs on.
    fn reload(&mut self, thread: Ref<Tcb>);
    /// `thread` is going away, or its flags have changed: forget its FPU state if it is loaded.
    fn release_fpu(&mut self, thread: Ref<Tcb>);
    /// Brings a thread's FPU registers into its TCB, if they are loaded (before they are copied).
    fn save_fpu(&mut self, thread: Ref<Tcb>);
    /// Prints a byte on the kernel's console (debug calls, panics).
    fn put_char(&mut self, byte: u8);
    /// Stops the machine for good (DebugHalt).
    fn halt(&mut self) -> !;
}
