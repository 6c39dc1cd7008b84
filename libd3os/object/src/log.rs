//! A session's log: what is committed, and where it begins.
//!
//! | lines | what |
//! |---|---|
//! | 0, 1 | the tail, by turns: position and sequence number of the oldest record that may be needed, checksum |
//! | 2… | the ring of records, each of whole lines |
//!
//! A record is stored past the cache and made durable by one fence; no word says that it is there but
//! its own checksum, which is seeded with its sequence number, so that what a lap before has left at
//! the same place is not taken for it. Every line is new when it is written: no flush waits for an
//! earlier one.

pub(crate) mod record;

use core::fmt;

use alloc::vec::Vec;

use crate::checksum;
use crate::medium::{LINE_BYTES, Line, Medium, WORD_BYTES};
use record::{HEAD_WORDS, Head};

const TAILS: usize = 2;
const TAIL_SEED: u64 = 0x6c6f_6720_7461_696c;
const LINE_WORDS: usize = LINE_BYTES / WORD_BYTES;

/// The shortest log: a ring of so many lines.
pub const MIN_LINES: usize = 16;

/// A log cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogError {
    /// It is too short.
    Short,
    /// Its tail is damaged: where its records begin is not known.
    Tail,
    /// It holds records: it has to be recovered first.
    NotRecovered,
}

/// Where a record begins: so many lines after the first one ever written, the so-manieth record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    line: u64,
    sequence: u64,
}

/// A log that is written.
#[derive(Debug)]
pub(crate) struct Log<M> {
    medium: M,
    /// Where the ring ends.
    end: usize,
    tail: Position,
    head: Position,
}

impl<M: Medium> Log<M> {
    /// Makes an empty log; durable when this returns.
    pub(crate) fn format(medium: &M) -> Result<(), LogError> {
        ring(medium)?;
        // What was there cannot be taken for a record.
        (TAILS..lines(medium)).for_each(|line| medium.store_line(line * LINE_BYTES, &[0; _]));
        (0..TAILS).for_each(|line| medium.store_line(line * LINE_BYTES, &[0; _]));
        medium.fence();
        store_tail(medium, Position::default());
        medium.fence();
        Ok(())
    }

    /// Opens a log without records.
    pub(crate) fn open(medium: M) -> Result<Self, LogError> {
        ring(&medium)?;
        let tail = tail(&medium)?;
        if Reader::new(&medium)?.next().is_some() {
            return Err(LogError::NotRecovered);
        }
        let end = lines(&medium) * LINE_BYTES;
        Ok(Self { medium, end, tail, head: tail })
    }

    /// How many lines a record can have at most.
    pub(crate) fn capacity(&self) -> u64 {
        lines(&self.medium) as u64 - TAILS as u64
    }

    /// How many lines are free.
    pub(crate) fn free(&self) -> u64 {
        self.capacity() - (self.head.line - self.tail.line)
    }

    /// Writes a record; durable when this returns. There must be room.
    pub(crate) fn append(&mut self, words: &mut Vec<u64>) {
        debug_assert!(record::lines(words.len()) <= self.free(), "the caller has made room");
        record::seal(words, self.head.sequence);
        let whole = words.len().next_multiple_of(LINE_WORDS);
        words.resize(whole, 0);
        let mut at = self.place(self.head.line);
        for chunk in words.as_chunks::<LINE_WORDS>().0 {
            let line = chunk.map(u64::to_le_bytes);
            self.medium.store_line(at, as_line(line.as_flattened()));
            self.head.line += 1;
            at += LINE_BYTES;
            if at == self.end {
                at = TAILS * LINE_BYTES;
            }
        }
        self.head.sequence += 1;
        self.medium.fence();
    }

    /// Forgets all records, of which none is needed any more; durable when this returns.
    pub(crate) fn clear(&mut self) {
        if self.tail != self.head {
            store_tail(&self.medium, self.head);
            self.medium.fence();
            self.tail = self.head;
        }
    }

