//! The kernel's interface: its numbers and layouts, and what of it only programs have a use for.

pub use d3os_abi::*;

/// Cache attributes of a mapping (x86 VM attributes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u64)]
pub enum VmAttributes {
    /// Write-back.
    #[default]
    WriteBack = 0,
    /// Write-through.
    WriteThrough = 1,
    /// Cache disabled.
    CacheDisabled = 2,
    /// Uncacheable.
    Uncacheable = 3,
    /// Write-combining.
    WriteCombining = 4,
}

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
            pub const fn to_words(self) -> [u64; REGISTERS] {
                [$(self.$register,)*]
            }

            /// From words in message order.
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
