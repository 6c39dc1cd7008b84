//! What belongs to one core: what its entry code needs at once, its descriptor tables, and its
//! kernel instance. GS points at it while the kernel runs; it is the kernel's only global.

use crate::command_line::Options;
use crate::hardware::Hardware;
use crate::instructions::{read_msr, write_msr};
use crate::irq_lines::VECTORS;
use crate::layout;
use crate::processor::msr;
use crate::segments::{self, Gates, InterruptStack, Segments, TaskState};
use crate::symbols::SymbolTable;
use crate::trap;
use core::cell::UnsafeCell;
use core::mem::{MaybeUninit, offset_of};
use core::ops::Range;
use core::ptr::{self, addr_of_mut};
use kernel_core::{Kernel, PhysAddr, Slot};
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
    /// Number of this core.
    pub(crate) number: u32,
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

/// Slots for the notification of every interrupt vector: memory of the kernel instance, which
/// reaches it by its physical address.
#[repr(C, align(32))]
struct IrqSlots([[u8; size_of::<Slot>()]; VECTORS]);

/// A static whose contents are reached through raw pointers only.
struct BootPlace<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: what is in it is used by the boot core only.
unsafe impl<T> Sync for BootPlace<T> {}

static BOOT_CORE: BootPlace<Core> = BootPlace(UnsafeCell::new(MaybeUninit::uninit()));
static BOOT_STACKS: BootPlace<InterruptStacks> = BootPlace(UnsafeCell::new(MaybeUninit::uninit()));
static BOOT_IRQ_SLOTS: BootPlace<IrqSlots> = BootPlace(UnsafeCell::new(MaybeUninit::zeroed()));

/// The boot core's interrupt slots, physically.
pub(crate) fn boot_irq_slots() -> PhysAddr {
    PhysAddr(layout::image_physical(BOOT_IRQ_SLOTS.0.get()))
}

/// What the kernel keeps for a core other than the boot core, at the start of its private RAM. The
/// first two are the boot core's to write before it starts the core.
#[repr(C, align(4096))]
pub(crate) struct CoreBlock {
    window: [u64; 512],
    stack: [u8; layout::STACK_BYTES as usize],
    irq_slots: IrqSlots,
    interrupt_stacks: InterruptStacks,
    core: MaybeUninit<Core>,
}

impl CoreBlock {
    /// Of the block at `block`, the page for the table that shows the stack; all physically.
    pub(crate) const fn window(block: u64) -> u64 {
        block + offset_of!(Self, window) as u64
    }

    /// The stack.
    pub(crate) const fn stack(block: u64) -> u64 {
        block + offset_of!(Self, stack) as u64
    }

    /// The interrupt slots.
    pub(crate) const fn irq_slots(block: u64) -> PhysAddr {
        PhysAddr(block + offset_of!(Self, irq_slots) as u64)
    }
}

/// Where a core's state is.
pub(crate) struct Place {
    number: u32,
    stack: Range<u64>,
    core: *mut Core,
    interrupt_stacks: *mut [u8; INTERRUPT_STACK],
}

impl Place {
    /// The boot core's, in the image.
    pub(crate) fn of_boot_core() -> Self {
        Self {
            number: 0,
            stack: layout::stack(),
            core: BOOT_CORE.0.get().cast(),
            interrupt_stacks: BOOT_STACKS.0.get().cast(),
        }
    }

    /// Another core's, in the block at `block`; its interrupt slots are emptied.
    ///
    /// # Safety
    /// The block is the core's, and nothing in it is in use but the stack and its table.
    pub(crate) unsafe fn in_block(block: u64, number: u32) -> Self {
        let block = layout::physmap(block) as *mut CoreBlock;
        // SAFETY: the caller vouches for the block.
        unsafe { addr_of_mut!((*block).irq_slots).write_bytes(0, 1) };
        // SAFETY: as above; only addresses are taken.
        let (core, stacks) =
            unsafe { (addr_of_mut!((*block).core), addr_of_mut!((*block).interrupt_stacks)) };
        let stack = layout::stack_in_window(number);
        Self { number, stack, core: core.cast(), interrupt_stacks: stacks.cast() }
    }
}

/// Sets up a core: its structure, GS, descriptor tables, entries for every trap.
///
/// # Safety
/// Called first of all, on the core that the place belongs to, and only once after it has started.
pub(crate) unsafe fn install(place: Place) -> &'static mut Core {
    let core = place.core;
    let stacks = [
        InterruptStack::Nmi,
        InterruptStack::Debug,
        InterruptStack::DoubleFault,
        InterruptStack::MachineCheck,
    ];
    let stacks = stacks.map(|stack| (stack, interrupt_stack_top(stack, &place)));
    // SAFETY: the place is large enough and nobody else has a reference yet.
    unsafe { write_core(&place, TaskState::new(stacks)) };
    // SAFETY: just written, and only this core's code reaches it.
    let this = unsafe { &mut *core };
    // SAFETY: the tables stay where they are; every gate leads to `trap`'s entries.
    unsafe { segments::load(&raw const this.segments, &raw const this.gates) };
    // SAFETY: GS is the kernel's; loading its selector just zeroed it.
    unsafe { write_msr(msr::GS_BASE, core.addr() as u64) };
    // SAFETY: user mode starts with GS base zero.
    unsafe { write_msr(msr::USER_GS_BASE, 0) };
    this
}

/// # Safety
/// The place may be written.
unsafe fn write_core(place: &Place, task: TaskState) {
    let core = place.core;
    let mut gates = Gates::new(trap::stubs(), trap::STUB_SIZE);
    for (vector, entry, stack) in trap::special_entries() {
        gates.set(vector, entry, stack);
    }
    let value = Core {
        this: core,
        stack: place.stack.end,
        context: ptr::null_mut(),
        scratch: 0,
        nmis: 0,
        number: place.number,
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
    // SAFETY: only the field's address is taken, inside the core's place.
    unsafe { addr_of_mut!((*core).task) }.addr() as u64
}

/// The top of an interrupt stack; above it lies the core's address, for entries that cannot use GS.
fn interrupt_stack_top(stack: InterruptStack, place: &Place) -> u64 {
    // SAFETY: there are four stacks, numbered from 1; the end of each is inside their place or one
    // past it.
    let end = unsafe { place.interrupt_stacks.add(stack as usize) };
    // SAFETY: sixteen bytes below the end are the stack's own, and aligned.
    let top = unsafe { end.byte_sub(16) }.cast::<*mut Core>();
    // SAFETY: as above; nobody runs on the stack yet.
    unsafe { top.write(place.core) };
    top.addr() as u64
}

impl Core {
    /// The core that this runs on, or null before [`install`].
    pub(crate) fn current() -> *const Self {
        // SAFETY: every processor with long mode has the register.
        unsafe { read_msr(msr::GS_BASE) as *const Self }
    }

    /// Its kernel stack.
    pub(crate) fn stack_range(&self) -> Range<u64> {
        self.stack - layout::STACK_BYTES..self.stack
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
