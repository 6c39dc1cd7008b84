//! The ABI layer: system calls, message registers and the IPC buffer.
//!
//! A message is composed in the calling thread's IPC buffer ([`set_word`], [`set_cap`], …) and
//! read from there; the stubs move its first four words into registers and back, as the kernel
//! wants them. Whoever makes a system call between composing and sending, or between receiving
//! and reading, overwrites the message.
//!
//! On a host there is no kernel to call. There every system call goes to the fake that a test
//! has installed with `host::with_kernel`, and the IPC buffer is a plain thread-local.

#[expect(unsafe_code, reason = "reaches the IPC buffer through the thread's pointer to it")]
mod buffer;
#[cfg(not(target_os = "none"))]
pub mod host;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "executes the SYSCALL instruction")]
mod trap;

use buffer::Message;
#[cfg(target_os = "none")]
pub(crate) use buffer::set_ipc_buffer;
pub use buffer::{
    badge, copy_from_message, copy_into_message, receive_slot, set_cap, set_receive_slot, set_word,
    word,
};

use core::fmt;

use d3os_abi::{MESSAGE_REGISTERS, MessageInfo, Syscall};

#[cfg(not(target_os = "none"))]
use host::{trap, trap_without_words};
#[cfg(target_os = "none")]
use trap::{trap, trap_without_words};

/// A capability's address in the caller's capability space.
///
/// It says nothing about what is there; the types of [`crate::cap`] say what should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Cptr(u64);

impl Cptr {
    /// The slot that never holds a capability.
    pub const NULL: Self = Self(0);

    /// The capability at this address.
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    /// The address.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Cptr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {:#x}", self.0)
    }
}

/// The registers of a system call, before and after. See section 2 of the manual's x86_64 ABI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// In: destination, or where to receive from. Out: badge.
    pub rdi: u64,
    /// In and out: message info.
    pub rsi: u64,
    /// In and out: message words 0 to 3 (R10, R8, R9, R15).
    pub words: [u64; MESSAGE_REGISTERS],
    /// In: reply object (`NBSendWait`: destination of the send).
    pub r12: u64,
    /// In: destination of the send half of `NBSendRecv`.
    pub r13: u64,
}

/// What a receiving call brought; the words lie in the IPC buffer. All zero where a call that does
/// not wait brought nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Badge of the sender's capability, or of the signals.
    pub badge: u64,
    /// Label, length and capabilities. All zero for a signal.
    pub info: MessageInfo,
}

/// Makes any system call with these registers, leaving the IPC buffer alone: for benchmarks and
/// kernel tests. Programs use the functions below.
#[must_use]
pub fn raw(syscall: Syscall, registers: Registers) -> Registers {
    trap(syscall.number(), registers)
}

/// Makes a system call of any number, also of one that does not exist: for kernel tests.
#[must_use]
pub fn raw_number(number: i64, registers: Registers) -> Registers {
    trap(number, registers)
}

/// Sends the composed message and waits for the answer.
#[must_use]
#[inline]
pub fn call(destination: Cptr, info: MessageInfo) -> MessageInfo {
    let input = Registers { rdi: destination.0, rsi: info.0, ..Registers::default() };
    exchange(Syscall::Call, input).info
}

/// As [`call`], with the first words of the message given instead of composed; words of the answer lie
/// in the IPC buffer as always.
#[must_use]
#[inline]
pub fn call_with(
    destination: Cptr,
    info: MessageInfo,
    words: [u64; MESSAGE_REGISTERS],
) -> MessageInfo {
    let input = Registers { rdi: destination.0, rsi: info.0, words, ..Registers::default() };
    received(trap(Syscall::Call.number(), input)).info
}

/// Sends the composed message; waits until somebody takes it.
#[inline]
pub fn send(destination: Cptr, info: MessageInfo) {
    send_message(Syscall::Send, destination, info);
}

/// Sends the composed message if somebody waits for it.
#[inline]
pub fn nb_send(destination: Cptr, info: MessageInfo) {
    send_message(Syscall::NBSend, destination, info);
}

/// Signals a notification.
#[inline]
pub fn signal(notification: Cptr) {
    let input = Registers { rdi: notification.0, ..Registers::default() };
    let _ = trap_without_words(Syscall::Send.number(), input);
}

/// Waits for a message; `reply` will answer its sender.
#[must_use]
#[inline]
pub fn recv(source: Cptr, reply: Cptr) -> Received {
    let input = Registers { rdi: source.0, r12: reply.0, ..Registers::default() };
    receive(Syscall::Recv, input)
}

/// Takes a message if one is there. Without one, badge and info are zero.
#[must_use]
#[inline]
pub fn nb_recv(source: Cptr, reply: Cptr) -> Received {
    let input = Registers { rdi: source.0, r12: reply.0, ..Registers::default() };
    receive(Syscall::NBRecv, input)
}

/// Sends the composed message through `reply`, then waits for the next, which `reply` will
/// answer.
#[must_use]
#[inline]
pub fn reply_recv(source: Cptr, info: MessageInfo, reply: Cptr) -> Received {
    let input = Registers { rdi: source.0, r12: reply.0, rsi: info.0, ..Registers::default() };
    exchange(Syscall::ReplyRecv, input)
}

