//! The kernel's interface as numbers and layouts: seL4's API for x86_64 with MCS scheduling.
//!
//! Kernel and user space both link this crate and nothing here does anything: system call
//! numbers, invocation labels, object types, message and capability encodings, fault messages,
//! the IPC buffer and BootInfo. The numbers are those of seL4 16.0.0 (MCS, uniprocessor, huge
//! pages, FXSAVE, no IOMMU, no VT-x), so that a program built for that kernel runs on this one.
#![cfg_attr(not(test), no_std)]

mod bootinfo;
mod error;
mod fault;
mod ipc_buffer;
mod label;
mod message;
mod numbered;
mod object;
mod registers;
mod syscall;

pub use bootinfo::{
    BootInfo, BootInfoHeader, MAX_UNTYPED_DESCRIPTORS, MachineChunk, SlotRegion, UntypedDescriptor,
    chunk, slot,
};
pub use error::{Error, LookupFailureKind};
pub use fault::{FaultLabel, length as fault_length};
pub use ipc_buffer::{IPC_BUFFER_SIZE, IPC_BUFFER_SIZE_BITS, IpcBuffer};
pub use label::Label;
pub use message::{
    CNodeCapData, CapRights, MAX_EXTRA_CAPS, MAX_MESSAGE_LENGTH, MESSAGE_REGISTERS, MessageInfo,
};
pub use object::{
    ASID_POOL_COUNT, ASID_POOL_ENTRIES, FrameSize, MAX_UNTYPED_BITS, MIN_SCHED_CONTEXT_BITS,
    MIN_UNTYPED_BITS, ObjectType, RETYPE_FAN_OUT, SLOT_SIZE_BITS, size_bits,
};
pub use registers::{FRAME_REGISTERS, REGISTERS};
pub use syscall::Syscall;

/// First address above user space (exclusive): the last page below the canonical hole is kept free.
pub const USER_TOP: u64 = 0x0000_7fff_ffff_f000;
/// Number of priorities; the highest is 255.
pub const PRIORITIES: usize = 256;
/// Interrupt vectors that `IRQControl_GetIOAPIC` and `GetMSI` accept: 0 to this, inclusive.
pub const MAX_IRQ_VECTOR: u64 = 107;
/// Signal lines of every core: numbers below this.
pub const SIGNAL_LINES: u8 = 16;
/// Interrupt vector of signal line 0; the other lines' follow. Above what devices can have.
pub const FIRST_SIGNAL_VECTOR: u8 = 112;
/// Kernel instances that a machine can have.
pub const MAX_CORES: usize = 64;
/// CPU vector of user interrupt vector 0: what an MSI message must carry is `vector + IRQ_VECTOR_BASE`.
pub const IRQ_VECTOR_BASE: u8 = 0x30;
/// `SchedControl_ConfigureFlags`: set for a sporadic server, clear for constant bandwidth.
pub const SCHED_CONTEXT_SPORADIC: u64 = 1;
/// `TCB_SetFlags`: the thread may not use the FPU.
pub const TCB_FLAG_FPU_DISABLED: u64 = 1;
