//! The register frame of `TCB_ReadRegisters` and `TCB_WriteRegisters`.

/// Words in a register frame.
pub const REGISTERS: usize = 20;
/// The first of them are the frame registers, the rest the integer ones (`CopyRegisters`).
pub const FRAME_REGISTERS: usize = 18;

/// Declares the frame: a field a register, and its words in the order of the fields.
macro_rules! user_registers {
    ($($register:ident)*) => {
        /// A thread's registers, in the order in which messages carry them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(C)]
        #[expect(missing_docs, reason = "each is the register's name")]
        pub struct UserRegisters { $(pub $register: u64,)* }

        impl UserRegisters {
            /// As words, in message order.
            #[must_use]
            pub const fn to_words(self) -> [u64; REGISTERS] {
                [$(self.$register,)*]
            }

            /// From words in message order.
            #[must_use]
            pub const fn from_words(words: [u64; REGISTERS]) -> Self {
                let [$($register,)*] = words;
                Self { $($register,)* }
            }
        }
    };
}

user_registers! {
    rip rsp rflags rax rbx rcx rdx rsi rdi rbp r8 r9 r10 r11 r12 r13 r14 r15 fs_base gs_base
}
