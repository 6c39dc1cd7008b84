//! A part of a medium.

use core::ptr::NonNull;

use super::{LINE_BYTES, Line, Medium, assert_within};

/// Some lines of a medium, as a medium of their own: what an object is to a pool.
#[derive(Clone, Copy, Debug)]
pub struct Part<M> {
    whole: M,
    start: usize,
    bytes: usize,
}

impl<M: Medium> Part<M> {
    pub(super) fn new(whole: M, start: usize, bytes: usize) -> Self {
        assert!(start.is_multiple_of(LINE_BYTES), "a part begins at a line");
        assert!(bytes.is_multiple_of(LINE_BYTES), "a part consists of lines");
        assert_within(&whole, start, bytes);
        Self { whole, start, bytes }
    }

    /// Where this is in the whole, if it is within this part.
    #[inline]
    fn at(&self, at: usize, bytes: usize) -> usize {
        assert_within(self, at, bytes);
        self.start + at
    }
}

// SAFETY: a part of memory that does not move does not move, and is aligned to a line.
unsafe impl<M: Medium> Medium for Part<M> {
    #[inline]
    fn base(&self) -> NonNull<u8> {
        let base = self.whole.base().as_ptr().wrapping_add(self.start);
        // SAFETY: the part is within memory that exists, none of which is at the null address.
        unsafe { NonNull::new_unchecked(base) }
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    fn read(&self, at: usize, into: &mut [u8]) {
        self.whole.read(self.at(at, into.len()), into);
    }

    #[inline]
    fn load_word(&self, at: usize) -> u64 {
        self.whole.load_word(self.at(at, 1))
    }

    fn is_zero(&self, at: usize, bytes: usize) -> bool {
        self.whole.is_zero(self.at(at, bytes), bytes)
    }

    #[inline]
    fn store(&self, at: usize, from: &[u8]) {
        self.whole.store(self.at(at, from.len()), from);
    }

    #[inline]
    fn store_word(&self, at: usize, word: u64) {
        self.whole.store_word(self.at(at, 1), word);
    }

    #[inline]
    fn store_line(&self, at: usize, line: &Line) {
        self.whole.store_line(self.at(at, 1), line);
    }

    #[inline]
    fn flush(&self, at: usize) {
        self.whole.flush(self.at(at, 1));
    }

    #[inline]
    fn fence(&self) {
        self.whole.fence();
    }
}
