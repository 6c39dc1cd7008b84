//! Init as a program among the others: its threads and what it holds.

use alloc::format;
use alloc::string::{String, ToString};

use libd3os::abi::{SlotRegion, slot};
use libd3os::service::supervisor::{CapabilityInfo, ProgramId, ProgramState, ProgramStatus};

/// Init's name: no program of an image may have it.
pub const NAME: &str = "init";

/// One of init's threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its name.
    pub name: &'static str,
    /// Its priority.
    pub priority: u8,
    /// Budget and period in microseconds, both 0 where the kernel set them.
    pub share_us: (u64, u64),
    /// Processor time used, in microseconds.
    pub cpu_us: u64,
}

impl Thread {
    /// The line that it has among the programs, on this core.
    #[must_use]
    pub fn status(&self, core: u32, uptime_us: u64) -> ProgramStatus {
        ProgramStatus {
            id: ProgramId(0),
            name: NAME.to_string(),
            thread: self.name.to_string(),
            core,
            session: 0,
            priority: self.priority,
            budget_us: self.share_us.0,
            period_us: self.share_us.1,
            cpu_us: self.cpu_us,
            state: ProgramState::Running,
            restarts: 0,
            uptime_us,
        }
    }
}

/// What the kernel gave the root task: one row a capability, or a row for many of a kind.
pub fn initial(untyped: SlotRegion, image: SlotRegion) -> impl Iterator<Item = CapabilityInfo> {
    const SINGLE: [(u64, &str, &str); 10] = [
        (slot::TCB, "thread", "main"),
        (slot::CNODE, "CNode", "init's capability space"),
        (slot::VSPACE, "address space", "init's own"),
        (slot::IRQ_CONTROL, "IRQ control", "makes handlers of interrupts"),
        (slot::ASID_CONTROL, "ASID control", "makes pools of address space numbers"),
        (slot::ASID_POOL, "ASID pool", "numbers the programs' address spaces"),
        (slot::IO_PORT_CONTROL, "I/O port control", "makes ranges of I/O ports"),
        (slot::BOOT_INFO_FRAME, "frame", "what the kernel told at the start"),
        (slot::IPC_BUFFER_FRAME, "frame", "IPC buffer"),
        (slot::SCHED_CONTEXT, "scheduling context", "of the main thread"),
    ];
    let single = SINGLE.into_iter().map(|(slot, kind, detail)| row(slot, kind, detail.to_string()));
    single.chain([
        row(untyped.start, "untyped", format!("{} blocks of memory", count(untyped))),
        row(image.start, "frame", format!("init's image, {} frames", count(image))),
    ])
}

/// A row for a capability of init's own.
#[must_use]
pub fn row(slot: u64, kind: &str, detail: String) -> CapabilityInfo {
    let slot = u32::try_from(slot).unwrap_or(u32::MAX);
    // The first of its kind has all rights that there are; other kinds know none.
    let rights = match kind {
        "endpoint" => "rwgp",
        "frame" | "notification" => "rw",
        _ => "",
    };
    CapabilityInfo { slot, kind: kind.to_string(), detail, rights: rights.to_string() }
}

fn count(region: SlotRegion) -> u64 {
    region.end.saturating_sub(region.start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn the_kernel_s_gifts_are_listed_by_slot() {
        let region = |start, end| SlotRegion { start, end };
        let rows: Vec<_> = initial(region(90, 94), region(20, 50)).collect();
        assert!(rows[..10].is_sorted_by_key(|row| row.slot));
        assert_eq!((rows[0].slot, &*rows[0].kind, &*rows[0].rights), (1, "thread", ""));
        assert_eq!((&*rows[8].detail, &*rows[8].rights), ("IPC buffer", "rw"));
        assert_eq!((rows[10].slot, &*rows[10].detail), (90, "4 blocks of memory"));
        assert_eq!(rows[11].detail, "init's image, 30 frames");
    }

    #[test]
    fn a_thread_is_a_line_among_the_programs() {
        let ticker = Thread { name: "ticker", priority: 254, share_us: (1_000, 10_000), cpu_us: 7 };
        let status = ticker.status(3, 99);
        assert_eq!((&*status.name, &*status.thread, status.uptime_us), ("init", "ticker", 99));
        assert_eq!(status.core, 3);
        assert_eq!((status.budget_us, status.period_us, status.cpu_us), (1_000, 10_000, 7));
    }
}
