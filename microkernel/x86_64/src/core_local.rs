//! What belongs to one core: what its entry code needs at once, its descriptor tables, and its
//! kernel instance. GS points at it while the kernel runs; it is the kernel's only global.

use crate::address_space::{AddressSpace, SHOWN_TABLES, show_window};
use crate::hardware::Hardware;
use crate::instructions::{read_msr, write_msr};
use crate::irq_lines::VECTORS;
use crate::layout;
use crate::processor::{self, msr};
use crate::segments::{self, Gates, InterruptStack, KERNEL_DATA};
use crate::trap::Entries;
use crate::window::Table;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::{MaybeUninit, offset_of};
use core::ops::Range;
use kernel_core::objects::Context;
use kernel_core::{Kernel, PhysAddr, Slot};
use x86_64::VirtAddr;
use x86_64::structures::gdt::GlobalDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

const INTERRUPT_STACK: usize = 8192;

/// What the entry code needs before it can rely on anything else: of a kernel with a page table of its
/// own, user space shows this. So there is nothing in it that a user must not see. Entry code reaches
/// the first fields by their offsets from GS.
#[repr(C, align(4096))]
pub(crate) struct Window {
    /// The core that it belongs to.
    pub(crate) this: *mut Core,
    /// Where the kernel's stack begins.
    pub(crate) stack: u64,
    /// Registers of the thread that runs or ran last.
    pub(crate) context: *mut Context,
    /// For entry code to keep a register in.
    pub(crate) scratch: u64,
    /// The page-table root that entries load, where the kernel has its own.
    pub(crate) kernel_root: u64,
    /// The one that exits load then.
    pub(crate) user_root: u64,
    /// Non-maskable interrupts so far.
    pub(crate) nmis: u64,
    /// VERW's operand.
    pub(crate) data_selector: u16,
    pub(crate) task: TaskStateSegment,
    descriptors: GlobalDescriptorTable,
    gates: Gates,
}

/// Stacks of the entries that cannot rely on the current one: below the window, and shown with it.
#[repr(C, align(4096))]
struct InterruptStacks([[u8; INTERRUPT_STACK]; InterruptStack::COUNT]);

impl Window {
    /// Lets exits load a page-table root.
    ///
    /// # Safety
    /// The root shows what user space is to show of the kernel; GS is the kernel's.
    #[inline(always)]
    pub(crate) unsafe fn set_user_root(root: PhysAddr) {
        const PLACE: usize = offset_of!(Window, user_root);
        // SAFETY: GS points at the core's window; nothing else refers to the field.
        unsafe { asm!("mov gs:[{}], {}", const PLACE, in(reg) root.0, options(nostack)) };
    }

    /// Lets the processor push the frames of entries from user mode below `end`.
    #[inline(always)]
    pub(crate) fn set_entry_stack(&mut self, end: u64) {
        // SAFETY: the kernel's addresses are canonical.
        self.task.privilege_stack_table[0] = unsafe { VirtAddr::new_unsafe(end) };
    }

    /// How far below the window the top of an interrupt stack is.
    pub(crate) const fn above_stack(stack: InterruptStack) -> usize {
        (InterruptStack::COUNT - stack as usize) * INTERRUPT_STACK
    }
}

/// One core's state.
#[repr(C)]
pub(crate) struct Core {
    /// What entry code needs.
    pub(crate) window: Window,
    /// Number of this core.
    pub(crate) number: u32,
    /// Whether `kernel` holds an instance.
    pub(crate) running: bool,
    /// Whether the kernel has a page table of its own.
    pub(crate) separate: bool,
    /// The kernel instance.
    pub(crate) kernel: MaybeUninit<Kernel<Hardware>>,
    irq_slots: IrqSlots,
    /// What user space shows of the kernel, where that has a page table of its own.
    shown: ShownTables,
}

const _: () = assert!(offset_of!(Core, window) == 0);

/// Slots for the notification of every interrupt vector: memory of the kernel instance, which
/// reaches it by its physical address.
#[repr(C, align(32))]
struct IrqSlots([[u8; size_of::<Slot>()]; VECTORS]);

/// A core's memory.
#[repr(C)]
pub(crate) struct Block {
    stacks: InterruptStacks,
    core: Core,
}

#[repr(C, align(4096))]
struct ShownTables([Table; SHOWN_TABLES]);

