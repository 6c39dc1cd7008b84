//! The IPC buffer: message words beyond the registers, and capability transfer.

use crate::{MAX_EXTRA_CAPS, MAX_MESSAGE_LENGTH};

/// log2 of the buffer's size; it is aligned to its size.
pub const IPC_BUFFER_SIZE_BITS: u8 = 10;
/// Bytes of the buffer.
pub const IPC_BUFFER_SIZE: usize = 1 << IPC_BUFFER_SIZE_BITS;

/// Layout of a thread's IPC buffer.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(1024))]
pub struct IpcBuffer {
    /// Message info of the last message (by convention; the kernel uses the register).
    pub tag: u64,
    /// Message words; the first four travel in registers.
    pub msg: [u64; MAX_MESSAGE_LENGTH],
    /// For the program's own use.
    pub user_data: u64,
    /// Sending: capabilities to send. Received: badges of unwrapped capabilities.
    pub caps_or_badges: [u64; MAX_EXTRA_CAPS],
    /// Root of the slot that receives a capability.
    pub receive_cnode: u64,
    /// Index of that slot.
    pub receive_index: u64,
    /// Bits of the index to resolve.
    pub receive_depth: u64,
}

const _: () = assert!(size_of::<IpcBuffer>() == IPC_BUFFER_SIZE);
const _: () = assert!(core::mem::offset_of!(IpcBuffer, caps_or_badges) == 976);
const _: () = assert!(core::mem::offset_of!(IpcBuffer, receive_depth) == 1016);
