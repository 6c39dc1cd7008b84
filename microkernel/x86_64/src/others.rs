//! The other cores: the boot core starts them, and each makes its own instance.

use crate::address_space::map_stack;
use crate::core_local;
use crate::hardware::Hardware;
use crate::instance::Blueprint;
use crate::instructions::time_stamp;
use crate::layout;
use crate::processor;
use crate::report;
use crate::start::run;
use crate::trampoline;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU64, Ordering};
use d3os_abi::MAX_CORES;
use kernel_core::{CoreControl, Machine as _};

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

/// Why the system does without a core.
#[derive(Debug, thiserror::Error)]
enum Absence {
    #[error("it does not answer")]
    Silent,
    #[error("its clock differs by {0} ticks")]
    ClockDiffers(u64),
}

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
    // SAFETY: the start pages were taken out of everyone's memory.
    unsafe { trampoline::install(blueprint) };
    for core in 1..blueprint.cores() {
        // SAFETY: the beginning of the core's private RAM, which the kernel keeps.
        let own = unsafe { &mut *blueprint.other_core(core) };
        // SAFETY: the core does not run yet.
        unsafe { map_stack(core, &mut own.stack_table, &own.stack, blueprint.space.flags) };
        if let Err(absence) = start_one(machine, core) {
            machine.control_core(core, CoreControl::Stop);
            report::say(format_args!("D3OS does without core {core}: {absence}"));
        }
    }
}

fn start_one(machine: &mut Hardware, core: u32) -> Result<(), Absence> {
    let arrival = &ARRIVALS[core as usize];
    let before = time_stamp();
    machine.control_core(core, CoreControl::Stop);
    wait(machine, STOPPING_US, || false);
    for patience in PATIENCE_US {
        machine.control_core(core, CoreControl::Start);
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
    while !done() && time_stamp() < end {
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
    let blueprint = unsafe { &*BLUEPRINT.0.get().cast::<Blueprint>() };
    let kept = blueprint.other_core(number);
    // SAFETY: only the field's address is taken.
    let block = unsafe { &raw mut (*kept).block };
    // SAFETY: the block is this core's; whatever ran on the core before is gone.
    let core = unsafe { core_local::install(block, number, layout::stack_in_area(number)) };
    // SAFETY: the kernel's address space was built for these features.
    unsafe { processor::set_modes(blueprint.features) };
    match blueprint.make(core) {
        Ok(()) => run(core),
        Err(error) => report::core_cannot_start(number, &error),
    }
}

const _: () = assert!(layout::STACK_BYTES < 1 << layout::AREA_BITS);
