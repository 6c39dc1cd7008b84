//! Lines of an object in their place: what a change makes of them.

use core::ptr::NonNull;

use crate::layout;
use crate::log::record;
use crate::mapping::{Mapping, line_offset};
use crate::medium::{Medium, WORD_BYTES};

type Words = [u64; 8];

/// The words of a copy of a line, and which of them differ from those in place. Both are lines that
/// nobody writes meanwhile.
#[inline]
pub(crate) fn differences(home: NonNull<u8>, copy: NonNull<u8>) -> (Words, u8) {
    let (home, copy) = (words_of(home), words_of(copy));
    let differ = |word: usize| u8::from(home[word] != copy[word]) << word;
    (copy, (0..8).map(differ).fold(0, |mask, bit| mask | bit))
}

#[inline]
fn words_of(line: NonNull<u8>) -> Words {
    // SAFETY: an aligned line, of which nothing is written now: it is in an object under the lock of the
    // session that asks, or the session's own.
    unsafe { line.cast::<Words>().read() }
}

/// Stores words of a line. Only for whoever holds the lock.
pub(crate) fn store<M: Medium>(mapping: &Mapping<M>, line: u32, mask: u8, words: &Words) {
    mapping.changed(line);
    store_words(mapping.medium(), line, mask, words);
}

/// From so many words on, a line is stored as a whole.
const MANY: u32 = 4;

/// Stores a copy of a line, which is a session's own and differs in these words. Only for whoever holds
/// the lock.
#[inline]
pub(crate) fn store_copy(medium: &impl Medium, line: u32, mask: u8, copy: NonNull<u8>) {
    let mask = if mask.count_ones() >= MANY { u8::MAX } else { mask };
    store_words(medium, line, mask, &words_of(copy));
}

/// Stores words of a line.
#[inline]
pub(crate) fn store_words(medium: &impl Medium, line: u32, mask: u8, words: &Words) {
    let at = layout::place(line_offset(line));
    if mask == u8::MAX {
        return medium.store(at, words.map(u64::to_le_bytes).as_flattened());
    }
    record::changed(mask).for_each(|word| medium.store_word(at + word * WORD_BYTES, words[word]));
}
