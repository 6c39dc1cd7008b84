//! The processor's modes: every control register is written absolutely, whatever firmware left.

use crate::command_line::Mitigations;
use crate::instructions::{cpuid, read_msr, write_msr};
use core::arch::asm;

/// Model-specific registers.
pub(crate) mod msr {
    pub(crate) const APIC_BASE: u32 = 0x1b;
    pub(crate) const PREDICTION_COMMAND: u32 = 0x49;
    pub(crate) const ARCH_CAPABILITIES: u32 = 0x10a;
    pub(crate) const SYSENTER_CS: u32 = 0x174;
    pub(crate) const PAT: u32 = 0x277;
    pub(crate) const TSC_DEADLINE: u32 = 0x6e0;
    pub(crate) const X2APIC_FIRST: u32 = 0x800;
    pub(crate) const EFER: u32 = 0xc000_0080;
    pub(crate) const STAR: u32 = 0xc000_0081;
    pub(crate) const LSTAR: u32 = 0xc000_0082;
    pub(crate) const SYSCALL_MASK: u32 = 0xc000_0084;
    pub(crate) const FS_BASE: u32 = 0xc000_0100;
    pub(crate) const GS_BASE: u32 = 0xc000_0101;
    /// GS base of user mode while the kernel runs.
    pub(crate) const USER_GS_BASE: u32 = 0xc000_0102;
}

/// What this processor has beyond the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    pub(crate) huge_pages: bool,
    pub(crate) no_execute: bool,
    pub(crate) tsc_deadline: bool,
    pub(crate) local_apic: bool,
    smep: bool,
    smap: bool,
    umip: bool,
    /// What user mode can read speculatively is a matter of page tables, or of buffers.
    leaks: bool,
    /// Branch predictions can be forgotten by command.
    prediction_barrier: bool,
}

/// What is done against speculative execution, beyond what is always done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guards {
    /// The kernel has a page table of its own, and exits clear the processor's buffers.
    pub(crate) separate: bool,
    /// Branch predictions end with their address space.
    pub(crate) prediction_barrier: bool,
}

impl Features {
    /// Asks the processor.
    pub(crate) fn detect() -> Self {
        let basic = cpuid(1);
        let extended = cpuid(0x8000_0001);
        let structured = cpuid(7);
        let bit = |word: u32, index: u32| word >> index & 1 == 1;
        Self {
            huge_pages: bit(extended.edx, 26),
            no_execute: bit(extended.edx, 20),
            tsc_deadline: bit(basic.ecx, 24),
            local_apic: bit(basic.edx, 9),
            smep: bit(structured.ebx, 7),
            smap: bit(structured.ebx, 20),
            umip: bit(structured.ecx, 2),
            leaks: leaks(structured.edx),
            prediction_barrier: bit(structured.edx, 26)
                || bit(cpuid(0x8000_0008).ebx, 12),
        }
    }

    /// What to do on this processor.
    pub(crate) fn guards(self, mitigations: Mitigations) -> Guards {
        let on = mitigations == Mitigations::On;
        let auto = mitigations == Mitigations::Auto;
        Guards {
            separate: on || auto && self.leaks,
            prediction_barrier: on && self.prediction_barrier,
        }
    }

    fn cr4(self) -> u64 {
        const PHYSICAL_ADDRESS_EXTENSION: u64 = 1 << 5;
        const MACHINE_CHECK: u64 = 1 << 6;
        const GLOBAL_PAGES: u64 = 1 << 7;
        const FXSAVE: u64 = 1 << 9;
        const SIMD_EXCEPTIONS: u64 = 1 << 10;
        PHYSICAL_ADDRESS_EXTENSION
            | MACHINE_CHECK
            | GLOBAL_PAGES
            | FXSAVE
            | SIMD_EXCEPTIONS
            | u64::from(self.umip) << 11
            | u64::from(self.smep) << 20
            | u64::from(self.smap) << 21
    }