    fn place(&self, line: u64) -> usize {
        place(line, self.capacity())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the remainder is below the log's length")]
const fn place(line: u64, ring: u64) -> usize {
    (TAILS as u64 + line % ring) as usize * LINE_BYTES
}

fn as_line(bytes: &[u8]) -> &Line {
    bytes.first_chunk().expect("eight words are a line")
}

fn lines(medium: &impl Medium) -> usize {
    medium.bytes() / LINE_BYTES
}

/// The ring's length in lines.
fn ring(medium: &impl Medium) -> Result<u64, LogError> {
    let ring = lines(medium).saturating_sub(TAILS);
    if ring >= MIN_LINES { Ok(ring as u64) } else { Err(LogError::Short) }
}

/// To be relied upon after the next fence. The turn is the sequence number's, so that two tails in
/// succession need not be in different lines; then the record between them is no longer needed by
/// either.
fn store_tail(medium: &impl Medium, tail: Position) {
    let turns = turns(medium);
    let older = usize::from(
        turns[0]
            .is_some_and(|first| turns[1].is_none_or(|second| second.sequence < first.sequence)),
    );
    let words =
        [tail.line, tail.sequence, checksum::of_words([tail.line, tail.sequence], TAIL_SEED)];
    let mut line = [[0; WORD_BYTES]; LINE_WORDS];
    for (to, word) in line.iter_mut().zip(words) {
        *to = word.to_le_bytes();
    }
    medium.store_line(older * LINE_BYTES, as_line(line.as_flattened()));
}

fn turns(medium: &impl Medium) -> [Option<Position>; TAILS] {
    core::array::from_fn(|turn| {
        let [line, sequence, checksum] =
            core::array::from_fn(|word| medium.load_word(turn * LINE_BYTES + word * WORD_BYTES));
        let right = checksum == checksum::of_words([line, sequence], TAIL_SEED);
        right.then_some(Position { line, sequence })
    })
}

fn tail(medium: &impl Medium) -> Result<Position, LogError> {
    let tails = turns(medium).into_iter().flatten();
    tails.max_by_key(|tail| tail.sequence).ok_or(LogError::Tail)
}

/// Reads the records of a log, oldest first, as somebody else's bytes: each is copied before it is looked
/// at.
pub(crate) struct Reader<'a, M> {
    medium: &'a M,
    ring: u64,
    tail: Position,
    at: Position,
}

impl<'a, M: Medium> Reader<'a, M> {
    pub(crate) fn new(medium: &'a M) -> Result<Self, LogError> {
        let (ring, tail) = (ring(medium)?, tail(medium)?);
        Ok(Self { medium, ring, tail, at: tail })
    }

    /// Says that all records that were read, and what is no record, are not needed any more. To be
    /// relied upon after the next fence.
    pub(crate) fn clear(&self) {
        // What may come behind a damaged place is left behind for good.
        let line = self.at.line.saturating_add(self.ring);
        let sequence = self.at.sequence.saturating_add(self.ring);
        let skip = Position { line, sequence };
        store_tail(
            self.medium,
            if self.at == self.tail && !self.has_gap() { self.tail } else { skip },
        );
    }

    /// Whether records follow behind what is none: something in between is damaged, as each is durable
    /// before the next one is written.
    pub(crate) fn has_gap(&self) -> bool {
        let end = self.tail.line.saturating_add(self.ring);
        (self.at.line.saturating_add(1)..end).any(|line| {
            let head = self.head(line);
            let sequence = head.sequence_after(self.at.sequence);
            let room = end - line;
            sequence - self.at.sequence <= self.ring
                && self.record(line, head, sequence, room).is_some()
        })
    }

    fn head(&self, line: u64) -> Head {
        let at = place(line, self.ring);
        Head::new([self.medium.load_word(at), self.medium.load_word(at + WORD_BYTES)])
    }

    /// The words of the record that begins at this line, if it is whole.
    fn record(&self, line: u64, head: Head, sequence: u64, room: u64) -> Option<Vec<u64>> {
        let words = head.words();
        let lines = record::lines(words);
        if words < HEAD_WORDS || lines > room {
            return None;
        }
        let mut copy = Vec::with_capacity(words);
        for line in line..line.checked_add(lines)? {
            let at = place(line, self.ring);
            copy.extend((0..LINE_WORDS).map(|word| self.medium.load_word(at + word * WORD_BYTES)));
        }
        copy.truncate(words);
        record::is_sealed(&copy, sequence).then_some(copy)
    }
}

impl<M: Medium> Iterator for Reader<'_, M> {
    type Item = Vec<u64>;

    fn next(&mut self) -> Option<Vec<u64>> {
        let room = self.ring - (self.at.line - self.tail.line);
        if room == 0 {
            return None;
        }
        let record = self.record(self.at.line, self.head(self.at.line), self.at.sequence, room)?;
        self.at.line = self.at.line.checked_add(record::lines(record.len()))?;
        self.at.sequence = self.at.sequence.checked_add(1)?;
        Some(record)
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Short => "the log is too short",
            Self::Tail => "where the log's records begin is damaged",
            Self::NotRecovered => "the log holds records that were not recovered",
        })
    }
}

impl core::error::Error for LogError {}
