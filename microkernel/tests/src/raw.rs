//! System calls by registers alone: for threads that have no thread-local storage, where the
//! library's functions keep the pointer to the IPC buffer.

use libd3os::abi::{MessageInfo, Syscall};
use libd3os::sys::{self, Cptr, Registers};

/// What a receiving call brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) badge: u64,
    pub(crate) info: MessageInfo,
    pub(crate) words: [u64; 4],
}

impl From<Registers> for Message {
    fn from(registers: Registers) -> Self {
        let Registers { rdi: badge, rsi, words, .. } = registers;
        Self { badge, info: MessageInfo(rsi), words }
    }
}

/// A message of up to four words.
pub(crate) fn info(label: u64, length: usize) -> MessageInfo {
    MessageInfo::new(label, 0, 0, length)
}

fn sending(destination: Cptr, info: MessageInfo, words: [u64; 4]) -> Registers {
    Registers { rdi: destination.address(), rsi: info.0, words, ..Registers::default() }
}

fn receiving(source: Cptr, reply: Cptr) -> Registers {
    Registers { rdi: source.address(), r12: reply.address(), ..Registers::default() }
}

pub(crate) fn call(destination: Cptr, info: MessageInfo, words: [u64; 4]) -> Message {
    sys::raw(Syscall::Call, sending(destination, info, words)).into()
}

pub(crate) fn send(destination: Cptr, info: MessageInfo, words: [u64; 4]) {
    let _ = sys::raw(Syscall::Send, sending(destination, info, words));
}

pub(crate) fn nb_send(destination: Cptr, info: MessageInfo, words: [u64; 4]) {
    let _ = sys::raw(Syscall::NBSend, sending(destination, info, words));
}

pub(crate) fn signal(notification: Cptr) {
    send(notification, MessageInfo::default(), [0; 4]);
}

pub(crate) fn wait(source: Cptr) -> Message {
    sys::raw(Syscall::Wait, receiving(source, Cptr::NULL)).into()
}

pub(crate) fn nb_wait(source: Cptr) -> Message {
    sys::raw(Syscall::NBWait, receiving(source, Cptr::NULL)).into()
}

pub(crate) fn recv(source: Cptr, reply: Cptr) -> Message {
    sys::raw(Syscall::Recv, receiving(source, reply)).into()
}

pub(crate) fn nb_recv(source: Cptr, reply: Cptr) -> Message {
    sys::raw(Syscall::NBRecv, receiving(source, reply)).into()
}

pub(crate) fn reply_recv(source: Cptr, reply: Cptr, info: MessageInfo, words: [u64; 4]) -> Message {
    let registers = Registers { r12: reply.address(), ..sending(source, info, words) };
    sys::raw(Syscall::ReplyRecv, registers).into()
}

pub(crate) fn nb_send_recv(
    destination: Cptr,
    info: MessageInfo,
    words: [u64; 4],
    source: Cptr,
    reply: Cptr,
) -> Message {
    let (r12, r13) = (reply.address(), destination.address());
    let registers = Registers { r12, r13, ..sending(source, info, words) };
    sys::raw(Syscall::NBSendRecv, registers).into()
}

pub(crate) fn nb_send_wait(
    destination: Cptr,
    info: MessageInfo,
    words: [u64; 4],
    source: Cptr,
) -> Message {
    let registers = Registers { r12: destination.address(), ..sending(source, info, words) };
    sys::raw(Syscall::NBSendWait, registers).into()
}

pub(crate) fn yield_now() {
    let _ = sys::raw(Syscall::Yield, Registers::default());
}

pub(crate) fn set_tls_base(base: u64) {
    let registers = Registers { rdi: base, ..Registers::default() };
    let _ = sys::raw(Syscall::SetTLSBase, registers);
}
