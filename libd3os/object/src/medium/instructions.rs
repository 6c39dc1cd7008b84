//! The instructions that write lines back, store past the cache, and wait.

use core::arch::asm;
use core::arch::x86_64::_mm_sfence;

use raw_cpuid::CpuId;

use super::{LINE_BYTES, Line, WORD_BYTES};

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
    for (at, word) in (0..LINE_BYTES).step_by(WORD_BYTES).zip(line.as_chunks().0) {
        let word = u64::from_le_bytes(*word);
        let to = to.wrapping_add(at);
        // SAFETY: the caller promises the whole line, of which this is a word. MOVNTI is in SSE2,
        // which every x86_64 processor has.
        unsafe {
            asm!("movnti [{}], {}", in(reg) to, in(reg) word, options(nostack, preserves_flags))
        };
    }
}

/// Waits until all that this thread has flushed or stored past the cache has arrived.
#[inline]
pub(super) fn fence() {
    // SAFETY: every x86_64 processor has the instruction, and it accesses no memory.
    unsafe { _mm_sfence() };
}
