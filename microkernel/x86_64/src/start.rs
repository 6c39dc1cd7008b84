//! From the first instruction in the upper half to the first thread.

use crate::acpi::{self, Platform};
use crate::address_space::{self, AddressSpace, BootstrapMemory, MappingError, Plan};
use crate::boot_info::{self, BootInfo, BootInfoError};
use crate::bytes::PhysicalMemory;
use crate::calibration::{self, CalibrationError, Rate};
use crate::command_line::Options;
use crate::core_local::{self, Core, Place};
use crate::cores::Cores;
use crate::hardware::Hardware;
use crate::instance::{Blueprint, RootPointer, controller_pages, mapped_controller};
use crate::instructions::write_cr3;
use crate::io_apic::IoApics;
use crate::layout;
use crate::legacy::{IntervalTimer, PowerTimer, silence_interrupt_controllers};
use crate::local_apic::LocalApic;
use crate::others;
use crate::partition::Partition;
use crate::processor::{self, Features};
use crate::report;
use crate::segments;
use crate::serial::Serial;
use crate::symbols::{self, SymbolTable};
use crate::trap;
use core::fmt::{self, Write};
use core::ops::Range;
use kernel_core::{BootError, Kernel};

/// Why the kernel cannot start.
enum StartError {
    BootInfo(BootInfoError),
    NoLocalApic,
    NoModule,
    Module(Range<u64>),
    Mapping(MappingError),
    Clock(CalibrationError),
    Boot(BootError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BootInfo(error) => error.fmt(f),
            Self::NoLocalApic => {
                write!(f, "a processor with a local APIC is needed; CPUID names none")
            }
            Self::NoModule => write!(
                f,
                "one boot module is needed, the root task's ELF (-initrd or module2); found none"
            ),
            Self::Module(range) => write!(
                f,
                "the boot module must lie below 4 GiB and not be empty; found at {:#x} to {:#x}",
                range.start, range.end
            ),
            Self::Mapping(MappingError::ImageTooLarge(size)) => {
                write!(f, "the kernel's image is to fit 8 MiB; it has {size} bytes")
            }
            Self::Mapping(MappingError::NoMemory) => write!(
                f,
                "a processor without 1 GiB pages needs free memory below 4 GiB for page tables; \
                 found none"
            ),
            Self::Clock(CalibrationError::ReferenceStands) => write!(
                f,
                "the ACPI timer or the interval timer is needed to measure time with; both stand"
            ),
            Self::Boot(error) => error.fmt(f),
        }
    }
}

/// Where the entry code goes: `eax` and `ebx` as the boot loader left them, and the time of the
/// first instruction.
///
/// # Safety
/// Called once, by the entry code, on the bootstrap tables, with interrupts off.
pub(crate) unsafe extern "C" fn start(eax: u32, ebx: u32, boot_time: u64) -> ! {
    // SAFETY: the first thing that runs on the boot core.
    let core = unsafe { core_local::install(Place::of_boot_core()) };
    let features = Features::detect();
    // SAFETY: the bootstrap tables use neither global nor non-executable pages.
    unsafe { prepare_processor(features) };
    match boot(core, features, eax, ebx, boot_time) {
        Ok(()) => run(core),
        Err(error) => report::cannot_start(&error),
    }
}

/// Puts the processor into the kernel's modes.
///
/// # Safety
/// As [`processor::set_modes`].
pub(crate) unsafe fn prepare_processor(features: Features) {
    // SAFETY: the caller's promise.
    unsafe { processor::set_modes(features) };
    // SAFETY: the entry and the selectors are this kernel's.
    unsafe { processor::set_syscall_entry(trap::syscall_entry(), segments::STAR) };
}

/// Leaves for the first thread of a core whose instance has booted.
pub(crate) fn run(core: &mut Core) -> ! {
    // SAFETY: `boot` put the instance there.
    let next = unsafe { core.kernel() }.start();
    // SAFETY: as above.
    unsafe { trap::enter(core, next) }
}

/// Prints boot lines, unless the command line forbids.
struct Narrator {
    quiet: bool,
}

