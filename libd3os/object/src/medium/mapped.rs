//! Memory that is mapped into this address space.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU64, Ordering};

use super::instructions::{self, WriteBack};
use super::{LINE_BYTES, Line, Medium, WORD_BYTES, assert_unit, assert_within};

/// What it takes until a store outlives a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Caches are lost (ADR): lines are written back by this instruction.
    WrittenBack(WriteBack),
    /// Caches are saved (eADR): what is visible is durable.
    Visible,
    /// Nothing lasts: memory of the volatile tier.
    Never,
}

/// A range of memory that is mapped into this address space, writable.
#[derive(Clone, Copy, Debug)]
pub struct Mapped {
    base: NonNull<u8>,
    bytes: usize,
    durability: Durability,
}

// SAFETY: it is an address and a length; all that is done with them goes through raw pointers, and the
// locks above settle who may.
unsafe impl Send for Mapped {}
// SAFETY: the same.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Memory from `base`.
    ///
    /// # Panics
    /// The range does not consist of lines.
    ///
    /// # Safety
    /// The range is mapped, readable and writable, for as long as this value or a copy of it is
    /// used; no reference to it exists that is not made from this value.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, bytes: usize, durability: Durability) -> Self {
        assert!(bytes.is_multiple_of(LINE_BYTES), "not whole lines");
        Self { base, bytes, durability }
    }

    fn address(&self, at: usize) -> *mut u8 {
        self.base.as_ptr().wrapping_add(at)
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        assert_unit(self, at, WORD_BYTES);
        // SAFETY: the word is aligned and within the range, which is mapped; others access it by
        // raw pointers and atomic words only, as no reference is made to what is being changed.
        unsafe { AtomicU64::from_ptr(self.address(at).cast()) }
    }
}

/// Lines of which is asked together whether they are zeros.
const LINES_JOINED: usize = 16;

/// A line's words, for which the compiler may use its widest aligned loads.
#[repr(C, align(64))]
struct AlignedLine([u64; LINE_BYTES / WORD_BYTES]);

#[inline]
fn is_zero(lines: &[AlignedLine]) -> bool {
    let mut joined = [0; LINE_BYTES / WORD_BYTES];
    for line in lines {
        // Copied as a whole, which keeps that it is aligned.
        joined.iter_mut().zip(line.0).for_each(|(all, word)| *all |= word);
    }
    joined == [0; LINE_BYTES / WORD_BYTES]
}

// SAFETY: `new`'s caller promised the range; it does not move.
unsafe impl Medium for Mapped {
    #[inline]
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline]
    fn read(&self, at: usize, into: &mut [u8]) {
        assert_within(self, at, into.len());
        // SAFETY: the source is within the range; `into` is a reference to other memory, as none is
        // made to the range while it may be read by this.
        unsafe { ptr::copy_nonoverlapping(self.address(at), into.as_mut_ptr(), into.len()) };
    }

    #[inline]
    fn load_word(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Acquire)
    }

    /// Many lines at a time, for memory of gibibytes: all their words are joined before one question is
    /// asked, so that a line takes four instructions of the processor.
    fn is_zero(&self, at: usize, bytes: usize) -> bool {
        assert_within(self, at, bytes);
        assert!(at.is_multiple_of(LINE_BYTES) && bytes.is_multiple_of(LINE_BYTES), "not lines");
        let first = self.address(at).cast::<AlignedLine>();
        // SAFETY: these lines are within the range, which begins at a line and is mapped; nobody changes
        // them meanwhile, and numbers have no wrong patterns.
        let lines = unsafe { core::slice::from_raw_parts(first, bytes / LINE_BYTES) };
        let (joined, rest) = lines.as_chunks::<LINES_JOINED>();
        joined.iter().all(|lines| is_zero(lines)) && is_zero(rest)
    }

    #[inline]
    fn store(&self, at: usize, from: &[u8]) {
        assert_within(self, at, from.len());
        // SAFETY: the destination is within the range, of which no reference is held by whoever may
        // store to it; `copy` allows what overlaps.
        unsafe { ptr::copy(from.as_ptr(), self.address(at), from.len()) };
    }

    #[inline]
    fn store_word(&self, at: usize, word: u64) {
        self.word(at).store(word, Ordering::Release);
    }

    #[inline]
    fn store_line(&self, at: usize, line: &Line) {
        assert_unit(self, at, LINE_BYTES);
        match self.durability {
            // SAFETY: the line is within the range.
            Durability::WrittenBack(_) => unsafe {
                instructions::store_line(self.address(at), line)
            },
            Durability::Visible | Durability::Never => self.store(at, line),
        }
    }

    #[inline]
    fn flush(&self, at: usize) {
        assert_within(self, at, 1);
        if let Durability::WrittenBack(instruction) = self.durability {
            instruction.line(self.address(at));
        }
    }

    #[inline]
    fn fence(&self) {
        if self.durability != Durability::Never {
            instructions::fence();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(64))]
    struct Aligned([u8; 256]);

    fn each(test: impl Fn(Mapped)) {
        let written_back = [WriteBack::find(), WriteBack::ClFlush].map(Durability::WrittenBack);
        for durability in written_back.into_iter().chain([Durability::Visible, Durability::Never]) {
            let mut memory = Aligned([0; 256]);
            let base = NonNull::from(&mut memory.0).cast();
            // SAFETY: the array is borrowed by nothing else until it goes out of scope.
            test(unsafe { Mapped::new(base, 256, durability) });
        }
    }

    #[test]
    fn what_is_stored_is_read() {
        each(|medium| {
            medium.store(3, b"through the cache");
            medium.store_word(64, 0x0123_4567_89ab_cdef);
            medium.store_line(128, &[7; LINE_BYTES]);
            medium.flush_range(0, 192);
            medium.fence();
            let mut bytes = [0; 17];
            medium.read(3, &mut bytes);
            assert_eq!(&bytes, b"through the cache");
            assert_eq!(medium.load_word(64), 0x0123_4567_89ab_cdef);
            medium.read(128, &mut bytes);
            assert_eq!(bytes, [7; 17]);
        });
    }

    #[test]
    fn every_byte_that_is_not_zero_is_seen() {
        each(|medium| {
            assert!(medium.is_zero(0, 256));
            medium.store(77, &[1]);
            assert!(!medium.is_zero(64, 64) && !medium.is_zero(0, 256));
            assert!(medium.is_zero(0, 64) && medium.is_zero(128, 128));
            assert!(medium.part(128, 64).is_zero(0, 64) && !medium.part(64, 64).is_zero(0, 64));
        });
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn what_is_outside_is_a_mistake() {
        each(|medium| medium.store(250, &[0; 7]));
    }

    #[test]
    #[should_panic(expected = "not aligned")]
    fn a_word_is_aligned() {
        each(|medium| medium.store_word(4, 0));
    }

    #[test]
    fn a_part_counts_from_its_beginning() {
        each(|medium| {
            let part = medium.part(64, 128);
            part.store_word(0, 1);
            part.part(64, 64).store_word(8, 2);
            assert_eq!((medium.load_word(64), medium.load_word(136)), (1, 2));
        });
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn a_part_ends_where_it_ends() {
        each(|medium| medium.part(64, 128).store_word(128, 1));
    }
}
