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
    /// All operations have been measured.
    Measured = Self::FIRST_REPEATED + 1,
    /// A long operation begins or ends.
    Long = Self::FIRST_REPEATED + 2,
    /// An interrupt was let in during a long operation.
    Interrupted = Self::FIRST_REPEATED + 3,
    /// All long operations have been measured.
    LongMeasured = Self::FIRST_REPEATED + 4,
    /// A part of a round that is also counted apart begins or ends. The mark itself is not counted.
    Apart = Self::FIRST_REPEATED + 5,
    /// Init kills a program.
    Killed = Self::FIRST_REPEATED + 6,
    /// A network card's driver has moved its first frame since it was started.
    FirstFrame = Self::FIRST_REPEATED + 7,
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
        Phase::Long => mark_instruction!(Phase::Long),
        Phase::Interrupted => mark_instruction!(Phase::Interrupted),
        Phase::LongMeasured => mark_instruction!(Phase::LongMeasured),
        Phase::Apart => mark_instruction!(Phase::Apart),
        Phase::Killed => mark_instruction!(Phase::Killed),
        Phase::FirstFrame => mark_instruction!(Phase::FirstFrame),
    }
}

/// Operations of a loop that is measured: those before the first mark, which warm it up, those up
/// to the second, and twice as many up to the third.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Before the first mark.
    pub warm_up: u64,
    /// Between the first two.
    pub rounds: u64,
}

impl Plan {
    /// All operations.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.warm_up + 3 * self.rounds
    }
}

/// Passes the three [`Phase::Lap`] marks of a loop whose operations are counted. The difference of
/// the two laps is what `rounds` operations take.
#[derive(Clone, Copy, Debug)]
pub struct Laps {
    plan: Plan,
    done: u64,
}

impl Laps {
    /// Nothing done yet.
    #[must_use]
    pub const fn new(plan: Plan) -> Self {
        Self { plan, done: 0 }
    }

    /// So many operations more are done.
    pub fn pass(&mut self, operations: u64) {
        let before = self.done;
        self.done = before.saturating_add(operations);
        let Plan { warm_up, rounds } = self.plan;
        for end in [warm_up, warm_up + rounds, self.plan.total()] {
            if before < end && end <= self.done {
                mark(Phase::Lap);
            }
        }
    }

    /// Whether all marks were passed.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.done >= self.plan.total()
    }
}

/// What `xtask bench io` measures, in this system and in a Linux guest: what both serve, and how
/// much of it the host asks for.
pub mod io {
    use super::Plan;

    /// UDP: what comes goes back.
    pub const ECHO_PORT: u16 = 7;
    /// TCP: what comes is thrown away.
    pub const DISCARD_PORT: u16 = 9;
    /// TCP: [`BYTES`] come, then the end.
    pub const GENERATOR_PORT: u16 = 19;
    /// A datagram that begins a measurement of echoes.
    pub const BEGIN: &[u8] = b"0";
    /// A datagram that ends the last measurement.
    pub const END: &[u8] = b"!";
    /// Echoes of one measurement.
    pub const ECHOES: Plan = Plan { warm_up: 200, rounds: 1000 };
    /// Bytes of one stream.
    pub const BYTES: Plan = Plan { warm_up: 1 << 20, rounds: 2 << 20 };
    /// Bytes that a program reads or writes at a time.
    pub const STREAM_BUFFER: usize = 16 << 10;
}

/// What `xtask bench pmem` has a program do with persistent objects in this system.
pub mod pmem {
    use super::Plan;

    /// What is measured, each by its [`Phase::Lap`](super::Phase::Lap) marks, in this order.
    pub const OPERATIONS: [&str; 3] = [
        "a name looked up",
        "an object opened by name, mapped, and given back",
        "a transaction of one word",
    ];
    /// How often each of them is done.
    pub const ROUNDS: Plan = Plan { warm_up: 20, rounds: 100 };
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
    /// `Wait`, idling, an interrupt, and the waiter runs; apart from that its acknowledgement,
    /// between two [`Phase::Apart`] marks.
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

/// What `xtask bench kernel` looks for the kernel's longest stretch in: operations with more work
/// than it may do before it asks whether an interrupt waits. The root task passes a [`Phase::Long`]
/// mark before and after each, and [`Phase::Interrupted`] marks for interrupts meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LongOperation {
    /// A frame of 1 GiB made, which clears it.
    RetypeHugeFrame,
    /// 256 frames of 2 MiB made by one invocation.
    RetypeLargeFrames,
    /// The same of 4 KiB.
    RetypeFrames,
    /// 256 threads.
    RetypeThreads,
    /// 256 CNodes of 16 slots.
    RetypeCNodes,
    /// 256 endpoints.
    RetypeEndpoints,
    /// 256 roots of address spaces.
    RetypeVSpaces,
    /// A capability revoked that 10,000 were derived from.
    Revoke,
    /// The last capability deleted to a CNode of 16,384 slots with 10,000 capabilities.
    DeleteCNode,
    /// The same to a CNode that holds the last to another, and so on, 1,000 deep.
    DeleteNestedCNodes,
    /// 1,000 callers with one badge sent back from an endpoint.
    CancelBadgedSends,
    /// An endpoint deleted that 1,000 callers wait at.
    DeleteEndpoint,
    /// A notification deleted that 1,000 threads wait for.
    DeleteNotification,
    /// A page table with 512 pages unmapped, mapped again, and deleted.
    DeletePageTable,
    /// The root deleted of an address space with 1,280 tables.
    DeleteVSpace,
    /// A pool of identifiers deleted that 512 address spaces have theirs from.
    DeleteAsidPool,
    /// The reply objects deleted of 1,000 calls, each made by the server of the one before.
    DeleteReplies,
    /// 1,000 threads whose budgets come back in the same microsecond.
    Release,
    /// A caller of higher priority queued before 1,000 others.
    QueueCaller,
    /// A thread queued for the release of its budget before 1,000 others.
    Postpone,
    /// A thread woken whose budget came back in 1,000 parts.
    MergeRefills,
    /// A long message with three capabilities answered by one, and another received; 64 CNodes lead
    /// to each of the twelve slots that are named.
    DeepMessages,
}

impl LongOperation {
    /// Every operation, in the order in which they are measured.
    pub const ALL: [Self; 22] = [
        Self::RetypeHugeFrame,
        Self::RetypeLargeFrames,
        Self::RetypeFrames,
        Self::RetypeThreads,
        Self::RetypeCNodes,
        Self::RetypeEndpoints,
        Self::RetypeVSpaces,
        Self::Revoke,
        Self::DeleteCNode,
        Self::DeleteNestedCNodes,
        Self::CancelBadgedSends,
        Self::DeleteEndpoint,
        Self::DeleteNotification,
        Self::DeletePageTable,
        Self::DeleteVSpace,
        Self::DeleteAsidPool,
        Self::DeleteReplies,
        Self::Release,
        Self::QueueCaller,
        Self::Postpone,
        Self::MergeRefills,
        Self::DeepMessages,
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
        [Phase::Lap, Phase::Measured, Phase::Long].into_iter().for_each(mark);
        [Phase::Interrupted, Phase::LongMeasured, Phase::Apart].into_iter().for_each(mark);
        [Phase::Killed, Phase::FirstFrame].into_iter().for_each(mark);
    }

    #[test]
    fn every_operation_is_measured_once() {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
        }
        for (index, operation) in LongOperation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
        }
    }
}
