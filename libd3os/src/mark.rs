//! Marks for measuring: an instruction without effect that an emulator's plugin recognises.
//!
//! `xtask bench boot` counts the instructions between marks.

use core::arch::asm;

/// A point of the boot that is reached once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Init's first instruction.
    InitEntered = 1,
    /// Init has read the image manifest.
    ManifestRead = 2,
    /// Every program that starts with the system has been started.
    ProgramsStarted = 3,
    /// The shell has printed its prompt.
    ShellPrompt = 4,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 4] =
        [Self::InitEntered, Self::ManifestRead, Self::ProgramsStarted, Self::ShellPrompt];
}

/// Upper bits of the displacement that makes the instruction a mark; the phase is in the lower.
pub const MARK: u32 = 0xd305_0000;

macro_rules! mark_instruction {
    ($phase:expr) => {
        // SAFETY: a no-operation: it computes an address and uses it for nothing.
        unsafe {
            asm!(
                ".byte 0x0f, 0x1f, 0x80",
                ".long {mark}",
                mark = const MARK | $phase as u32,
                options(nomem, nostack, preserves_flags),
            );
        }
    };
}

/// Executes the mark of a phase (`nop dword ptr [rax + disp32]`).
#[inline]
pub fn mark(phase: Phase) {
    match phase {
        Phase::InitEntered => mark_instruction!(Phase::InitEntered),
        Phase::ManifestRead => mark_instruction!(Phase::ManifestRead),
        Phase::ProgramsStarted => mark_instruction!(Phase::ProgramsStarted),
        Phase::ShellPrompt => mark_instruction!(Phase::ShellPrompt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_have_no_effect() {
        // That this returns at all shows that the bytes are an instruction.
        Phase::ALL.into_iter().for_each(mark);
        assert_eq!(Phase::ALL.map(|phase| phase as u8), [1, 2, 3, 4]);
    }
}
