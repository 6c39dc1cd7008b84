//! Segments, the task state segment and the interrupt descriptor table of one core.

use crate::trap::{Entries, STUB_SIZE};
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::{lidt, load_tss};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

/// Kernel code.
pub(crate) const KERNEL_CODE: u16 = 0x08;
/// Kernel data; also what SYSRET counts from: user data follows, then user code.
pub(crate) const KERNEL_DATA: u16 = 0x10;
/// User data, with its privilege level.
pub(crate) const USER_DATA: u16 = 0x18 | 3;
/// User code, with its privilege level.
pub(crate) const USER_CODE: u16 = 0x20 | 3;
const TASK: u16 = 0x28;

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

/// A task state with interrupt stacks that have these tops.
pub(crate) fn task_state(top: impl Fn(InterruptStack) -> u64) -> TaskStateSegment {
    use InterruptStack::{Debug, DoubleFault, Entry, MachineCheck, Nmi};
    let mut task = TaskStateSegment::new();
    for stack in [Nmi, Debug, DoubleFault, MachineCheck] {
        task.interrupt_stack_table[stack as usize - 1] = VirtAddr::new_truncate(top(stack));
    }
    task.privilege_stack_table[0] = VirtAddr::new_truncate(top(Entry));
    task
}

/// The kernel's and the user's segments, as the selectors above count them.
///
/// # Safety
/// The task state stays at `task` for as long as the table is loaded.
pub(crate) unsafe fn descriptors(task: *const TaskStateSegment) -> GlobalDescriptorTable {
    let mut table = GlobalDescriptorTable::new();
    table.append(Descriptor::kernel_code_segment());
    table.append(Descriptor::kernel_data_segment());
    table.append(Descriptor::user_data_segment());
    table.append(Descriptor::user_code_segment());
    // SAFETY: the caller vouches for the task state.
    table.append(unsafe { Descriptor::tss_segment_unchecked(task) });
    table
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
/// Both tables, and the task state that the first names, stay where they are for good, and every
/// gate leads to an entry.
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "one fact holds for every selector")]
#[expect(clippy::cast_possible_truncation, reason = "the table is smaller than 64 KiB")]
pub(crate) unsafe fn load(table: &GlobalDescriptorTable, gates: &Gates) {
    let limit = size_of::<Gates>() as u16 - 1;
    // SAFETY: the caller vouches for the tables; the selectors are those of the first.
    unsafe {
        table.load_unsafe();
        CS::set_reg(SegmentSelector(KERNEL_CODE));
        SS::set_reg(SegmentSelector(KERNEL_DATA));
        DS::set_reg(SegmentSelector(USER_DATA));
        ES::set_reg(SegmentSelector(USER_DATA));
        FS::set_reg(SegmentSelector(USER_DATA));
        GS::set_reg(SegmentSelector(USER_DATA));
        load_tss(SegmentSelector(TASK));
        lidt(&DescriptorTablePointer { limit, base: VirtAddr::from_ptr(gates) });
    }
}
