//! Segments, the task state segment and the interrupt descriptor table of one core.

use crate::trap::{Entries, STUB_SIZE};
use core::mem::offset_of;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::{lgdt, lidt, load_tss};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::SegmentSelector;

/// Kernel code.
pub(crate) const KERNEL_CODE: u16 = 0x08;
/// Kernel data; also what SYSRET counts from: user data follows, then user code.
pub(crate) const KERNEL_DATA: u16 = 0x10;
/// User data, with its privilege level.
pub(crate) const USER_DATA: u16 = 0x18 | 3;
/// User code, with its privilege level.
pub(crate) const USER_CODE: u16 = 0x20 | 3;
const TASK: u16 = 0x28;
/// STAR: SYSCALL's and SYSRET's selectors; AMD's SYSRET takes the privilege level from here.
pub(crate) const STAR: u64 = (KERNEL_DATA as u64 | 3) << 48 | (KERNEL_CODE as u64) << 32;

/// Interrupt stacks, by number in the descriptor table (1 to 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InterruptStack {
    Nmi = 1,
    Debug = 2,
    DoubleFault = 3,
    MachineCheck = 4,
    /// Entries from user mode where the kernel's page table is separate.
    Entry = 5,
}

impl InterruptStack {
    /// How many there are.
    pub(crate) const COUNT: usize = 5;
}

/// The part of the task state segment that long mode knows.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, packed(4))]
pub(crate) struct TaskState {
    reserved0: u32,
    /// Stack of entries from user mode.
    pub(crate) entry_stack: u64,
    unused: [u64; 2],
    reserved1: u64,
    interrupt_stacks: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    /// Beyond the limit: no port is allowed to user mode.
    port_map: u16,
}

impl TaskState {
    const SIZE: u16 = 104;

    /// With interrupt stacks that have these tops.
    pub(crate) fn new(top: impl Fn(InterruptStack) -> u64) -> Self {
        use InterruptStack::{Debug, DoubleFault, Entry, MachineCheck, Nmi};
        let [nmi, debug, fault, check] = [Nmi, Debug, DoubleFault, MachineCheck].map(&top);
        let interrupt_stacks = [nmi, debug, fault, check, 0, 0, 0];
        let (entry_stack, port_map) = (top(Entry), Self::SIZE);
        Self { entry_stack, interrupt_stacks, port_map, ..Self::default() }
    }
}

const _: () = assert!(size_of::<TaskState>() == TaskState::SIZE as usize);
const _: () = assert!(offset_of!(TaskState, entry_stack) == 4);

/// The global descriptor table.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct Segments([u64; 7]);

impl Segments {
    /// The kernel's and the user's segments, and the task state at `task`.
    pub(crate) const fn new(task: u64) -> Self {
        const CODE: u64 = 0x0020_9b00_0000_0000;
        const DATA: u64 = 0x0000_9300_0000_0000;
        const USER: u64 = 0x0000_6000_0000_0000;
        const AVAILABLE_TASK: u64 = 0x0000_8900_0000_0000;
        let low = AVAILABLE_TASK
            | (TaskState::SIZE as u64 - 1)
            | (task & 0xff_ffff) << 16
            | (task >> 24 & 0xff) << 56;
        Self([0, CODE, DATA, DATA | USER, CODE | USER, low, task >> 32])
    }
}

/// The interrupt descriptor table.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(crate) struct Gates([[u64; 2]; 256]);

impl Gates {
    /// Every vector at its entry.
    pub(crate) fn new(entries: &Entries) -> Self {
        let mut gates = Self([[0; 2]; 256]);
        for (vector, gate) in (0u64..).zip(gates.0.iter_mut()) {
            // INT3 and INTO are the user's to execute.
            let level = if matches!(vector, 3 | 4) { 3 } else { 0 };
            *gate = Self::gate(entries.stubs + vector * STUB_SIZE, level, 0);
        }
        for (vector, entry, stack) in entries.special() {
            gates.0[usize::from(vector)] = Self::gate(entry, 0, stack as u64);
        }
        gates
    }

    const fn gate(entry: u64, level: u64, stack: u64) -> [u64; 2] {
        const PRESENT_INTERRUPT_GATE: u64 = 0x8e << 40;
        let low = entry & 0xffff
            | (KERNEL_CODE as u64) << 16
            | stack << 32
            | PRESENT_INTERRUPT_GATE
            | level << 45
            | (entry >> 16 & 0xffff) << 48;
        [low, entry >> 32]
    }
}

/// Loads the tables and reloads every segment register.
///
/// # Safety
/// Both tables, and the task state that the segments name, stay where they are for good, and every
/// gate leads to an entry.
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "one fact holds for every selector")]
pub(crate) unsafe fn load(segments: *const Segments, gates: *const Gates) {
    // SAFETY: the caller vouches for the table.
    unsafe { lgdt(&pointer(segments)) };
    // SAFETY: the selectors are those of the table just loaded.
    unsafe {
        CS::set_reg(SegmentSelector(KERNEL_CODE));
        SS::set_reg(SegmentSelector(KERNEL_DATA));
        DS::set_reg(SegmentSelector(USER_DATA));
        ES::set_reg(SegmentSelector(USER_DATA));
        FS::set_reg(SegmentSelector(USER_DATA));
        GS::set_reg(SegmentSelector(USER_DATA));
        load_tss(SegmentSelector(TASK));
    }
    // SAFETY: the caller vouches for the table.
    unsafe { lidt(&pointer(gates)) };
}

#[expect(clippy::cast_possible_truncation, reason = "both tables are smaller than 64 KiB")]
fn pointer<T>(table: *const T) -> DescriptorTablePointer {
    let base = VirtAddr::from_ptr(table);
    DescriptorTablePointer { limit: size_of::<T>() as u16 - 1, base }
}
