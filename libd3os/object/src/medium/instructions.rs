//! The instructions that write lines back, store past the cache, and wait.

use core::arch::asm;
use core::arch::x86_64::_mm_sfence;

use raw_cpuid::CpuId;

use super::Line;

/// The instruction by which this processor writes lines back best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBack {
    /// `CLWB`: the line may stay in the cache.
    Clwb,
    /// `CLFLUSHOPT`: the line leaves the cache; several do so at once.
    ClFlushOpt,
    /// `CLFLUSH`: the line leaves the cache, one after the other. Every x86_64 processor has it.
    ClFlush,
}

impl WriteBack {
    /// What this processor has. Executes CPUID, which a virtual machine traps: asked once.
    #[must_use]
    pub fn find() -> Self {
        match CpuId::new().get_extended_feature_info() {
            Some(features) if features.has_clwb() => Self::Clwb,
            Some(features) if features.has_clflushopt() => Self::ClFlushOpt,
            _ => Self::ClFlush,
        }
    }

    /// Has the line written back in which `address` lies.
    #[inline]
    pub(super) fn line(self, address: *const u8) {
        match self {
            // SAFETY: the processor has the instruction (`find`), which changes no memory's contents.
            Self::Clwb => unsafe { asm!("clwb [{}]", in(reg) address, options(nostack)) },
            // SAFETY: the same.
            Self::ClFlushOpt => unsafe {
                asm!("clflushopt [{}]", in(reg) address, options(nostack));
            },
            // SAFETY: every x86_64 processor has it, and it changes no memory's contents.
            Self::ClFlush => unsafe { asm!("clflush [{}]", in(reg) address, options(nostack)) },
        }
    }
}

/// Stores a line past the cache.
///
/// # Safety
/// `to` is where a line of memory begins that may be written, and to which no reference lives.
#[inline]
pub(super) unsafe fn store_line(to: *mut u8, line: &Line) {
    // SAFETY: the caller promises the whole line at `to`, which is aligned to it; `line` is one. The
    // instructions are in SSE2, which every x86_64 processor has.
    unsafe {
        asm!(
            "movdqu {a}, [{from}]",
            "movdqu {b}, [{from} + 16]",
            "movdqu {c}, [{from} + 32]",
            "movdqu {d}, [{from} + 48]",
            "movntdq [{to}], {a}",
            "movntdq [{to} + 16], {b}",
            "movntdq [{to} + 32], {c}",
            "movntdq [{to} + 48], {d}",
            from = in(reg) line.as_ptr(),
            to = in(reg) to,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// Waits until all that this thread has flushed or stored past the cache has arrived.
#[inline]
pub(super) fn fence() {
    // SAFETY: every x86_64 processor has the instruction, and it accesses no memory.
    unsafe { _mm_sfence() };
}
