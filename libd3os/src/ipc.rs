//! Typed calls over kernel IPC: the wire format and the client's side. [`crate::server`] is the
//! server's.
//!
//! A request has label [`REQUEST_LABEL`] plus the method's number; its word 0 is the length of
//! the argument bytes, which follow eight to a word, little-endian. An answer with label 0 is
//! packed in the same way; any other label is a [`CallError`].

use core::fmt;

use d3os_abi::MessageInfo;

use crate::call::{Bytes, CallError, MAX_BYTES, Transport};
use crate::start::GrantKind;
use crate::sys::{self, Cptr};

/// Label of method 0; below it lie fault messages and signals.
pub const REQUEST_LABEL: u64 = 0x1000;

/// The program was not granted the capability that it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingGrant<'a> {
    /// What kind was asked for.
    pub kind: GrantKind,
    /// Under which name.
    pub name: &'a str,
}

impl fmt::Display for MissingGrant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this program's manifest entry lacks `{}` under `{}`", self.name, self.kind)
    }
}

impl core::error::Error for MissingGrant<'_> {}

/// Carries calls through an endpoint of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpcTransport {
    endpoint: Cptr,
}

impl IpcTransport {
    /// Calls through this endpoint capability.
    #[must_use]
    pub const fn new(endpoint: Cptr) -> Self {
        Self { endpoint }
    }
}

impl Transport for IpcTransport {
    fn call(&self, method: u16, request: &[u8]) -> Result<Bytes, CallError> {
        let info = pack(REQUEST_LABEL + u64::from(method), request)?;
        unpack_answer(sys::call(self.endpoint, info))
    }
}

/// Puts bytes into the message to be sent.
pub(crate) fn pack(label: u64, bytes: &[u8]) -> Result<MessageInfo, CallError> {
    if bytes.len() > MAX_BYTES {
        return Err(CallError::TooLarge);
    }
    sys::set_word(0, bytes.len() as u64);
    let words = sys::copy_into_message(1, bytes);
    Ok(MessageInfo::new(label, 0, 0, 1 + words))
}

/// Takes the bytes out of the message that was received.
pub(crate) fn unpack(info: MessageInfo) -> Result<Bytes, CallError> {
    let room = info.length().checked_sub(1).ok_or(CallError::Malformed)? * 8;
    let length = usize::try_from(sys::word(0)).ok().filter(|length| *length <= room);
    let mut bytes = Bytes::new();
    bytes.resize(length.ok_or(CallError::Malformed)?, 0).map_err(|_| CallError::Malformed)?;
    sys::copy_from_message(1, &mut bytes);
    Ok(bytes)
}

fn unpack_answer(info: MessageInfo) -> Result<Bytes, CallError> {
    match info.label() {
        0 => unpack(info),
        number => Err(CallError::from_number(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Registers;
    use proptest::prelude::*;

    fn answered(answer: MessageInfo, words: [u64; 4]) -> Result<Bytes, CallError> {
        let kernel = move |_, input: Registers| Registers { rsi: answer.0, words, ..input };
        sys::host::with_kernel(kernel, || IpcTransport::new(Cptr::new(3)).call(2, b"abc"))
    }

    #[test]
    fn a_call_carries_method_length_and_bytes() {
        let kernel = |_, input: Registers| {
            assert_eq!(MessageInfo(input.rsi), MessageInfo::new(0x1002, 0, 0, 2));
            assert_eq!((input.rdi, input.words[0], input.words[1]), (3, 3, 0x63_62_61));
            Registers { rsi: MessageInfo::new(0, 0, 0, 2).0, words: [1, 0x7a, 0, 0], ..input }
        };
        let transport = IpcTransport::new(Cptr::new(3));
        let answer = sys::host::with_kernel(kernel, || transport.call(2, b"abc"));
        assert_eq!(answer.as_deref(), Ok(&b"z"[..]));
    }

    #[test]
    fn error_labels_come_back_typed() {
        for error in CallError::ALL {
            let info = MessageInfo::new(u64::from(error.number()), 0, 0, 0);
            assert_eq!(answered(info, [0; 4]), Err(error));
        }
        assert_eq!(answered(MessageInfo::new(999, 0, 0, 0), [0; 4]), Err(CallError::Malformed));
    }

    #[test]
    fn too_large_is_found_before_sending() {
        let transport = IpcTransport::new(Cptr::new(3));
        assert_eq!(transport.call(0, &[0; MAX_BYTES + 1]), Err(CallError::TooLarge));
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_client_panic(info: u64, words: [u64; 4]) {
            let _ = answered(MessageInfo(info), words);
        }
    }
}
