//! The RDTSC instruction.

/// The time stamp counter.
#[must_use]
pub fn tsc() -> u64 {
    // SAFETY: every x86_64 processor has the counter, and the kernel lets programs read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}
