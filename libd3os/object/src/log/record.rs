//! A record: what one transaction has changed.
//!
//! In words of 8 bytes, little-endian:
//!
//! | word | what |
//! |---|---|
//! | 0 | checksum of all that follows, seeded with the sequence number |
//! | 1 | words (32 bits), objects (16), low bits of the sequence number (16) |
//! | then, for each object | id (2 words), the version that the transaction makes |
//! | …and for each of its lines | line (upper 32 bits), bit 8 if it is the object's last, a bit for each word that was changed (8); then these words |
//!
//! One changed word makes a record of 56 bytes, a line.

use alloc::vec::Vec;

use zerocopy::IntoBytes;

use crate::checksum;
use crate::id::ObjectId;
use crate::medium::{LINE_BYTES, WORD_BYTES};

/// Words before the first object.
pub(crate) const HEAD_WORDS: usize = 2;

const LAST: u64 = 1 << 8;

/// How many lines so many words need.
pub(crate) const fn lines(words: usize) -> u64 {
    words.div_ceil(LINE_BYTES / WORD_BYTES) as u64
}

/// Makes records, in a buffer that is used again.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    words: Vec<u64>,
    objects: u64,
    last_line: usize,
}

impl Builder {
    pub(crate) fn begin(&mut self) {
        self.words.clear();
        self.words.extend([0; HEAD_WORDS]);
        self.objects = 0;
    }

    /// The lines that follow are those of this object. There is one at least.
    pub(crate) fn object(&mut self, id: ObjectId, version: u64) {
        self.end_object();
        self.objects += 1;
        self.words.extend(id.words());
        self.words.push(version);
    }

    /// Of this line, these words were changed.
    #[inline]
    pub(crate) fn line(&mut self, line: u32, mask: u8, words: &[u64; 8]) {
        self.last_line = self.words.len();
        // Each word is put behind those that were changed, and overwritten unless it was.
        let mut entry = [0; 16];
        entry[0] = u64::from(line) << 32 | u64::from(mask);
        let mut length = 1;
        for (word, value) in words.iter().enumerate() {
            entry[length & 15] = *value;
            length += usize::from(mask >> word & 1);
        }
        self.words.extend_from_slice(&entry[..length]);
    }

    /// Ends the record; the log seals it.
    pub(crate) fn end(&mut self) -> &mut Vec<u64> {
        self.end_object();
        self.words[1] = (self.words.len() as u64) | self.objects << 32;
        &mut self.words
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.objects == 0
    }

    fn end_object(&mut self) {
        if self.objects > 0 {
            self.words[self.last_line] |= LAST;
        }
    }
}

/// The words of a line that the mask says.
#[inline]
pub(crate) fn changed(mut mask: u8) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let word = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(word)
    })
}

/// Completes a record as the one of this number.
pub(crate) fn seal(words: &mut [u64], sequence: u64) {
    words[1] |= sequence << 48;
    words[0] = checksum::of(words[1..].as_bytes(), sequence);
}

/// Whether these words are a whole record of this number.
pub(crate) fn is_sealed(words: &[u64], sequence: u64) -> bool {
    words[0] == checksum::of(words[1..].as_bytes(), sequence)
}

/// The beginning of a record, or of what is none.
#[derive(Clone, Copy)]
pub(crate) struct Head(u64);

impl Head {
    pub(crate) const fn new([_, head]: [u64; HEAD_WORDS]) -> Self {
        Self(head)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub(crate) const fn words(self) -> usize {
        self.0 as u32 as usize
    }

    /// The number that it may have, if it is not less than this.
    pub(crate) const fn sequence_after(self, sequence: u64) -> u64 {
        let ahead = (self.0 >> 48).wrapping_sub(sequence) & 0xffff;
        sequence.saturating_add(ahead)
    }
}

/// What a record says of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) id: ObjectId,
    pub(crate) version: u64,
    pub(crate) lines: Vec<LineChange>,
}

/// Words of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineChange {
    pub(crate) line: u32,
    pub(crate) mask: u8,
    /// In the order of the line; those that the mask does not say are zero.
    pub(crate) words: [u64; 8],
}

/// A record is whole, but says nothing that makes sense: this library has not written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What a whole record says.
pub(crate) fn parse(words: &[u64]) -> Result<Vec<Change>, Malformed> {
    let mut rest = Words(words.get(HEAD_WORDS..).ok_or(Malformed)?);
    let objects = words[1] >> 32 & 0xffff;
    let changes = (0..objects).map(|_| rest.change()).collect::<Result<Vec<_>, _>>()?;
    if rest.0.is_empty() && !changes.is_empty() { Ok(changes) } else { Err(Malformed) }
}

struct Words<'a>(&'a [u64]);

impl Words<'_> {
    fn take(&mut self) -> Result<u64, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn change(&mut self) -> Result<Change, Malformed> {
        let id = ObjectId::from_words([self.take()?, self.take()?]);
        let version = self.take()?;
        let mut lines = Vec::new();
        loop {
            let (line, is_last) = self.line()?;
            lines.push(line);
            if is_last {
                return Ok(Change { id, version, lines });
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "takes it apart")]
    fn line(&mut self) -> Result<(LineChange, bool), Malformed> {
        let head = self.take()?;
        let (line, mask) = ((head >> 32) as u32, head as u8);
        if mask == 0 || head & 0xffff_fe00 != 0 {
            return Err(Malformed);
        }
        let mut words = [0; 8];
        for word in changed(mask) {
            words[word] = self.take()?;
        }
        Ok((LineChange { line, mask, words }, head & LAST != 0))
    }
}
