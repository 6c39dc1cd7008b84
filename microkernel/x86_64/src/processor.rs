//! The processor's modes: every control register is written absolutely, whatever firmware left.

use crate::instructions::{cpuid, cpuid_extended, write_msr};
use core::arch::asm;

/// Model-specific registers.
pub(crate) mod msr {
    pub(crate) const APIC_BASE: u32 = 0x1b;
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
}

impl Features {
    /// Asks the processor.
    pub(crate) fn detect() -> Self {
        let basic = cpuid(1);
        let extended = cpuid_extended(0x8000_0001);
        let (structured, more) =
            if cpuid(0).eax >= 7 { (cpuid(7).ebx, cpuid(7).ecx) } else { (0, 0) };
        let bit = |word: u32, index: u32| word >> index & 1 == 1;
        Self {
            huge_pages: bit(extended.edx, 26),
            no_execute: bit(extended.edx, 20),
            tsc_deadline: bit(basic.ecx, 24),
            local_apic: bit(basic.edx, 9),
            smep: bit(structured, 7),
            smap: bit(structured, 20),
            umip: bit(more, 2),
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