/// What the kernel keeps for a core other than the boot core, at the start of its private RAM. The
/// first two are the boot core's to write before it starts the core.
#[repr(C, align(4096))]
pub(crate) struct OtherCore {
    /// The page table that shows the stack.
    pub(crate) stack_table: Table,
    pub(crate) stack: [u8; layout::STACK_LENGTH],
    pub(crate) block: Block,
}

/// A static whose contents are reached through raw pointers only.
struct Place<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: what is in it is used by the boot core only.
unsafe impl<T> Sync for Place<T> {}

static BOOT_CORE: Place<Block> = Place(UnsafeCell::new(MaybeUninit::uninit()));

/// The boot core's memory.
pub(crate) fn boot_block() -> *mut Block {
    BOOT_CORE.0.get().cast()
}

/// Sets up a core: its structure, GS, descriptor tables, entries for every trap. `stack` is where its
/// kernel stack begins.
///
/// # Safety
/// Called first of all, on the core that the block belongs to, and once after it has started.
pub(crate) unsafe fn install(block: *mut Block, number: u32, stack: u64) -> &'static mut Core {
    // SAFETY: the caller vouches for the block: nobody else has a reference into it.
    unsafe { block.write_bytes(0, 1) };
    // SAFETY: zeroes are a value of it, and only this core's code reaches it.
    let core = unsafe { &mut (*block).core };
    core.number = number;
    let this = &raw mut *core;
    let (address, window) = (this.addr() as u64, &mut core.window);
    (window.this, window.stack, window.data_selector) = (this, stack, KERNEL_DATA);
    window.task = segments::task_state(|stack| address - Window::above_stack(stack) as u64);
    // SAFETY: the task state is part of the core's block, which stays where it is.
    window.descriptors = unsafe { segments::descriptors(&raw const window.task) };
    window.gates = Gates::new(&Entries::of(false));
    // SAFETY: so do the tables; every gate leads to `trap`'s entries.
    unsafe { segments::load(&window.descriptors, &window.gates) };
    // SAFETY: GS is the kernel's; loading its selector just zeroed it.
    unsafe { write_msr(msr::GS_BASE, address) };
    // SAFETY: user mode starts with GS base zero.
    unsafe { write_msr(msr::USER_GS_BASE, 0) };
    core
}

impl Core {
    /// The core that this runs on, or null before [`install`].
    pub(crate) fn current() -> *const Self {
        // SAFETY: every processor with long mode has the register.
        unsafe { read_msr(msr::GS_BASE) as *const Self }
    }

    /// Its kernel stack.
    pub(crate) fn stack_range(&self) -> Range<u64> {
        self.window.stack - layout::STACK_BYTES..self.window.stack
    }

    /// Lets user mode enter by the variant for a page table of the kernel's own, or for a shared one.
    /// Returns the root that user address spaces share the upper half of.
    ///
    /// # Safety
    /// The address space is the kernel's, and active.
    pub(crate) unsafe fn choose_entries(
        &mut self,
        separate: bool,
        space: &AddressSpace,
    ) -> PhysAddr {
        self.separate = separate;
        self.window.kernel_root = space.root.0;
        let entries = Entries::of(separate);
        self.window.gates = Gates::new(&entries);
        // SAFETY: the entry is this kernel's, as are the segments.
        unsafe { processor::set_syscall_entry(entries.syscall) };
        if !separate {
            return space.root;
        }
        let window = self.window_range();
        show_window(&mut self.shown.0, window, space.flags)
    }

    /// What user address spaces show where the kernel has a page table of its own: the window and the
    /// interrupt stacks.
    fn window_range(&self) -> Range<u64> {
        let start = (&raw const self.window).addr() as u64;
        start - size_of::<InterruptStacks>() as u64..start + size_of::<Window>() as u64
    }

    /// Slots for its interrupts.
    pub(crate) fn irq_slots(&self) -> PhysAddr {
        PhysAddr(layout::physical((&raw const self.irq_slots).addr() as u64))
    }

    /// The kernel instance.
    ///
    /// # Safety
    /// It has been put there: `running` is set.
    #[inline]
    pub(crate) unsafe fn kernel(&mut self) -> &mut Kernel<Hardware> {
        // SAFETY: the caller's promise.
        unsafe { self.kernel.assume_init_mut() }
    }
}
