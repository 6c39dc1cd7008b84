//! Memory that lies in a program's image: the heap and the stack of a root task.

use core::cell::UnsafeCell;

/// Memory of the image, aligned to a page, to be used through its address.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct BootMemory<const BYTES: usize>(UnsafeCell<[u8; BYTES]>);

// SAFETY: this type only tells the memory's address; whoever uses the memory answers for that.
unsafe impl<const BYTES: usize> Sync for BootMemory<BYTES> {}

impl<const BYTES: usize> BootMemory<BYTES> {
    /// Zeroed memory.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "only statics are made of it")]
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; BYTES]))
    }

    /// Its first byte.
    #[must_use]
    pub const fn base(&self) -> *mut u8 {
        self.0.get().cast()
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        BYTES
    }
}

/// Return addresses of the calling functions, the innermost first, found by following frame
/// pointers from `frame` as long as they stay in the stack (`low..high`) and go upwards.
#[cfg(target_os = "none")]
pub(super) fn return_addresses(frame: u64, low: u64, high: u64) -> impl Iterator<Item = u64> {
    let mut frame = frame;
    core::iter::from_fn(move || {
        if frame < low || frame.checked_add(16)? > high || !frame.is_multiple_of(8) {
            return None;
        }
        let words = frame as *const [u64; 2];
        // SAFETY: both words lie within the stack, which is mapped, and are aligned.
        let [caller, address] = unsafe { words.read_volatile() };
        frame = if caller > frame { caller } else { 0 };
        (address != 0).then_some(address)
    })
}
