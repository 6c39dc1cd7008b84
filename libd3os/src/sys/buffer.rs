//! The calling thread's IPC buffer.
//!
//! Each thread has a pointer to its own buffer in thread-local storage. Every access is one
//! volatile word: the kernel reads and writes the buffer behind the compiler's back.

use core::mem::offset_of;

use d3os_abi::{IPC_BUFFER_SIZE, IpcBuffer, MAX_EXTRA_CAPS, MAX_MESSAGE_LENGTH, MESSAGE_REGISTERS};

use super::Cptr;

#[cfg(target_os = "none")]
mod pointer {
    //! The pointer, set once when the thread starts.

    use core::cell::Cell;

    use d3os_abi::IpcBuffer;

    #[thread_local]
    static POINTER: Cell<*mut IpcBuffer> = Cell::new(core::ptr::null_mut());

    /// Tells where this thread's IPC buffer is.
    ///
    /// # Safety
    /// The buffer must stay mapped and be this thread's own for as long as the thread runs.
    pub(crate) unsafe fn set_ipc_buffer(buffer: *mut IpcBuffer) {
        POINTER.set(buffer);
    }

    pub(super) fn get() -> *mut IpcBuffer {
        POINTER.get()
    }
}

#[cfg(not(target_os = "none"))]
mod pointer {
    //! A buffer of the thread's own, made when it is first used.

    extern crate std;

    use std::boxed::Box;
    use std::cell::UnsafeCell;

    use d3os_abi::{IpcBuffer, MAX_EXTRA_CAPS, MAX_MESSAGE_LENGTH};

    std::thread_local! {
        static BUFFER: Box<UnsafeCell<IpcBuffer>> = Box::new(UnsafeCell::new(IpcBuffer {
            tag: 0,
            msg: [0; MAX_MESSAGE_LENGTH],
            user_data: 0,
            caps_or_badges: [0; MAX_EXTRA_CAPS],
            receive_cnode: 0,
            receive_index: 0,
            receive_depth: 0,
        }));
    }

    pub(super) fn get() -> *mut IpcBuffer {
        BUFFER.with(|buffer| buffer.get())
    }
}

#[cfg(target_os = "none")]
pub(crate) use pointer::set_ipc_buffer;

/// Words of the buffer, and where its fields begin among them.
const WORDS: usize = IPC_BUFFER_SIZE / 8;
const MESSAGE: usize = offset_of!(IpcBuffer, msg) / 8;
const CAPS: usize = offset_of!(IpcBuffer, caps_or_badges) / 8;
const RECEIVE_ROOT: usize = offset_of!(IpcBuffer, receive_cnode) / 8;
const RECEIVE_INDEX: usize = offset_of!(IpcBuffer, receive_index) / 8;
const RECEIVE_DEPTH: usize = offset_of!(IpcBuffer, receive_depth) / 8;

/// Address of a word of the buffer.
fn pointer_to(index: usize) -> *mut u64 {
    debug_assert!(index < WORDS, "the buffer has {WORDS} words");
    let buffer = pointer::get();
    debug_assert!(!buffer.is_null(), "the runtime sets the IPC buffer before any code runs");
    buffer.cast::<u64>().wrapping_add(index)
}

fn load(index: usize) -> u64 {
    // SAFETY: every caller's index lies in the buffer, which is mapped, aligned and this
    // thread's own.
    unsafe { pointer_to(index).read_volatile() }
}

fn store(index: usize, value: u64) {
    // SAFETY: as in `load`.
    unsafe { pointer_to(index).write_volatile(value) }
}

/// Where a thread's message is.
#[derive(Clone, Copy)]
pub(super) struct Message(*mut u64);

impl Message {
    /// The calling thread's.
    pub(super) fn of_this_thread() -> Self {
        Self(pointer_to(MESSAGE))
    }

    /// The words that go into registers.
    pub(super) fn first_words(self) -> [u64; MESSAGE_REGISTERS] {
        // SAFETY: as in `load`; a message has more words than that.
        core::array::from_fn(|index| unsafe { self.0.wrapping_add(index).read_volatile() })
    }

