//! The register frame of `TCB_ReadRegisters` and `TCB_WriteRegisters`.

/// Words in a register frame: RIP RSP RFLAGS RAX RBX RCX RDX RSI RDI RBP R8..R15 FS_BASE GS_BASE.
pub const REGISTERS: usize = 20;
/// The first of them are the frame registers, the rest the integer ones (`CopyRegisters`).
pub const FRAME_REGISTERS: usize = 18;
