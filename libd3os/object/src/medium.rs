//! Persistent memory, and the only way by which this library writes it.
//!
//! A store reaches the processor's caches; it is durable only when its line was written back and a
//! fence has waited for that. Between the two, the processor may write any line back at any time. What
//! is relied upon is no more than:
//!
//! - an aligned 8-byte store is whole or absent after a loss of power, a wider one may be torn;
//! - stores to one line become durable in program order, those to different lines in any order;
//! - after [`flush`](Medium::flush) and then [`fence`](Medium::fence) by the same thread, what the
//!   line held at the flush is durable;
//! - the 8-byte words of [`store_line`](Medium::store_line) become durable in any order, and all of
//!   them with the thread's next fence.
//!
//! On a platform that keeps caches alive (eADR) stores are durable in program order when they are
//! visible; the flush is nothing there, the fence still waits for what is under way.

#[expect(unsafe_code, reason = "executes the instructions that store past and flush the caches")]
mod instructions;
#[expect(unsafe_code, reason = "stores to memory that is mapped for it")]
mod mapped;
#[expect(unsafe_code, reason = "promises for a part what holds for the whole")]
mod part;

use core::ptr::NonNull;

pub use instructions::WriteBack;
pub use mapped::{Durability, Mapped};
pub use part::Part;

/// Bytes that are written back together.
pub const LINE_BYTES: usize = 64;

/// Bytes that a loss of power does not tear, if they are aligned.
pub const WORD_BYTES: usize = 8;

/// The contents of a line.
pub type Line = [u8; LINE_BYTES];

/// A range of memory that outlives a loss of power.
///
/// Offsets are in bytes from its beginning. They are checked by whoever calls, because a foreign
/// offset deserves a better answer than this trait could give: an offset outside is a mistake in
/// the caller, and panics.
///
/// All methods take `&self`, as the memory is shared by nature: with other programs, with other
/// threads. Who may store where, and when, is settled by the locks of the layers above.
///
/// # Safety
/// For as long as the medium or a clone of it lives, [`base`](Self::base) is the same address, of
/// [`bytes`](Self::bytes) bytes that may be read, aligned to [`LINE_BYTES`] at least, and changed
/// through no path that this library does not know of, but by programs with a right to.
pub unsafe trait Medium {
    /// Where the memory begins in this address space.
    fn base(&self) -> NonNull<u8>;

    /// How long it is.
    fn bytes(&self) -> usize;

    /// Copies bytes out.
    fn read(&self, at: usize, into: &mut [u8]);

    /// Loads the aligned word at `at`, in one access.
    fn load_word(&self, at: usize) -> u64;

    /// Whether these bytes, whole lines, are all zeros. Nobody changes them meanwhile.
    fn is_zero(&self, at: usize, bytes: usize) -> bool {
        (at..at + bytes).step_by(WORD_BYTES).all(|at| self.load_word(at) == 0)
    }

    /// Stores bytes, through the cache. They may be torn at aligned words.
    fn store(&self, at: usize, from: &[u8]);

    /// Stores the aligned word at `at`, through the cache and in one access.
    fn store_word(&self, at: usize, word: u64);

    /// Stores the line that begins at `at` past the cache. Until the next fence, nothing else may be
    /// stored to it.
    fn store_line(&self, at: usize, line: &Line);

    /// Has the line in which `at` lies written back; durable after the next fence.
    fn flush(&self, at: usize);

    /// Waits until all that this thread has flushed or stored past the cache is durable.
    fn fence(&self);

    /// Has all lines written back that `bytes` bytes from `at` touch.
    fn flush_range(&self, at: usize, bytes: usize) {
        let first = at - at % LINE_BYTES;
        (first..at + bytes).step_by(LINE_BYTES).for_each(|line| self.flush(line));
    }

    /// A part of this medium as a medium of its own.
    ///
    /// # Panics
    /// The part is not within, or does not begin at a line.
    fn part(&self, at: usize, bytes: usize) -> Part<Self>
    where
        Self: Clone,
    {
        Part::new(self.clone(), at, bytes)
    }
}

/// Panics unless the bytes are within.
#[inline]
pub(crate) fn assert_within(medium: &impl Medium, at: usize, bytes: usize) {
    let end = at.checked_add(bytes);
    assert!(end.is_some_and(|end| end <= medium.bytes()), "{bytes} bytes at {at:#x} are outside");
}

/// Panics unless this is the offset of a whole unit within.
#[inline]
pub(crate) fn assert_unit(medium: &impl Medium, at: usize, unit: usize) {
    assert!(at.is_multiple_of(unit), "{at:#x} is not aligned to {unit}");
    assert_within(medium, at, unit);
}
