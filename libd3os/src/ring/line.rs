//! One line of a ring: what moves between two cores as a whole.

use core::fmt;

use super::sync::{AtomicU64, Ordering};

/// Bytes of a cache line.
pub const LINE_BYTES: usize = 64;

/// Bytes of a message in each line; the other eight are the line's header.
pub const PAYLOAD_BYTES: usize = PAYLOAD_LENGTH as usize;

/// The same, as headers count.
pub(super) const PAYLOAD_LENGTH: u16 = 56;

pub(super) const PAYLOAD_WORDS: usize = PAYLOAD_BYTES / 8;

/// A cache line of shared memory.
///
/// All of it is atomic words: a peer that writes whenever it likes can change what is read, and
/// cannot make reading undefined.
#[repr(C, align(64))]
pub struct Line {
    pub(super) header: AtomicU64,
    payload: [AtomicU64; PAYLOAD_WORDS],
}

impl Line {
    /// Puts up to [`PAYLOAD_BYTES`] bytes into the line; more are left out. The rest of the last
    /// word becomes 0, words behind it stay.
    #[inline]
    pub(super) fn store(&self, bytes: &[u8]) {
        match <&[u8; PAYLOAD_BYTES]>::try_from(bytes) {
            Ok(all) => self.store_all(all),
            Err(_) => self.store_words(bytes),
        }
    }

    /// Puts a whole line's bytes into the line. Of a known length they are a straight line of
    /// instructions: a core that runs through fewer of them has more lines on their way at once.
    #[inline]
    pub(super) fn store_all(&self, bytes: &[u8; PAYLOAD_BYTES]) {
        #[cfg(target_os = "none")]
        super::wide::store(&self.payload, bytes);
        #[cfg(not(target_os = "none"))]
        self.store_words(bytes);
    }

    /// Takes up to [`PAYLOAD_BYTES`] bytes out of the line; what `bytes` has more stays.
    #[inline]
    pub(super) fn load(&self, bytes: &mut [u8]) {
        match <&mut [u8; PAYLOAD_BYTES]>::try_from(&mut *bytes) {
            Ok(all) => self.load_all(all),
            Err(_) => self.load_words(bytes),
        }
    }

    /// Takes a whole line's bytes out of the line.
    #[inline]
    pub(super) fn load_all(&self, bytes: &mut [u8; PAYLOAD_BYTES]) {
        #[cfg(target_os = "none")]
        super::wide::load(&self.payload, bytes);
        #[cfg(not(target_os = "none"))]
        self.load_words(bytes);
    }

    /// Makes it a line of zeros, as the lines of a fresh ring must be. No end of a ring may be
    /// using it.
    pub fn clear(&self) {
        self.header.store(0, Ordering::Relaxed);
        self.payload.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// The first word of a line that is no ring's.
    #[must_use]
    pub fn word(&self) -> u64 {
        self.header.load(Ordering::Acquire)
    }

    /// Sets the first word of a line that is no ring's.
    pub fn set_word(&self, word: u64) {
        self.header.store(word, Ordering::Release);
    }

    #[inline(always)]
    fn store_words(&self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for (place, word) in self.payload.iter().zip(words) {
            place.store(u64::from_le_bytes(*word), Ordering::Relaxed);
        }
        if let Some(place) = self.payload.get(words.len()).filter(|_| !rest.is_empty()) {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            place.store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn load_words(&self, bytes: &mut [u8]) {
        let (words, rest) = bytes.as_chunks_mut::<8>();
        let last = words.len();
        for (place, word) in self.payload.iter().zip(words) {
            *word = place.load(Ordering::Relaxed).to_le_bytes();
        }
        if let Some(place) = self.payload.get(last).filter(|_| !rest.is_empty()) {
            let word = place.load(Ordering::Relaxed).to_le_bytes();
            rest.copy_from_slice(&word[..rest.len()]);
        }
    }
}

/// A line of zeros, as the lines of a fresh ring must be.
impl Default for Line {
    fn default() -> Self {
        let word = |_| AtomicU64::new(0);
        Self { header: word(0), payload: core::array::from_fn(word) }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = Header::from_word(self.header.load(Ordering::Relaxed));
        f.debug_struct("Line").field("header", &header).finish_non_exhaustive()
    }
}

/// What a line's first word says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// In which round over the ring the line was written; 0 in fresh memory.
    pub(super) lap: u32,
    /// The message's tag.
    pub(super) tag: u16,
    /// Bytes of the message from this line on.
    pub(super) length: u16,
}

impl Header {
    #[inline]
    pub(super) const fn to_word(self) -> u64 {
        // Widening, which `From` cannot do in a constant function.
        ((self.lap as u64) << 32) | ((self.tag as u64) << 16) | self.length as u64
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "takes the word apart")]
    pub(super) const fn from_word(word: u64) -> Self {
        Self { lap: (word >> 32) as u32, tag: (word >> 16) as u16, length: word as u16 }
    }
}
