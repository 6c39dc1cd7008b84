//! Threads (manual, chapter 6).

use crate::memory::KernelObject;
use crate::slot::Slot;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The slots at the start of a TCB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum TcbSlot {
    /// Root CNode of the capability space.
    CSpace = 0,
    /// Page-table root.
    VSpace = 1,
    /// Frame of the IPC buffer.
    IpcBuffer = 2,
    /// Endpoint that receives faults.
    FaultHandler = 3,
    /// Endpoint that receives timeouts.
    TimeoutHandler = 4,
}

/// What a thread's registers were when it last left user mode; entry code writes it, exit code
/// loads it, by these offsets.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[expect(missing_docs, reason = "each is the register's name")]
pub struct Context {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    /// The instruction that entered the kernel: where a restart goes on, what faults report.
    pub fault_ip: u64,
    /// How the thread entered, so how it may be left: 0 through SYSCALL (RCX and R11 are free to
    /// clobber, SYSRET serves), 1 through an interrupt or exception (IRETQ, every register kept).
    /// Whoever writes registers of a thread sets it to 1.
    pub full_frame: u64,
    /// The instruction to go on with.
    pub rip: u64,
    /// Code segment slot of the IRETQ frame (the exit code fills it).
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    /// Stack segment slot of the IRETQ frame (the exit code fills it).
    pub ss: u64,
}

/// FXSAVE area.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(16))]
pub struct FpuState(pub [u8; 512]);

impl FpuState {
    /// As FNINIT and LDMXCSR 0x1f80 leave it.
    pub const INITIAL: Self = {
        let mut bytes = [0; 512];
        bytes[0] = 0x7f;
        bytes[1] = 0x03;
        bytes[24] = 0x80;
        bytes[25] = 0x1f;
        Self(bytes)
    };
}

/// A thread control block.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Tcb {
    /// Its capabilities, by [`TcbSlot`].
    pub(crate) slots: [Slot; 5],
    /// Its registers.
    pub context: Context,
    /// Padding to the FPU state's alignment.
    pub(crate) unused: [u64; 4],
    /// Its FPU registers while they are not loaded.
    pub fpu: FpuState,
    /// TCB flags (`TCB_FLAG_FPU_DISABLED`).
    pub flags: u64,
    pub(crate) unused2: u64,
}

impl KernelObject for Tcb {}
const _: () = assert!(size_of::<Tcb>() <= 1 << d3os_abi::size_bits::TCB);
const _: () = assert!(core::mem::offset_of!(Tcb, fpu) % 16 == 0);