impl Narrator {
    fn say(&self, line: fmt::Arguments<'_>) {
        if !self.quiet {
            let _ = writeln!(Serial, "{line}");
        }
    }
}

fn boot(
    core: &mut Core,
    features: Features,
    eax: u32,
    ebx: u32,
    boot_time: u64,
) -> Result<(), StartError> {
    let (blueprint, hardware) = survey(core, features, eax, ebx, boot_time)?;
    let kernel = core.kernel.write(Kernel::new(hardware, 0, core_local::boot_irq_slots()));
    core.running = true;
    blueprint.boot(kernel, 0).map_err(StartError::Boot)?;
    if blueprint.is_shared() {
        others::start(blueprint, &mut kernel.machine);
    }
    Ok(())
}

/// Finds out what there is and decides who gets what. Not inlined, for its variables take much of
/// the stack, which the loading of the root task needs too.
#[inline(never)]
fn survey(
    core: &mut Core,
    features: Features,
    eax: u32,
    ebx: u32,
    boot_time: u64,
) -> Result<(&'static Blueprint, Hardware), StartError> {
    let info = boot_info::read(&BootstrapMemory, eax, ebx).map_err(StartError::BootInfo)?;
    core.options = info.command_line.options();
    core.symbols = find_symbols();
    let narrator = Narrator { quiet: core.options.quiet };
    if !narrator.quiet {
        Serial.initialise();
    }
    narrator.say(format_args!("D3OS kernel {}", env!("CARGO_PKG_VERSION")));
    if !features.local_apic {
        return Err(StartError::NoLocalApic);
    }
    let (platform, rsdp) = read_acpi(&info, &narrator);
    let module = info.module.clone().ok_or(StartError::NoModule)?;
    let image = layout::image_start()..image_end() - layout::KERNEL_BASE;
    let space = build_address_space(&info, &platform, features, &module)?;
    let (local_apic, io_apics, rate) = start_hardware(&platform, features)?;
    let megahertz = megahertz(rate);
    narrator.say(format_args!(
        "{} MiB of RAM, {} processor(s), {megahertz} MHz (to {} ppm)",
        info.memory.usable.bytes() >> 20,
        platform.processors,
        rate.width_ppm() / 2
    ));
    let taken = [image.clone(), module.clone(), space.directories.clone()];
    let (cores, partition) =
        divide(&info, &platform, core.options, local_apic.id(), &taken, &narrator);
    let blueprint = Blueprint {
        module: module_bytes(&info, &module)?,
        module_range: module,
        local_apic: local_apic.mode(),
        options: core.options,
        symbols: core.symbols,
        info,
        rsdp,
        platform,
        features,
        space,
        image,
        cores,
        partition,
        megahertz,
        boot_time,
    };
    // SAFETY: the one call, and no other core runs.
    let blueprint = unsafe { others::write_down(blueprint) };
    let root = blueprint.space.root;
    let hardware = Hardware::new(megahertz.into(), root, local_apic, io_apics, cores);
    Ok((blueprint, hardware))
}

/// Which cores get an instance, and who has which memory. `taken` holds something.
#[inline(never)]
fn divide(
    info: &BootInfo,
    platform: &Platform,
    options: Options,
    boot_apic: u32,
    taken: &[Range<u64>],
    narrator: &Narrator,
) -> (Cores, Partition) {
    /// Memory that a core can begin in: without the first page, and what BIOSes use.
    const REAL_MODE: Range<u64> = 0x1000..0x9_0000;
    let alone = (Cores::alone(boot_apic), Partition::undivided());
    let mut free = info.memory.usable.clone();
    taken.iter().for_each(|range| free.remove(range.clone()));
    let limit = options.cores.unwrap_or(u32::MAX);
    let inside = |r: &Range<u64>| r.start.max(REAL_MODE.start)..r.end.min(REAL_MODE.end);
    let low = free.ranges().iter().map(inside).rfind(|range| !range.is_empty());
    let start_page = low.and_then(|range| u8::try_from((range.end - 1) >> 12).ok());
    let cores = Cores::new(boot_apic, platform.apics(), limit, start_page.unwrap_or(0));
    if cores.count() < 2 {
        return alone;
    }
    if start_page.is_none() {
        narrator.say(format_args!("no free page below 1 MiB: the other cores cannot be started"));
        return alone;
    }
    free.remove(0..1 << 20);
    let partition = Partition::new(&free, &cores, &platform.affinity, options.pool);
    if partition.cores() < cores.count() {
        let count = partition.cores();
        narrator.say(format_args!("memory for {count} of {} kernel instances", cores.count()));
    }
    narrator.say(format_args!(
        "{} kernel instances, {} MiB shared",
        partition.cores(),
        (partition.pool.end - partition.pool.start) >> 20
    ));
    (cores.first(partition.cores()), partition)
}

