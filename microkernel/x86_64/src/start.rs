//! From the first instruction in the upper half to the first thread.

use crate::acpi::{self, AcpiError, Platform};
use crate::address_space::{self, BootstrapMemory, Flags, MappingError, Plan};
use crate::boot_info::{self, BootInfo, BootInfoError};
use crate::calibration::{self, CalibrationError, Rate};
use crate::core_local::{self, Core};
use crate::instance::{Blueprint, PAGE, controller_pages, mapped_controller};
use crate::layout;
use crate::legacy::{PowerTimer, silence_interrupt_controllers};
use crate::local_apic::LocalApic;
use crate::others;
use crate::partition::Partition;
use crate::processor::{self, Features};
use crate::report;
use crate::serial::Serial;
use crate::trap;
use crate::window::index;
use core::fmt;
use core::ops::Range;
use d3os_abi::MAX_CORES;
use heapless::Vec;
use kernel_core::{BootError, RegionList};

/// Why the kernel cannot start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    BootInfo(#[from] BootInfoError),
    #[error("ACPI's tables are needed: {0}")]
    Acpi(#[from] AcpiError),
    #[error("a processor with a local APIC is needed; CPUID names none")]
    NoLocalApic,
    #[error("a boot module in RAM is needed, the root task's ELF (-initrd, module2); found {0:#x?}")]
    Module(Option<Range<u64>>),
    #[error(transparent)]
    Mapping(#[from] MappingError),
    #[error(transparent)]
    Clock(#[from] CalibrationError),
    #[error(transparent)]
    Root(#[from] BootError),
}

/// End of the memory that BIOSes and starting cores use.
const LOW_MEMORY_END: u64 = 1 << 20;

/// Where the entry code goes: `eax` and `ebx` as the boot loader left them, and the time of the
/// first instruction.
///
/// # Safety
/// Called once, by the entry code, on the bootstrap tables, with interrupts off.
pub(crate) unsafe extern "C" fn start(eax: u32, ebx: u32, boot_time: u64) -> ! {
    // SAFETY: the first thing that runs on the boot core.
    let core = unsafe { core_local::install(core_local::boot_block(), 0, layout::stack().end) };
    let features = Features::detect();
    Serial.initialise();
    // SAFETY: the bootstrap tables use neither global nor non-executable pages.
    unsafe { processor::set_modes(features) };
    match boot(core, features, [eax, ebx], boot_time) {
        Ok(()) => run(core),
        Err(error) => report::cannot_start(&error),
    }
}

/// Leaves for the first thread of a core whose instance has booted.
pub(crate) fn run(core: &mut Core) -> ! {
    // SAFETY: the instance is there.
    let next = unsafe { core.kernel() }.start();
    // SAFETY: as above.
    unsafe { trap::enter(core, next) }
}

fn boot(
    core: &mut Core,
    features: Features,
    registers: [u32; 2],
    boot_time: u64,
) -> Result<(), StartError> {
    let blueprint = survey(features, registers, boot_time)?;
    blueprint.make(core)?;
    if blueprint.cores() > 1 {
        // SAFETY: `make` put the instance there.
        others::start(blueprint, &mut unsafe { core.kernel() }.machine);
    }
    Ok(())
}

/// Finds out what there is and decides who gets what. Not inlined, for its variables take much of
/// the stack, which the loading of the root task needs too.
#[inline(never)]
fn survey(
    features: Features,
    [eax, ebx]: [u32; 2],
    boot_time: u64,
) -> Result<&'static Blueprint, StartError> {
    let info = boot_info::read(&BootstrapMemory, eax, ebx)?;
    let options = info.command_line.options();
    let say = |line: fmt::Arguments<'_>| {
        if !options.quiet {
            report::say(line);
        }
    };
    say(format_args!("D3OS kernel {}", env!("CARGO_PKG_VERSION")));
    if !features.local_apic {
        return Err(StartError::NoLocalApic);
    }
    let platform = acpi::read(&BootstrapMemory, info.rsdp)?;
    let module = module(&info).ok_or_else(|| StartError::Module(info.module.clone()))?;
    let module_range = module.start & !(PAGE - 1)..module.end.next_multiple_of(PAGE);
    let mut free = info.memory.usable.clone();
    free.remove(layout::image());
    free.remove(module_range.clone());
    let guards = features.guards(options.mitigations);
    let plan = Plan {
        memory: &info.memory.usable,
        free: &free,
        huge_pages: features.huge_pages,
        flags: Flags::new(features.no_execute, !guards.separate),
        devices: &controller_pages(&platform),
    };
    // SAFETY: the boot core's only call; what the map calls usable is free but for the image and
    // the module, the boot loader's structures having been copied.
    let space = unsafe { address_space::build(&plan) }?;
    free.remove(space.directories.clone());
    let (local_apic, rate) = start_hardware(&platform, features)?;
    let megahertz = u32::try_from((rate.hertz() + 500_000) / 1_000_000).unwrap_or(u32::MAX).max(1);
    say(format_args!(
        "{} MiB of RAM, {} processor(s), {megahertz} MHz (to {} ppm), {} kernel page table",
        info.memory.usable.bytes() >> 20,
        platform.processors,
        rate.width_ppm() / 2,
        if guards.separate { "separate" } else { "shared" }
    ));
    let start_pages = start_pages(&free);
    let limit = options.cores.unwrap_or(MAX_CORES).min(start_pages.len());
    free.remove(0..LOW_MEMORY_END);
    let partition = divide(&free, &platform, local_apic.id(), limit, options.pool);
    say(format_args!(
        "{} kernel instance(s), {} MiB shared",
        partition.members.len(),
        (partition.pool.end - partition.pool.start) >> 20
    ));
    let blueprint = Blueprint {
        partition,
        start_page: start_pages.end.saturating_sub(1),
        module: module_bytes(&module),
        module_range,
        local_apic,
        info,
        platform,
        features,
        guards,
        space,
        megahertz,
        boot_time,
    };
    // SAFETY: the one call, and no other core runs.
    Ok(unsafe { others::write_down(blueprint) })
}

/// The pages that cores can begin in, by number: the highest that are free, but neither the first of
/// all nor what BIOSes use.
fn start_pages(free: &RegionList) -> Range<u8> {
    let mut low = free.clone();
    low.intersect(PAGE..0x9_0000);
    let page = |address: u64| u8::try_from(address / PAGE).unwrap_or(u8::MAX);
    low.iter().last().map_or(0..0, |range| page(range.start)..page(range.end))
}

/// Which cores get an instance, at most `limit`, and who has which memory.
fn divide(
    free: &RegionList,
    platform: &Platform,
    boot_core: u32,
    limit: usize,
    pool: Option<u64>,
) -> Partition {
    let others = platform.apics.iter().copied().filter(|apic| *apic != boot_core);
    let apics = core::iter::once(boot_core).chain(others).take(limit.clamp(1, MAX_CORES));
    let apics: Vec<u32, MAX_CORES> = apics.collect();
    Partition::new(free, &apics, &platform.affinity, pool)
}

fn start_hardware(
    platform: &Platform,
    features: Features,
) -> Result<(LocalApic, Rate), CalibrationError> {
    silence_interrupt_controllers();
    let mapped = mapped_controller(0, platform.local_apic);
    // SAFETY: the address space was built with the controller's page first.
    let mut local_apic = unsafe { LocalApic::find(platform.local_apic, mapped) };
    local_apic.enable();
    let port = platform.timer_port.ok_or(CalibrationError::NoReference)?;
    let rate = calibration::measure(&mut PowerTimer { port }, PowerTimer::REFERENCE)?;
    local_apic.start_timer(features.tsc_deadline)?;
    Ok((local_apic, rate))
}

/// Where the module lies, if it is in RAM.
fn module(info: &BootInfo) -> Option<Range<u64>> {
    let module = info.module.clone().filter(|module| !module.is_empty())?;
    let holds_it = |ram: Range<u64>| ram.start <= module.start && module.end <= ram.end;
    info.memory.usable.iter().any(holds_it).then_some(module)
}

/// The module, through the kernel's own view of RAM.
fn module_bytes(module: &Range<u64>) -> &'static [u8] {
    let start = layout::physmap(module.start) as *const u8;
    // SAFETY: RAM that the kernel's half maps; nothing writes it before the module is loaded.
    unsafe { core::slice::from_raw_parts(start, index(module.end - module.start)) }
}
