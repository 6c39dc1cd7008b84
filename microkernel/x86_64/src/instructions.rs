//! Instructions that Rust has no words for, by the names that the kernel uses.

use core::arch::asm;
use x86_64::instructions::port::{Port, PortRead, PortWrite};
use x86_64::registers::model_specific::Msr;

/// Reads a port, as wide as the value is.
pub(crate) fn port_in<T: PortRead>(port: u16) -> T {
    // SAFETY: IN changes no memory of the kernel's.
    unsafe { Port::<T>::new(port).read() }
}

/// Writes a port. What devices do with it is up to whoever chose port and value: the kernel's own are
/// listed in `legacy` and `serial`, others need an I/O port capability.
pub(crate) fn port_out<T: PortWrite>(port: u16, value: T) {
    // SAFETY: OUT changes no memory of the kernel's.
    unsafe { Port::<T>::new(port).write(value) };
}

/// The time stamp counter.
#[inline]
pub(crate) fn time_stamp() -> u64 {
    // SAFETY: RDTSC reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Reads a model-specific register.
///
/// # Safety
/// The processor has it: reading another faults.
#[inline]
pub(crate) unsafe fn read_msr(register: u32) -> u64 {
    // SAFETY: the caller vouches for the register.
    unsafe { Msr::new(register).read() }
}

/// Writes a model-specific register.
///
/// # Safety
/// The processor has it and `value` is valid there and keeps the kernel's world standing.
#[inline]
pub(crate) unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: the caller vouches for register and value.
    unsafe { Msr::new(register).write(value) };
}

/// Lets every earlier write be seen, and every earlier read be done, before what follows.
pub(crate) fn memory_fence() {
    // SAFETY: only orders.
    unsafe { asm!("mfence", "lfence", options(nostack, preserves_flags)) };
}

/// Activates a page-table root and forgets all translations that are not global.
///
/// # Safety
/// `root` is a page-table root whose upper half is the kernel's.
#[inline]
pub(crate) unsafe fn write_cr3(root: u64) {
    // SAFETY: the caller vouches for the root; the kernel's half stays as it is.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// Stops this core for good.
pub(crate) fn stop() -> ! {
    loop {
        // SAFETY: with interrupts off only an NMI ends HLT, and then the loop goes on.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// CPUID; zeroes for a leaf that the processor does not have.
pub(crate) fn cpuid(leaf: u32) -> core::arch::x86_64::CpuidResult {
    const RANGE: u32 = 0x8000_0000;
    let last = core::arch::x86_64::__cpuid(leaf & RANGE);
    let mut result = core::arch::x86_64::__cpuid(leaf.min(last.eax));
    if leaf > last.eax {
        (result.eax, result.ebx, result.ecx, result.edx) = (0, 0, 0, 0);
    }
    result
}