    /// Stores those that came in registers.
    pub(super) fn set_first_words(self, words: [u64; MESSAGE_REGISTERS]) {
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: as in `load`; a message has more words than that.
            unsafe { self.0.wrapping_add(index).write_volatile(word) };
        }
    }
}

/// Message word `index`.
///
/// # Panics
/// `index` is no word of a message (120 or more).
#[must_use]
pub fn word(index: usize) -> u64 {
    assert!(index < MAX_MESSAGE_LENGTH, "a message has {MAX_MESSAGE_LENGTH} words");
    load(MESSAGE + index)
}

/// Sets message word `index`.
///
/// # Panics
/// `index` is no word of a message (120 or more).
pub fn set_word(index: usize, value: u64) {
    assert!(index < MAX_MESSAGE_LENGTH, "a message has {MAX_MESSAGE_LENGTH} words");
    store(MESSAGE + index, value);
}

/// Sets the `index`-th capability to send.
///
/// # Panics
/// A message carries no such capability (3 or more).
pub fn set_cap(index: usize, cap: Cptr) {
    assert!(index < MAX_EXTRA_CAPS, "a message carries {MAX_EXTRA_CAPS} capabilities");
    store(CAPS + index, cap.address());
}

/// The badge that came instead of the `index`-th capability.
///
/// # Panics
/// A message carries no such capability (3 or more).
#[must_use]
pub fn badge(index: usize) -> u64 {
    assert!(index < MAX_EXTRA_CAPS, "a message carries {MAX_EXTRA_CAPS} capabilities");
    load(CAPS + index)
}

/// Where a capability that comes with the next message is put: root, index and depth.
pub fn set_receive_slot(root: Cptr, index: u64, depth: u64) {
    store(RECEIVE_ROOT, root.address());
    store(RECEIVE_INDEX, index);
    store(RECEIVE_DEPTH, depth);
}

/// What [`set_receive_slot`] has set.
#[must_use]
pub fn receive_slot() -> (Cptr, u64, u64) {
    (Cptr::new(load(RECEIVE_ROOT)), load(RECEIVE_INDEX), load(RECEIVE_DEPTH))
}

/// Packs bytes into message words from `first` on, eight a word, little-endian. Returns how many
/// words that took.
///
/// # Panics
/// The message has no room for them.
pub fn copy_into_message(first: usize, bytes: &[u8]) -> usize {
    let mut words = 0;
    for chunk in bytes.chunks(8) {
        let mut padded = [0; 8];
        padded[..chunk.len()].copy_from_slice(chunk);
        set_word(first + words, u64::from_le_bytes(padded));
        words += 1;
    }
    words
}

/// Unpacks what [`copy_into_message`] packed: fills `bytes` from message words `first` on.
///
/// # Panics
/// The message does not have so many words.
pub fn copy_from_message(first: usize, bytes: &mut [u8]) {
    for (number, chunk) in bytes.chunks_mut(8).enumerate() {
        let packed = word(first + number).to_le_bytes();
        chunk.copy_from_slice(&packed[..chunk.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_survive_packing(bytes in prop::collection::vec(any::<u8>(), 0..953)) {
            prop_assert_eq!(copy_into_message(1, &bytes), bytes.len().div_ceil(8));
            let mut back: Vec<u8> = alloc::vec![0; bytes.len()];
            copy_from_message(1, &mut back);
            prop_assert_eq!(back, bytes);
        }
    }

    #[test]
    fn words_capabilities_and_receive_slot_do_not_overlap() {
        for index in 0..MAX_MESSAGE_LENGTH {
            set_word(index, 1000 + index as u64);
        }
        for index in 0..MAX_EXTRA_CAPS {
            set_cap(index, Cptr::new(index as u64));
        }
        set_receive_slot(Cptr::new(1), 2, 3);
        assert!((0..MAX_MESSAGE_LENGTH).all(|index| word(index) == 1000 + index as u64));
        assert!((0..MAX_EXTRA_CAPS).all(|index| badge(index) == index as u64));
        assert_eq!(receive_slot(), (Cptr::new(1), 2, 3));
    }
}
