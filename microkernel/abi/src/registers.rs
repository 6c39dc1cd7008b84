//! The register frame of `TCB_ReadRegisters` and `TCB_WriteRegisters`.

/// Words in a register frame.
pub const REGISTERS: usize = 20;
/// The first of them are the frame registers, the rest the integer ones (`CopyRegisters`).
pub const FRAME_REGISTERS: usize = 18;

/// A thread's registers, in the order in which messages carry them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "each is the register's name")]
pub struct UserRegisters {
    pub rip: u64,
    pub rsp: u64,
    pub rflags: u64,
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
}

impl UserRegisters {
    /// As words, in message order.
    #[must_use]
    pub const fn to_words(self) -> [u64; REGISTERS] {
        [
            self.rip,
            self.rsp,
            self.rflags,
            self.rax,
            self.rbx,
            self.rcx,
            self.rdx,
            self.rsi,
            self.rdi,
            self.rbp,
            self.r8,
            self.r9,
            self.r10,
            self.r11,
            self.r12,
            self.r13,
            self.r14,
            self.r15,
            self.fs_base,
            self.gs_base,
        ]
    }

    /// From words in message order.
    #[must_use]
    pub const fn from_words(words: [u64; REGISTERS]) -> Self {
        let [
            rip,
            rsp,
            rflags,
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rbp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            fs_base,
            gs_base,
        ] = words;
        Self {
            rip,
            rsp,
            rflags,
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rbp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            fs_base,
            gs_base,
        }
    }
}