/// The table that the build appended to the image, if it did.
fn find_symbols() -> Option<SymbolTable<'static>> {
    let physical = layout::symbols() - layout::KERNEL_BASE;
    let header = BootstrapMemory.bytes(physical, symbols::HEADER as u64)?;
    let length = symbols::table_length(header)?;
    let start = layout::symbols() as *const u8;
    // SAFETY: the boot loader put the table behind the image, where the bootstrap tables and later
    // the kernel's own show it; nothing writes it.
    SymbolTable::new(unsafe { core::slice::from_raw_parts(start, length) })
}

/// One past the image's last virtual address, symbols included.
fn image_end() -> u64 {
    let physical = layout::symbols() - layout::KERNEL_BASE;
    let header = BootstrapMemory.bytes(physical, symbols::HEADER as u64).unwrap_or_default();
    let length = symbols::table_length(header).unwrap_or(0);
    (layout::symbols() + length as u64).next_multiple_of(4096)
}

fn read_acpi(info: &BootInfo, narrator: &Narrator) -> (Platform, RootPointer) {
    let rsdp = acpi::root_pointer(&BootstrapMemory, info.rsdp);
    let told = match &rsdp {
        Some((bytes, length)) => acpi::read(&BootstrapMemory, &bytes[..*length]),
        None => Err(acpi::AcpiError::NoRootPointer),
    };
    let platform = told.unwrap_or_else(|error| {
        narrator.say(format_args!("{error}: taking one processor and the usual controllers"));
        Platform::assumed()
    });
    (platform, rsdp)
}

fn build_address_space(
    info: &BootInfo,
    platform: &Platform,
    features: Features,
    module: &Range<u64>,
) -> Result<AddressSpace, StartError> {
    let image_end = image_end();
    let (pages, count) = controller_pages(platform);
    let plan = Plan {
        memory: &info.memory,
        huge_pages: features.huge_pages,
        no_execute: features.no_execute,
        image_end,
        devices: &pages[..count],
        taken: &[layout::image_start()..image_end - layout::KERNEL_BASE, module.clone()],
    };
    // SAFETY: the boot core's only call; what the map calls usable is free but for the image and
    // the module, the boot loader's structures having been copied.
    let space = unsafe { address_space::build(&plan) }.map_err(StartError::Mapping)?;
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
    let mut local_apic = unsafe { LocalApic::enable(platform.local_apic, mapped) };
    let mut io_apics = IoApics::default();
    for (index, io_apic) in platform.io_apics().iter().enumerate() {
        // SAFETY: the I/O APICs' pages follow in their order.
        unsafe { io_apics.add(mapped_controller(index + 1, io_apic.address)) };
    }
    let rate = measure_clock(platform).map_err(StartError::Clock)?;
    local_apic.start_timer(features.tsc_deadline).map_err(StartError::Clock)?;
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
    let in_ram =
        info.memory.usable.ranges().iter().any(|r| r.start <= module.start && module.end <= r.end);
    let length = usize::try_from(module.end.saturating_sub(module.start)).unwrap_or(0);
    if !in_ram || length == 0 {
        return Err(StartError::Module(module.clone()));
    }
    let start = layout::physmap(module.start) as *const u8;
    // SAFETY: RAM that the kernel's half maps; nothing writes it while a root task is loaded.
    Ok(unsafe { core::slice::from_raw_parts(start, length) })
}
