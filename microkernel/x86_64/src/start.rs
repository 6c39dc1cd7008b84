//! From the first instruction in the upper half to the first thread.

use crate::acpi::{self, Platform};
use crate::address_space::{self, AddressSpace, BootstrapMemory, MappingError, Plan};
use crate::boot_info::{self, BootInfo, BootInfoError, RootPointer};
use crate::bytes::PhysicalMemory;
use crate::calibration::{self, CalibrationError, Rate};
use crate::core_local::{self, Core};
use crate::hardware::Hardware;
use crate::instructions::write_cr3;
use crate::io_apic::IoApics;
use crate::irq_lines::VECTORS;
use crate::layout;
use crate::legacy::{IntervalTimer, PowerTimer, silence_interrupt_controllers};
use crate::local_apic::LocalApic;
use crate::processor::{self, Features, Guards};
use crate::report;
use crate::serial::Serial;
use crate::symbols::{self, SymbolTable};
use crate::trap;
use core::cell::UnsafeCell;
use core::fmt::{Arguments, Write};
use core::ops::Range;
use heapless::Vec;
use kernel_core::{BootError, BootInput, Kernel, PhysAddr, RegionList, Slot};

const PAGE: u64 = 4096;

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
    Boot(#[from] BootError),
}

/// Slots for the notification of every user interrupt vector: memory of the kernel instance, which
/// reaches it by its physical address.
#[repr(C, align(32))]
struct IrqSlots(UnsafeCell<[[u8; size_of::<Slot>()]; VECTORS]>);

// SAFETY: only the kernel instance of the boot core touches it.
unsafe impl Sync for IrqSlots {}

static IRQ_SLOTS: IrqSlots = IrqSlots(UnsafeCell::new([[0; size_of::<Slot>()]; VECTORS]));

/// Where the entry code goes: `eax` and `ebx` as the boot loader left them, and the time of the
/// first instruction.
///
/// # Safety
/// Called once, by the entry code, on the bootstrap tables, with interrupts off.
pub(crate) unsafe extern "C" fn start(eax: u32, ebx: u32, boot_time: u64) -> ! {
    // SAFETY: the first thing that runs on the boot core.
    let core = unsafe { core_local::install() };
    let features = Features::detect();
    // SAFETY: the bootstrap tables use neither global nor non-executable pages.
    unsafe { processor::set_modes(features) };
    match boot(core, features, eax, ebx, boot_time) {
        Ok(()) => run(core),
        Err(error) => report::cannot_start(&error),
    }
}

fn run(core: &mut Core) -> ! {
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
    fn say(&self, line: Arguments<'_>) {
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
    let info = boot_info::read(&BootstrapMemory, eax, ebx)?;
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
    let guards = features.guards(core.options.mitigations);
    let window = guards.separate.then(|| core.window_range());
    let space = build_address_space(&info, &platform, features, &module, window)?;
    // SAFETY: the address space was built for the variant.
    unsafe { core.choose_entries(guards.separate.then_some(space.root)) };
    let (hardware, rate) = start_hardware(&platform, features, guards, &space)?;
    let megahertz = megahertz(rate);
    narrator.say(format_args!(
        "{} MiB of RAM, {} processor(s), {megahertz} MHz (to {} ppm), {} kernel page table",
        info.memory.usable.bytes() >> 20,
        platform.processors,
        rate.width_ppm() / 2,
        if guards.separate { "separate" } else { "shared" }
    ));
    let slots = PhysAddr(layout::image_physical(&raw const IRQ_SLOTS));
    let kernel = core.kernel.write(Kernel::new(hardware, 0, slots));
    core.running = true;
    load_root_task(kernel, &info, &platform, &space, module, Clock { megahertz, boot_time }, rsdp)
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
    (layout::symbols() + length as u64).next_multiple_of(PAGE)
}

fn read_acpi(info: &BootInfo, narrator: &Narrator) -> (Platform, Option<RootPointer>) {
    let rsdp = acpi::root_pointer(&BootstrapMemory, info.rsdp.clone());
    let told = rsdp.as_ref().ok_or(acpi::AcpiError::NoRootPointer);
    let told = told.and_then(|rsdp| acpi::read(&BootstrapMemory, rsdp));
    let platform = told.unwrap_or_else(|error| {
        narrator.say(format_args!("{error}: taking one processor and the usual controllers"));
        Platform::assumed()
    });
    (platform, rsdp)
}

/// Pages of interrupt controllers: the local one first.
fn controller_pages(platform: &Platform) -> impl Iterator<Item = u64> {
    let io_apics = platform.io_apics.iter().map(|io_apic| io_apic.address & !(PAGE - 1));
    core::iter::once(platform.local_apic).chain(io_apics)
}

/// Where the mapping of the `index`th controller's registers is.
fn mapped_controller(index: usize, physical: u64) -> u64 {
    layout::DEVICES + index as u64 * PAGE + (physical & (PAGE - 1))
}

fn build_address_space(
    info: &BootInfo,
    platform: &Platform,
    features: Features,
    module: &Range<u64>,
    window: Option<Range<u64>>,
) -> Result<AddressSpace, StartError> {
    let image_end = image_end();
    let devices: Vec<u64, { 1 + acpi::MAX_IO_APICS }> = controller_pages(platform).collect();
    let plan = Plan {
        memory: &info.memory,
        huge_pages: features.huge_pages,
        no_execute: features.no_execute,
        image_end,
        devices: &devices,
        taken: &[layout::image_start()..image_end - layout::KERNEL_BASE, module.clone()],
        window,
    };
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
    guards: Guards,
    space: &AddressSpace,
) -> Result<(Hardware, Rate), StartError> {
    silence_interrupt_controllers();
    let mapped = mapped_controller(0, platform.local_apic);
    // SAFETY: the address space was built with the controller's page first.
    let mut local_apic = unsafe { LocalApic::enable(platform.local_apic, mapped) };
    let mut io_apics = IoApics::default();
    for (index, io_apic) in platform.io_apics.iter().enumerate() {
        // SAFETY: the I/O APICs' pages follow in their order.
        unsafe { io_apics.add(mapped_controller(index + 1, io_apic.address)) };
    }
    let rate = measure_clock(platform)?;
    local_apic.start_timer(features.tsc_deadline)?;
    Ok((Hardware::new(megahertz(rate).into(), space, guards, local_apic, io_apics), rate))
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

struct Clock {
    megahertz: u32,
    boot_time: u64,
}

fn load_root_task(
    kernel: &mut Kernel<Hardware>,
    info: &BootInfo,
    platform: &Platform,
    space: &AddressSpace,
    module: Range<u64>,
    clock: Clock,
    rsdp: Option<RootPointer>,
) -> Result<(), StartError> {
    let mut reserved = RegionList::default();
    controller_pages(platform).for_each(|page| reserved.insert(page..page + PAGE));
    // Page directories in RAM.
    reserved.insert(space.directories.clone());
    reserved.insert(layout::image_start()..image_end() - layout::KERNEL_BASE);
    let input = BootInput {
        usable: &info.memory.usable,
        unusable: &info.memory.reserved,
        reserved: &reserved,
        module: module_bytes(info, &module)?,
        module_range: module.start & !(PAGE - 1)..module.end.next_multiple_of(PAGE),
        rsdp: rsdp.as_deref(),
        framebuffer: info.framebuffer,
        command_line: info.command_line.bytes(),
        cores_present: platform.processors,
        tsc_mhz: clock.megahertz,
        boot_tsc: clock.boot_time,
        node_id: 0,
        num_nodes: 1,
    };
    Ok(kernel.boot(&input)?)
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
