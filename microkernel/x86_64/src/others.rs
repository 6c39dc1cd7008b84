//! The other cores: the boot core starts them, and each makes its own instance.

use crate::address_space::map_stack;
use crate::core_local::{self, Core, CoreBlock, Place};
use crate::hardware::Hardware;
use crate::instance::{Blueprint, mapped_controller};
use crate::instructions::time_stamp;
use crate::io_apic::IoApics;
use crate::layout;
use crate::local_apic::LocalApic;
use crate::report;
use crate::start::{prepare_processor, run};
use crate::trampoline::{self, STARTUP};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU64, Ordering};
use d3os_abi::MAX_CORES;
use kernel_core::{Kernel, Machine as _, PhysAddr};

/// A core that was stopped needs this long until it can be started.
const STOPPING_US: u64 = 10_000;
/// How long a core may take to its first instructions, by attempt.
const PATIENCE_US: [u64; 2] = [1_000_000, 4_000_000];

/// A static that the boot core writes once, before there is any other core.
struct Written(UnsafeCell<MaybeUninit<Blueprint>>);

// SAFETY: it is written before another core runs, and only read after.
unsafe impl Sync for Written {}

static BLUEPRINT: Written = Written(UnsafeCell::new(MaybeUninit::uninit()));

/// When each core came to its first instructions, by its own time stamp counter; zero if it has
/// not. Every core writes its own; the boot core looks while it waits.
static ARRIVALS: [AtomicU64; MAX_CORES] = [const { AtomicU64::new(0) }; MAX_CORES];

/// Writes the blueprint down.
///
/// # Safety
/// Called once, by the boot core, before any other core is started.
pub(crate) unsafe fn write_down(blueprint: Blueprint) -> &'static Blueprint {
    // SAFETY: the caller promises that nobody has read it yet.
    unsafe { (*BLUEPRINT.0.get()).write(blueprint) }
}

/// Starts every other core of the blueprint, one after the other. What does not come up is told
/// and left out.
pub(crate) fn start(blueprint: &'static Blueprint, machine: &mut Hardware) {
    let cores = &blueprint.cores;
    STARTUP.prepare(cores, blueprint.space.root);
    // SAFETY: the start page was taken out of everyone's memory.
    unsafe { trampoline::install(cores.start_page()) };
    for core in 1..cores.count() {
        let block = blueprint.block(core);
        let no_execute = blueprint.features.no_execute;
        // SAFETY: the block is the beginning of the core's private RAM, which the kernel keeps; the
        // core does not run yet.
        unsafe { map_stack(core, CoreBlock::window(block), CoreBlock::stack(block), no_execute) };
        if let Err(absence) = start_one(machine, core) {
            machine.stop_core(core);
            report::without_core(core, &absence);
        }
    }
}

/// Why the system does without a core.
pub(crate) enum Absence {
    /// It did not come to its first instructions.
    Silent,
    /// Its time stamp counter differs from the boot core's by so many ticks.
    ClockDiffers(u64),
}

impl core::fmt::Display for Absence {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Silent => write!(f, "it does not answer"),
            Self::ClockDiffers(ticks) => write!(f, "its clock differs by {ticks} ticks"),
        }
    }
}

fn start_one(machine: &mut Hardware, core: u32) -> Result<(), Absence> {
    let arrival = &ARRIVALS[core as usize];
    let before = time_stamp();
    machine.stop_core(core);
    wait(machine, STOPPING_US, || false);
    for patience in PATIENCE_US {
        machine.start_core(core);
        if wait(machine, patience, || arrival.load(Ordering::Acquire) != 0) {
            let (arrived, now) = (arrival.load(Ordering::Acquire), time_stamp());
            let differs = before.saturating_sub(arrived).max(arrived.saturating_sub(now));
            return if differs == 0 { Ok(()) } else { Err(Absence::ClockDiffers(differs)) };
        }
    }
    Err(Absence::Silent)
}

/// Waits until `done`, at most so long. Whether it was.
fn wait(machine: &Hardware, microseconds: u64, done: impl Fn() -> bool) -> bool {
    let end = time_stamp() + microseconds * machine.ticks_per_microsecond();
    while time_stamp() < end {
        if done() {
            return true;
        }
        core::hint::spin_loop();
    }
    done()
}

/// Where the trampoline leads: core `number`, on its own stack, in the kernel's address space.
///
/// # Safety
/// Called by the trampoline alone.
pub(crate) unsafe extern "C" fn arrive(number: u32) -> ! {
    if let Some(arrival) = ARRIVALS.get(number as usize) {
        arrival.store(time_stamp().max(1), Ordering::Release);
    }
    // SAFETY: the boot core wrote it before it started this one.
    let blueprint = unsafe { (*BLUEPRINT.0.get()).assume_init_ref() };
    let block = blueprint.block(number);
    // SAFETY: the block is this core's; whatever ran on the core before is gone, and this code's
    // stack is not among what is cleared.
    let core = unsafe { core_local::install(Place::in_block(block, number)) };
    core.options = blueprint.options;
    core.symbols = blueprint.symbols;
    // SAFETY: the kernel's address space was built for these features.
    unsafe { prepare_processor(blueprint.features) };
    match make_instance(core, blueprint, number, CoreBlock::irq_slots(block)) {
        Ok(()) => run(core),
        Err(error) => report::core_cannot_start(number, &error),
    }
}

fn make_instance(
    core: &mut Core,
    blueprint: &Blueprint,
    number: u32,
    irq_slots: PhysAddr,
) -> Result<(), kernel_core::BootError> {
    let registers = blueprint.platform.local_apic;
    let mapped = mapped_controller(0, registers);
    // SAFETY: the address space maps the controller's page first; every core sees its own there.
    let local_apic = unsafe { LocalApic::enable_as(registers, mapped, blueprint.local_apic) };
    let hardware = Hardware::new(
        blueprint.megahertz.into(),
        blueprint.space.root,
        local_apic,
        IoApics::default(),
        blueprint.cores,
    );
    let kernel = core.kernel.write(Kernel::new(hardware, number, irq_slots));
    core.running = true;
    blueprint.boot(kernel, number)
}

const _: () = assert!(layout::STACK_BYTES < 1 << layout::WINDOW_BITS);