/// Sends the composed message to `destination` if somebody waits for it, then waits at `source`.
#[must_use]
#[inline]
pub fn nb_send_recv(destination: Cptr, info: MessageInfo, source: Cptr, reply: Cptr) -> Received {
    let input = Registers {
        rdi: source.0,
        r12: reply.0,
        r13: destination.0,
        rsi: info.0,
        ..Registers::default()
    };
    exchange(Syscall::NBSendRecv, input)
}

/// Sends the composed message to `destination` if somebody waits for it, then waits at `source`
/// for something that needs no answer.
#[must_use]
#[inline]
pub fn nb_send_wait(destination: Cptr, info: MessageInfo, source: Cptr) -> Received {
    let input =
        Registers { rdi: source.0, r12: destination.0, rsi: info.0, ..Registers::default() };
    exchange(Syscall::NBSendWait, input)
}

/// Signals a notification, then waits for a message; `reply` will answer its sender.
#[must_use]
#[inline]
pub fn signal_recv(notification: Cptr, source: Cptr, reply: Cptr) -> Received {
    let input =
        Registers { rdi: source.0, r12: reply.0, r13: notification.0, ..Registers::default() };
    receive(Syscall::NBSendRecv, input)
}

/// Signals a notification, then waits for a signal, or a message that needs no answer.
#[must_use]
#[inline]
pub fn signal_wait(notification: Cptr, source: Cptr) -> Received {
    let input = Registers { rdi: source.0, r12: notification.0, ..Registers::default() };
    receive(Syscall::NBSendWait, input)
}

/// Waits for a signal, or a message that needs no answer.
#[must_use]
#[inline]
pub fn wait(source: Cptr) -> Received {
    let input = Registers { rdi: source.0, ..Registers::default() };
    receive(Syscall::Wait, input)
}

/// Takes a signal if there is one. Without one, badge and info are zero.
#[must_use]
#[inline]
pub fn nb_wait(source: Cptr) -> Received {
    let input = Registers { rdi: source.0, ..Registers::default() };
    receive(Syscall::NBWait, input)
}

/// Gives up the rest of this period's budget.
#[inline]
pub fn yield_now() {
    let _ = trap_without_words(Syscall::Yield.number(), Registers::default());
}

/// Sets the caller's own FS base.
pub fn set_tls_base(base: u64) {
    let input = Registers { rdi: base, ..Registers::default() };
    let _ = trap_without_words(Syscall::SetTLSBase.number(), input);
}

/// Makes a system call that receives, and sends first what was composed. The message's first words
/// are taken from the buffer and come back there, if there are any.
#[inline]
fn exchange(syscall: Syscall, input: Registers) -> Received {
    let words = Message::of_this_thread().first_words();
    received(trap(syscall.number(), Registers { words, ..input }))
}

/// Makes a system call that receives, and sends no words.
#[inline]
fn receive(syscall: Syscall, input: Registers) -> Received {
    received(trap_without_words(syscall.number(), input))
}

/// Puts the words that came in registers into the buffer.
#[inline]
fn received(output: Registers) -> Received {
    let info = MessageInfo(output.rsi);
    if info.length() > 0 {
        Message::of_this_thread().set_first_words(output.words);
    }
    Received { badge: output.rdi, info }
}

/// Makes a system call that sends what was composed only.
#[inline]
fn send_message(syscall: Syscall, destination: Cptr, info: MessageInfo) {
    let words = Message::of_this_thread().first_words();
    let input = Registers { rdi: destination.0, rsi: info.0, words, ..Registers::default() };
    let _ = trap(syscall.number(), input);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_carry_the_first_words() {
        let check = |number: i64, input: Registers| {
            assert_eq!(number, Syscall::Call.number());
            assert_eq!((input.rdi, input.words), (9, [1, 2, 3, 4]));
            Registers { rsi: MessageInfo::new(7, 0, 0, 4).0, words: [5, 6, 7, 8], ..input }
        };
        let info = host::with_kernel(check, || {
            for index in 0..4 {
                set_word(index, index as u64 + 1);
            }
            call(Cptr::new(9), MessageInfo::new(1, 0, 0, 4))
        });
        assert_eq!(info.label(), 7);
        assert_eq!([word(0), word(1), word(2), word(3)], [5, 6, 7, 8]);
    }

    #[test]
    fn compound_calls_put_each_capability_in_its_register() {
        let (a, b, c) = (Cptr::new(1), Cptr::new(2), Cptr::new(3));
        let info = MessageInfo::default();
        let recv = |number, input: Registers| {
            assert_eq!(number, Syscall::NBSendRecv.number());
            assert_eq!((input.rdi, input.r12, input.r13), (2, 3, 1));
            Registers { rdi: 77, ..input }
        };
        assert_eq!(host::with_kernel(recv, || nb_send_recv(a, info, b, c)).badge, 77);
        let wait = |number, input: Registers| {
            assert_eq!(number, Syscall::NBSendWait.number());
            assert_eq!((input.rdi, input.r12, input.r13), (2, 1, 0));
            input
        };
        let _ = host::with_kernel(wait, || nb_send_wait(a, info, b));
    }
}
