//! Whole lines, sixteen bytes at a time, for user space.
//!
//! A line's words are atomic so that a peer that writes at any time cannot make reading undefined, and
//! the language has no wider atomic ones. The instructions here are opaque to the compiler, which
//! assumes nothing of what they read; what a peer writes meanwhile is read as some mix of old and new
//! bytes, as it would be word by word. The order in which a line's bytes and its header are seen is the
//! header's: on this processor all loads stay in order, and so do all stores, and the compiler moves no
//! access across the instructions.

use core::arch::asm;
use core::sync::atomic::AtomicU64;

use super::line::{PAYLOAD_BYTES, PAYLOAD_WORDS};

/// Puts these bytes into a line's words.
#[inline(always)]
pub(super) fn store(words: &[AtomicU64; PAYLOAD_WORDS], bytes: &[u8; PAYLOAD_BYTES]) {
    // SAFETY: each pointer leads to as many bytes as are accessed, and the words may be written through
    // a shared reference.
    unsafe { copy(bytes.as_ptr(), words.as_ptr().cast_mut().cast()) }
}

/// Takes the bytes out of a line's words.
#[inline(always)]
pub(super) fn load(words: &[AtomicU64; PAYLOAD_WORDS], bytes: &mut [u8; PAYLOAD_BYTES]) {
    // SAFETY: each pointer leads to as many bytes as are accessed, and the bytes are the caller's.
    unsafe { copy(words.as_ptr().cast(), bytes.as_mut_ptr()) }
}

/// Copies a line's bytes.
///
/// # Safety
/// [`PAYLOAD_BYTES`] bytes can be read at `from` and written at `to`.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8) {
    const { assert!(PAYLOAD_BYTES == 56, "the instructions below") };
    // SAFETY: the caller's. Nothing else is accessed, and only the registers named are changed.
    unsafe {
        asm!(
            "movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups {c}, [{from} + 32]",
            "mov {d}, [{from} + 48]",
            "movups [{to}], {a}",
            "movups [{to} + 16], {b}",
            "movups [{to} + 32], {c}",
            "mov [{to} + 48], {d}",
            from = in(reg) from,
            to = in(reg) to,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(reg) _,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::Ordering;
    use proptest::prelude::*;

    proptest! {
        /// The bytes lie in the words as they do word by word, and nothing beside them is touched.
        #[test]
        fn lines_are_those_of_single_words(words: [u64; PAYLOAD_WORDS]) {
            let bytes: [u8; PAYLOAD_BYTES] =
                core::array::from_fn(|at| words[at / 8].to_le_bytes()[at % 8]);
            let room: [[AtomicU64; PAYLOAD_WORDS]; 3] = Default::default();
            store(&room[1], &bytes);
            let there = room.each_ref().map(|line| line.each_ref().map(|it| it.load(Ordering::Relaxed)));
            prop_assert_eq!(there, [[0; PAYLOAD_WORDS], words, [0; PAYLOAD_WORDS]]);
            let mut back = [[0xa5; PAYLOAD_BYTES]; 3];
            load(&room[1], &mut back[1]);
            prop_assert_eq!(back, [[0xa5; PAYLOAD_BYTES], bytes, [0xa5; PAYLOAD_BYTES]]);
        }
    }
}
