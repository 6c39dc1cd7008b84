//! Lines of an object in their place: what a change makes of them.

use core::ptr::NonNull;

use crate::layout;
use crate::log::record;
use crate::mapping::{Mapping, line_offset};
use crate::medium::{Medium, WORD_BYTES};

type Words = [u64; 8];

/// The words of a copy of a line, and which of them differ from those in place. Both are lines that
/// nobody writes meanwhile.
pub(crate) fn differences(home: NonNull<u8>, copy: NonNull<u8>) -> (Words, u8) {
    // SAFETY: both are aligned lines, of which nothing is written now: one is under the lock of the
    // session that asks, the other is its own.
    let [home, copy] = [home, copy].map(|line| unsafe { line.cast::<Words>().read() });
    let differ = |word: usize| u8::from(home[word] != copy[word]) << word;
    (copy, (0..8).map(differ).fold(0, |mask, bit| mask | bit))
}

/// Stores words of a line. Only for whoever holds the lock.
pub(crate) fn store<M: Medium>(mapping: &Mapping<M>, line: u32, mask: u8, words: &Words) {
    mapping.changed(line);
    store_words(mapping.medium(), line, mask, words);
}

/// Stores words of a line.
pub(crate) fn store_words(medium: &impl Medium, line: u32, mask: u8, words: &Words) {
    let at = layout::place(line_offset(line));
    record::changed(mask).for_each(|word| medium.store_word(at + word * WORD_BYTES, words[word]));
}
