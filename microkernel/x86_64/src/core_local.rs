//! What belongs to one core: what its entry code needs at once, its descriptor tables, and its
//! kernel instance. GS points at it while the kernel runs; it is the kernel's only global.

use crate::command_line::Options;
use crate::hardware::Hardware;
use crate::instructions::{read_msr, write_msr};
use crate::layout;
use crate::processor::{self, msr};
use crate::segments::{self, Gates, InterruptStack, KERNEL_DATA, Segments, TaskState};
use crate::symbols::SymbolTable;
use crate::trap::Entries;
use core::arch::asm;
use core::cell::UnsafeCell;
use core::mem::{MaybeUninit, offset_of};
use core::ops::Range;
use core::ptr::{self, addr_of_mut};
use kernel_core::{Kernel, PhysAddr};
use kernel_core::objects::Context;

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
    pub(crate) task: TaskState,
    segments: Segments,
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
    /// Whether `kernel` holds an instance.
    pub(crate) running: bool,
    /// Whether the kernel has a page table of its own.
    pub(crate) separate: bool,
    /// Options of the command line.
    pub(crate) options: Options,
    /// Names of the kernel's functions.
    pub(crate) symbols: Option<SymbolTable<'static>>,
    /// The kernel instance.
    pub(crate) kernel: MaybeUninit<Kernel<Hardware>>,
}

const _: () = assert!(offset_of!(Core, window) == 0);

/// A core's memory.
#[repr(C)]
struct Block {
    stacks: InterruptStacks,
    core: Core,
}

/// A static whose contents are reached through raw pointers only.
struct Place<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: what is in it is used by one core only, the one that `install` ran on.
unsafe impl<T> Sync for Place<T> {}

static BOOT_CORE: Place<Block> = Place(UnsafeCell::new(MaybeUninit::uninit()));

/// Sets up the boot core: its structure, GS, descriptor tables, entries for every trap.
///
/// # Safety
/// Called once, first of all, on the boot core.
pub(crate) unsafe fn install() -> &'static mut Core {
    let block: *mut Block = BOOT_CORE.0.get().cast();
    // SAFETY: only the field's address is taken, inside the static.
    let core = unsafe { addr_of_mut!((*block).core) };
    // SAFETY: the static is large enough and nobody else has a reference yet.
    unsafe { write_core(core) };
    // SAFETY: just written, and only this core's code reaches it.
    let this = unsafe { &mut *core };
    let (segments, gates) = (&raw const this.window.segments, &raw const this.window.gates);
    // SAFETY: the tables lie in a static; every gate leads to `trap`'s entries.
    unsafe { segments::load(segments, gates) };
    // SAFETY: GS is the kernel's; loading its selector just zeroed it.
    unsafe { write_msr(msr::GS_BASE, core.addr() as u64) };
    // SAFETY: user mode starts with GS base zero.
    unsafe { write_msr(msr::USER_GS_BASE, 0) };
    this
}

/// # Safety
/// `core` may be written.
unsafe fn write_core(core: *mut Core) {
    let address = core.addr() as u64;
    let task = TaskState::new(|stack| address - Window::above_stack(stack) as u64);
    let window = Window {
        this: core,
        stack: layout::stack().end,
        context: ptr::null_mut(),
        scratch: 0,
        kernel_root: 0,
        user_root: 0,
        nmis: 0,
        data_selector: KERNEL_DATA,
        task,
        segments: Segments::new(address + offset_of!(Window, task) as u64),
        gates: Gates::new(&Entries::of(false)),
    };
    let value = Core {
        window,
        running: false,
        separate: false,
        options: Options::default(),
        symbols: None,
        kernel: MaybeUninit::uninit(),
    };
    // SAFETY: the caller vouches for the place.
    unsafe { core.write(value) };
}

impl Core {
    /// The core that this runs on, or null before [`install`].
    pub(crate) fn current() -> *const Self {
        // SAFETY: every processor with long mode has the register.
        unsafe { read_msr(msr::GS_BASE) as *const Self }
    }

    /// Lets user mode enter by the variant for a page table of the kernel's own, at this root, or for a
    /// shared one.
    ///
    /// # Safety
    /// The root is the kernel's, and user address spaces show what the variant needs.
    pub(crate) unsafe fn choose_entries(&mut self, kernel_root: Option<PhysAddr>) {
        self.separate = kernel_root.is_some();
        self.window.kernel_root = kernel_root.unwrap_or_default().0;
        let entries = Entries::of(self.separate);
        self.window.gates = Gates::new(&entries);
        // SAFETY: the entry and the selectors are this kernel's.
        unsafe { processor::set_syscall_entry(entries.syscall, segments::STAR) };
    }

    /// What user address spaces show where the kernel has a page table of its own: the window and the
    /// interrupt stacks.
    pub(crate) fn window_range(&self) -> Range<u64> {
        let start = (&raw const self.window).addr() as u64;
        start - size_of::<InterruptStacks>() as u64..start + size_of::<Window>() as u64
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