    fn efer(self) -> u64 {
        const SYSCALL: u64 = 1;
        const LONG_MODE: u64 = 1 << 8;
        SYSCALL | LONG_MODE | u64::from(self.no_execute) << 11
    }
}

/// Whether user mode could read, speculatively, what the kernel's page table maps (Meltdown) or what
/// its buffers hold (MDS): all processors but AMD's and Hygon's, unless they say that they are immune
/// to both. `features` is EDX of CPUID's leaf 7.
fn leaks(features: u32) -> bool {
    const ARCH_CAPABILITIES: u32 = 1 << 29;
    const IMMUNE: u64 = 1 | 1 << 5;
    let vendor = cpuid(0);
    let amd = [b"AuthenticAMD", b"HygonGenuine"].iter().any(|name| {
        let words = [vendor.ebx, vendor.edx, vendor.ecx];
        words.iter().flat_map(|word| word.to_le_bytes()).eq(name.iter().copied())
    });
    if amd || features & ARCH_CAPABILITIES == 0 {
        return !amd;
    }
    // SAFETY: CPUID named the register.
    let immune = unsafe { read_msr(msr::ARCH_CAPABILITIES) };
    immune & IMMUNE != IMMUNE
}

/// Protected mode, monitor coprocessor, numeric errors as exceptions, write protection of the
/// kernel's own pages, paging.
const CR0: u64 = 1 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 31;
/// CR0's task-switched bit: the next FPU instruction faults.
const TASK_SWITCHED: u64 = 1 << 3;
/// Entries 0 to 7: write-back, write-through, uncached-, uncached, write-combining,
/// write-through, uncached-, uncached.
const PAT: u64 = 0x0007_0401_0007_0406;
/// DR7 with every breakpoint off.
const DEBUG_CONTROL: u64 = 0x400;

/// Puts the processor into the kernel's modes.
///
/// # Safety
/// Runs in long mode with paging on, in mappings that hold under these modes.
pub(crate) unsafe fn set_modes(features: Features) {
    // SAFETY: every processor with long mode has EFER; the bits were asked for.
    unsafe { write_msr(msr::EFER, features.efer()) };
    // SAFETY: the caller's mappings hold under these bits; none is set that CPUID does not name.
    unsafe { asm!("mov cr0, {}", in(reg) CR0, options(nostack)) };
    // SAFETY: as above.
    unsafe { asm!("mov cr4, {}", in(reg) features.cr4(), options(nostack)) };
    // SAFETY: every processor with long mode has a PAT; entry 0, which everything so far uses, is
    // what it was.
    unsafe { write_msr(msr::PAT, PAT) };
    // SAFETY: a zero selector makes SYSENTER fault, as it should.
    unsafe { write_msr(msr::SYSENTER_CS, 0) };
    // SAFETY: switches debugging off.
    unsafe { asm!("mov dr7, {}", in(reg) DEBUG_CONTROL, options(nostack)) };
}

/// Lets the next FPU instruction fault, or not.
pub(crate) fn disable_fpu(disabled: bool) {
    let cr0 = if disabled { CR0 | TASK_SWITCHED } else { CR0 };
    // SAFETY: the kernel itself has no FPU instructions but FXSAVE and FXRSTOR, which `hardware`
    // executes with the bit clear.
    unsafe { asm!("mov cr0, {}", in(reg) cr0, options(nostack, preserves_flags)) };
}

/// Sets up SYSCALL.
///
/// # Safety
/// `entry` is the system call entry; the segments are those of `segments`.
pub(crate) unsafe fn set_syscall_entry(entry: u64, star: u64) {
    /// All flags off but the fixed one: interrupts, direction, trap, alignment check, nested task.
    const FLAGS_CLEARED: u64 = 0x003f_7fd5;
    // SAFETY: the caller vouches for the selectors.
    unsafe { write_msr(msr::STAR, star) };
    // SAFETY: the caller vouches for the entry.
    unsafe { write_msr(msr::LSTAR, entry) };
    // SAFETY: clearing flags at entry only protects the kernel.
    unsafe { write_msr(msr::SYSCALL_MASK, FLAGS_CLEARED) };
}
