//! What belongs to one core: what its entry code needs at once, its descriptor tables, and its
//! kernel instance. GS points at it while the kernel runs; it is the kernel's only global.

use crate::command_line::Options;
use crate::hardware::Hardware;
use crate::instructions::{read_msr, write_msr};
use crate::layout;
use crate::processor::msr;
use crate::segments::{self, Gates, InterruptStack, Segments, TaskState};
use crate::symbols::SymbolTable;
use crate::trap;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{self, addr_of_mut};
use kernel_core::Kernel;
use kernel_core::objects::Context;

const INTERRUPT_STACK: usize = 8192;

/// One core's state. Entry code reads and writes the first fields by their offsets.
#[repr(C)]
pub(crate) struct Core {
    /// This very structure.
    pub(crate) this: *mut Core,
    /// Where the kernel's stack begins.
    pub(crate) stack: u64,
    /// Registers of the thread that runs or ran last.
    pub(crate) context: *mut Context,
    /// For entry code to keep a register in.
    pub(crate) scratch: u64,
    /// Non-maskable interrupts so far.
    pub(crate) nmis: u64,
    /// Whether `kernel` holds an instance.
    pub(crate) running: bool,
    pub(crate) task: TaskState,
    segments: Segments,
    gates: Gates,
    /// Options of the command line.
    pub(crate) options: Options,
    /// Names of the kernel's functions.
    pub(crate) symbols: Option<SymbolTable<'static>>,
    /// The kernel instance.
    pub(crate) kernel: MaybeUninit<Kernel<Hardware>>,
}

/// Stacks of the entries that cannot rely on the current one.
#[repr(C, align(16))]
struct InterruptStacks([[u8; INTERRUPT_STACK]; 4]);

/// A static whose contents are reached through raw pointers only.
struct Place<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: what is in it is used by one core only, the one that `install` ran on.
unsafe impl<T> Sync for Place<T> {}

static BOOT_CORE: Place<Core> = Place(UnsafeCell::new(MaybeUninit::uninit()));
static BOOT_STACKS: Place<InterruptStacks> = Place(UnsafeCell::new(MaybeUninit::uninit()));

/// Sets up the boot core: its structure, GS, descriptor tables, entries for every trap.
///
/// # Safety
/// Called once, first of all, on the boot core.
pub(crate) unsafe fn install() -> &'static mut Core {
    let core: *mut Core = BOOT_CORE.0.get().cast();
    let stacks = [
        InterruptStack::Nmi,
        InterruptStack::Debug,
        InterruptStack::DoubleFault,
        InterruptStack::MachineCheck,
    ];
    let stacks = stacks.map(|stack| (stack, interrupt_stack_top(stack, core)));
    // SAFETY: the static is large enough and nobody else has a reference yet.
    unsafe { write_core(core, TaskState::new(stacks)) };
    // SAFETY: just written, and only this core's code reaches it.
    let this = unsafe { &mut *core };
    // SAFETY: the tables lie in a static; every gate leads to `trap`'s entries.
    unsafe { segments::load(&raw const this.segments, &raw const this.gates) };
    // SAFETY: GS is the kernel's; loading its selector just zeroed it.
    unsafe { write_msr(msr::GS_BASE, core.addr() as u64) };
    // SAFETY: user mode starts with GS base zero.
    unsafe { write_msr(msr::USER_GS_BASE, 0) };
    this
}

/// # Safety
/// `core` may be written.
unsafe fn write_core(core: *mut Core, task: TaskState) {
    let mut gates = Gates::new(trap::stubs(), trap::STUB_SIZE);
    for (vector, entry, stack) in trap::special_entries() {
        gates.set(vector, entry, stack);
    }
    let value = Core {
        this: core,
        stack: layout::stack().end,
        context: ptr::null_mut(),
        scratch: 0,
        nmis: 0,
        running: false,
        task,
        segments: Segments::new(task_address(core)),
        gates,
        options: Options::default(),
        symbols: None,
        kernel: MaybeUninit::uninit(),
    };
    // SAFETY: the caller vouches for the place.
    unsafe { core.write(value) };
}

fn task_address(core: *mut Core) -> u64 {
    // SAFETY: only the field's address is taken, inside the static.
    unsafe { addr_of_mut!((*core).task) }.addr() as u64
}

/// The top of an interrupt stack; above it lies the core's address, for entries that cannot use GS.
fn interrupt_stack_top(stack: InterruptStack, core: *mut Core) -> u64 {
    let stacks: *mut [u8; INTERRUPT_STACK] = BOOT_STACKS.0.get().cast();
    // SAFETY: there are four stacks, numbered from 1; the end of each is inside the static or one
    // past it.
    let end = unsafe { stacks.add(stack as usize) };
    // SAFETY: sixteen bytes below the end are the stack's own, and aligned.
    let top = unsafe { end.byte_sub(16) }.cast::<*mut Core>();
    // SAFETY: as above; nobody runs on the stack yet.
    unsafe { top.write(core) };
    top.addr() as u64
}

impl Core {
    /// The core that this runs on, or null before [`install`].
    pub(crate) fn current() -> *const Self {
        // SAFETY: every processor with long mode has the register.
        unsafe { read_msr(msr::GS_BASE) as *const Self }
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
