//! Writing cache lines back.

use core::arch::asm;
use core::arch::x86_64::_mm_sfence;

use raw_cpuid::CpuId;

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
    /// What this processor has.
    #[must_use]
    pub fn find() -> Self {
        match CpuId::new().get_extended_feature_info() {
            Some(features) if features.has_clwb() => Self::Clwb,
            Some(features) if features.has_clflushopt() => Self::ClFlushOpt,
            _ => Self::ClFlush,
        }
    }

    /// Has the line written back in which `address` lies. An address that is not mapped ends the
    /// program by a fault; nothing else depends on it.
    pub fn line(self, address: *const u8) {
        match self {
            // SAFETY: the processor has the instruction (`find`), which changes no memory's contents.
            Self::Clwb => unsafe { asm!("clwb [{}]", in(reg) address, options(nostack)) },
            // SAFETY: the same.
            Self::ClFlushOpt => unsafe {
                asm!("clflushopt [{}]", in(reg) address, options(nostack))
            },
            // SAFETY: every x86_64 processor has it, and it changes no memory's contents.
            Self::ClFlush => unsafe { asm!("clflush [{}]", in(reg) address, options(nostack)) },
        }
    }
}

/// Waits until all lines that are being written back have arrived.
pub fn fence() {
    // SAFETY: every x86_64 processor has the instruction, and it accesses no memory.
    unsafe { _mm_sfence() };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_back_stays_what_it_is() {
        let bytes = [7u8; 200];
        for write_back in [WriteBack::find(), WriteBack::ClFlush] {
            bytes.iter().step_by(64).for_each(|byte| write_back.line(byte));
            fence();
        }
        assert_eq!(bytes, [7; 200]);
    }
}
