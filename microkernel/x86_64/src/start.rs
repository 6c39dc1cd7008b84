//! From the first instruction in the upper half to the first thread.

use crate::acpi::{self, Platform};
use crate::address_space::{self, AddressSpace, BootstrapMemory, Flags, MappingError, Plan};
use crate::boot_info::{self, BootInfo, BootInfoError, RootPointer};
use crate::bytes::PhysicalMemory;
use crate::calibration::{self, CalibrationError, Rate};
use crate::core_local::{self, Core};
use crate::instance::{Blueprint, InstanceError, PAGE, controller_pages, mapped_controller};
use crate::instructions::write_cr3;
use crate::io_apic::IoApics;
use crate::layout;
use crate::legacy::{IntervalTimer, PowerTimer, silence_interrupt_controllers};
use crate::local_apic::LocalApic;
use crate::others;
use crate::partition::Partition;
use crate::processor::{self, Features};
use crate::report;
use crate::serial::Serial;
use crate::symbols::{self, SymbolTable};
use crate::trap;
use core::ops::Range;
use d3os_abi::MAX_CORES;
use heapless::Vec;
use kernel_core::RegionList;

/// Why the kernel cannot start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    BootInfo(#[from] BootInfoError),
    #[error("a processor with a local APIC is needed; CPUID names none")]
    NoLocalApic,
    #[error("one boot module is needed, the root task's ELF (-initrd or module2); found none")]
    NoModule,
    #[error("the boot module must lie below 4 GiB and not be empty; found at {0:#x?}")]
    Module(Range<u64>),
    #[error(transparent)]
    Mapping(#[from] MappingError),
    #[error(transparent)]
    Clock(#[from] CalibrationError),
    #[error(transparent)]
    Instance(#[from] InstanceError),
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
    let (blueprint, io_apics) = survey(core, features, registers, boot_time)?;
    blueprint.make(core, blueprint.local_apic, io_apics)?;
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
    core: &mut Core,
    features: Features,
    [eax, ebx]: [u32; 2],
    boot_time: u64,
) -> Result<(&'static Blueprint, IoApics), StartError> {
    let info = boot_info::read(&BootstrapMemory, eax, ebx)?;
    let options = info.command_line.options();
    (core.options, core.symbols) = (options, find_symbols());
    if !options.quiet {
        Serial.initialise();
    }
    report::say(format_args!("D3OS kernel {}", env!("CARGO_PKG_VERSION")));
    if !features.local_apic {
        return Err(StartError::NoLocalApic);
    }
    let (platform, rsdp) = read_acpi(&info);
    let module = info.module.clone().ok_or(StartError::NoModule)?;
    let module_range = module.start & !(PAGE - 1)..module.end.next_multiple_of(PAGE);
    let image = layout::image_start()..layout::physical(image_end());
    let mut free = info.memory.usable.clone();
    free.remove(image.clone());
    free.remove(module_range.clone());
    let guards = features.guards(options.mitigations);
    let flags = Flags::new(features.no_execute, !guards.separate);
    let space = build_address_space(&info, &platform, features.huge_pages, flags, &free)?;
    free.remove(space.directories.clone());
    let (local_apic, io_apics, rate) = start_hardware(&platform, features)?;
    let megahertz = megahertz(rate);
    report::say(format_args!(
        "{} MiB of RAM, {} processor(s), {megahertz} MHz (to {} ppm), {} kernel page table",
        info.memory.usable.bytes() >> 20,
        platform.processors,
        rate.width_ppm() / 2,
        if guards.separate { "separate" } else { "shared" }
    ));
    let start_page = start_page(&free);
    let limit = if start_page.is_none() { 1 } else { options.cores.unwrap_or(MAX_CORES) };
    free.remove(0..LOW_MEMORY_END);
    let blueprint = Blueprint {
        partition: divide(&free, &platform, local_apic.id(), limit, options.pool),
        start_page: start_page.unwrap_or(0),
        module: module_bytes(&info, &module)?,
        module_range,
        local_apic,
        symbols: core.symbols,
        options,
        info,
        rsdp,
        platform,
        features,
        guards,
        space,
        image,
        megahertz,
        boot_time,
    };
    // SAFETY: the one call, and no other core runs.
    Ok((unsafe { others::write_down(blueprint) }, io_apics))
}

/// The highest free page that a core can begin in: not the first of all, nor what BIOSes use.
fn start_page(free: &RegionList) -> Option<u8> {
    let mut low = free.clone();
    low.intersect(PAGE..0x9_0000);
    let last = low.iter().last()?;
    u8::try_from((last.end - 1) / PAGE).ok()
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
    let partition = Partition::new(free, &apics, &platform.affinity, pool);
    let instances = partition.members.len();
    if apics.len() > 1 {
        report::say(format_args!(
            "{instances} kernel instances of {} that may be, {} MiB shared",
            apics.len(),
            (partition.pool.end - partition.pool.start) >> 20
        ));
    }
    partition
}

/// The table that the build appended to the image, if it did.
fn find_symbols() -> Option<SymbolTable<'static>> {
    let length = symbols_length()?;
    let start = layout::symbols() as *const u8;
    // SAFETY: the boot loader put the table behind the image, where the bootstrap tables and later
    // the kernel's own show it; nothing writes it.
    SymbolTable::new(unsafe { core::slice::from_raw_parts(start, length) })
}

fn symbols_length() -> Option<usize> {
    let header = BootstrapMemory.bytes(layout::physical(layout::symbols()), symbols::HEADER as u64);
    symbols::table_length(header?)
}

/// One past the image's last virtual address, symbols included.
fn image_end() -> u64 {
    (layout::symbols() + symbols_length().unwrap_or(0) as u64).next_multiple_of(PAGE)
}

fn read_acpi(info: &BootInfo) -> (Platform, Option<RootPointer>) {
    let rsdp = acpi::root_pointer(&BootstrapMemory, info.rsdp.clone());
    let told = rsdp.as_ref().ok_or(acpi::AcpiError::NoRootPointer);
    let told = told.and_then(|rsdp| acpi::read(&BootstrapMemory, rsdp));
    let platform = told.unwrap_or_else(|error| {
        report::say(format_args!("{error}: taking one processor and the usual controllers"));
        Platform::assumed()
    });
    (platform, rsdp)
}

fn build_address_space(
    info: &BootInfo,
    platform: &Platform,
    huge_pages: bool,
    flags: Flags,
    free: &RegionList,
) -> Result<AddressSpace, StartError> {
    let (memory, devices) = (&info.memory.usable, &controller_pages(platform));
    let plan = Plan { memory, free, huge_pages, flags, image_end: image_end(), devices };
    // SAFETY: the boot core's only call; what the map calls usable is free but for the image and
    // the module, the boot loader's structures having been copied.
    let space = unsafe { address_space::build(&plan) }?;
    // SAFETY: the new root maps the image, its stack included, where they are.
    unsafe { write_cr3(space.root.0) };
    Ok(space)
}

fn start_hardware(
    platform: &Platform,
    features: Features,
) -> Result<(LocalApic, IoApics, Rate), StartError> {
    silence_interrupt_controllers();
    let mapped = mapped_controller(0, platform.local_apic);
    // SAFETY: the address space was built with the controller's page first.
    let mut local_apic = unsafe { LocalApic::find(platform.local_apic, mapped) };
    local_apic.enable();
    let mut io_apics = IoApics::default();
    for (index, io_apic) in platform.io_apics.iter().enumerate() {
        // SAFETY: the I/O APICs' pages follow in their order.
        unsafe { io_apics.add(mapped_controller(index + 1, io_apic.address)) };
    }
    let rate = measure_clock(platform)?;
    local_apic.start_timer(features.tsc_deadline)?;
    Ok((local_apic, io_apics, rate))
}

/// The time stamp counter's rate, by ACPI's timer if it runs, else by the interval timer.
fn measure_clock(platform: &Platform) -> Result<Rate, CalibrationError> {
    if let Some(port) = platform.timer_port
        && let Ok(rate) = calibration::measure(&mut PowerTimer { port }, PowerTimer::REFERENCE)
    {
        return Ok(rate);
    }
    calibration::measure(&mut IntervalTimer::start(), IntervalTimer::REFERENCE)
}

fn megahertz(rate: Rate) -> u32 {
    u32::try_from((rate.hertz() + 500_000) / 1_000_000).unwrap_or(u32::MAX).max(1)
}

/// The module, through the kernel's own view of RAM.
fn module_bytes(info: &BootInfo, module: &Range<u64>) -> Result<&'static [u8], StartError> {
    let holds_it = |ram: Range<u64>| ram.start <= module.start && module.end <= ram.end;
    let in_ram = info.memory.usable.iter().any(holds_it);
    let length = usize::try_from(module.end.saturating_sub(module.start)).unwrap_or(0);
    if !in_ram || length == 0 {
        return Err(StartError::Module(module.clone()));
    }
    let start = layout::physmap(module.start) as *const u8;
    // SAFETY: RAM that the kernel's half maps; nothing writes it before the module is loaded.
    Ok(unsafe { core::slice::from_raw_parts(start, length) })
}
