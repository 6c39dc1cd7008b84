//! The processor's modes: every control register is written absolutely, whatever firmware left.

use crate::command_line::Mitigations;
use crate::instructions::{cpuid, read_msr, write_msr};
use crate::segments::{KERNEL_CODE, KERNEL_DATA};
use core::arch::asm;
use x86_64::VirtAddr;
use x86_64::registers::control::{Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::{LStar, SFMask, Star};
use x86_64::registers::rflags::RFlags;

/// Model-specific registers.
pub(crate) mod msr {
    pub(crate) const APIC_BASE: u32 = 0x1b;
    pub(crate) const PREDICTION_COMMAND: u32 = 0x49;
    pub(crate) const ARCH_CAPABILITIES: u32 = 0x10a;
    pub(crate) const SYSENTER_CS: u32 = 0x174;
    pub(crate) const PAT: u32 = 0x277;
    pub(crate) const TSC_DEADLINE: u32 = 0x6e0;
    pub(crate) const X2APIC_FIRST: u32 = 0x800;
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
    cr4: Cr4Flags,
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
        let mut cr4 = CR4;
        cr4.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, bit(structured.ebx, 7));
        cr4.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, bit(structured.ebx, 20));
        cr4.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, bit(structured.ecx, 2));
        Self {
            huge_pages: bit(extended.edx, 26),
            no_execute: bit(extended.edx, 20),
            tsc_deadline: bit(basic.ecx, 24),
            local_apic: bit(basic.edx, 9),
            cr4,
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

    fn efer(self) -> EferFlags {
        let mut efer = EferFlags::SYSTEM_CALL_EXTENSIONS | EferFlags::LONG_MODE_ENABLE;
        efer.set(EferFlags::NO_EXECUTE_ENABLE, self.no_execute);
        efer
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
/// What every processor with long mode has of CR4 that the kernel uses.
const CR4: Cr4Flags = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
    .union(Cr4Flags::MACHINE_CHECK_EXCEPTION)
    .union(Cr4Flags::PAGE_GLOBAL)
    .union(Cr4Flags::OSFXSR)
    .union(Cr4Flags::OSXMMEXCPT_ENABLE);
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
    unsafe { Efer::write_raw(features.efer().bits()) };
    // SAFETY: the caller's mappings hold under these bits; none is set that CPUID does not name.
    unsafe { asm!("mov cr0, {}", in(reg) CR0, options(nostack)) };
    // SAFETY: as above.
    unsafe { Cr4::write_raw(features.cr4.bits()) };
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

/// Sets up SYSCALL, with all flags off but the fixed one.
///
/// # Safety
/// `entry` is the system call entry, and the segments are loaded.
pub(crate) unsafe fn set_syscall_entry(entry: u64) {
    // AMD's SYSRET takes the privilege level from here.
    // SAFETY: the caller vouches for the selectors.
    unsafe { Star::write_raw(KERNEL_DATA | 3, KERNEL_CODE) };
    LStar::write(VirtAddr::new_truncate(entry));
    SFMask::write(RFlags::all());
}
