//! Marks for measuring: an instruction without effect that an emulator's plugin recognises.
//!
//! `xtask bench` counts the instructions between marks.

use core::arch::asm;

/// What a mark tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Phase {
    /// Init's first instruction.
    InitEntered = 1,
    /// Init has read the image manifest.
    ManifestRead = 2,
    /// Every program that starts with the system has been started.
    ProgramsStarted = 3,
    /// The shell has printed its prompt.
    ShellPrompt = 4,
    /// A loop that is measured begins or ends. Unlike the others this one counts every time.
    Lap = Self::FIRST_REPEATED,
    /// Everything that is measured has been.
    Measured = Self::FIRST_REPEATED + 1,
}

impl Phase {
    /// Marks from this number on may be passed any number of times.
    pub const FIRST_REPEATED: u16 = 0x100;

    /// The phases of a boot, in order.
    pub const BOOT: [Self; 4] =
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
        Phase::Lap => mark_instruction!(Phase::Lap),
        Phase::Measured => mark_instruction!(Phase::Measured),
    }
}

/// The kernel operations that `xtask bench kernel` measures. The root task that repeats them passes
/// three [`Phase::Lap`] marks for each: N rounds between the first two, 2N between the last two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `Call` and `ReplyRecv`, no words.
    Call0,
    /// With 4 words each way.
    Call4,
    /// With 10 words each way.
    Call10,
    /// With 120 words each way.
    Call120,
    /// `Signal` and `Wait` by one thread.
    SignalWait,
    /// `Signal` to a higher-priority thread, which signals back.
    PingPong,
    /// `Yield`, nobody else being ready.
    Yield,
    /// A page of 4 KiB mapped and unmapped.
    MapUnmap,
    /// A page fault, answered, and met again.
    Fault,
    /// `Wait`, idling, an interrupt, its acknowledgement.
    Interrupt,
    /// A capability copied and deleted.
    CopyDelete,
    /// An endpoint made and deleted.
    RetypeEndpoint,
    /// A frame of 4 KiB made, which clears it, and deleted.
    RetypeFrame,
}

impl Operation {
    /// Every operation, in the order in which they are measured.
    pub const ALL: [Self; 13] = [
        Self::Call0,
        Self::Call4,
        Self::Call10,
        Self::Call120,
        Self::SignalWait,
        Self::PingPong,
        Self::Yield,
        Self::MapUnmap,
        Self::Fault,
        Self::Interrupt,
        Self::CopyDelete,
        Self::RetypeEndpoint,
        Self::RetypeFrame,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_have_no_effect() {
        // That this returns at all shows that the bytes are an instruction.
        Phase::BOOT.into_iter().for_each(mark);
        assert_eq!(Phase::BOOT.map(|phase| phase as u16), [1, 2, 3, 4]);
        [Phase::Lap, Phase::Measured].into_iter().for_each(mark);
    }

    #[test]
    fn every_operation_is_measured_once() {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
        }
    }
}
